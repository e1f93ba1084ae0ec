"""The whole plan of a stack: every decision and every finding, before the first resource."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from accelstack.plan import compatibility, inside, managed, naming, network, platform, pool, pricing, quota
from accelstack.plan.accelerators import KINDS
from accelstack.plan.cidr import Subnet
from accelstack.plan.findings import Finding, Severity, errors, one_of
from accelstack.plan.machines import offers
from accelstack.plan.pool import PoolPlan
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
    findings = [*_check_place(request), *platform.check(request.platform, request.target)]
    clustered = request.platform.runs_on != "managed"
    asked = request.pools
    findings += _check_inside(request, clustered)
    if clustered and not any(wanted.name == SYSTEM for wanted in asked):
        asked = (*asked, USUAL_SYSTEM)
    pools: list[PoolPlan] = []
    if not any(finding.property == "region" for finding in findings):
        for wanted in asked:
            decided, found = (pool if clustered else managed).decide(wanted, request)
            findings += [_of_system(each) for each in found] if wanted is USUAL_SYSTEM else found
            if decided:
                pools.append(decided)
    bound = {wanted.name for wanted in asked if wanted.zones}
    pools = [each if each.name in bound else pool.spread(each, pools) for each in pools]
    versions = _versions(request, pools, findings) if clustered else {}
    zones = _zones(request, pools)
    subnets: list[Subnet] = []
    if not request.platform.network:
        subnets, found = network.carve(request.cidr, request.target, zones, _nodes(pools))
        findings += found
    missing = {wanted.name for wanted in asked} - {each.name for each in pools}
    unpriced = [Item(f"pool {name}", None, "", "") for name in sorted(missing)]
    estimate = _estimate(request, [*(each.cost for each in pools), *unpriced], len(zones))
    findings += [*pricing.check_budget(estimate, request.budget), *_check_names(request)]
    findings += _check_autoscaler(request, pools)
    machines = [(each.name, each.machine, each.terms.capacity, each.nodes) for each in pools] if clustered else []
    findings += quota.unnamed(request.target, machines)
    extra = {each.name: sum(kind.networks for kind in each.fabric.networks) for each in pools}
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


def _check_inside(request: Request, clustered: bool) -> list[Finding]:
    if clustered:
        return inside.check(request.inside, [pool.name for pool in request.pools])
    reason, fix = "means nothing on a managed platform, which has no cluster", "leave it out, or use runs_on: cluster"
    return [
        Finding(Severity.ERROR, key, str(value), reason, fix)
        for key, (_, usual) in inside.KEYS.items()
        if (value := getattr(request.inside, key)) != usual
    ]


def _check_place(request: Request) -> list[Finding]:
    regions = sorted(offers(request.target))
    if not request.region:
        fix = f"set region to one of: {', '.join(regions)}"
        return [Finding(Severity.INVALID, "region", "", f"{request.target} needs a region", fix)]
    wrong = one_of("region", request.region, regions, f"region of {request.target}")
    return [wrong] if wrong else []


def _versions(request: Request, pools: list[PoolPlan], findings: list[Finding]) -> dict[str, str]:
    """The versions of what the plan installs, checked against the rules for each pool."""
    known = compatibility.components()
    findings += compatibility.check_names(request.versions, known)
    fixed = {key: value for key, value in request.versions.items() if key in known and key != "driver"}
    scaler = [request.platform.autoscaler] if request.target == "aws" else []  # the others bring their own
    wanted = list(
        dict.fromkeys([*compatibility.ALWAYS, *scaler, *(part for pool in pools for part in _components(pool))])
    )
    versions = {**compatibility.defaults(request.target, wanted), **fixed}
    found = [
        finding
        for each in pools
        for finding in compatibility.check(_facts(request, each), {**versions, "driver": each.driver})
    ]
    findings += dict.fromkeys(found)  # what holds for several pools is told once
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
    """Zones that the network spans: the region's home zones, whatever the pools are, and those of the pools."""
    used = {zone for pool in pools for zone in pool.terms.zones}
    known = {zone for offer in offers(request.target).get(request.region, {}).values() for zone in offer.zones}
    return sorted({*used, *network.home_zones(known)})


def _nodes(pools: list[PoolPlan]) -> list[network.PoolNodes]:
    return [
        network.PoolNodes(
            pool.name, pool.terms.zones, pool.nodes, pool.fabric, KINDS[pool.machine.accelerator].kind == "gpu"
        )
        for pool in pools
    ]


def _estimate(request: Request, pools: list[Item], zones: int) -> Estimate:
    target, region = request.target, request.region
    services = [
        pricing.service(name, target, region, item, units)
        for name, item, units in platform.services(request.platform, target, zones)
    ]
    for name, item, gib in (
        ("object storage", "object_storage", request.storage_gib),
        ("egress", "egress", request.egress_gib),
    ):
        if gib:
            services.append(pricing.service(name, target, region, item, gib))
    return Estimate((*pools, *services))


def _check_autoscaler(request: Request, pools: list[PoolPlan]) -> list[Finding]:
    """What Karpenter does not do: it starts the nodes of pools that begin with none, and sizes no node groups."""
    if request.platform.autoscaler != "karpenter":
        return []
    found: list[Finding] = []
    for each in pools:
        path = f"pools.{each.name}.min_nodes"
        if each.terms.capacity == "block" and each.min_nodes:
            reason = "a block's node group begins with no nodes, and with Karpenter nothing would start them"
            found.append(Finding(Severity.ERROR, path, str(each.min_nodes), reason, "use 0, for a pool of Karpenter's"))
        elif 0 < each.min_nodes < each.nodes:
            reason = f"the pool becomes a node group of {each.min_nodes} nodes, which Karpenter does not size"
            fix = f"use 0 for a pool of Karpenter's, or {each.nodes} for one of a fixed size"
            found.append(Finding(Severity.WARNING, path, str(each.min_nodes), reason, fix))
    return found


def _check_names(request: Request) -> list[Finding]:
    checked = [naming.check(request.target, "cluster", request.name, "name")]
    checked += [
        naming.check(request.target, "pool", pool.name, f"{pool.path.rstrip('.') or 'pools'}") for pool in request.pools
    ]
    return [finding for finding in checked if finding]
