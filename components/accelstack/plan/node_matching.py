"""Which nodes of an existing cluster a pool gets, or why it gets none."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from accelstack.plan import node_groups
from accelstack.plan.accelerators import forms
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.inventory import Node
from accelstack.plan.node_groups import POOL_LABEL, Group
from accelstack.plan.request import PoolRequest

MOST_NAMES = 3


@dataclass(frozen=True, slots=True)
class Matched:
    """A pool and its nodes."""

    request: PoolRequest
    group: Group


CRITERIA: Mapping[str, Callable[[PoolRequest, Group], bool]] = {
    "accelerator": lambda pool, group: group.accelerator in forms(pool.accelerator),
    "per_node": lambda pool, group: (
        pool.per_node in (0, group.per_node) or (group.accelerator == "cpu" and group.per_node >= pool.per_node)
    ),
    "machine": lambda pool, group: pool.machine in ("", group.machine.name if group.machine else ""),
    "architecture": lambda pool, group: pool.architecture in ("any", group.architecture),
    "capacity": lambda pool, group: pool.capacity == "on_demand" or group.capacity == pool.capacity,
    "vcpus": lambda pool, group: group.cores >= pool.vcpus,
    "memory_gib": lambda pool, group: group.memory_gib >= pool.memory_gib,
}
"""What nodes must be for each setting of a pool, the most general first."""


def match(
    pools: Sequence[PoolRequest], groups: Sequence[Group], nodes: Sequence[Node]
) -> tuple[list[Matched], list[Finding]]:
    """The nodes of each pool, and a finding for each pool that has none, too few, or none of its own."""
    findings: list[Finding] = []
    whole = [group for group in groups if group.accelerator and not group.slices]
    wanted: dict[int, list[PoolRequest]] = defaultdict(list)  # by the group's place
    for pool in pools:
        kept = any(group.pool == pool.name for group in whole)
        mine = [index for index, group in enumerate(whole) if group.pool == (pool.name if kept else "")]
        fitting = [index for index in mine if all(holds(pool, whole[index]) for holds in CRITERIA.values())]
        if fitting:
            wanted[min(fitting, key=lambda index: (_rank(pool, whole[index]), len(wanted[index])))].append(pool)
        else:
            findings.append(_why_not(pool, [whole[index] for index in mine]))
    matched: list[Matched] = []
    for index, sharing in wanted.items():
        shares, found = _shares(whole[index], sharing, nodes)
        matched += shares
        findings += found
    for each in matched:
        findings += [*_enough(each), *_told_apart(each), *_spot(each)]
    order = [pool.name for pool in pools]
    return sorted(matched, key=lambda each: order.index(each.request.name)), findings


def some(names: Iterable[str]) -> str:
    """A few names, and how many more there are."""
    found = list(names)
    more = len(found) - MOST_NAMES
    return ", ".join(found) if more <= 0 else f"{', '.join(found[:MOST_NAMES])} and {more} more"


def _rank(pool: PoolRequest, group: Group) -> tuple[bool, bool, bool, int]:
    """Nodes that are there, not to be reclaimed, with a plug-in that works, and no more than need be."""
    usable = len(group.usable)
    return (usable < pool.nodes, group.capacity != pool.capacity, not group.offered, usable)


def _why_not(pool: PoolRequest, groups: Sequence[Group]) -> Finding:
    """Which setting leaves no nodes, and what there is instead."""
    left, settings = list(groups), list(CRITERIA)
    while settings and (keep := [group for group in left if CRITERIA[settings[0]](pool, group)]):
        left, settings = keep, settings[1:]
    setting = settings[0]
    if setting == "accelerator" and pool.accelerator != "cpu" and all(each.accelerator == "cpu" for each in left):
        reason = "no node of the cluster offers accelerators"
        fix = "add nodes, install the GPU operator if they have some, or use accelerator: cpu:4"
    else:
        left.sort(key=lambda group: group.accelerator == "cpu")
        there = ", ".join(dict.fromkeys(f"{_told(setting, group)} ({len(group.nodes)} nodes)" for group in left))
        reason = f"no node of the cluster has it; there is {there or 'nothing'}"
        fix = "ask for one of those, or add nodes"
    value = getattr(pool, setting)
    asked = f"{pool.accelerator}:{pool.per_node}" if setting in ("accelerator", "per_node") and pool.per_node else value
    return Finding(Severity.ERROR, f"{pool.path}{setting}", str(asked), reason, fix)


def _told(setting: str, group: Group) -> str:
    """What a group has of a setting."""
    if setting == "machine":
        return group.machine.name if group.machine else "nodes without a known machine type"
    if setting in ("architecture", "capacity"):
        return str(getattr(group, setting))
    measures = {"vcpus": f"{group.cores} cores", "memory_gib": f"{group.memory_gib:g} GiB"}
    return measures.get(setting, str(group))


def _shares(group: Group, pools: Sequence[PoolRequest], nodes: Sequence[Node]) -> tuple[list[Matched], list[Finding]]:
    """The part of a group that each of the pools gets that want it: its own node pool, where there are such."""
    if len(pools) == 1:
        return [Matched(pools[0], group)], []
    left = list(node_groups.parts(group, nodes))
    shares: list[Matched] = []
    for pool in sorted(pools, key=lambda each: each.nodes, reverse=True):
        enough = [part for part in left if len(part.usable) >= pool.nodes]
        if not enough:
            return [Matched(pool, group) for pool in pools], [_label_them(group, pools)]
        best = min(enough, key=lambda part: len(part.usable))
        left.remove(best)
        shares.append(Matched(pool, best))
    return shares, []


def _label_them(group: Group, pools: Sequence[PoolRequest]) -> Finding:
    """The error that pools want the same nodes, with the commands that part them, where there are enough."""
    wanted = sum(pool.nodes for pool in pools)
    usable = list(group.usable)
    path, value = f"{pools[-1].path}nodes", str(pools[-1].nodes)
    names = ", ".join(pool.name for pool in pools)
    if wanted > len(usable):
        reason = f"pools {names} want {wanted} nodes of {group} together, and {len(usable)} are ready"
        return Finding(Severity.ERROR, path, value, reason, "ask for fewer, or add nodes")
    commands: list[str] = []
    for pool in pools:
        mine, usable = usable[: pool.nodes], usable[pool.nodes :]
        commands.append(f"kubectl label nodes {' '.join(mine)} {POOL_LABEL}={pool.name}")
    reason = f"pools {names} want nodes of {group}, which nothing tells apart"
    return Finding(Severity.ERROR, path, value, reason, " && ".join(commands))


def _enough(matched: Matched) -> list[Finding]:
    pool, group = matched.request, matched.group
    usable = len(group.usable)
    if usable >= pool.nodes:
        return []
    away = [node.name for node in group.nodes if not node.usable]
    idle = f"; not ready or cordoned: {some(away)}" if away else ""
    reason = f"the cluster has {usable} nodes of {group} that are ready{idle}"
    if usable >= pool.min_nodes:
        fix = "nothing need be done if the cluster starts nodes by itself; else lower nodes"
        return [Finding(Severity.WARNING, f"{pool.path}nodes", str(pool.nodes), reason, fix)]
    fix = f"ask for {usable} or fewer, or add nodes" if usable else "add nodes, or have these mended"
    return [Finding(Severity.ERROR, f"{pool.path}nodes", str(pool.nodes), reason, fix)]


def _told_apart(matched: Matched) -> list[Finding]:
    pool, group = matched.request, matched.group
    if group.selector is not None:
        return []
    names = [node.name for node in group.nodes]
    reason = f"no label tells its nodes ({some(names)}) from all others"
    fix = f"kubectl label nodes {' '.join(names)} {POOL_LABEL}={pool.name}"
    return [Finding(Severity.ERROR, pool.path.rstrip(".") or "pools", pool.name, reason, fix)]


def _spot(matched: Matched) -> list[Finding]:
    pool, group = matched.request, matched.group
    if group.capacity == pool.capacity:
        return []
    reason = f"the nodes ({some(group.usable)}) are {group.capacity}: they can be reclaimed at any time"
    fix = "set capacity: spot to say that this is meant"
    return [Finding(Severity.WARNING, f"{pool.path}capacity", pool.capacity, reason, fix)]
