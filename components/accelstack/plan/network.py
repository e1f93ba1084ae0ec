"""The addresses that a stack's nodes and pods take, and the subnets that hold them."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from accelstack.plan import cidr
from accelstack.plan.fabric import Fabric
from accelstack.plan.findings import Finding, Severity

PODS_PER_NODE = 110
"""Kubernetes' own limit for a node (https://kubernetes.io/docs/setup/best-practices/cluster-large/)."""
GPU_PODS_PER_NODE = 32
"""Pods of a GPU node: the daemons of a cluster take about fifteen, and a pod that trains takes all the node's GPUs.
With 110, prefixes would take more than twice the addresses."""
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
ENDPOINTS = 32
"""Addresses for private endpoints and internal load balancers in each private subnet."""
HOME_ZONES = 3
"""Zones of the control plane and of what must outlive the loss of one. EKS needs two, and never lets their set change
(https://docs.aws.amazon.com/eks/latest/APIReference/API_UpdateClusterConfig.html)."""
MOST_ZONES = 6
"""Zones that a network spans at most: the largest region, us-east-1, has six."""
NO_CONTROL_PLANE = ("use1-az3", "usw1-az2", "cac1-az3")
"""Zones in which EKS puts no control plane (network-reqs, as above); nor does it in Local Zones."""
ZONE_ID = r"[a-z]+[0-9]-([a-z]+[0-9]-)?az[0-9]"
"""How AWS writes a zone's id; that of a Local Zone names its place too
(https://docs.aws.amazon.com/global-infrastructure/latest/regions/az-ids.html)."""
SHARES = {"gpu": (0, 1), "private": (4, 2), "public": (6, 4)}
"""Where a zone's subnets lie in its eighth of the network, in eighths of that, and how many bits shorter they are: half
for GPU nodes, a quarter for the others, a sixteenth for what faces the internet. The rest is kept free."""
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
    gpu: bool
    """Whether they lie in the subnets for GPU nodes, on a cloud that has such."""


def carve(
    text: str, target: str, zones: Sequence[str], pools: Sequence[PoolNodes]
) -> tuple[list[cidr.Subnet], list[Finding]]:
    """The subnets of a stack in its address range; on Azure also the ranges of pods and services outside it."""
    if target == "aws":
        gpu_zones = {zone for pool in pools if pool.gpu for zone in pool.zones}
        subnets, findings = zone_subnets(text, zones, sorted(gpu_zones))
        return subnets, findings or _check_room(text, subnets, pools)
    block = cidr.parse("cidr", text, target)
    if not isinstance(block, IPv4Network):
        return [], [block]
    subnets, findings = cidr.carve("cidr", block, list(wants(target, pools)), target)
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


def zone_subnets(text: str, zones: Sequence[str], gpu_zones: Sequence[str]) -> tuple[list[cidr.Subnet], list[Finding]]:
    """The `public`, `private` and `gpu` subnets of an AWS network, in each zone that is named by its id.

    A zone's ranges depend on the network's range and the zone alone, so that a pool or zone that comes or goes never
    moves the subnets of others: the network has eight equal parts, and a zone has the part of its number; Local Zones
    have the last two.
    """
    block = cidr.parse("cidr", text, "aws")
    if not isinstance(block, IPv4Network):
        return [], [block]
    findings = _check_zones(zones, gpu_zones)
    if not findings and block.prefixlen + 3 + max(bits for _, bits in SHARES.values()) > cidr.SMALLEST["aws"]:
        least = cidr.SMALLEST["aws"] - 3 - max(bits for _, bits in SHARES.values())
        reason = f"is too small for subnets in several zones, of which the smallest has a /{cidr.SMALLEST['aws']}"
        findings = [Finding(Severity.ERROR, "cidr", text, reason, f"use a /{least} or larger block")]
    if findings:
        return [], findings
    return [
        _zone_subnet(block, zone, name)
        for zone in zones
        for name in ("public", "private", "gpu")
        if name != "gpu" or zone in gpu_zones
    ], []


def _check_zones(zones: Sequence[str], gpu_zones: Sequence[str]) -> list[Finding]:
    for path, given in (("zones", zones), ("gpu_zones", gpu_zones)):
        for zone in given:
            if not re.fullmatch(ZONE_ID, zone):
                fix = "use ids such as use1-az1 (`aws ec2 describe-availability-zones`): names differ between accounts"
                return [Finding(Severity.ERROR, path, zone, "is no id of an availability zone", fix)]
    least = sum(map(control_plane, zones))
    if least < 2 or len(zones) > MOST_ZONES:
        reason = f"a network has 2 to {MOST_ZONES} zones, 2 of them open to EKS control planes"
        fix = f"name 2 to {MOST_ZONES} zones, none of them {', '.join(NO_CONTROL_PLANE)} or a Local Zone for these 2"
        return [Finding(Severity.ERROR, "zones", " ".join(zones), reason, fix)]
    if strange := [zone for zone in gpu_zones if zone not in zones]:
        return [Finding(Severity.ERROR, "gpu_zones", strange[0], "is not among the network's zones", "add it to zones")]
    parts = [_part(zone) for zone in zones]
    if len({*parts}) < len(parts):
        reason = "two of them would share a part of the network: a zone is named twice, or two Local Zones are alike"
        return [Finding(Severity.ERROR, "zones", " ".join(zones), reason, "leave one of them out")]
    return []


def _part(zone: str) -> int:
    """Which eighth of the network a zone has."""
    number = int(zone[-1]) - 1
    return number % 6 if zone.count("-") == 1 else 6 + number % 2


def _zone_subnet(block: IPv4Network, zone: str, name: str) -> cidr.Subnet:
    part = list(block.subnets(prefixlen_diff=3))[_part(zone)]
    place, bits = SHARES[name]
    eighth = part.num_addresses // 8
    network = IPv4Network((int(part.network_address) + place * eighth, part.prefixlen + bits))
    return cidr.Subnet(name, zone, str(network), network.num_addresses - cidr.RESERVED["aws"])


def _check_room(text: str, subnets: Sequence[cidr.Subnet], pools: Sequence[PoolNodes]) -> list[Finding]:
    """The finding that a zone's subnet is too small for all the nodes that may be in it; of the fullest one."""
    full: list[tuple[float, Finding]] = []
    for subnet in subnets:
        if subnet.name == "public":
            continue
        gpu = subnet.name == "gpu"
        # a pool of several zones may end up in any one of them
        nodes = sum(pool.nodes + SURGE for pool in pools if pool.gpu == gpu and subnet.zone in pool.zones)
        each = addresses_of_node(gpu)
        needed = nodes * each + (0 if gpu else CONTROL_PLANE + ENDPOINTS)
        if needed > subnet.addresses:
            bits = (needed + cidr.RESERVED["aws"] - 1).bit_length() - (32 - IPv4Network(subnet.cidr).prefixlen)
            larger = IPv4Network(text).prefixlen - bits
            fix = (
                f"use a /{larger} or larger block"
                if larger >= cidr.LARGEST["aws"]
                else "use fewer nodes in a zone, or a network of your own (`network: vpc-…`)"
            )
            reason = (
                f"gives zone {subnet.zone} {subnet.addresses:,} addresses for its {subnet.name} subnet, and {nodes} "
                f"nodes with their pods need {needed:,}"
            )
            full.append((needed / subnet.addresses, Finding(Severity.ERROR, "cidr", text, reason, fix)))
    return [max(full, key=lambda each: each[0])[1]] if full else []


def home_zones(known: Iterable[str]) -> list[str]:
    """The zones of a region's control plane and shared services, out of the known ones: always the same."""
    return sorted({*filter(control_plane, known)})[:HOME_ZONES]


def control_plane(zone: str) -> bool:
    """Whether EKS puts a control plane into a zone."""
    return zone.count("-") == 1 and zone not in NO_CONTROL_PLANE


def wants(target: str, pools: Sequence[PoolNodes]) -> Iterable[cidr.Want]:
    """The subnets that nodes, pods, services and fabrics need where subnets span a region."""
    nodes = sum(pool.nodes + SURGE for pool in pools)
    yield cidr.Want("nodes", "", max(SPARE, 2 * nodes))
    if target == "gcp":
        yield cidr.Want("pods", "", nodes * GKE_POD_RANGE, secondary=True)
        yield cidr.Want("services", "", SERVICES, secondary=True)
    for pool in pools:
        for index in range(sum(extra.subnets for extra in pool.fabric.networks)):
            yield cidr.Want(f"{pool.name}-fabric-{index}", "", pool.nodes + SURGE)


def addresses_of_node(gpu: bool) -> int:
    """Addresses that a node of AWS takes in its subnet.

    Its own, and those of its pods, in prefixes of 16 of which one is kept warm; `efa-only` interfaces have none.
    """
    prefixes = -(-(GPU_PODS_PER_NODE if gpu else PODS_PER_NODE) // PREFIX) + 1
    return 1 + prefixes * PREFIX
