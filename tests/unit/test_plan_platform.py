"""What a stack has beside its pools: subnets that never move, settings that are checked, services that are priced."""

from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelstack.plan import managed, network, platform
from accelstack.plan.cidr import Subnet
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.plan import Plan, plan

L4 = {"target": "aws", "region": "us-east-1", "accelerator": "L4:1", "fabric": "none"}
STACKS = Path(__file__).resolve().parents[2] / "stacks"
RESERVATION = "cr-0123456789abcdef0"
HOME = ["use1-az1", "use1-az2", "use1-az4"]


def subnets(zones: list[str], gpu_zones: list[str], cidr: str = "10.0.0.0/16") -> list[Subnet]:
    made, findings = network.zone_subnets(cidr, zones, gpu_zones)
    assert findings == []
    return made


def found(decided: Plan, name: str) -> list[Finding]:
    return [finding for finding in decided.findings if finding.property == name]


def test_a_zone_or_pool_that_comes_never_moves_the_subnets_of_others() -> None:
    before = subnets(HOME, ["use1-az2"])
    after = subnets([*HOME, "use1-az5", "use1-dfw2-az1"], ["use1-az2", "use1-az5", "use1-dfw2-az1"])
    assert {*before} < {*after}


def test_subnets_of_every_zone_of_the_largest_region_lie_apart_in_the_network() -> None:
    from ipaddress import IPv4Network

    zones = [f"use1-az{number}" for number in range(1, 7)]
    ranges = [IPv4Network(subnet.cidr) for subnet in subnets(zones, zones, "10.8.0.0/18")]
    assert len(ranges) == 18
    assert all(each.subnet_of(IPv4Network("10.8.0.0/18")) for each in ranges)
    assert not any(one.overlaps(other) for one, other in combinations(ranges, 2))


@pytest.mark.parametrize(
    ("zones", "gpu_zones", "path", "rule"),
    [
        (["us-east-1a", "us-east-1b"], [], "zones", "is no id of an availability zone"),
        (["use1-az1"], [], "zones", "2 to 6 zones"),
        (["use1-az1", "use1-az3"], [], "zones", "2 of them open to EKS control planes"),
        (["use1-az1", "use1-az1"], [], "zones", "a zone is named twice"),
        (["use1-az1", "use1-az2"], ["use1-az4"], "gpu_zones", "is not among the network's zones"),
    ],
)
def test_zones_that_no_network_can_have_are_named(zones: list[str], gpu_zones: list[str], path: str, rule: str) -> None:
    made, (finding,) = network.zone_subnets("10.0.0.0/16", zones, gpu_zones)
    assert made == []
    assert finding.property == path
    assert rule in finding.rule
    assert finding.fix


def test_a_zone_too_full_for_its_nodes_is_told_before_they_find_no_address() -> None:
    (wrong,) = found(plan({**L4, "nodes": 500, "zones": "use1-az1"}), "cidr")
    assert "gives zone use1-az1 4,091 addresses for its gpu subnet, and 501 nodes" in wrong.rule


@pytest.mark.parametrize(
    ("change", "name", "rule"),
    [
        ({"runs_on": "laptop"}, "runs_on", "no known place for workloads"),
        ({"nat": "none"}, "nat", "no known kind of NAT"),
        ({"autoscaler": "karpentr"}, "autoscaler", "no known autoscaler"),
        ({"api_access": "0.0.0.0/0"}, "api_access", "opens the cluster's API to the whole internet"),
        ({"api_access": "203.0.113.7/8"}, "api_access", "is no address range"),
        ({"admins": "me"}, "admins", "is no ARN of a role or user"),
        ({"alerts": "nobody"}, "alerts", "is no e-mail address"),
        ({"image": "repo:latest"}, "image", "is no image with its digest"),
        ({"lustre_gib": 1000}, "lustre_gib", "1200 or a multiple of 2400"),
        ({"lustre_throughput": 1}, "lustre_throughput", "is no throughput"),
        ({"network": "my-vpc", "private_subnets": "subnet-12345678 subnet-87654321"}, "network", "is no id of a VPC"),
        ({"network": "vpc-12345678"}, "private_subnets", "in two zones or more"),
        ({"gpu_subnets": "subnet-12345678"}, "gpu_subnets", "belongs to an existing network"),
        ({"ipv6": "maybe"}, "ipv6", "is not true or false"),
        ({"runs_on": "managed", "lustre_gib": 1200}, "lustre_gib", "is of a cluster, and there is none"),
        ({"runs_on": "managed", "image": f"ghcr.io/a/b@sha256:{'a' * 64}"}, "image", "is no image in ECR"),
        ({"replica_region": "nowhere"}, "replica_region", "is no region's name"),
        ({"alerts": [f"a{number}@example.com" for number in range(11)]}, "alerts", "AWS tells at most 10 addresses"),
    ],
)
def test_each_wrong_setting_of_the_platform_is_named(change: dict[str, Any], name: str, rule: str) -> None:
    decided = plan({**L4, **change})
    assert not decided.fits
    (finding,) = found(decided, name)
    assert rule in finding.rule
    assert finding.fix


def test_a_private_api_says_where_up_must_run_and_an_open_one_does_not() -> None:
    (warning,) = found(plan(L4), "api_access")
    assert warning.severity is Severity.WARNING
    assert "run `up` inside it" in warning.fix
    assert found(plan({**L4, "api_access": "203.0.113.7/32"}), "api_access") == []
    assert found(plan({**L4, "runs_on": "managed"}), "api_access") == []


def test_one_gateway_is_cheaper_than_one_for_each_zone_and_an_existing_network_has_none() -> None:
    def of(change: dict[str, Any]) -> dict[str, float | None]:
        decided = plan({**L4, **change})
        return {item.name: item.monthly_usd for item in decided.estimate.items}

    assert of({})["NAT in 3 zones"] == pytest.approx(3 * (of({"nat": "single"})["NAT in 1 zone"] or 0))
    own = {"network": "vpc-12345678", "private_subnets": "subnet-12345678 subnet-87654321"}
    assert not any("NAT" in name or "endpoint" in name for name in of(own))
    assert plan({**L4, **own}).subnets == ()


def test_a_managed_plan_has_no_cluster_and_machines_by_the_platforms_names() -> None:
    decided = plan({**L4, "runs_on": "managed", "nodes": 2, "capacity": "spot"})
    (pool,) = decided.pools
    assert pool.terms.launch["instance_type"] == "ml.g6.xlarge"
    assert decided.versions == {}
    assert "control plane" not in {item.name for item in decided.estimate.items}
    assert decided.fits


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"capacity": "block", "reservation": "cr-0123456789abcdef0"}, "no capacity that is provisioned on a managed"),
        ({"accelerator": "A100-40:8"}, ""),
    ],
)
def test_what_a_managed_platform_lacks_is_refused_by_name(change: dict[str, Any], rule: str) -> None:
    decided = plan({**L4, "runs_on": "managed", **change})
    if rule:
        assert not decided.fits
        assert any(rule in finding.rule for finding in decided.findings)
    else:
        assert managed.instance("aws", decided.pools[0].machine.name, "training") == "ml.p4d.24xlarge"


@pytest.mark.parametrize(
    ("change", "fits"),
    [({"min_nodes": 0}, True), ({"min_nodes": 1}, True), ({"capacity": "block", "reservation": RESERVATION}, False)],
)
def test_a_pool_that_karpenter_would_leave_alone_is_told(change: dict[str, Any], fits: bool) -> None:
    block = {"machine": "p5.48xlarge", "accelerator": "H100:8", "zones": "use1-az1"} if not fits else L4
    decided = plan({**L4, **block, "autoscaler": "karpenter", "nodes": 2, **change})
    told = [finding for finding in decided.findings if finding.property.endswith(".min_nodes")]
    assert len(told) == (change.get("min_nodes") != 0)
    assert decided.fits == fits


@pytest.mark.parametrize("path", sorted(STACKS.glob("Pulumi.aws-*.yaml")), ids=lambda path: path.stem)
def test_the_stacks_that_come_with_the_project_fit(path: Path) -> None:
    config = yaml.safe_load(path.read_text())["config"]
    decided = plan({key.partition(":")[2]: value for key, value in config.items()})
    assert decided.fits, [str(finding) for finding in decided.findings]


def test_every_setting_of_the_platform_has_one_default_and_is_refused_on_clouds_without_it() -> None:
    assert set(platform.KEYS) == set(platform.Platform.__dataclass_fields__)
    decided = plan({"target": "gcp", "region": "us-central1", "accelerator": "L4:1", "lustre_gib": 1200})
    (wrong,) = found(decided, "lustre_gib")
    assert "is not provisioned on gcp yet" in wrong.rule
