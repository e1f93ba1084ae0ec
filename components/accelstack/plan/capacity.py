"""How capacity is bought: what each type means for placement, zones, launch options and taints."""

import re
from dataclasses import dataclass, field

from accelstack.plan import tables
from accelstack.plan.accelerators import KINDS
from accelstack.plan.choice import Choice
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.machines import Machine
from accelstack.plan.request import PoolRequest


@dataclass(frozen=True, slots=True)
class Terms:
    """What a pool's capacity type decides."""

    capacity: str
    zones: tuple[str, ...]
    """Zones in which its nodes may start; one where they must be near each other."""
    placement: str
    """`cluster` (AWS placement group), `compact` (Google Cloud placement policy), `scale set` (Azure: the machines of
    one InfiniBand scale set share a fabric), the name of an existing group, `reservation` where the reservation
    decides, or `none`."""
    launch: dict[str, str] = field(default_factory=dict[str, str])
    """Options of the cloud's node pool or launch template, in the cloud's words."""
    taints: tuple[str, ...] = ()
    """`key=value:effect`, all that the nodes carry, also those that the cloud adds by itself."""


PLACEMENTS = {"aws": "cluster", "gcp": "compact", "azure": "scale set"}
LAUNCH: dict[tuple[str, str], dict[str, str]] = {
    ("aws", "on_demand"): {"capacity_type": "ON_DEMAND"},
    ("aws", "spot"): {"capacity_type": "SPOT"},
    ("aws", "reservation"): {"capacity_type": "ON_DEMAND", "capacity_reservation_id": "{reservation}"},
    ("aws", "block"): {
        "capacity_type": "CAPACITY_BLOCK",
        "market_type": "capacity-block",
        "capacity_reservation_id": "{reservation}",
    },
    ("gcp", "on_demand"): {"reservation_affinity": "NO_RESERVATION"},
    ("gcp", "spot"): {"spot": "true"},
    ("gcp", "reservation"): {"reservation_affinity": "SPECIFIC_RESERVATION", "reservation": "{reservation}"},
    ("gcp", "block"): {"reservation_affinity": "SPECIFIC_RESERVATION", "reservation": "{reservation}"},
    ("gcp", "flex_start"): {
        "flex_start": "true",
        "queued_provisioning": "true",
        "reservation_affinity": "NO_RESERVATION",
        "location_policy": "ANY",
        "auto_repair": "false",
    },
    ("azure", "on_demand"): {"scale_set_priority": "Regular"},
    ("azure", "spot"): {
        "scale_set_priority": "Spot",
        "scale_set_eviction_policy": "Delete",
        "spot_max_price": "-1",
    },
    ("azure", "reservation"): {"scale_set_priority": "Regular", "capacity_reservation_group_id": "{reservation}"},
}
"""Launch options by target and capacity type."""
SPOT_TAINTS = {
    "aws": "accelstack/capacity=spot:NoSchedule",
    "gcp": "cloud.google.com/gke-spot=true:NoSchedule",
    "azure": "kubernetes.azure.com/scalesetpriority=spot:NoSchedule",
}
"""Google Cloud's is set by accelstack under GKE's own label; AKS sets its own
(https://cloud.google.com/kubernetes-engine/docs/concepts/spot-vms, https://learn.microsoft.com/azure/aks/spot-node-pool)."""
QUEUED_TAINT = "cloud.google.com/gke-queued=true:NoSchedule"
"""Of pools with queued provisioning (https://cloud.google.com/kubernetes-engine/docs/how-to/provisioningrequest)."""
DRIVERS = {"operator": "None", "cloud": "Install"}
"""`gpuProfile.driver` of AKS, by where the driver comes from."""
RESERVED = ("reservation", "block")
IDS = {"aws": r"cr-[0-9a-f]{17}", "gcp": r"[\w./-]+", "azure": r"/subscriptions/.+/capacityReservationGroups/.+"}
"""How clouds write a reservation's id or name."""


def decide(pool: PoolRequest, choice: Choice, joined: bool) -> tuple[Terms, list[Finding]]:
    """The terms of a pool on its machine. `joined` says that its nodes talk to each other over a fabric."""
    target = choice.machine.target
    reserved = pool.capacity in RESERVED
    zones = pool.zones or choice.zones
    pinned = reserved or joined
    findings = [*_contradictions(pool, target), *_limits(pool, choice.machine, joined)]
    if pinned and len(zones) > 1:
        given = " ".join(pool.zones) or "not given"
        if reserved:
            reason = f"a {pool.capacity} lies in one zone, and {choice.machine.name} is in {', '.join(zones)}"
            fix = "name the reservation's zone alone"
            findings.append(Finding(Severity.ERROR, f"{pool.path}zones", given, reason, fix))
        else:
            reason = f"nodes on one fabric share a zone; taken: {zones[0]}, the first of {', '.join(zones)}"
            fix = "name the one zone in which you have capacity"
            findings.append(Finding(Severity.WARNING, f"{pool.path}zones", given, reason, fix))
    placement = _placement(pool, choice.machine, joined)
    options = LAUNCH.get((target, pool.capacity), {})
    launch = {key: value.format(reservation=pool.reservation) for key, value in options.items()}
    if target == "azure" and choice.machine.driver in DRIVERS:
        launch["gpu_driver"] = DRIVERS[choice.machine.driver]
    if choice.machine.fabric == "ici" and joined:
        topology, wrong = _slice(pool, choice)
        findings += wrong
        launch |= topology
    if placement == "workload policy":
        launch["workload_policy"] = "HIGH_THROUGHPUT"
        if choice.machine.nvlink_domain:
            launch["accelerator_topology"] = f"1x{choice.machine.nvlink_domain}"
    resource = KINDS[choice.machine.accelerator].resource
    taints = [f"{resource}=present:NoSchedule"] if resource else []
    if pool.capacity == "spot":
        taints.append(SPOT_TAINTS[target])
    if pool.capacity == "flex_start":
        taints.append(QUEUED_TAINT)
    return Terms(pool.capacity, zones[:1] if pinned else zones, placement, launch, tuple(taints)), findings


def _placement(pool: PoolRequest, machine: Machine, joined: bool) -> str:
    if pool.placement_group:
        return pool.placement_group
    if joined and machine.placement:
        return machine.placement
    if pool.capacity in RESERVED:
        return "reservation"
    if joined and (pool.capacity != "flex_start" or machine.fabric == "ici"):
        return PLACEMENTS[machine.target]
    return "none"


def joins(machine: Machine, asked: str) -> bool:
    """Whether several machines of a type make one fabric. TPU machines that are a slice of their own do not, unless a
    user demands it and is told."""
    return machine.fabric != "none" and (machine.fabric != "ici" or asked == "ici" or max(_slices(machine)) > 1)


def _limits(pool: PoolRequest, machine: Machine, joined: bool) -> list[Finding]:
    """What a pool of so many nodes breaks, the hardest limit alone."""
    for row in tables.rows("limits"):
        mine = {
            "target": machine.target,
            "machine": machine.name,
            "capacity": pool.capacity,
            "fabric": machine.fabric if joined else "none",
        }
        counts = row["counts"].split()
        fits = str(pool.nodes) in counts if counts else pool.nodes <= int(row["most_nodes"])
        if all(row[key] in ("*", value) for key, value in mine.items()) and not fits:
            fix = f"use {' or '.join(counts)} nodes" if counts else f"use at most {row['most_nodes']} nodes in a pool"
            return [Finding(Severity(row["severity"]), f"{pool.path}nodes", str(pool.nodes), row["reason"], fix)]
    return []


def _slice(pool: PoolRequest, choice: Choice) -> tuple[dict[str, str], list[Finding]]:
    """The topology of a TPU slice, which all nodes of a pool make together, all or none of them."""
    machine = choice.machine
    known = _slices(machine)
    if pool.nodes not in known:
        counts = ", ".join(map(str, sorted(known)))
        nodes = "node" if max(known) == 1 else "nodes"
        reason = f"slices of {machine.accelerator}:{machine.per_node} have {counts} {nodes}"
        fix = "use one of these counts, or fabric: none for nodes that work alone"
        return {}, [Finding(Severity.ERROR, f"{pool.path}nodes", str(pool.nodes), reason, fix)]
    if pool.min_nodes not in (0, pool.nodes):
        reason = "the nodes of a slice come and go together"
        fix = f"use 0 or {pool.nodes}"
        return {}, [Finding(Severity.ERROR, f"{pool.path}min_nodes", str(pool.min_nodes), reason, fix)]
    return {"tpu_topology": known[pool.nodes]}, []


def _slices(machine: Machine) -> dict[int, str]:
    """The topologies of the slices that TPU machines of a type make, by the number of nodes."""
    return {
        int(row["nodes"]): row["topology"]
        for row in tables.rows("topologies")
        if (row["accelerator"], int(row["per_node"])) == (machine.accelerator, machine.per_node)
    }


def _contradictions(pool: PoolRequest, target: str) -> list[Finding]:
    error = Severity.ERROR
    found: list[Finding] = []
    if pool.reservation and pool.capacity not in RESERVED:
        reason = f"{pool.capacity} capacity never uses a reservation"
        fix = "use capacity reservation (or block), or leave the reservation out"
        found.append(Finding(error, f"{pool.path}reservation", pool.reservation, reason, fix))
    if pool.capacity in RESERVED and not pool.reservation:
        what = {"aws": "id (cr-…)", "gcp": "name", "azure": "capacity reservation group's id"}[target]
        reason = f"capacity {pool.capacity} needs the reservation's {what}"
        found.append(Finding(error, f"{pool.path}reservation", "", reason, "set reservation"))
    elif pool.reservation and not re.fullmatch(IDS[target], pool.reservation):
        reason = f"is no reservation of {target}, whose pattern is {IDS[target]}"
        found.append(Finding(error, f"{pool.path}reservation", pool.reservation, reason, "copy it from the console"))
    if pool.capacity == "flex_start" and pool.min_nodes:
        reason = "nodes of flex start come when a job waits for them, and none stays"
        found.append(Finding(error, f"{pool.path}min_nodes", str(pool.min_nodes), reason, "use 0"))
    if pool.placement_group and target != "aws":
        reason = f"placement groups are AWS's; on {target} the pool's own placement is used"
        found.append(Finding(error, f"{pool.path}placement_group", pool.placement_group, reason, "leave it out"))
    return found
