"""Where an accelerator is to be had: every target and region that fits, known prices first. It chooses nothing, since
prices do not show availability."""

from dataclasses import dataclass, replace

from accelstack.plan.choice import candidates, cheapest
from accelstack.plan.findings import Finding, Severity, one_of
from accelstack.plan.machines import CLOUDS, Machine, Offer, offers
from accelstack.plan.pricing import HOURS_A_MONTH
from accelstack.plan.request import PoolRequest, parse


@dataclass(frozen=True, slots=True)
class Option:
    """One place where the pool could be."""

    machine: Machine
    offer: Offer
    capacity: str
    nodes: int

    @property
    def hourly_usd(self) -> float | None:
        """USD an hour of all nodes; None where no source gives the price."""
        price = self.offer.price(self.capacity)
        return price and price.usd * self.nodes

    def as_dict(self) -> dict[str, object]:
        """The option as plain data."""
        hourly, price = self.hourly_usd, self.offer.price(self.capacity)
        return {
            "target": self.machine.target,
            "region": self.offer.region,
            "zones": list(self.offer.zones),
            "machine": self.machine.name,
            "accelerator": self.machine.accelerator,
            "per_node": self.machine.per_node,
            "nodes": self.nodes,
            "gpus": self.machine.gpus(self.nodes),
            "fabric": self.machine.fabric,
            "fabric_interfaces": self.machine.fabric_interfaces,
            "capacity": self.capacity,
            "hourly_usd": None if hourly is None else round(hourly, 2),
            "monthly_usd": None if hourly is None else round(hourly * HOURS_A_MONTH, 2),
            "catalogue_date": price and price.date,
        }


def compare(given: dict[str, object]) -> tuple[list[Option], list[Finding]]:
    """The options for one pool's settings, on every target or on the one that is given, in every region or in one."""
    target, region = given.get("target"), given.get("region")
    request, findings = parse({**given, "target": CLOUDS[0] if target is None else target})
    if given.get("pools"):
        fix = "give one pool's settings, such as --accelerator and --nodes"
        findings.append(Finding(Severity.INVALID, "pools", "", "a comparison is of one pool", fix))
    clouds = [cloud for cloud in CLOUDS if target in (None, cloud)]
    regions = [place for cloud in clouds for place in offers(cloud)]
    if region is not None and (wrong := one_of("region", str(region), regions, "region")):
        findings.append(wrong)
    if request is None or findings:
        return [], findings
    found = [
        option
        for cloud in clouds
        for place in offers(cloud)
        if region in (None, place)
        for count in _counts(request.pools[0], cloud)
        if (option := _option(replace(request.pools[0], per_node=count), cloud, place))
    ]
    if request.budget:
        most = request.budget / HOURS_A_MONTH
        found = [option for option in found if option.hourly_usd is None or option.hourly_usd <= most]
    return sorted(found, key=_rank), findings


def _counts(pool: PoolRequest, target: str) -> list[int]:
    """The counts per node that could be meant: the given one, or each that the cloud has."""
    return [pool.per_node] if pool.per_node else sorted({machine.per_node for machine in candidates(pool, target)})


def _option(pool: PoolRequest, target: str, region: str) -> Option | None:
    found = cheapest(pool, target, region)
    return found and Option(found.machine, found.offer, pool.capacity, pool.nodes)


def _rank(option: Option) -> tuple[bool, float, str, str, int]:
    hourly = option.hourly_usd
    return (hourly is None, hourly or 0, option.machine.target, option.offer.region, option.machine.per_node)
