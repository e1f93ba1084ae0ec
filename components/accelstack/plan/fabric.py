"""What joins accelerators between nodes, from the network card to the pod: one answer for nodes and pods alike."""

import json
from dataclasses import dataclass
from functools import cache
from typing import Any

from accelstack.plan import tables
from accelstack.plan.accelerators import KINDS
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
    """Networks of one kind that the fabric's interfaces lie in, beside the cluster's."""

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
class Sidecar:
    """A container that runs beside the pod's own; its image is the component of the fabric that is a daemon."""

    name: str
    command: str
    capabilities: tuple[str, ...]
    mounts: tuple[Mount, ...]
    """Without a host path: a folder that both containers share."""


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
    networks: tuple[ExtraNetworks, ...] = ()
    components: tuple[str, ...] = ()
    """Add-ons that make it usable, by their names in the versions table."""
    requests: tuple[tuple[str, str], ...] = ()
    """Resources that a pod with all the node's accelerators asks for, beside the accelerators."""
    claims: tuple[tuple[str, str], ...] = ()
    """Device classes and counts that a pod claims instead, where devices are allocated dynamically."""
    annotations: tuple[tuple[str, str], ...] = ()
    environment: tuple[tuple[str, str], ...] = ()
    script: str = ""
    """Script on the node that the container sources before the program: it sets the rest of the environment."""
    mounts: tuple[Mount, ...] = ()
    sidecar: Sidecar | None = None
    shared_memory: str = ""
    """Size of the pod's /dev/shm; with the usual 64 MiB NCCL fails to start."""
    capabilities: tuple[str, ...] = ()
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
def resolve(machine: Machine, nodes: int) -> Fabric:
    """The fabric of so many machines that are joined by it; `NONE` for 0, machines that are not."""
    if not nodes or machine.fabric == "none":
        return NONE
    facts: dict[str, Any] = tables.document("fabrics")[machine.fabric]
    nvlink: dict[str, Any] = tables.document("fabrics")["nvlink"] if machine.nvlink_domain else {}
    words = {
        "interfaces": str(machine.fabric_interfaces),
        "collectives": "RCCL" if KINDS[machine.accelerator].vendor == "amd" else "NCCL",
    }
    return Fabric(
        name=machine.fabric,
        interfaces=interfaces(machine),
        networks=tuple(
            ExtraNetworks(
                networks=int(each["networks"].format(**words)),
                subnets=int(each["subnets"].format(**words)),
                mtu=each["mtu"],
                profile=each["profile"].format(**words),
            )
            for each in facts.get("networks", ())
        ),
        components=(*facts["components"], *nvlink.get("components", ())),
        requests=_pairs(facts.get("requests", {}), words),
        claims=_pairs(facts.get("claims", {}), words),
        annotations=_annotations(machine, facts),
        environment=_pairs({**facts.get("environment", {}), **nvlink.get("environment", {})}, words),
        script=facts.get("script", ""),
        mounts=tuple(Mount(**mount) for mount in facts.get("mounts", ())),
        sidecar=_sidecar(facts.get("sidecar")),
        shared_memory=facts.get("shared_memory", ""),
        capabilities=tuple(facts.get("capabilities", ())),
        image=tuple(each.format(**words) for each in facts["image"]),
        host=(*facts.get("host", ()), *nvlink.get("host", ())),
        compute_domain=min(machine.nvlink_domain or 0, machine.per_node * nodes),
        floor=floor(machine.name),
        source=facts["source"],
        date=str(facts["date"]),
    )


def _annotations(machine: Machine, facts: dict[str, Any]) -> tuple[tuple[str, str], ...]:
    """How GKE gives a pod the node's interfaces, and a sidecar the devices
    (https://cloud.google.com/kubernetes-engine/docs/how-to/gpu-bandwidth-gpudirect-tcpx)."""
    found: dict[str, str] = {}
    if pod := facts.get("pod_networks"):
        joined = [
            {
                "interfaceName": f"eth{pod['interface'] + index}",
                "network": pod["name"].format(number=pod["first"] + index),
            }
            for index in range(machine.fabric_interfaces)
        ]
        found["networking.gke.io/default-interface"] = "eth0"
        found["networking.gke.io/interfaces"] = json.dumps([{"interfaceName": "eth0", "network": "default"}, *joined])
    if sidecar := facts.get("sidecar"):
        paths = [*(f"/dev/nvidia{index}" for index in range(machine.per_node)), *sidecar["devices"]]
        found[f"devices.gke.io/container.{sidecar['name']}"] = "\n".join(f"- path: {path}" for path in paths)
    return tuple(found.items())


def _sidecar(facts: dict[str, Any] | None) -> Sidecar | None:
    if facts is None:
        return None
    mounts = tuple(Mount(**mount) for mount in facts["shared"])
    return Sidecar(facts["name"], facts["command"], tuple(facts["capabilities"]), mounts)


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
    kind = "rdma" if machine.fabric.startswith("roce") else "gvnic-fabric"
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


def _pairs(table: dict[str, str], words: dict[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((key, value.format(**words)) for key, value in table.items())
