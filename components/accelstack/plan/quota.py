"""What a plan needs of an account's quotas, in the cloud's own units, and whether the account has it."""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from accelstack.plan import tables
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.machines import Machine


@dataclass(frozen=True, slots=True)
class Need:
    """So many units of one quota."""

    target: str
    region: str
    service: str
    quota: str
    """The quota's code or name, as the cloud's API gives it."""
    title: str
    unit: str
    """`vcpus`, `gpus`, `chips`, `machines` or `networks`."""
    scope: str
    """`region` or `global`."""
    amount: int
    pools: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Limit:
    """What an account may have of a quota, and has in use; None where that could not be read."""

    limit: float
    used: float | None


def needs(target: str, region: str, pools: Iterable[tuple[str, Machine, str, int]]) -> list[Need]:
    """The quotas that pools (name, machine type, capacity type, nodes) need with all nodes running."""
    amounts: dict[tuple[str, str], int] = defaultdict(int)
    names: dict[tuple[str, str], list[str]] = defaultdict(list)
    facts: dict[tuple[str, str], dict[str, str]] = {}
    for name, machine, capacity, nodes in pools:
        for row in tables.rows("quotas"):
            if (row["target"], row["capacity"]) != (target, capacity) or row["family"] not in ("*", machine.family):
                continue
            key = (row["service"], row["quota"])
            per_node = {"vcpus": machine.vcpus, "gpus": machine.per_node, "chips": machine.per_node, "machines": 1}
            amounts[key] += per_node[row["unit"]] * nodes
            names[key].append(name)
            facts[key] = row
    return [
        Need(
            target,
            region,
            *key,
            title=facts[key]["title"],
            unit=facts[key]["unit"],
            scope=facts[key]["scope"],
            amount=amount,
            pools=tuple(names[key]),
        )
        for key, amount in amounts.items()
    ]


def networks(target: str, region: str, extra: Mapping[str, int]) -> list[Need]:
    """The quota of networks, where pools need networks of their own beside the cluster's."""
    pools = tuple(name for name, count in extra.items() if count)
    if target != "gcp" or not pools:
        return []
    amount = 1 + sum(extra.values())
    return [Need(target, region, "compute.googleapis.com", "NETWORKS", "NETWORKS", "networks", "global", amount, pools)]


def unnamed(target: str, pools: Iterable[tuple[str, Machine, str, int]]) -> list[Finding]:
    """A warning for each pool whose quota no source names. Blocks and calendar reservations take none."""
    named = {(row["family"], row["capacity"]) for row in tables.rows("quotas") if row["target"] == target}
    return [
        Finding(
            Severity.WARNING,
            "quota",
            f"{machine.name} as {capacity}",
            f"no source names the quota that pool {name} takes",
            "look for it in the cloud's console before you begin",
        )
        for name, machine, capacity, _ in pools
        if capacity not in ("block", "reservation") and (machine.family, capacity) not in named
    ]


def compare(wanted: Iterable[Need], limits: Mapping[str, Limit]) -> list[Finding]:
    """The findings of an account's limits, by quota; a limit that was not read is a warning."""
    found: list[Finding] = []
    for need in wanted:
        path = f"quota.{need.quota}"
        value = f"{need.amount:,} {need.unit} for {', '.join(need.pools)}"
        limit = limits.get(need.quota)
        if limit is None:
            reason = f"the account's limit of {need.title} in {need.region} could not be read"
            found.append(Finding(Severity.WARNING, path, value, reason, "look at it in the cloud's console"))
        elif limit.limit - (limit.used or 0) < need.amount:
            used = "" if limit.used is None else f", {limit.used:g} of them in use"
            reason = f"the account may have {limit.limit:g} {need.unit} of {need.title} in {need.region}{used}"
            fix = f"ask for {need.amount + (limit.used or 0):g} or more, or for fewer nodes"
            found.append(Finding(Severity.ERROR, path, value, reason, fix))
    return found
