"""The whole plan of a stack: every decision and every finding, before the first resource."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from accelstack.plan import capacity, choice, compatibility, fabric, naming, network, pricing, quota
from accelstack.plan.accelerators import KINDS
from accelstack.plan.capacity import Terms
from accelstack.plan.choice import Choice
from accelstack.plan.cidr import Subnet
from accelstack.plan.fabric import Fabric
from accelstack.plan.findings import Finding, Severity, errors, one_of
from accelstack.plan.machines import Machine, offers
from accelstack.plan.pricing import Estimate, Item
from accelstack.plan.request import SYSTEM, PoolRequest, Request, parse

USUAL_SYSTEM = PoolRequest(
    name=SYSTEM,
    path="pools.system.",
    accelerator="cpu",
    per_node=0,
    nodes=2,
    min_nodes=2,
    capacity="on_demand",
    zones=(),
    fabric="none",
    architecture="x86_64",
    machine="",
    vcpus=4,
    memory_gib=0,
    reservation="",
    placement_group="",
)
"""Nodes for what runs the cluster, where a stack names no pool `system` of its own: GPU nodes are tainted."""

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
        return 0 if self.machine.accelerator == "cpu" else self.machine.per_node * self.nodes


@dataclass(frozen=True, slots=True)
class Plan:
    """What a request comes to. Where there are errors, it holds what could be decided all the same."""

    request: Request | None
    pools: tuple[PoolPlan, ...]
    versions: dict[str, str]
    subnets: tuple[Subnet, ...]
    quotas: tuple[quota.Need, ...]
    estimate: Estimate
    findings: tuple[Finding, ...]

    @property
    def fits(self) -> bool:
        """Whether nothing keeps it from being carried out."""
        return not errors(self.findings)


def plan(given: Mapping[str, Any]) -> Plan:
    """The plan of settings as a user writes them: target, region, pools (or one pool's settings), budget, …"""
    request, findings = parse(given)
    if request is None:
        return Plan(None, (), {}, (), (), Estimate(()), tuple(findings))
    decided = decide(request)
    return replace(decided, findings=(*findings, *decided.findings))  # mistakes of form first


def with_findings(decided: Plan, more: Iterable[Finding]) -> Plan:
    """The plan with more findings, such as those of an account's quotas."""
    return replace(decided, findings=(*decided.findings, *more))


def decide(request: Request) -> Plan:
    """The plan of a request."""
    findings = _check_place(request)
    asked = request.pools if any(pool.name == SYSTEM for pool in request.pools) else (*request.pools, USUAL_SYSTEM)
    pools: list[PoolPlan] = []
    if not findings:
        for pool in asked:
            decided, found = _pool(pool, request)
            findings += [_of_system(each) for each in found] if pool is USUAL_SYSTEM else found
            if decided:
                pools.append(decided)
    bound = {pool.name for pool in asked if pool.zones}
    pools = [pool if pool.name in bound else _spread(pool, pools) for pool in pools]
    versions = _versions(request, pools, findings)
    subnets, found = network.carve(request.cidr, request.target, _zones(request, pools), _nodes(pools))
    missing = [Item(f"pool {pool.name}", None, "", "") for pool in asked if pool.name not in {p.name for p in pools}]
    estimate = _estimate(request, [*(pool.cost for pool in pools), *missing])
    findings += [*found, *pricing.check_budget(estimate, request.budget), *_check_names(request)]
    machines = [(pool.name, pool.machine, pool.terms.capacity, pool.nodes) for pool in pools]
    findings += quota.unnamed(request.target, machines)
    extra = {pool.name: sum(each.networks for each in pool.fabric.networks) for pool in pools}
    return Plan(
        request=request,
        pools=tuple(pools),
        versions=versions,
        subnets=tuple(subnets),
        quotas=(
            *quota.needs(request.target, request.region, machines),
            *quota.networks(request.target, request.region, extra),
        ),
        estimate=estimate,
        findings=tuple(findings),
    )


def _of_system(finding: Finding) -> Finding:
    """What was found about the pool that nobody asked for: it cannot keep a plan from being carried out."""
    fix = "name a pool `system` with machines that you know to be there"
    return replace(finding, severity=Severity.WARNING, property=f"pools.{SYSTEM}", fix=fix)


def _check_place(request: Request) -> list[Finding]:
    regions = sorted(offers(request.target))
    if not request.region:
        fix = f"set region to one of: {', '.join(regions)}"
        return [Finding(Severity.INVALID, "region", "", f"{request.target} needs a region", fix)]
    wrong = one_of("region", request.region, regions, f"region of {request.target}")
    return [wrong] if wrong else []


def _pool(pool: PoolRequest, request: Request) -> tuple[PoolPlan | None, list[Finding]]:
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
        *_check_place_of(pool, chosen),
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


def _spread(pool: PoolPlan, pools: list[PoolPlan]) -> PoolPlan:
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


def _check_place_of(pool: PoolRequest, chosen: Choice) -> list[Finding]:
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


def _versions(request: Request, pools: list[PoolPlan], findings: list[Finding]) -> dict[str, str]:
    """The versions of what the plan installs, checked against the rules for each pool."""
    known = compatibility.components()
    findings += compatibility.check_names(request.versions, known)
    fixed = {key: value for key, value in request.versions.items() if key in known and key != "driver"}
    wanted = list(dict.fromkeys([*compatibility.ALWAYS, *(part for pool in pools for part in _components(pool))]))
    versions = {**compatibility.defaults(request.target, wanted), **fixed}
    seen: set[Finding] = set()
    for pool in pools:
        for finding in (*compatibility.check(_facts(request, pool), {**versions, "driver": pool.driver}),):
            if finding not in seen:
                seen.add(finding)
                findings.append(finding)
    return versions


def _components(pool: PoolPlan) -> tuple[str, ...]:
    kind = KINDS[pool.machine.accelerator]
    if kind.kind != "gpu":
        return ()
    stack = {
        ("nvidia", "image"): ("device_plugin",),
        ("nvidia", "cloud"): () if pool.machine.target == "gcp" else ("device_plugin",),  # GKE brings its own
        ("nvidia", "operator"): ("gpu_operator",),
        ("amd", "operator"): ("amd_gpu_operator",),
    }
    return (*stack.get((kind.vendor, pool.machine.driver), ()), *pool.fabric.components)


def _facts(request: Request, pool: PoolPlan) -> dict[str, str]:
    """What the conditions of compatibility rules are held against."""
    machine = pool.machine
    return {
        "target": request.target,
        "machine": machine.name,
        "accelerator": machine.accelerator,
        "vendor": KINDS[machine.accelerator].vendor,
        "kind": KINDS[machine.accelerator].kind,
        "architecture": machine.architecture,
        "image": machine.image,
        "driver_policy": machine.driver,
        "fabric": pool.fabric.name,
        "compute_domain": "yes" if pool.fabric.compute_domain else "no",
        "capacity": pool.terms.capacity,
    }


def _zones(request: Request, pools: list[PoolPlan]) -> list[str]:
    """Zones that the network spans: those of the pools, and as many more as the cluster needs."""
    used = {zone for pool in pools for zone in pool.terms.zones}
    lacking = network.LEAST_ZONES - sum(map(network.control_plane, used))
    known = {zone for offer in offers(request.target).get(request.region, {}).values() for zone in offer.zones}
    more = sorted(zone for zone in known - used if network.control_plane(zone))
    return sorted([*used, *more[: max(0, lacking)]])


def _nodes(pools: list[PoolPlan]) -> list[network.PoolNodes]:
    return [network.PoolNodes(pool.name, pool.terms.zones, pool.nodes, pool.fabric) for pool in pools]


def _estimate(request: Request, pools: list[Item]) -> Estimate:
    target, region = request.target, request.region
    hours = pricing.HOURS_A_MONTH
    services = [pricing.service("control plane", target, region, "control_plane", hours)]
    for name, item, gib in (
        ("object storage", "object_storage", request.storage_gib),
        ("egress", "egress", request.egress_gib),
    ):
        if gib:
            services.append(pricing.service(name, target, region, item, gib))
    return Estimate((*pools, *services))


def _check_names(request: Request) -> list[Finding]:
    checked = [naming.check(request.target, "cluster", request.name, "name")]
    checked += [
        naming.check(request.target, "pool", pool.name, f"{pool.path.rstrip('.') or 'pools'}") for pool in request.pools
    ]
    return [finding for finding in checked if finding]
