"""What a user may ask wrongly, and what the plan says of it."""

import json
from ipaddress import IPv4Network
from itertools import combinations
from typing import Any

import pytest
from accelstack.plan.export import as_dict
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.plan import Plan, plan

CR = "cr-0123456789abcdef0"
H100 = {"target": "aws", "region": "us-east-1", "accelerator": "H100", "per_node": 8, "nodes": 2, "zones": ["use1-az1"]}


def found(decided: Plan, name: str) -> list[Finding]:
    """The errors about a property."""
    return [f for f in decided.findings if f.property == name and f.severity is not Severity.WARNING]


def test_a_good_request_fits_and_says_all() -> None:
    decided = plan(H100)
    assert decided.fits
    gpu, system = decided.pools
    assert (gpu.machine.name, gpu.machine.accelerator, gpu.gpus) == ("p5.48xlarge", "H100-80", 16)
    assert (gpu.fabric.name, gpu.fabric.count) == ("efa", 32)
    assert (gpu.terms.placement, gpu.terms.zones) == ("cluster", ("use1-az1",))
    assert system.name == "system"
    assert decided.versions["kubernetes"]
    assert decided.estimate.monthly_usd
    assert [need.amount for need in decided.quotas if need.title.endswith("P instances")] == [384]


@pytest.mark.parametrize(
    ("change", "name", "rule", "fix"),
    [
        ({"accelerator": "H10"}, "accelerator", "no known accelerator", "accelstack gpus"),
        ({"accelerator": "TPU-v6e", "per_node": 4}, "accelerator", "is not on aws; it is on gcp", "gpus TPU-v6e"),
        ({"region": "eu-west-3"}, "region", "not sold there as on_demand; it is in", "one of these regions"),
        ({"region": "us-esat-1"}, "region", "no known region of aws", "us-east-1"),
        ({"region": ""}, "region", "needs a region", "us-east-1"),
        ({"target": "awz"}, "target", "no known target", "did you mean aws"),
        ({"per_node": 3}, "per_node", "there are 1, 8", "one of these counts"),
        ({"per_node": 0}, "per_node", "comes with 1, 8 per node", "set per_node"),
        ({"accelerator": "H100:8", "per_node": 4}, "per_node", "contradicts", "once"),
        ({"capacity": "sport"}, "capacity", "no known capacity type", "did you mean spot"),
        ({"capacity": "flex_start"}, "capacity", "sold as", "one of these"),
        (
            {"capacity": "spot", "reservation": CR},
            "reservation",
            "never uses a reservation",
            "leave the",
        ),
        ({"capacity": "reservation"}, "reservation", "needs the reservation's id", "set reservation"),
        (
            {"capacity": "block", "reservation": CR, "zones": "use1-az1,use1-az2"},
            "zones",
            "in one zone",
            "alone",
        ),
        (
            {"capacity": "block", "reservation": CR, "zones": ()},
            "zones",
            "lies in one zone",
            "zone alone",
        ),
        (
            {
                "accelerator": "H200",
                "region": "us-east-2",
                "capacity": "block",
                "reservation": CR,
                "zones": "use2-az3",
            },
            "machine",
            "could be of p5e.48xlarge, p5en.48xlarge",
            "the reservation's",
        ),
        ({"machine": "p4d.24xlarge"}, "machine", "machines on aws are p5.48xlarge", "use one of these"),
        ({"zones": ["use1-az9"]}, "zones", "it is in use1-az1", "one of these zones"),
        ({"fabric": "infiniband"}, "fabric", "have efa", "auto"),
        ({"accelerator": "L4", "per_node": 1, "vcpus": 1000}, "vcpus", "the largest such machine has", "fewer"),
        ({"accelerator": "T4", "per_node": 1, "nodes": 1, "zones": (), "fabric": "tcpx"}, "fabric", "have", "auto"),
        ({"architecture": "arm64"}, "architecture", "are x86_64", "build the images for x86_64"),
        ({"versions": {"driver": "450.80"}}, "versions.driver", "driver must be", "driver"),
        ({"versions": {"driver": "590.1"}}, "versions.driver", "the image brings driver 580", "leave it out"),
        ({"accelerator": "p5.48xlarge"}, "accelerator", "is a machine type, which has H100-80:8", "ask for H100-80:8"),
        ({"zones": ["us-east-1a"]}, "zones", "it is in use1-az1", "zone ids, since names differ"),
        ({"capacity": "reservation", "reservation": "mine"}, "reservation", "no reservation of aws", "console"),
        ({"capacity": "block", "reservation": CR, "nodes": 65}, "nodes", "at most 64 machines", "at most 64 nodes"),
        (
            {"accelerator": "GB200:4", "capacity": "block", "reservation": CR, "nodes": 5, "zones": ()},
            "nodes",
            "sold whole",
            "use 9 or 18 nodes",
        ),
        ({"versions": {"kubernetes": "1.25"}}, "versions.kubernetes", "kubernetes must be", "1."),
        ({"versions": {"kubernets": "1.34"}}, "versions.kubernets", "no known component", "did you mean kubernetes"),
        ({"versions": {"kueue": "new"}}, "versions.kueue", "is no version", "such as"),
        ({"versions": {"kubernetes": "1.34rc1"}}, "versions.kubernetes", "is no version", "such as"),
        ({"versions": {"driver": 570.1}}, "versions", "is not a table of versions in quotes", "in quotes"),
        ({"cidr": "10.0.0.0/24"}, "cidr", "too small for subnets in several zones", "use a /21"),
        ({"cidr": "10.0.0.0/20"}, "cidr", "and 3 nodes with their pods need", "use a /18"),
        ({"cidr": "10.0.0.0/8"}, "cidr", "networks on aws are /16 to /28", "10.0.0.0/16"),
        ({"cidr": "8.8.0.0/16"}, "cidr", "no private range", "10.0.0.0/16"),
        ({"cidr": "127.0.0.0/16"}, "cidr", "no private range", "10.0.0.0/16"),
        ({"cidr": "10.0.0.0/0.0.255.255"}, "cidr", "no prefix length", "10.0.0.0/16"),
        ({"cidr": "fd00::/48"}, "cidr", "no IPv4 range", "10.0.0.0/16"),
        ({"cidr": "ten"}, "cidr", "no IPv4 range", "10.0.0.0/16"),
        ({"budget": 1000}, "budget", "the plan costs", "a budget of"),
        ({"budget": -1}, "budget", "is not a number of 0 or more", "use a number"),
        ({"nodes": 0}, "nodes", "not between 1 and 100,000", "a number between"),
        ({"nodes": "many"}, "nodes", "not a whole number", "use a whole number"),
        ({"nodes": True}, "nodes", "not a whole number", "use a whole number"),
        ({"min_nodes": 5}, "min_nodes", "more than the 2 nodes", "raise nodes"),
        ({"name": "x" * 101}, "name", "at most 100", "use xxx"),
        ({"name": "no spaces please"}, "name", "no cluster name on aws", "use no-spaces-please"),
        ({"pools": ["a"]}, "pools", "no table of pools", "use a table such as"),
        ({"pools": {"1a": {}}}, "pools", "no name of a pool", "small letters"),
        ({"pools": {1: {}}}, "pools", "no name of a pool", "small letters"),
        ({"pools": {"a": {1: 2}}}, "pools.a.1", "setting of a pool", "use one of"),
        ({"pools": {"system": {"accelerator": "L4:1"}}}, "pools.system.accelerator", "run the cluster itself", "cpu:4"),
        ({"pools": {"system": {}}}, "pools.system.accelerator", "is not given", "name one"),
        ({"budgte": 5}, "budgte", "no known setting", "did you mean budget"),
        ({"accelerator": ""}, "accelerator", "is not given", "name one"),
        ({"nodes": 10**30}, "nodes", "not between", "a number between"),
        ({"reservation": True}, "reservation", "is not a text", "use a text"),
        ({"zones": ","}, "zones", "is not a list of names", "use a list"),
        ({"zones": ["use1-az1", ["use1-az2"]]}, "zones", "is not a list of names", "use a list"),
        (
            {"capacity": "reservation", "reservation": CR, "zones": "use1-az1 use1-az2"},
            "zones",
            "in one",
            "alone",
        ),
        ({"pools": {"a": 1}}, "pools.a", "no table of settings", "accelerator"),
        ({"pools": {"a": {"acelerator": "L4"}}}, "pools.a.acelerator", "setting of a pool", "did you mean accelerator"),
        ({"pools": {"train": {"capacity": "flex_start"}}}, "pools.train.capacity", "sold as", "one of these"),
    ],
)
def test_each_mistake_is_named_with_value_rule_and_fix(change: dict[str, Any], name: str, rule: str, fix: str) -> None:
    decided = plan({**H100, **change})
    assert not decided.fits
    (finding,) = found(decided, name)
    assert rule in finding.rule
    assert fix in finding.fix


def test_every_mistake_is_told_in_one_go() -> None:
    wrong = {
        "capacity": "spot",
        "reservation": CR,
        "cidr": "10.0.0.0/26",
        "budget": 5,
        "name": "a b",
    }
    decided = plan({**H100, **wrong, "versions": {"kubernetes": "1.25"}})
    named = {finding.property for finding in decided.findings if finding.severity is not Severity.WARNING}
    assert named >= {"reservation", "cidr", "budget", "name", "versions.kubernetes"}


def test_a_name_too_long_for_one_cloud_is_good_on_another() -> None:
    assert plan({**H100, "name": "x" * 41}).fits
    google = {"target": "gcp", "region": "us-central1", "accelerator": "L4:1", "name": "x" * 41}
    assert found(plan(google), "name")


def test_general_names_mean_what_the_machine_has_and_the_plan_says_which() -> None:
    decided = plan({**H100, "accelerator": "A100", "zones": []})
    (gpu, _) = decided.pools
    assert gpu.machine.accelerator.startswith("A100-")
    warning = next(finding for finding in decided.findings if finding.property == "accelerator")
    assert warning.severity is Severity.WARNING
    assert gpu.machine.accelerator in warning.rule


def test_pools_take_what_they_leave_out_from_the_stack() -> None:
    pools = {"train": {}, "serve": {"accelerator": "L4", "per_node": 1, "nodes": 6, "min_nodes": 0, "zones": []}}
    decided = plan({**H100, "pools": pools})
    train, serve, _ = decided.pools
    assert (train.name, train.machine.name, train.nodes) == ("train", "p5.48xlarge", 2)
    assert (serve.name, serve.machine.accelerator, serve.min_nodes, serve.nodes) == ("serve", "L4", 0, 6)


def test_a_pool_named_system_takes_the_place_of_the_usual_one() -> None:
    decided = plan({**H100, "pools": {"system": {"accelerator": "cpu:8", "zones": []}}})
    assert [(pool.name, pool.machine.vcpus) for pool in decided.pools] == [("system", 8)]


def test_training_that_would_fall_back_to_tcp_is_told_with_the_machine_that_would_not() -> None:
    decided = plan({**H100, "accelerator": "L4", "per_node": 1, "zones": []})
    warning = next(finding for finding in decided.findings if finding.property == "fabric")
    assert "uses TCP" in warning.rule
    assert "fabric: efa" in warning.fix
    assert plan({**H100, "accelerator": "L4", "per_node": 1, "fabric": "efa"}).pools[0].fabric.name == "efa"


@pytest.mark.parametrize(
    ("change", "placement"),
    [
        ({}, "cluster"),
        ({"capacity": "spot"}, "cluster"),
        ({"capacity": "reservation", "reservation": CR}, "reservation"),
        ({"capacity": "block", "reservation": CR}, "reservation"),
        ({"capacity": "reservation", "reservation": CR, "placement_group": "mine"}, "mine"),
        ({"nodes": 1}, "none"),
    ],
)
def test_a_placement_group_is_never_added_to_a_reservation_that_was_not_made_in_it(
    change: dict[str, Any], placement: str
) -> None:
    assert plan({**H100, **change}).pools[0].terms.placement == placement


def test_an_unknown_price_is_unknown_and_never_0() -> None:
    unknown = plan({**H100, "region": "sa-east-1", "zones": [], "budget": 1e9})
    assert unknown.pools[0].hourly_usd is None
    assert unknown.estimate.monthly_usd is None
    assert unknown.estimate.known_monthly_usd > 0
    assert "pool gpu" in unknown.estimate.unknown
    assert any(f.property == "budget" and f.severity is Severity.WARNING for f in unknown.findings)


def test_a_request_that_makes_no_plan_has_no_price() -> None:
    cost = as_dict(plan({"target": "aws"}))["cost"]
    assert (cost["monthly_usd"], cost["known_monthly_usd"]) == (None, None)


def test_zones_that_a_fabric_cannot_span_are_told() -> None:
    decided = plan({**H100, "zones": "use1-az1,use1-az2,use1-az1"})
    assert decided.pools[0].terms.zones == ("use1-az1",)
    (warning,) = [finding for finding in decided.findings if finding.property == "zones"]
    assert warning.severity is Severity.WARNING
    assert warning.value == "use1-az1 use1-az2"


def test_a_mistake_that_several_pools_inherit_is_told_once_under_its_own_name() -> None:
    decided = plan({**H100, "capacity": "sport", "pools": {"a": {}, "b": {}}})
    assert [finding.property for finding in decided.findings if finding.severity is Severity.INVALID] == ["capacity"]


def test_storage_and_egress_are_in_the_estimate_where_they_are_given() -> None:
    plain = plan(H100)
    more = plan({**H100, "storage_gib": 1000, "egress_gib": 100})
    assert {item.name for item in more.estimate.items} - {item.name for item in plain.estimate.items} == {
        "object storage",
        "egress",
    }
    assert more.estimate.known_monthly_usd > plain.estimate.known_monthly_usd


V6E = {"target": "gcp", "region": "us-east5", "accelerator": "TPU-v6e:4", "nodes": 4, "capacity": "flex_start"}


def test_flex_start_scales_from_none_in_the_zones_that_sell_it() -> None:
    pool = plan({**V6E, "zones": "us-east5-b"}).pools[0]
    assert (pool.min_nodes, pool.terms.placement, pool.terms.launch["tpu_topology"]) == (0, "compact", "4x4")
    assert "cloud.google.com/gke-queued=true:NoSchedule" in pool.terms.taints
    (wrong,) = found(plan({**V6E, "region": "us-central1"}), "region")
    assert "asia-northeast1, us-east5" in wrong.rule
    assert found(plan({**V6E, "zones": "us-east5-c"}), "zones")
    assert found(plan({**V6E, "min_nodes": 4}), "min_nodes")


@pytest.mark.parametrize(("nodes", "fits"), [(1, True), (3, False), (64, True)])
def test_tpu_slices_have_the_sizes_that_there_are(nodes: int, fits: bool) -> None:
    asked = {**V6E, "zones": "us-east5-b", "nodes": nodes, "cidr": "10.0.0.0/8"}
    assert plan(asked).fits == fits
    assert plan({**asked, "fabric": "none"}).fits


B200 = {"target": "gcp", "region": "us-central1", "zones": "us-central1-b", "accelerator": "B200:8", "nodes": 2}


def test_gke_pods_get_the_nodes_interfaces_and_the_fabric_has_its_networks() -> None:
    decided = plan({**B200, "capacity": "spot"})
    woven = decided.pools[0].fabric
    joined = json.loads(dict(woven.annotations)["networking.gke.io/interfaces"])
    assert joined[0] == {"interfaceName": "eth0", "network": "default"}
    assert joined[1] == {"interfaceName": "eth2", "network": "rdma-0"}
    assert joined[-1] == {"interfaceName": "eth9", "network": "rdma-7"}
    assert [(each.subnets, each.profile) for each in woven.networks] == [(1, ""), (8, "{zone}-vpc-roce")]
    assert sum("-fabric-" in subnet.name for subnet in decided.subnets) == 9
    assert [need.amount for need in decided.quotas if need.quota == "NETWORKS"] == [3]


def test_a_tcpxo_pod_has_its_sidecar_with_the_devices() -> None:
    mega = {**B200, "accelerator": "H100:8", "fabric": "tcpxo", "zones": "us-central1-a"}
    woven = plan(mega).pools[0].fabric
    assert woven.sidecar
    assert woven.sidecar.name == "tcpxo-daemon"
    devices = dict(woven.annotations)["devices.gke.io/container.tcpxo-daemon"].splitlines()
    assert devices[0] == "- path: /dev/nvidia0"
    assert "- path: /dev/dmabuf_import_helper" in devices
    assert len(devices) == 11


ND = {"target": "azure", "region": "eastus", "accelerator": "H100:8", "nodes": 4}


@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "10.244.0.0/16", "172.20.0.0/14", "10.0.0.0/8", "192.168.0.0/16"])
def test_ranges_of_pods_and_services_on_azure_never_overlap_the_network(cidr: str) -> None:
    decided = plan({**ND, "cidr": cidr})
    networks = [IPv4Network(subnet.cidr) for subnet in decided.subnets]
    assert {subnet.name for subnet in decided.subnets} == {"nodes", "pods", "services"}
    assert not any(one.overlaps(other) for one, other in combinations([IPv4Network(cidr), *networks[1:]], 2))


def test_the_range_that_infiniband_keeps_is_refused() -> None:
    (wrong,) = found(plan({**ND, "cidr": "172.16.0.0/16"}), "cidr")
    assert "InfiniBand keeps" in wrong.rule
    assert plan({**ND, "cidr": "172.16.0.0/16", "fabric": "none"}).fits


def test_amd_pods_are_told_of_rccl_and_no_nvidia_driver() -> None:
    pool = plan({**ND, "region": "francecentral", "accelerator": "MI300X:8"}).pools[0]
    assert "RCCL" in pool.fabric.image
    assert pool.driver == ""
    assert pool.terms.launch["gpu_driver"] == "None"


def test_the_network_spans_two_zones_in_which_a_control_plane_can_be() -> None:
    decided = plan({**H100, "zones": "use1-az3", "capacity": "spot"})
    zones = {subnet.zone for subnet in decided.subnets}
    assert "use1-az3" in zones
    assert len(zones - {"use1-az3"}) >= 2
    for pool in decided.pools:
        assert set(pool.terms.zones) <= zones


def test_spot_that_is_no_bargain_is_told() -> None:
    decided = plan({**H100, "capacity": "spot"})
    (warning,) = [finding for finding in decided.findings if finding.property == "capacity"]
    assert "hardly any" in warning.rule


def test_zones_of_which_no_source_tells_are_taken_with_a_warning() -> None:
    decided = plan({**ND, "zones": "1"})
    assert decided.fits
    assert decided.pools[0].terms.zones == ("1",)
    assert any(finding.property == "zones" for finding in decided.findings)
