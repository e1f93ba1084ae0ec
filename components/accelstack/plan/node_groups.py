"""Nodes of an existing cluster that are alike: their accelerators, what joins them, and labels that tell them apart."""

import math
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import combinations

from accelstack.plan import inside
from accelstack.plan.accelerators import KINDS, forms
from accelstack.plan.inventory import Node, Taint
from accelstack.plan.machines import CLOUDS, Machine, machines

POOL_LABEL = inside.LABEL
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
HOST = "kubernetes.io/hostname"
ZONE = "topology.kubernetes.io/zone"
NODE_POOLS = (
    "eks.amazonaws.com/nodegroup",
    "karpenter.sh/nodepool",
    "cloud.google.com/gke-nodepool",
    "kubernetes.azure.com/agentpool",
)
"""Labels with which managed clusters tell their node pools apart."""
PRODUCTS = (
    "nvidia.com/gpu.product",
    "amd.com/gpu.product-name",
    "beta.amd.com/gpu.product-name",
    "cloud.google.com/gke-accelerator",
)
"""Labels that name a node's accelerator: of GPU feature discovery (https://github.com/NVIDIA/k8s-device-plugin/blob/
main/docs/gpu-feature-discovery/README.md), of AMD's node labeller, and of GKE."""
RESOURCES = {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu", "google": "google.com/tpu"}
PRESENT = {
    "nvidia": ("nvidia.com/gpu.present", "feature.node.kubernetes.io/pci-10de.present"),
    "amd": ("feature.node.kubernetes.io/amd-gpu", "feature.node.kubernetes.io/pci-1002.present"),
}
"""Labels of nodes with a GPU, whether a device plug-in runs there or not; `10de` and `1002` are the vendors on PCI."""
SELECTORS = (POOL_LABEL, *NODE_POOLS, *PRODUCTS, INSTANCE_TYPE, "nvidia.com/gpu.count", "cloud.google.com/gke-spot")
"""Labels that tell pools apart and last, best first."""
FLEETING = (HOST, "nvidia.com/", "amd.com/", "beta.", "failure-domain.", "feature.node.kubernetes.io/", "topology.")
"""What labels begin with that no pool is told apart by, unless `SELECTORS` names them: they change with drivers, or
tell a place."""
TOPOLOGY = (
    *(f"topology.k8s.aws/network-node-layer-{layer}" for layer in (1, 2, 3)),
    "cloud.google.com/gce-topology-block",
    "cloud.google.com/gce-topology-subblock",
    "cloud.google.com/gce-topology-host",
    "cloud.provider.com/topology-block",
    "cloud.provider.com/topology-rack",
    "topology.kubernetes.io/rack",
    "nvidia.com/gpu.clique",
)
"""Labels that tell how near nodes are, widest first: of EC2, of GKE, those of Kueue's documentation
(https://kueue.sigs.k8s.io/docs/concepts/topology_aware_scheduling/), and the NVLink domain."""
SPOT = {
    ("eks.amazonaws.com/capacityType", "SPOT"),
    ("karpenter.sh/capacity-type", "spot"),
    ("cloud.google.com/gke-spot", "true"),
    ("kubernetes.azure.com/scalesetpriority", "spot"),
}
CONTROL_PLANE = ("node-role.kubernetes.io/control-plane", "node-role.kubernetes.io/master")


@dataclass(frozen=True, slots=True)
class Group:
    """Nodes that are alike for any pod."""

    accelerator: str
    """Neutral name; `cpu` without accelerators; empty where a product is in no table."""
    product: str
    """What the nodes' labels call it, or its vendor."""
    per_node: int
    """Accelerators of a node, or its cores; 0 where nothing tells."""
    offered: bool
    """Whether a device plug-in offers them."""
    slices: str
    """How its GPUs are cut, `MIG` or `time-slicing`; empty for whole ones."""
    architecture: str
    taints: tuple[Taint, ...]
    machine: Machine | None
    """A cloud's machine type that the nodes are of."""
    fabric: tuple[tuple[str, int], ...]
    """Resources with which the nodes offer network devices, and their counts."""
    capacity: str
    """`on_demand` or `spot`."""
    pool: str
    """Pool that a label keeps the nodes for; empty for any."""
    nodes: tuple[Node, ...] = ()
    selector: tuple[tuple[str, str], ...] | None = None
    """Labels that these nodes have and no other node; None where nothing tells them apart."""

    @property
    def vendor(self) -> str:
        """`nvidia`, `amd` or `google`; empty without accelerators."""
        if self.accelerator:
            return KINDS[self.accelerator].vendor
        return self.product if self.product in RESOURCES else ""

    @property
    def usable(self) -> tuple[str, ...]:
        """Names of the nodes on which pods can start now."""
        return tuple(node.name for node in self.nodes if node.usable)

    @property
    def cores(self) -> int:
        """Cores of the smallest node, what the system keeps for itself included."""
        return min(math.ceil(node.allocatable.get("cpu", 0)) for node in self.nodes)

    @property
    def memory_gib(self) -> float:
        """What pods may have of the smallest node's memory, in GiB."""
        return round(min(node.allocatable.get("memory", 0) for node in self.nodes) / 2**30, 1)

    @property
    def driver(self) -> str:
        """Version of the NVIDIA driver that the nodes' labels tell; empty where they do not, or differ."""
        found = {node.labels.get("nvidia.com/cuda.driver-version.full", "") for node in self.nodes}
        return found.pop() if len(found) == 1 else ""

    @property
    def zones(self) -> tuple[str, ...]:
        """The nodes' zones; empty where they have none."""
        return tuple(sorted({node.labels[ZONE] for node in self.nodes if ZONE in node.labels}))

    @property
    def topology(self) -> tuple[str, ...]:
        """Labels that all the nodes have and that tell how near they are, widest first."""
        shared = set[str].intersection(*(set(node.labels) for node in self.nodes))
        return (*(label for label in (ZONE, *TOPOLOGY) if label in shared), HOST)

    def __str__(self) -> str:
        name = self.accelerator or self.product
        return f"{name}:{self.per_node}" if self.per_node else name


def groups(nodes: Sequence[Node]) -> tuple[Group, ...]:
    """The nodes for workloads, grouped; those of the control plane are not for them."""
    found: dict[Group, list[Node]] = defaultdict(list)
    for node in nodes:
        if not any(taint.key in CONTROL_PLANE for taint in node.taints):
            found[_kind(node)].append(node)
    return tuple(
        replace(kind, nodes=tuple(members), selector=_selector(members, nodes)) for kind, members in found.items()
    )


def parts(group: Group, nodes: Sequence[Node]) -> tuple[Group, ...]:
    """A group by the node pools of a managed cluster; the group itself where its nodes are of none."""
    label = next((each for each in NODE_POOLS if all(each in node.labels for node in group.nodes)), "")
    found: dict[str, list[Node]] = defaultdict(list)
    for node in group.nodes:
        found[node.labels.get(label, "")].append(node)
    return tuple(replace(group, nodes=tuple(members), selector=_selector(members, nodes)) for members in found.values())


def neutral(product: str, memory_gib: float | None = None) -> str:
    """The neutral name of a product such as `NVIDIA-H100-80GB-HBM3`; empty where no table has it.

    Args:
        memory_gib: of one GPU, for families whose forms differ in it alone.
    """
    words = re.split(r"[\s_-]+", product.upper())
    known = [name for name in _bases() if _within(name.upper().split("-"), words)]
    if not known:
        return ""
    forms_of = forms(max(known, key=len))
    if len(forms_of) == 1:
        return forms_of[0]
    told = next((float(word[:-2]) for word in words if re.fullmatch(r"\d+GB", word)), memory_gib)
    if told is None:
        return forms_of[0]
    return min(forms_of, key=lambda form: abs((KINDS[form].memory_gib or 0) - told))


@cache
def _bases() -> tuple[str, ...]:
    """Names without the memory that tells forms apart."""
    return tuple(
        dict.fromkeys(
            name.rpartition("-")[0] if KINDS[name].memory_gib == _number(name.rpartition("-")[2]) else name
            for name in KINDS
            if KINDS[name].kind == "gpu"
        )
    )


def _number(text: str) -> float | None:
    return float(text) if text.isdecimal() else None


def _within(name: Sequence[str], words: Sequence[str]) -> bool:
    return any(words[start : start + len(name)] == name for start in range(len(words)))


@cache
def _machines() -> Mapping[str, Machine]:
    return {machine.name: machine for cloud in CLOUDS for machine in machines(cloud)}


def _kind(node: Node) -> Group:
    """The group that a node belongs to, without nodes."""
    labels = node.labels
    machine = _machines().get(labels.get(INSTANCE_TYPE, ""))
    product = next((labels[label] for label in PRODUCTS if label in labels), "")
    offered = {vendor: int(node.allocatable.get(key, 0)) for vendor, key in RESOURCES.items()}
    vendor = next((vendor for vendor, count in offered.items() if count), "")
    present = vendor or next((each for each, keys in PRESENT.items() if any(labels.get(k) == "true" for k in keys)), "")
    certain = bool(product or present) or (machine is not None and machine.target != "gcp")
    accelerator, per_node = "cpu", math.ceil(node.allocatable.get("cpu", 0))
    if machine and certain and machine.accelerator != "cpu":
        accelerator, per_node = machine.accelerator, offered.get(vendor, 0) or machine.per_node
    elif product or present:
        memory = labels.get("nvidia.com/gpu.memory", "")  # MiB
        accelerator = neutral(product, float(memory) / 1024 if memory.isdecimal() else None)
        per_node = offered.get(vendor, 0) or int(labels.get("nvidia.com/gpu.count", "0"))
    return Group(
        accelerator=accelerator,
        product=product or present,
        per_node=per_node,
        offered=bool(vendor),
        slices=_slices(node, product),
        architecture=node.architecture,
        taints=node.taints,
        machine=machine if machine and machine.accelerator == accelerator else None,
        fabric=_network_devices(node.allocatable),
        capacity="spot" if SPOT & set(labels.items()) else "on_demand",
        pool=labels.get(POOL_LABEL, ""),
    )


def _slices(node: Node, product: str) -> str:
    if "-MIG-" in product or any(key.startswith("nvidia.com/mig-") and n for key, n in node.allocatable.items()):
        return "MIG"
    shared = node.labels.get("nvidia.com/gpu.sharing-strategy", "none") not in ("", "none")
    return "time-slicing" if shared or product.endswith("-SHARED") else ""


def _network_devices(allocatable: Mapping[str, float]) -> tuple[tuple[str, int], ...]:
    """EFA's devices, RDMA's under the names that a cluster chooses, and GKE's networks."""
    return tuple(
        (key, int(count))
        for key, count in sorted(allocatable.items())
        if count
        and (
            key == "vpc.amazonaws.com/efa"
            or key.startswith("rdma/")
            or (key.startswith("networking.gke.io.networks/") and not key.endswith(".IP"))
        )
    )


def _selector(members: Sequence[Node], nodes: Iterable[Node]) -> tuple[tuple[str, str], ...] | None:
    """The fewest labels that all members have and no other node: one, two, or the host's name for a single node."""
    inside = {node.name for node in members}
    others = [node for node in nodes if node.name not in inside]
    shared = dict(set(members[0].labels.items()).intersection(*(node.labels.items() for node in members)))
    rest = sorted(key for key in shared if key not in SELECTORS and not key.startswith(FLEETING))
    usable = [(key, shared[key]) for key in (*SELECTORS, *rest) if key in shared]
    for count in (1, 2):
        for labels in combinations(usable, count):
            if not any(set(labels) <= node.labels.items() for node in others):
                return labels
    return ((HOST, members[0].labels[HOST]),) if len(members) == 1 and HOST in members[0].labels else None
