"""Address ranges: a network's block carved into subnets that are large enough and never overlap."""

from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Network

from accelstack.plan.findings import Finding, Severity

RESERVED = {"aws": 5, "gcp": 4, "azure": 5}
"""Addresses that a cloud keeps of each subnet: AWS and Azure five, Google Cloud four
(https://docs.aws.amazon.com/vpc/latest/userguide/subnet-sizing.html,
https://cloud.google.com/vpc/docs/subnets, https://learn.microsoft.com/azure/virtual-network/virtual-networks-faq)."""
SMALLEST = {"aws": 28, "gcp": 29, "azure": 29}
"""Longest prefix of a subnet, from the same pages."""
LARGEST = {"aws": 16, "gcp": 8, "azure": 8}
"""Shortest prefix of a network, from the same pages."""
PRIVATE = tuple(map(IPv4Network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10")))
"""RFC 1918 and RFC 6598."""


@dataclass(frozen=True, slots=True)
class Want:
    """A subnet to be carved."""

    name: str
    zone: str
    """Empty where subnets span the region."""
    addresses: int
    """Addresses that machines, pods and services take in it."""
    secondary: bool = False
    """Whether it is a secondary range, of which the cloud keeps none for itself."""


@dataclass(frozen=True, slots=True)
class Subnet:
    """A subnet as carved."""

    name: str
    zone: str
    cidr: str
    addresses: int
    """Addresses that can be used."""


def parse(path: str, text: str, target: str) -> IPv4Network | Finding:
    """The network that a text names, or why it is none that a cloud takes."""
    try:
        block = IPv4Network(text)
    except ValueError as error:
        return Finding(Severity.INVALID, path, text, f"is no IPv4 range ({error})", "use one such as 10.0.0.0/16")
    if "/" not in text or not text.rpartition("/")[2].isdecimal():
        return Finding(Severity.INVALID, path, text, "has no prefix length", "use one such as 10.0.0.0/16")
    if not any(block.subnet_of(private) for private in PRIVATE):
        return Finding(
            Severity.ERROR, path, text, "is no private range (RFC 1918 or 6598)", "use one such as 10.0.0.0/16"
        )
    if not LARGEST[target] <= block.prefixlen <= SMALLEST[target]:
        return Finding(
            Severity.ERROR,
            path,
            text,
            f"networks on {target} are /{LARGEST[target]} to /{SMALLEST[target]}",
            "use one such as 10.0.0.0/16",
        )
    return block


def carve(path: str, block: IPv4Network, wants: Sequence[Want], target: str) -> tuple[list[Subnet], list[Finding]]:
    """Subnets of the block, one for each want in the order given.

    Each has the fewest addresses, a power of two, that hold what is wanted and what the cloud keeps. Largest first, so
    that none needs aligning and nothing is lost between them.
    """
    kept = [0 if want.secondary else RESERVED[target] for want in wants]
    prefixes = [_prefix(want.addresses + keeps, target) for want, keeps in zip(wants, kept, strict=True)]
    needed = sum(2 ** (32 - prefix) for prefix in prefixes)
    if needed > block.num_addresses:
        fitting = 32 - (needed - 1).bit_length()
        largest = max(wants, key=lambda want: want.addresses)
        remedy = (
            f"use a /{fitting} or larger block"
            if fitting >= LARGEST[target]
            else f"use fewer nodes or pods, since networks on {target} are /{LARGEST[target]} at most"
        )
        return [], [
            Finding(
                Severity.ERROR,
                path,
                str(block),
                f"has {block.num_addresses:,} addresses, and the subnets need {needed:,} "
                f"(most for {largest.name}: {largest.addresses:,})",
                remedy,
            )
        ]
    subnets: dict[int, Subnet] = {}
    start = int(block.network_address)
    for index in sorted(range(len(wants)), key=lambda index: prefixes[index]):
        size = 2 ** (32 - prefixes[index])
        network = IPv4Network((start, prefixes[index]))
        subnets[index] = Subnet(wants[index].name, wants[index].zone, str(network), size - kept[index])
        start += size
    return [subnets[index] for index in range(len(wants))], []


def _prefix(addresses: int, target: str) -> int:
    return min(32 - (addresses - 1).bit_length(), SMALLEST[target])
