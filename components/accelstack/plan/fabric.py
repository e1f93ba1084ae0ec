"""What joins accelerators between nodes, from the network card to the pod: one answer for nodes and pods alike."""

from dataclasses import dataclass
from functools import cache
from typing import Any

from accelstack.plan import tables
from accelstack.plan.machines import Machine


@dataclass(frozen=True, slots=True)
class Interface:
    """A network interface of a node."""

    card: int
    device: int
    kind: str
    """AWS: `interface` or `efa-only`; Google Cloud: `gvnic`, and for the fabric `gvnic-fabric` or `rdma`; Azure:
    `ethernet` or `infiniband`."""


@dataclass(frozen=True, slots=True)
class ExtraNetworks:
    """Networks of their own that the fabric's interfaces lie in, beside the cluster's."""

    networks: int
    subnets: int
    """Subnets in all."""
    mtu: int
    """Bytes."""
    profile: str
    """Network profile, `{zone}` standing for the zone; empty if none."""


@dataclass(frozen=True, slots=True)
class Mount:
    """A folder of the host that the pod sees."""

    host_path: str
    mount_path: str


@dataclass(frozen=True, slots=True)
class Floor:
    """The least all-reduce bandwidth that a healthy fabric gives."""

    bus_gbs: float
    """Bus bandwidth of an NCCL all-reduce, in GB/s."""
    conditions: str
    """Nodes and message size of the source's measurement."""
    source: str
    date: str


@dataclass(frozen=True, slots=True)
class Fabric:
    """What nodes and pods need for a fabric to be used."""

    name: str
    interfaces: tuple[Interface, ...] = ()
    networks: ExtraNetworks | None = None
    components: tuple[str, ...] = ()
    """Add-ons that make it usable, by their names in the versions table."""
    requests: tuple[tuple[str, str], ...] = ()
    """Resources that a pod with all the node's accelerators asks for, beside the accelerators."""
    annotations: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    mounts: tuple[Mount, ...] = ()
    capabilities: tuple[str, ...] = ()
    privileged: bool = False
    image: tuple[str, ...] = ()
    """What the container image must hold; without it NCCL uses TCP although the devices are there."""
    host: tuple[str, ...] = ()
    """What the node must have set."""
    compute_domain: int = 0
    """Accelerators of one multi-node NVLink domain, claimed through the DRA driver's ComputeDomain; 0 without."""
    floor: Floor | None = None
    """None where no source gives one: then a probe warns and never gates."""
    source: str = ""
    date: str = ""

    @property
    def count(self) -> int:
        """Interfaces of the fabric, on each node."""
        return sum(
            interface.kind in ("efa-only", "rdma", "gvnic-fabric", "infiniband") for interface in self.interfaces
        )


NONE = Fabric("none")


@cache
def resolve(machine: Machine, joined: bool) -> Fabric:
    """The fabric of a machine type, for nodes that are joined by it; `NONE` for nodes that are not."""
    if not joined or machine.fabric == "none":
        return NONE
    facts: dict[str, Any] = tables.document("fabrics")[machine.fabric]
    nvlink: dict[str, Any] = tables.document("fabrics")["nvlink"] if machine.nvlink_domain else {}
    words = {"interfaces": machine.fabric_interfaces}
    extra = facts.get("networks")
    return Fabric(
        name=machine.fabric,
        interfaces=interfaces(machine),
        networks=ExtraNetworks(
            networks=int(str(extra["networks"]).format(**words)),
            subnets=int(str(extra["subnets"]).format(**words)),
            mtu=extra["mtu"],
            profile=extra.get("profile", ""),
        )
        if extra
        else None,
        components=(*facts["components"], *nvlink.get("components", ())),
        requests=_pairs(facts.get("requests", {}), words),
        annotations=_pairs(facts.get("annotations", {}), words),
        environment=_pairs({**facts.get("environment", {}), **nvlink.get("environment", {})}, words),
        mounts=tuple(Mount(**mount) for mount in facts.get("mounts", ())),
        capabilities=tuple(facts.get("capabilities", ())),
        privileged=facts.get("privileged", False),
        image=tuple(facts["image"]),
        host=(*facts.get("host", ()), *nvlink.get("host", ())),
        compute_domain=machine.nvlink_domain or 0,
        floor=floor(machine.name),
        source=facts["source"],
        date=str(facts["date"]),
    )


def interfaces(machine: Machine) -> tuple[Interface, ...]:
    """The network interfaces of a node on its fabric."""
    layout = {"aws": _efa, "gcp": _google, "azure": _azure}[machine.target]
    return layout(machine) if machine.fabric not in ("none", "ici") else ()


def floor(machine: str) -> Floor | None:
    """The all-reduce floor of a machine type, where a source gives one."""
    for row in tables.rows("floors"):
        if row["machine"] == machine:
            return Floor(float(row["bus_gbs"]), row["conditions"], row["source"], row["date"])
    return None


def _efa(machine: Machine) -> tuple[Interface, ...]:
    """Card 0 carries the address at device 0, and where it has EFA, EFA at device 1; each other card is `efa-only` at
    device 0. `efa-only` takes no address. A machine with a card more than EFA interfaces has none on card 0."""
    if machine.fabric_cards:
        return (Interface(0, 0, "interface"), *(Interface(card, 0, "efa-only") for card in machine.fabric_cards))
    own = () if machine.fabric_interfaces < (machine.network_cards or 0) else (Interface(0, 1, "efa-only"),)
    others = range(1, machine.fabric_interfaces + 1 - len(own))
    return (Interface(0, 0, "interface"), *own, *(Interface(card, 0, "efa-only") for card in others))


def _google(machine: Machine) -> tuple[Interface, ...]:
    """gVNICs for the cluster first, then the fabric's."""
    cards = machine.network_cards or machine.fabric_interfaces + 1
    plain = cards - machine.fabric_interfaces
    kind = "rdma" if machine.fabric == "roce" else "gvnic-fabric"
    return (
        *(Interface(card, 0, "gvnic") for card in range(plain)),
        *(Interface(card, 0, kind) for card in range(plain, cards)),
    )


def _azure(machine: Machine) -> tuple[Interface, ...]:
    """One Ethernet interface; the InfiniBand adapters belong to the machine type and need no network."""
    return (
        Interface(0, 0, "ethernet"),
        *(Interface(card, 0, "infiniband") for card in range(1, machine.fabric_interfaces + 1)),
    )


def _pairs(table: dict[str, str], words: dict[str, int]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value.format(**words)) for key, value in table.items())
