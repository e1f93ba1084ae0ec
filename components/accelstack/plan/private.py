"""The plan of a stack on an existing cluster: what is asked for, held against what the cluster has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from accelstack.plan import accelerators, compatibility, fabric, inside, node_groups, pricing, request
from accelstack.plan.accelerators import KINDS
from accelstack.plan.capacity import Terms
from accelstack.plan.fabric import Fabric
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.inventory import Inventory, Taint
from accelstack.plan.machines import Machine
from accelstack.plan.node_groups import HOST, POOL_LABEL, Group
from accelstack.plan.node_matching import Matched, match
from accelstack.plan.plan import Plan
from accelstack.plan.pool import PoolPlan
from accelstack.plan.private_checks import CAPACITY, check_classes, check_nodes, check_settings, meaningless
from accelstack.plan.private_fabric import DEVICES, woven
from accelstack.plan.request import PoolRequest, Request

TARGET = "private"


@dataclass(frozen=True, slots=True)
class Place:
    """Where a pool's pods go in an existing cluster."""

    labels: dict[str, str]
    taints: tuple[Taint, ...]
    zones: tuple[str, ...]
    topology: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Decided:
    """A plan, and where its pools' pods go."""

    plan: Plan
    places: dict[str, Place]
    """By the pools' names."""


def decide(given: Mapping[str, Any], inventory: Inventory | None, why: str = "it was not asked") -> Decided:
    """The plan of settings whose target is `private`.

    Args:
        inventory: what the cluster has; None where it could not be read, and the plan stands on what is asked for.
        why: it could not be read.
    """
    if inventory and "nodes" in inventory.unread:
        inventory, why = None, "; ".join(inventory.warnings)
    findings = meaningless(given)
    refused = {finding.property for finding in findings}
    groups = node_groups.groups(inventory.nodes) if inventory else ()
    settings = {key: value for key, value in given.items() if key not in refused}
    if settings.get("accelerator") in (None, "auto") and not settings.get("pools"):
        if inventory is None:
            reason = f"means what the cluster has, which could not be read: {why}"
            fix = "see `accelstack doctor --target private`, or name an accelerator, such as H100:8"
            findings.append(Finding(Severity.ERROR, "accelerator", "auto", reason, fix))
            return _nothing(findings)
        settings, found = _all_there_is(settings, groups)
        findings += found
    parsed, found = request.parse({**settings, "target": TARGET}, [TARGET])
    findings += found
    if parsed is None:
        return _nothing(findings)
    asked = replace(parsed, cidr="")
    findings += [*check_settings(asked), *inside.check(asked.inside, [pool.name for pool in asked.pools])]
    if inventory is None:
        fix = "see `accelstack doctor --target private`; until then the plan stands on what is asked for alone"
        reason = f"the cluster's nodes could not be read: {why}"
        findings.append(Finding(Severity.WARNING, "kubeconfig", asked.platform.kubeconfig, reason, fix))
        unread = [_unread(pool) for pool in asked.pools]
        return Decided(_plan(asked, unread, {}, findings), {pool.name: _held(pool.name) for pool in asked.pools})
    findings += [*check_nodes(inventory, groups), *check_classes(asked, inventory)]
    matched, found = match(asked.pools, groups, inventory.nodes)
    findings += found
    pools: list[PoolPlan] = []
    needed = [*compatibility.ALWAYS]
    for each in matched:
        joined, found = woven(each.request, each.group)
        pools.append(_pool(each, joined, found))
        needed += _add_ons(each.group, joined)
        findings += found
    versions, found = _versions(asked, inventory, pools, needed)
    places = {each.request.name: _place(each.group) for each in matched}
    return Decided(_plan(asked, pools, versions, [*findings, *found]), places)


def _nothing(findings: Sequence[Finding]) -> Decided:
    return Decided(Plan(None, (), {}, (), (), pricing.Estimate(()), tuple(dict.fromkeys(findings))), {})


def _plan(asked: Request, pools: Sequence[PoolPlan], versions: dict[str, str], findings: Sequence[Finding]) -> Plan:
    estimate = pricing.Estimate(tuple(pool.cost for pool in pools))
    return Plan(asked, tuple(pools), versions, (), (), estimate, tuple(dict.fromkeys(findings)))


def _all_there_is(given: dict[str, Any], groups: Sequence[Group]) -> tuple[dict[str, Any], list[Finding]]:
    """The settings with a pool for each kind of accelerator that the cluster has; for its processors, if none."""
    ready = [group for group in groups if group.accelerator and not group.slices and group.usable]
    ready.sort(key=lambda group: len(group.usable), reverse=True)
    chosen = [group for group in ready if group.accelerator != "cpu"]
    findings: list[Finding] = []
    if not chosen:
        chosen = ready[:1]
        reason = "no node of the cluster offers accelerators" if ready else "the cluster has no node that is ready"
        fix = "nothing need be done if processors will do" if ready else "add nodes, or have those there are mended"
        severity = Severity.WARNING if ready else Severity.ERROR
        findings.append(Finding(severity, "accelerator", "auto", reason, fix))
    pools: dict[str, dict[str, Any]] = {}
    for group in chosen:
        name = group.pool or group.accelerator.lower()
        name = name if name not in pools else f"{name}-{len(pools) + 1}"
        own = {"accelerator": str(group), "nodes": len(group.usable), "capacity": group.capacity}
        pools[name] = {**own, "architecture": group.architecture} if group.architecture else own
    kept = {key: value for key, value in given.items() if key not in request.POOL_KEYS}
    return {**kept, "pools": pools} if pools else {**kept, "accelerator": "cpu"}, findings


def _pool(matched: Matched, joined: Fabric, findings: Sequence[Finding]) -> PoolPlan:
    asked, group = matched.request, matched.group
    known = group.machine
    driver = "none" if group.offered or group.accelerator == "cpu" else known.driver if known else "operator"
    machine = _machine(
        name=known.name if known else group.product or "processors",
        accelerator=group.accelerator,
        per_node=(asked.per_node or group.per_node) if group.accelerator == "cpu" else group.per_node,
        vcpus=group.cores,
        memory_gib=group.memory_gib,
        architecture=group.architecture,
        fabric=joined.name,
        interfaces=joined.count,
        nvlink_domain=known.nvlink_domain if known else None,
        driver=driver,
    )
    return _planned(asked, machine, group.capacity, joined, group.driver, group.zones, findings)


def _unread(asked: PoolRequest) -> PoolPlan:
    """A pool of a cluster that could not be read: what is asked for, and the least where nothing is."""
    machine = _machine(
        name="not read",
        accelerator=accelerators.forms(asked.accelerator)[0],
        per_node=asked.per_node or 1,
        vcpus=max(asked.vcpus, asked.per_node, 1),
        memory_gib=asked.memory_gib or 1.0,
        architecture="x86_64" if asked.architecture == "any" else asked.architecture,
    )
    return _planned(asked, machine, asked.capacity, fabric.NONE, "", (), ())


def _machine(
    *,
    name: str,
    accelerator: str,
    per_node: int,
    vcpus: int,
    memory_gib: float,
    architecture: str,
    fabric: str = "none",
    interfaces: int = 0,
    nvlink_domain: int | None = None,
    driver: str = "none",
) -> Machine:
    return Machine(
        target=TARGET,
        name=name,
        accelerator=accelerator,
        per_node=per_node,
        vcpus=vcpus,
        memory_gib=memory_gib,
        architecture=architecture,
        local_storage_gib=None,
        network_gbps=None,
        network_cards=None,
        fabric=fabric,
        fabric_interfaces=interfaces,
        fabric_cards=(),
        nvlink_domain=nvlink_domain,
        placement="",
        family="",
        vendor_accelerator="",
        image="",
        driver=driver,
        capacity=CAPACITY,
        note="",
        source="",
        date="",
    )


def _planned(
    asked: PoolRequest,
    machine: Machine,
    capacity: str,
    joined: Fabric,
    driver: str,
    zones: tuple[str, ...],
    findings: Sequence[Finding],
) -> PoolPlan:
    terms = Terms(capacity, zones, "none")
    free = pricing.Item(f"pool {asked.name}", 0.0, "", "")
    return PoolPlan(
        asked.name, machine, asked.nodes, asked.min_nodes, driver, terms, joined, free, 0.0, tuple(findings)
    )


def _place(group: Group) -> Place:
    return Place(dict(group.selector or ()), group.taints, group.zones, group.topology)


def _held(pool: str) -> Place:
    """Nodes that a label keeps for the pool: no pod starts on others that happen to be there."""
    return Place({POOL_LABEL: pool}, (), (), (HOST,))


def _add_ons(group: Group, joined: Fabric) -> list[str]:
    """The components that the nodes lack: those whose devices pods ask for and no node offers."""
    offered = {name for name, _ in group.fabric}
    missing = not any(name.startswith(DEVICES.get(joined.name, "")) for name in offered)
    found = [*joined.components] if missing else []
    if group.accelerator == "cpu" or group.offered:
        return found
    driver = group.machine.driver if group.machine else "operator"
    operators = {"nvidia": "gpu_operator" if driver == "operator" else "device_plugin", "amd": "amd_gpu_operator"}
    return [*([operators[group.vendor]] if group.vendor in operators else []), *found]


def _versions(
    asked: Request, inventory: Inventory, pools: Sequence[PoolPlan], needed: Sequence[str]
) -> tuple[dict[str, str], list[Finding]]:
    """The versions of the cluster and of what the plan installs or finds there, checked against the rules."""
    known = compatibility.components()
    findings = compatibility.check_names(asked.versions, known)
    wanted = list(dict.fromkeys(needed))
    there = {each.component: each.version for each in inventory.installed if each.version}
    fixed = {key: value for key, value in asked.versions.items() if key in known}
    versions = {
        **compatibility.defaults(TARGET, wanted),
        **{key: version for key, version in there.items() if key in known},
        **fixed,
        "kubernetes": inventory.version,
    }
    for pool in pools:
        facts = _facts(pool)
        findings += compatibility.check(facts, {**versions, "driver": pool.driver})
        findings += compatibility.check_driver(KINDS[pool.machine.accelerator], pool.driver)
    return versions, findings


def _facts(pool: PoolPlan) -> dict[str, str]:
    """What the conditions of compatibility rules are held against."""
    machine = pool.machine
    return {
        "target": TARGET,
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
