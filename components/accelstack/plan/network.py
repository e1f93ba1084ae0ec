"""The addresses that a stack's nodes and pods take, and the subnets that hold them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from accelstack.plan import cidr
from accelstack.plan.fabric import Fabric
from accelstack.plan.findings import Finding

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
    """The subnets of a stack in its address range."""
    block = cidr.parse("cidr", text, target)
    if not isinstance(block, IPv4Network):
        return [], [block]
    return cidr.carve("cidr", block, list(wants(target, zones, pools)), target)


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
    yield cidr.Want("nodes", "", nodes * addresses_of_node(target))
    if target == "gcp":
        yield cidr.Want("pods", "", nodes * GKE_POD_RANGE, secondary=True)
        yield cidr.Want("services", "", SERVICES, secondary=True)
    for pool in pools:
        if pool.fabric.networks:
            for index in range(pool.fabric.networks.subnets):
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
