"""What an existing cluster's nodes are taken for, what a plan makes of them, and what it refuses."""

from typing import Any

import pytest
from accelstack.plan import node_groups
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.inventory import Inventory, from_objects, quantity
from accelstack.plan.node_groups import Group, neutral
from accelstack.plan.private import Decided, decide

from tests.unit.existing_clusters import GFD_H100, bare_metal, deployment, eks, gke, node, storage_class

ASKED = {"target": "private", "name": "lab", "store": "s3://runs/lab"}


def cluster(nodes: list[dict[str, Any]], version: str = "v1.34.2", **more: Any) -> Inventory:
    return from_objects(version, nodes=nodes, **more)


def planned(there: list[dict[str, Any]], /, **given: Any) -> Decided:
    return decide({**ASKED, **given}, cluster(there))


def wrong(decided: Decided) -> dict[str, Finding]:
    return {each.property: each for each in decided.plan.findings if each.severity is not Severity.WARNING}


def warned(decided: Decided) -> dict[str, str]:
    return {each.property: each.rule for each in decided.plan.findings if each.severity is Severity.WARNING}


def kinds(nodes: list[dict[str, Any]]) -> dict[str, Group]:
    return {str(group): group for group in node_groups.groups(cluster(nodes).nodes)}


@pytest.mark.parametrize(
    ("product", "memory", "name"),
    [
        ("NVIDIA-H100-80GB-HBM3", None, "H100-80"),
        ("NVIDIA-H100-NVL", 93.6, "H100-94"),
        ("NVIDIA-A100-SXM4-40GB", None, "A100-40"),
        ("NVIDIA-A100-PCIE", 79.3, "A100-80"),
        ("Tesla-T4", None, "T4"),
        ("NVIDIA-A10G", None, "A10G"),
        ("NVIDIA-L40S", None, "L40S"),
        ("NVIDIA-RTX-PRO-6000-Blackwell-Server-Edition", None, "RTX-PRO-6000"),
        ("AMD_Instinct_MI300X_OAM", None, "MI300X"),
        ("nvidia-h100-mega-80gb", None, "H100-80"),
        ("NVIDIA-GeForce-RTX-4090", None, ""),
        ("NVIDIA-L40", None, ""),
    ],
)
def test_a_products_name_is_neutral_or_in_no_table(product: str, memory: float | None, name: str) -> None:
    assert neutral(product, memory) == name


@pytest.mark.parametrize(
    ("text", "number"), [("191450m", 191.45), ("2Gi", 2**31), ("1e3", 1000), ("8", 8), ("5k", 5000)]
)
def test_quantities_are_read_as_kubernetes_writes_them(text: str, number: float) -> None:
    assert quantity(text) == number


def test_nodes_of_ones_own_are_told_by_feature_discovery() -> None:
    decided = planned(bare_metal(), accelerator="H100:8", nodes=4)
    (pool,) = decided.plan.pools
    assert decided.plan.fits
    assert (pool.machine.accelerator, pool.machine.per_node, pool.machine.vcpus) == ("H100-80", 8, 192)
    assert pool.driver == "580.82.07"
    assert dict(pool.fabric.requests) == {"rdma/ib": "8"}
    assert "NCCL_TOPO_FILE" not in dict(pool.fabric.environment)
    assert decided.places["gpu"].labels == {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"}
    assert decided.plan.versions["kubernetes"] == "1.34.2"
    assert decided.plan.estimate.monthly_usd == 0


def test_shared_rdma_devices_are_asked_for_once() -> None:
    nodes = [node(f"n{n}", GFD_H100, resources={"nvidia.com/gpu": "8", "rdma/hca_shared": "1000"}) for n in range(2)]
    (pool,) = planned(nodes, accelerator="H100", nodes=2).plan.pools
    assert dict(pool.fabric.requests) == {"rdma/hca_shared": "1"}


def test_nodes_of_eks_have_the_fabric_that_they_offer() -> None:
    decided = planned(eks(), accelerator="H100:8", nodes=2)
    (pool,) = decided.plan.pools
    assert (pool.machine.name, pool.fabric.name) == ("p5.48xlarge", "efa")
    assert dict(pool.fabric.requests) == {"vpc.amazonaws.com/efa": "32", "hugepages-2Mi": "5120Mi"}
    assert pool.fabric.floor is not None
    assert "efa_device_plugin" not in decided.plan.versions
    place = decided.places["gpu"]
    assert place.labels == {"eks.amazonaws.com/nodegroup": "train"}
    assert [taint.key for taint in place.taints] == ["nvidia.com/gpu"]
    assert place.zones == ("us-east-1a",)
    assert place.topology == (
        "topology.kubernetes.io/zone",
        "topology.k8s.aws/network-node-layer-1",
        "kubernetes.io/hostname",
    )


def test_efa_that_no_node_offers_is_said_and_can_be_insisted_on() -> None:
    silent = planned(eks(efa=""), accelerator="H100:8", nodes=2)
    assert silent.plan.pools[0].fabric.name == "none"
    assert "training uses TCP" in warned(silent)["fabric"]
    insisted = planned(eks(efa=""), accelerator="H100:8", nodes=2, fabric="efa")
    assert insisted.plan.pools[0].fabric.name == "efa"
    assert "efa_device_plugin" in insisted.plan.pools[0].fabric.components
    assert wrong(planned(eks(), accelerator="H100:8", nodes=2, fabric="infiniband"))["fabric"].value == "infiniband"


def test_huge_pages_that_no_node_has_are_not_asked_for() -> None:
    nodes = eks()
    for each in nodes:
        each["status"]["allocatable"].pop("hugepages-2Mi", None)
    (pool,) = planned(nodes, accelerator="H100:8", nodes=2).plan.pools
    assert dict(pool.fabric.requests) == {"vpc.amazonaws.com/efa": "32"}
    assert dict(pool.fabric.environment)["FI_EFA_USE_HUGE_PAGE"] == "0"


def test_nodes_of_gke_have_their_fabric_and_are_told_as_spot() -> None:
    decided = planned(gke(), accelerator="H100:8", nodes=2)
    (pool,) = decided.plan.pools
    assert (pool.fabric.name, pool.fabric.count, pool.terms.capacity) == ("tcpxo", 8, "spot")
    assert "can be reclaimed" in warned(decided)["capacity"]
    assert "capacity" not in warned(planned(gke(), accelerator="H100:8", nodes=2, capacity="spot"))
    assert kinds(gke())["cpu:8"].machine is None, "an n1 has a GPU only where one is attached"


def test_processors_are_a_pool_of_their_own() -> None:
    pools = {"train": {"accelerator": "H100:8", "nodes": 4}, "serve": {"accelerator": "cpu:4", "nodes": 2}}
    decided = planned(bare_metal(), pools=pools)
    assert decided.plan.fits
    assert decided.places["serve"].labels == {"node-role.kubernetes.io/worker": ""}
    assert decided.plan.pools[1].machine.per_node == 4


def test_auto_is_every_accelerator_of_the_cluster() -> None:
    l4 = {"nvidia.com/gpu.product": "NVIDIA-L4", "nvidia.com/gpu.present": "true"}
    decided = planned([*bare_metal(), node("small", l4, resources={"nvidia.com/gpu": "1"})], accelerator="auto")
    assert {pool.name: (pool.machine.per_node, pool.nodes) for pool in decided.plan.pools} == {
        "h100-80": (8, 4),
        "l4": (1, 1),
    }
    without = planned([node("a"), node("b")])
    assert [pool.name for pool in without.plan.pools] == ["cpu"]
    assert warned(without)["accelerator"] == "no node of the cluster offers accelerators"


def test_too_few_nodes_and_those_that_are_away_are_named() -> None:
    nodes = bare_metal()
    nodes[0]["status"]["conditions"][0]["status"] = "False"
    nodes[1]["spec"]["unschedulable"] = True
    found = wrong(planned(nodes, accelerator="H100:8", nodes=4))["nodes"]
    assert found.rule == "the cluster has 2 nodes of H100-80:8 that are ready; not ready or cordoned: gpu-0, gpu-1"
    assert found.fix == "ask for 2 or fewer, or add nodes"
    growing = planned(nodes, accelerator="H100:8", nodes=4, min_nodes=1)
    assert growing.plan.fits
    assert "that are ready" in warned(growing)["nodes"]


def test_an_accelerator_that_is_not_there_is_told_with_those_that_are() -> None:
    assert wrong(planned(bare_metal(), accelerator="B200:8"))["accelerator"].rule == (
        "no node of the cluster has it; there is H100-80:8 (4 nodes), cpu:31 (2 nodes)"
    )
    assert wrong(planned(bare_metal(), accelerator="H100:4"))["per_node"].value == "H100:4"
    assert wrong(planned([node("a")], accelerator="H100:8"))["accelerator"].rule == (
        "no node of the cluster offers accelerators"
    )
    assert wrong(planned(bare_metal(), accelerator="H100:8", architecture="arm64"))["architecture"]


def test_gpus_without_a_device_plugin_are_told_with_what_mends_them() -> None:
    nodes = [node("n", {"feature.node.kubernetes.io/pci-10de.present": "true"})]
    decided = planned(nodes, accelerator="H100:8")
    told = next(each for each in decided.plan.findings if each.property == "nodes")
    assert "no device plug-in" in told.rule
    assert "GPU Operator" in told.fix
    assert not decided.plan.fits
    known = eks()
    for each in known:
        each["status"]["allocatable"].pop("nvidia.com/gpu", None)
    decided = planned(known, accelerator="H100:8", nodes=2)
    assert decided.plan.fits, "the machine type tells what is there, and the plan installs what is missing"
    assert "device_plugin" in decided.plan.versions


@pytest.mark.parametrize(
    ("labels", "resources", "how"),
    [
        ({**GFD_H100, "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3-MIG-1g.10gb"}, {"nvidia.com/gpu": "56"}, "MIG"),
        (GFD_H100, {"nvidia.com/gpu": "0", "nvidia.com/mig-1g.10gb": "56"}, "MIG"),
        ({**GFD_H100, "nvidia.com/gpu.sharing-strategy": "time-slicing"}, {"nvidia.com/gpu": "32"}, "time-slicing"),
    ],
)
def test_sliced_gpus_are_left_out_and_told(labels: dict[str, str], resources: dict[str, str], how: str) -> None:
    decided = planned([node("n", labels, resources=resources)], accelerator="H100:8")
    assert how in warned(decided)["nodes"]
    assert not decided.plan.pools


def test_pools_that_want_the_same_nodes_are_parted_by_node_pool_or_by_a_label() -> None:
    pools = {"train": {"accelerator": "H100:8", "nodes": 2}, "serve": {"accelerator": "H100:8", "nodes": 1}}
    parted = planned([*eks(2, group="big"), *eks(1, group="small")[:1]], pools=pools)
    assert {name: place.labels for name, place in parted.places.items()} == {
        "train": {"eks.amazonaws.com/nodegroup": "big"},
        "serve": {"eks.amazonaws.com/nodegroup": "small"},
    }
    nodes = bare_metal()
    fix = wrong(planned(nodes, pools=pools))["pools.serve.nodes"].fix
    assert (
        fix
        == "kubectl label nodes gpu-0 gpu-1 accelstack/pool=train && kubectl label nodes gpu-2 accelstack/pool=serve"
    )
    for name, pool in (("gpu-0", "train"), ("gpu-1", "train"), ("gpu-2", "serve")):
        next(each for each in nodes if each["metadata"]["name"] == name)["metadata"]["labels"]["accelstack/pool"] = pool
    labelled = planned(nodes, pools=pools)
    assert labelled.plan.fits
    assert labelled.places["serve"].labels == {"accelstack/pool": "serve"}


def test_nodes_that_no_label_tells_apart_are_to_be_labelled() -> None:
    tainted = [{"key": "team", "value": "a", "effect": "NoSchedule"}]
    nodes = [node("a"), node("b"), node("c", taints=tainted), node("d", taints=tainted)]
    found = wrong(planned(nodes, accelerator="cpu:4", nodes=2))["pools"]
    assert found.fix == "kubectl label nodes a b accelstack/pool=cpu"


def test_nodes_of_the_control_plane_and_passing_taints_are_no_kind_of_their_own() -> None:
    control = [{"key": "node-role.kubernetes.io/control-plane", "effect": "NoSchedule"}]
    passing = [{"key": "node.kubernetes.io/not-ready", "effect": "NoExecute"}]
    assert list(kinds([node("m", taints=control), node("a", taints=passing, ready=False), node("b")])) == ["cpu:192"]


def test_a_cluster_that_is_too_old_is_refused() -> None:
    found = decide({**ASKED, "accelerator": "H100:8"}, cluster(bare_metal(), "v1.29.4-eks-1"))
    assert wrong(found)["versions.kubernetes"].value == "1.29.4"


def test_versions_are_those_that_are_installed() -> None:
    there = [deployment("kueue", "registry.k8s.io/kueue/kueue:v0.17.1")]
    decided = decide({**ASKED, "accelerator": "H100:8"}, cluster(bare_metal(), workloads=there))
    assert decided.plan.versions["kueue"] == "0.17.1"
    assert decided.plan.versions["jobset"]


def test_volumes_need_a_storage_class_and_only_then() -> None:
    def classes(*found: dict[str, Any], **given: Any) -> Decided:
        return decide({**ASKED, "accelerator": "H100:8", **given}, cluster(bare_metal(), storage_classes=found))

    assert "storage_class" not in wrong(classes())
    assert "install a storage class" in wrong(classes(registry=True))["storage_class"].fix
    assert (
        wrong(classes(storage_class("fast"), registry=True))["storage_class"].fix == "set storage_class to one of: fast"
    )
    assert "storage_class" not in wrong(classes(storage_class("fast"), registry=True, storage_class="fast"))
    assert wrong(classes(storage_class("fast"), storage_class="fat"))["storage_class"].value == "fat"
    several = classes(storage_class("a", True), storage_class("b", True), observability=True)
    assert "several default storage classes (a, b)" in warned(several)["storage_class"]


def test_a_gateway_class_must_be_there() -> None:
    given = {**ASKED, "accelerator": "H100:8", "gateway_class": "envoy", "hostname": "models.example.com"}
    assert "has no gateway class" in wrong(decide(given, cluster(bare_metal())))["gateway_class"].fix
    classes = [{"metadata": {"name": "envoy"}}]
    assert not wrong(decide(given, cluster(bare_metal(), gateway_classes=classes)))


@pytest.mark.parametrize(
    "given",
    [
        {"region": "us-east-1"},
        {"cidr": "10.0.0.0/16"},
        {"nat": "single"},
        {"zones": "a"},
        {"runs_on": "managed"},
        {"reservation": "cr-1"},
        {"store": "gs://bucket"},
        {"store_endpoint": "minio:9000"},
        {"store_secret": "credentials"},
        {"pull_secret": "a/b/c"},
        {"name": "Lab_1"},
        {"capacity": "block"},
        {"regoin": "x"},
    ],
)
def test_what_means_nothing_here_is_refused_by_name(given: dict[str, Any]) -> None:
    assert wrong(planned(bare_metal(), **{"accelerator": "H100:8", **given})).keys() == given.keys()


def test_the_clusters_own_versions_cannot_be_chosen() -> None:
    decided = planned(bare_metal(), accelerator="H100:8", versions={"kubernetes": "1.35"})
    assert wrong(decided).keys() == {"versions.kubernetes"}


def test_settings_of_another_store_are_refused() -> None:
    given = {"store": "nfs://filer/runs", "store_secret": "a/b"}
    decided = planned(bare_metal(), accelerator="H100:8", **given)
    assert wrong(decided).keys() == {"store_secret"}
    assert wrong(planned(bare_metal(), accelerator="H100:8", store="")).keys() == {"store"}


def test_a_cluster_that_cannot_be_read_is_planned_as_asked_for_and_said() -> None:
    pools = {"train": {"accelerator": "H100:8", "nodes": 4}}
    decided = decide({**ASKED, "pools": pools}, None, "https://api:6443 does not answer in time")
    assert decided.plan.fits
    assert "does not answer in time" in warned(decided)["kubeconfig"]
    assert (decided.plan.pools[0].nodes, decided.plan.pools[0].machine.per_node) == (4, 8)
    assert decided.places["train"].labels == {"accelstack/pool": "train"}
    assert "could not be read" in wrong(decide({**ASKED, "accelerator": "auto"}, None, "x"))["accelerator"].rule


def test_what_may_not_be_listed_is_told() -> None:
    inventory = cluster(bare_metal(), unread={"storageclasses": "forbidden"})
    decided = decide({**ASKED, "accelerator": "H100:8", "registry": True}, inventory)
    assert "storage_class" not in wrong(decided)
    assert warned(decided)["cluster"] == "storageclasses could not be listed: forbidden"
    unseen = decide({**ASKED, "accelerator": "H100:8"}, cluster([], unread={"nodes": "forbidden"}))
    assert unseen.plan.fits
    assert "nodes could not be listed: forbidden" in warned(unseen)["kubeconfig"]


def test_amds_gpus_and_googles_tpus_are_told_too() -> None:
    amd = {"amd.com/gpu.product-name": "AMD_Instinct_MI300X_OAM", "feature.node.kubernetes.io/amd-gpu": "true"}
    tpu = {
        "node.kubernetes.io/instance-type": "ct6e-standard-4t",
        "cloud.google.com/gke-tpu-accelerator": "tpu-v6e-slice",
    }
    nodes = [node("amd", amd, resources={"amd.com/gpu": "8"}), node("tpu", tpu, resources={"google.com/tpu": "4"})]
    pools = {"train": {"accelerator": "MI300X:8"}, "try": {"accelerator": "TPU-v6e:4"}}
    decided = planned(nodes, pools=pools)
    assert decided.plan.fits
    assert [pool.machine.name for pool in decided.plan.pools] == ["AMD_Instinct_MI300X_OAM", "ct6e-standard-4t"]
