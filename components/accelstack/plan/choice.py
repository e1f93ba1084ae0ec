"""Which machine type, in which zones, a pool gets; or what there is instead."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from accelstack.plan import accelerators
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.machines import CLOUDS, Machine, Offer, machines, offers, zones
from accelstack.plan.request import PoolRequest


@dataclass(frozen=True, slots=True)
class Choice:
    """A machine type and its offer in the region."""

    machine: Machine
    offer: Offer
    zones: tuple[str, ...]
    """Zones of the region in which it is sold as the pool wants it; empty where no source tells of zones."""


CRITERIA: dict[str, Callable[[PoolRequest, Machine], bool]] = {
    "accelerator": lambda pool, machine: machine.accelerator in accelerators.forms(pool.accelerator),
    "per_node": lambda pool, machine: pool.per_node in (0, machine.per_node),
    "machine": lambda pool, machine: pool.machine in ("", machine.name),
    "architecture": lambda pool, machine: pool.architecture in ("any", machine.architecture),
    "fabric": lambda pool, machine: pool.fabric in ("auto", "none", machine.fabric),
    "capacity": lambda pool, machine: pool.capacity in machine.capacity,
    "vcpus": lambda pool, machine: machine.vcpus >= pool.vcpus,
    "memory_gib": lambda pool, machine: machine.memory_gib >= pool.memory_gib,
}
"""What a machine type must be for each setting of a pool, the most general first."""


def candidates(pool: PoolRequest, target: str) -> list[Machine]:
    """The machine types of a cloud that have the accelerator, the count and the rest that the pool asks for."""
    return [machine for machine in machines(target) if all(holds(pool, machine) for holds in CRITERIA.values())]


def _keep(setting: str, pool: PoolRequest, found: Sequence[Machine]) -> list[Machine]:
    """Those of the machine types that one setting allows."""
    return [machine for machine in found if CRITERIA[setting](pool, machine)]


def cheapest(pool: PoolRequest, target: str, region: str) -> Choice | None:
    """The cheapest machine type in a region that the pool can have, unknown prices last; None where there is none."""
    found: list[Choice] = []
    for machine in candidates(pool, target):
        offer = offers(target).get(region, {}).get(machine.name)
        sold = zones(machine, offer, pool.capacity) if offer else ()
        if offer and (sold or not offer.zones) and (set(pool.zones) <= set(sold) or not offer.zones):
            found.append(Choice(machine, offer, sold))
    return min(found, key=lambda choice: _rank(choice, pool.capacity), default=None)


def _rank(choice: Choice, capacity: str) -> tuple[bool, float, int, float, str]:
    price = choice.offer.price(capacity)
    machine = choice.machine
    return (price is None, price.usd if price else 0, machine.vcpus, machine.memory_gib, machine.name)


def choose(pool: PoolRequest, target: str, region: str) -> tuple[Choice | None, list[Finding]]:
    """The machine type that a pool gets in a region, or every reason why it gets none."""
    ambiguous = _several_counts(pool, target, region)
    if ambiguous:
        return None, [ambiguous]
    choice = cheapest(pool, target, region)
    if choice is None:
        return None, [_why_not(pool, target, region)]
    return choice, [*_form(pool, choice, target, region), *_reserved_type(pool, choice)]


def _reserved_type(pool: PoolRequest, choice: Choice) -> list[Finding]:
    """The error that a reservation could be of several machine types: it is of one, and no other can use it."""
    if not pool.reservation or pool.machine:
        return []
    here = offers(choice.machine.target)[choice.offer.region]
    names = [
        machine.name
        for machine in candidates(pool, choice.machine.target)
        if machine.name in here and set(pool.zones) <= set(here[machine.name].zones)
    ]
    if len(names) < 2:
        return []
    reason = f"a reservation is of one machine type, and this could be of {_list(names)}"
    return [Finding(Severity.ERROR, f"{pool.path}machine", "not given", reason, "set machine to the reservation's")]


def _several_counts(pool: PoolRequest, target: str, region: str) -> Finding | None:
    """A pool that leaves its count open where machines have several."""
    if pool.per_node or pool.accelerator == "cpu":
        return None
    here = offers(target).get(region, {})
    counts = sorted({machine.per_node for machine in candidates(pool, target) if machine.name in here})
    if len(counts) < 2:
        return None
    return Finding(
        Severity.ERROR,
        f"{pool.path}per_node",
        "not given",
        f"{pool.accelerator} comes with {_list(counts)} per node in {region}",
        f"set per_node to one of them, or write {pool.accelerator}:{counts[-1]}",
    )


def _form(pool: PoolRequest, choice: Choice, target: str, region: str) -> list[Finding]:
    """A warning where a general name such as `A100` could have meant another form too."""
    others = sorted(
        {
            machine.accelerator
            for machine in candidates(pool, target)
            if machine.name in offers(target)[region] and machine.accelerator != choice.machine.accelerator
        }
    )
    if not others:
        return []
    return [
        Finding(
            Severity.WARNING,
            f"{pool.path}accelerator",
            pool.accelerator,
            f"means {choice.machine.accelerator} here ({choice.machine.name}); {_list(others)} would fit as well",
            "write the full name to fix it",
        )
    ]


def _why_not(pool: PoolRequest, target: str, region: str) -> Finding:
    """The first thing, from the most general on, that leaves no machine type."""
    error = Severity.ERROR
    left = _keep("accelerator", pool, machines(target))
    if not left:
        others = [cloud for cloud in CLOUDS if _keep("accelerator", pool, machines(cloud))]
        where = f"it is on {_list(others)}" if others else "no cloud in the tables has it"
        reason, fix = f"is not on {target}; {where}", f"see `accelstack gpus {pool.accelerator}`"
        return Finding(error, f"{pool.path}accelerator", pool.accelerator, reason, fix)
    counts = sorted({machine.per_node for machine in left})
    left = _keep("per_node", pool, left)
    if not left:
        reason = f"no machine of {target} has {pool.per_node} {pool.accelerator}; there are {_list(counts)}"
        return Finding(error, f"{pool.path}per_node", str(pool.per_node), reason, "use one of these counts")
    sold = sorted({capacity for machine in left for capacity in machine.capacity})
    for setting, value, reason, fix in (
        (
            "machine",
            pool.machine,
            f"{pool.accelerator}:{pool.per_node or 'any'} machines on {target} are {_list([m.name for m in left])}",
            "use one of these, or leave it out",
        ),
        (
            "architecture",
            pool.architecture,
            f"{pool.accelerator} machines of {target} are {_list(sorted({m.architecture for m in left}))}",
            f"build the images for {left[0].architecture}",
        ),
        (
            "fabric",
            pool.fabric,
            f"machines with {pool.accelerator}:{pool.per_node} on {target} have {_fabrics(left)}",
            "use auto to take what the machine has",
        ),
        (
            "capacity",
            pool.capacity,
            f"{_list([machine.name for machine in left])} cannot be had so; it is sold as {_list(sold)}",
            "use one of these",
        ),
        (
            "vcpus",
            str(pool.vcpus),
            f"the largest such machine has {max(machine.vcpus for machine in left)}",
            "ask for fewer",
        ),
        (
            "memory_gib",
            f"{pool.memory_gib:g}",
            f"the largest such machine has {max(machine.memory_gib for machine in left):g}",
            "ask for less",
        ),
    ):
        if not _keep(setting, pool, left):
            return Finding(error, f"{pool.path}{setting}", value, reason, fix)
    fitting = candidates(pool, target)
    if not fitting:
        reason = f"no machine of {target} has all that is asked for together"
        fix = f"see `accelstack gpus {pool.accelerator}` for what each has"
        return Finding(error, f"{pool.path}accelerator", pool.accelerator, reason, fix)
    names = {machine.name for machine in fitting}
    sold = {
        place: {
            zone
            for machine in fitting
            if machine.name in here
            for zone in zones(machine, here[machine.name], pool.capacity)
        }
        for place, here in offers(target).items()
        if names & here.keys()
    }
    regions = sorted(place for place, where in sold.items() if where or target == "azure")
    if not regions:
        reason = f"no source tells a region that has {_list(sorted(names))} as {pool.capacity}"
        return Finding(error, f"{pool.path}accelerator", pool.accelerator, reason, "ask the vendor")
    if region not in regions:
        reason = f"{_list(sorted(names))} is not sold there as {pool.capacity}; it is in {_list(regions)}"
        return Finding(error, "region", region, reason, "use one of these regions")
    reason = f"{_list(sorted(names))} is not in all of these zones; in {region} it is in {_list(sorted(sold[region]))}"
    fix = "use one of these zones"
    if target == "aws" and any(zone.startswith(region) for zone in pool.zones):
        fix += ": zone ids, since names differ from account to account"
    return Finding(error, f"{pool.path}zones", " ".join(pool.zones), reason, fix)


def _fabrics(found: list[Machine]) -> str:
    return _list(sorted({machine.fabric if machine.fabric != "none" else "no fabric" for machine in found}))


def _list(words: list[str] | list[int]) -> str:
    return ", ".join(map(str, words))
