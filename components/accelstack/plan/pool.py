"""One pool: its machines, terms, fabric, driver and price."""

from dataclasses import dataclass, replace

from accelstack.plan import capacity, choice, compatibility, fabric, network, pricing
from accelstack.plan.accelerators import KINDS
from accelstack.plan.capacity import Terms
from accelstack.plan.choice import Choice
from accelstack.plan.fabric import Fabric
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.machines import Machine
from accelstack.plan.pricing import Item
from accelstack.plan.request import PoolRequest, Request

SPREAD = 3
"""Zones over which a pool is spread where it asks for none: as many as bear the loss of one well."""


@dataclass(frozen=True, slots=True)
class PoolPlan:
    """A pool as it will be."""

    name: str
    machine: Machine
    nodes: int
    min_nodes: int
    driver: str
    """Version of the NVIDIA driver; empty where there is none."""
    terms: Terms
    fabric: Fabric
    cost: Item
    hourly_usd: float | None
    """With all its nodes; None where no source gives the price."""
    findings: tuple[Finding, ...]
    """What was found about this pool alone; they are among the plan's too."""

    @property
    def gpus(self) -> int:
        """Accelerators of all its nodes."""
        return self.machine.gpus(self.nodes)


def decide(pool: PoolRequest, request: Request) -> tuple[PoolPlan | None, list[Finding]]:
    """A pool as it will be, or None, and what was found about it."""
    chosen, findings = choice.choose(pool, request.target, request.region)
    if chosen is None:
        return None, findings
    machine = chosen.machine
    joined = pool.nodes > 1 and pool.fabric != "none" and capacity.joins(machine, pool.fabric)
    terms, found = capacity.decide(pool, chosen, joined)
    woven = fabric.resolve(machine, pool.nodes if joined else 0)
    price = chosen.offer.price(pool.capacity)
    findings += [
        *found,
        *_check_fabric(pool, machine, woven),
        *_check_spot(pool, chosen),
        *_check_zones(pool, chosen),
    ]
    hourly = price and price.usd * pool.nodes
    monthly = hourly and hourly * pricing.HOURS_A_MONTH
    cost = Item(f"pool {pool.name}", monthly, price.source if price else "", price.date if price else "")
    driver, found = _driver(request, machine)
    findings += found
    planned = PoolPlan(
        pool.name, machine, pool.nodes, pool.min_nodes, driver, terms, woven, cost, hourly, tuple(findings)
    )
    return planned, findings


def spread(pool: PoolPlan, pools: list[PoolPlan]) -> PoolPlan:
    """A pool that may be in many zones, in a few of them: those that other pools are bound to first."""
    if len(pool.terms.zones) <= SPREAD:
        return pool
    bound = [zone for other in pools if len(other.terms.zones) == 1 for zone in other.terms.zones]
    first = [zone for zone in dict.fromkeys(bound) if zone in pool.terms.zones]
    rest = [zone for zone in pool.terms.zones if zone not in first]
    zones = [*first, *sorted(rest, key=lambda zone: not network.control_plane(zone))][:SPREAD]
    return replace(pool, terms=replace(pool.terms, zones=tuple(sorted(zones))))


def _driver(request: Request, machine: Machine) -> tuple[str, list[Finding]]:
    """The version of the driver that a machine gets, and why it is not the one asked for."""
    kind = KINDS[machine.accelerator]
    usual, asked = compatibility.driver(request.target, kind), request.versions.get("driver", "")
    if not asked or kind.vendor != "nvidia":
        return usual, []
    old = compatibility.check_driver(kind, asked)
    if old or machine.driver == "operator" or machine.image == "CUSTOM":
        return asked, old
    where = "the image" if machine.driver == "image" else "the cloud"
    reason = f"{where} brings driver {usual} to {machine.name}, and no other can be chosen"
    return usual, [Finding(Severity.ERROR, "versions.driver", asked, reason, "leave it out")]


def _check_spot(pool: PoolRequest, chosen: Choice) -> list[Finding]:
    """A warning where spot was no bargain on the day of the price."""
    spot, full = chosen.offer.price("spot"), chosen.offer.price("on_demand")
    if pool.capacity != "spot" or not spot or not full or spot.usd < 0.95 * full.usd:
        return []
    reason = f"spot cost {spot.usd:g} of {full.usd:g} USD an hour on {spot.date}: a sign that hardly any was to be had"
    fix = "look at other regions with `accelstack plan --compare`, or take other capacity"
    return [Finding(Severity.WARNING, f"{pool.path}capacity", "spot", reason, fix)]


def _check_zones(pool: PoolRequest, chosen: Choice) -> list[Finding]:
    """A warning where zones are asked for of which no source tells."""
    if not pool.zones or chosen.offer.zones:
        return []
    reason = f"no source tells the zones of {chosen.machine.name} in {chosen.offer.region}"
    fix = f"see `accelstack doctor --target {chosen.machine.target}`, which asks the account"
    return [Finding(Severity.WARNING, f"{pool.path}zones", " ".join(pool.zones), reason, fix)]


def _check_fabric(pool: PoolRequest, machine: Machine, woven: Fabric) -> list[Finding]:
    several = pool.nodes > 1 and KINDS[machine.accelerator].kind == "gpu"
    if several and pool.fabric == "auto" and machine.fabric == "none":
        faster = [
            other for other in choice.candidates(pool, machine.target) if other.fabric != "none" and other != machine
        ]
        fix = (
            f"set fabric: {faster[0].fabric} ({faster[0].name} has it)"
            if faster
            else "set fabric: none if the nodes serve, or take an accelerator whose machines have a fabric"
        )
        reason = f"{machine.name} has no fabric: training over its nodes uses TCP"
        return [Finding(Severity.WARNING, f"{pool.path}fabric", "auto", reason, fix)]
    if woven.name not in ("none", "ici") and woven.floor is None:
        reason = (
            f"no source gives an all-reduce floor for {machine.name}: the probe measures and warns, but never gates"
        )
        fix = "nothing need be done; a floor of your own can be set on the probe"
        return [Finding(Severity.WARNING, f"{pool.path}fabric", woven.name, reason, fix)]
    return []
