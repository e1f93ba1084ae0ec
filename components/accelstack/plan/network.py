"""The addresses that a stack's nodes and pods take, and the subnets that hold them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from accelstack.plan import cidr
from accelstack.plan.fabric import Fabric
from accelstack.plan.findings import Finding, Severity

PODS_PER_NODE = 110
"""Kubernetes' own limit for a node (https://kubernetes.io/docs/setup/best-practices/cluster-large/)."""
PREFIX = 16
"""Addresses of the prefixes that the VPC CNI gives to nodes
(https://docs.aws.amazon.com/eks/latest/best-practices/prefix-mode-linux.html)."""
GKE_POD_RANGE = 256
"""Addresses of the range that GKE gives a node of 65 to 128 pods
(https://cloud.google.com/kubernetes-engine/docs/how-to/flexible-pod-cidr)."""
SERVICES = 4096
"""Addresses for services: GKE's default size of the range
(https://cloud.google.com/kubernetes-engine/docs/concepts/alias-ips)."""
SURGE = 1
"""Nodes that a rolling upgrade adds to each pool."""
CONTROL_PLANE = 16
"""Addresses that EKS wants free for its own interfaces in each subnet
(https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html)."""
PUBLIC = 64
"""Addresses of a public subnet: NAT gateways and load balancers."""
LEAST_ZONES = 2
"""Zones that an EKS cluster needs (same page)."""
NO_CONTROL_PLANE = ("use1-az3", "usw1-az2", "cac1-az3")
"""Zones in which EKS puts no control plane (same page); nor does it in Local Zones."""
SPARE = 250
"""Least addresses of the nodes' subnet: room for private endpoints, load balancers and growth."""
OVERLAYS = ("10.244.0.0/14", "10.248.0.0/14", "192.168.0.0/16")
"""Ranges for pods of AKS, outside the network: 256 addresses for each node
(https://learn.microsoft.com/azure/aks/azure-cni-overlay)."""
SERVICE_RANGES = ("172.20.0.0/16", "172.21.0.0/16", "192.168.0.0/16")
"""Ranges for services of AKS, which must overlap neither the network nor the pods, and whose default does overlap ours
(https://learn.microsoft.com/azure/aks/configure-kubenet)."""
INFINIBAND = IPv4Network("172.16.0.0/16")
"""What Azure's InfiniBand keeps for itself (https://learn.microsoft.com/azure/virtual-machines/setup-infiniband)."""


@dataclass(frozen=True, slots=True)
class PoolNodes:
    """Nodes of one pool, as the network sees them."""

    name: str
    zones: tuple[str, ...]
    nodes: int
    fabric: Fabric


def carve(
    text: str, target: str, zones: Sequence[str], pools: Sequence[PoolNodes]
) -> tuple[list[cidr.Subnet], list[Finding]]:
    """The subnets of a stack in its address range; on Azure also the ranges of pods and services outside it."""
    block = cidr.parse("cidr", text, target)
    if not isinstance(block, IPv4Network):
        return [], [block]
    subnets, findings = cidr.carve("cidr", block, list(wants(target, zones, pools)), target)
    if target != "azure":
        return subnets, findings
    if any(pool.fabric.name == "infiniband" for pool in pools) and block.overlaps(INFINIBAND):
        reason = f"overlaps {INFINIBAND}, which Azure's InfiniBand keeps for itself"
        findings.append(Finding(Severity.ERROR, "cidr", text, reason, "use one such as 10.0.0.0/16"))
    overlays = [("pods", OVERLAYS), ("services", SERVICE_RANGES)]
    for name, ranges in overlays:
        free = next(each for each in map(IPv4Network, ranges) if not each.overlaps(block))
        subnets.append(cidr.Subnet(name, "", str(free), free.num_addresses))
    return subnets, findings


def control_plane(zone: str) -> bool:
    """Whether EKS puts a control plane into a zone."""
    return zone.count("-") == 1 and zone not in NO_CONTROL_PLANE


def wants(target: str, zones: Sequence[str], pools: Sequence[PoolNodes]) -> Iterable[cidr.Want]:
    """The subnets that nodes, pods, services and fabrics need."""
    if target == "aws":
        for zone in zones:
            # a pool of several zones may end up in any one of them
            nodes = sum(pool.nodes + SURGE for pool in pools if zone in pool.zones)
            yield cidr.Want("public", zone, PUBLIC)
            yield cidr.Want("private", zone, CONTROL_PLANE + nodes * addresses_of_node(target))
        return
    nodes = sum(pool.nodes + SURGE for pool in pools)
    yield cidr.Want("nodes", "", max(SPARE, 2 * nodes * addresses_of_node(target)))
    if target == "gcp":
        yield cidr.Want("pods", "", nodes * GKE_POD_RANGE, secondary=True)
        yield cidr.Want("services", "", SERVICES, secondary=True)
    for pool in pools:
        for index in range(sum(extra.subnets for extra in pool.fabric.networks)):
            yield cidr.Want(f"{pool.name}-fabric-{index}", "", pool.nodes + SURGE)


def addresses_of_node(target: str) -> int:
    """Addresses that a node takes in its subnet.

    On AWS pods have addresses of the subnet, in prefixes of 16, one of them kept warm; `efa-only` interfaces have
    none. On Google Cloud pods have a range of their own, on Azure an overlay outside the network.
    """
    if target != "aws":
        return 1
    prefixes = -(-PODS_PER_NODE // PREFIX) + 1
    return 1 + prefixes * PREFIX
