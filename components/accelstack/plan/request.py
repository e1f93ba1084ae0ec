"""What a user asks of a plan, read from settings or options, every mistake of form found at once."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from accelstack.plan import accelerators, inside, platform, readers
from accelstack.plan.findings import Finding, Severity, one_of
from accelstack.plan.inside import Inside
from accelstack.plan.machines import CLOUDS, machines
from accelstack.plan.platform import Platform
from accelstack.plan.readers import AMOUNT, TEXT, VERSIONS, WHOLE, WORDS, Keys

CAPACITY = ("on_demand", "spot", "reservation", "block", "flex_start")
FABRICS = ("auto", "none", "efa", "tcpx", "tcpxo", "roce", "roce-metal", "infiniband", "ici")
ARCHITECTURES = ("any", "x86_64", "arm64")
SYSTEM = "system"
"""Name of the pool for what runs the cluster itself; it takes nothing from the stack's own settings."""
POOL_NAME = r"[a-z]([a-z0-9-]*[a-z0-9])?"


@dataclass(frozen=True, slots=True)
class PoolRequest:
    """Nodes of one accelerator, as asked for."""

    name: str
    path: str
    """What the names of its settings begin with: empty, or `pools.<name>.`."""
    accelerator: str
    per_node: int
    """Accelerators on each node; 0 for as many as the machine has, where there is only one such count."""
    nodes: int
    """Most nodes."""
    min_nodes: int
    """Fewest nodes, 0 to scale to zero."""
    capacity: str
    zones: tuple[str, ...]
    fabric: str
    """`auto` takes what the machine has; a name demands it."""
    architecture: str
    """What the container images are built for, or `any`."""
    machine: str
    """A machine type by the cloud's own name, for a reservation that is of that type; empty to let the plan choose."""
    vcpus: int
    """Least vCPUs of a node."""
    memory_gib: float
    """Least main memory of a node."""
    reservation: str
    """Id or name of the reservation or block; empty if none."""
    placement_group: str
    """Existing placement group to use: that in which the reservation was made; empty if none."""


@dataclass(frozen=True, slots=True)
class Request:
    """A stack, as asked for."""

    target: str
    region: str
    name: str
    pools: tuple[PoolRequest, ...]
    versions: dict[str, str]
    """Versions that the user fixes, by component (`kubernetes`, `driver`, `kueue`, …)."""
    cidr: str
    """Address range of the network."""
    budget: float
    """Most USD a month; 0 for no limit."""
    storage_gib: float
    """GiB kept in object storage, for the estimate."""
    egress_gib: float
    """GiB sent to the internet a month, for the estimate."""
    platform: Platform
    inside: Inside = inside.USUAL


MOST = 100_000
"""Nodes, vCPUs and the like that anyone could mean: no managed cluster has more nodes."""


POOL_KEYS: Keys = {
    "accelerator": (TEXT, None),
    "per_node": (WHOLE, 0),
    "nodes": (WHOLE, 1),
    "min_nodes": (WHOLE, None),
    "capacity": (TEXT, "on_demand"),
    "zones": (WORDS, ()),
    "fabric": (TEXT, "auto"),
    "architecture": (TEXT, "any"),
    "machine": (TEXT, ""),
    "vcpus": (WHOLE, 0),
    "memory_gib": (AMOUNT, 0.0),
    "reservation": (TEXT, ""),
    "placement_group": (TEXT, ""),
}
"""Settings of a pool, with their defaults; a pool of `pools` takes what it leaves out from the stack's own."""
STACK_KEYS: Keys = {
    "target": (TEXT, None),
    "region": (TEXT, ""),
    "name": (TEXT, "accelstack"),
    "versions": (VERSIONS, {}),
    "cidr": (TEXT, "10.0.0.0/16"),
    "budget": (AMOUNT, 0.0),
    "storage_gib": (AMOUNT, 0.0),
    "egress_gib": (AMOUNT, 0.0),
}


KEYS = (*STACK_KEYS, *platform.KEYS, *inside.KEYS, *POOL_KEYS, "pools")
"""All that a plan can be given."""
SETTINGS = tuple(key for key in KEYS if key != "name")
"""What a stack's files may set; its name is that of project and stack."""


def check_keys(given: Mapping[str, Any]) -> list[Finding]:
    """The findings of settings that no plan knows."""
    return [finding for key in given if (finding := one_of(str(key), str(key), KEYS, "setting of a plan"))]


def parse(given: Mapping[str, Any], targets: Sequence[str] = CLOUDS) -> tuple[Request | None, list[Finding]]:
    """The request that settings make, and what is wrong with their form; None where no pool or target is left.

    Args:
        targets: those that the settings may name.
    """
    findings = check_keys(given)
    stack = readers.defaults(STACK_KEYS) | readers.read(given, STACK_KEYS, "", findings)
    around = readers.defaults(platform.KEYS) | readers.read(given, platform.KEYS, "", findings)
    within = readers.defaults(inside.KEYS) | readers.read(given, inside.KEYS, "", findings)
    shared = readers.read(given, POOL_KEYS, "", findings)
    asked = [
        pool
        for name, own in _tables(given.get("pools"), findings).items()
        if (pool := _pool(name, own, {} if name == SYSTEM else shared, findings))
    ]
    target = stack["target"]
    if target is None:
        findings.append(Finding(Severity.INVALID, "target", "", "is not given", f"use one of: {', '.join(targets)}"))
    elif wrong := one_of("target", target, targets, "target with machine tables"):
        findings.append(wrong)
    known = list(dict.fromkeys(findings))  # what several pools inherit is told once
    return (
        Request(pools=tuple(asked), platform=Platform(**around), inside=Inside(**within), **stack)
        if asked and target in targets
        else None
    ), known


def _tables(pools: Any, findings: list[Finding]) -> dict[str, Mapping[str, Any] | None]:
    """The settings of each pool by its name; of the one pool that a stack without `pools` has, under no name."""
    if not pools:
        return {"": None}
    if not isinstance(pools, Mapping):
        fix = "use a table such as {train: {accelerator: H100:8}}"
        findings.append(Finding(Severity.INVALID, "pools", repr(pools), "is no table of pools by name", fix))
        return {}
    tables: dict[str, Mapping[str, Any] | None] = {}
    for name, own in cast(Mapping[Any, Any], pools).items():
        if not isinstance(name, str) or not re.fullmatch(POOL_NAME, name):
            fix = "use small letters, digits and hyphens, a letter first"
            findings.append(Finding(Severity.INVALID, "pools", repr(name), "is no name of a pool", fix))
        elif not isinstance(own, Mapping):
            fix = "use one such as {accelerator: H100:8}"
            findings.append(Finding(Severity.INVALID, f"pools.{name}", repr(own), "is no table of settings", fix))
        else:
            tables[name] = cast(Mapping[str, Any], own)
    return tables


def _pool(
    name: str, own: Mapping[str, Any] | None, shared: dict[str, Any], findings: list[Finding]
) -> PoolRequest | None:
    """The request for one pool, which takes what it leaves out from the stack's own settings."""
    path = f"pools.{name}." if name else ""
    own = own or {}
    for key in own:
        if wrong := one_of(f"{path}{key}", str(key), POOL_KEYS, "setting of a pool"):
            findings.append(wrong)
    mine = readers.read(own, POOL_KEYS, path, findings)
    values = readers.defaults(POOL_KEYS) | shared | mine

    def wrong_value(key: str, rule: str, fix: str) -> None:
        value = "" if values[key] is None else str(values[key])
        findings.append(
            Finding(Severity.INVALID, f"{path if key in own or key not in shared else ''}{key}", value, rule, fix)
        )

    if not values["accelerator"]:
        wrong_value("accelerator", "is not given", "name one, such as H100:8; `accelstack gpus` lists them")
        return None
    try:
        accelerator = accelerators.parse(values["accelerator"])
    except ValueError as error:
        found = [machine for cloud in CLOUDS for machine in machines(cloud) if machine.name == values["accelerator"]]
        if found:
            asked = f"{found[0].accelerator}:{found[0].per_node}"
            wrong_value("accelerator", f"is a machine type, which has {asked}", f"ask for {asked}")
        else:
            rule, _, fix = str(error).partition("; ")
            wrong_value("accelerator", rule.partition(" ")[2], f"{fix} `accelstack gpus` lists them")
        return None
    if name == SYSTEM and accelerator.name != "cpu":
        wrong_value("accelerator", "is not for the nodes that run the cluster itself", "use cpu:4 or more")
    if accelerator.per_node:
        counted = values["per_node"] if "accelerator" not in mine or "per_node" in mine else 0
        if counted not in (0, accelerator.per_node):
            wrong_value("per_node", f"contradicts accelerator {values['accelerator']}", "give the count once")
        values["per_node"] = accelerator.per_node
    values["accelerator"] = accelerator.name
    for key, known, what in (
        ("capacity", CAPACITY, "capacity type"),
        ("fabric", FABRICS, "fabric"),
        ("architecture", ARCHITECTURES, "architecture"),
    ):
        if wrong := one_of(key, values[key], known, what):
            wrong_value(key, wrong.rule, wrong.fix)
            values[key] = POOL_KEYS[key][1]
    if values["min_nodes"] is None:
        values["min_nodes"] = 0 if values["capacity"] == "flex_start" else values["nodes"]
    for key, least in (("nodes", 1), ("min_nodes", 0), ("per_node", 0), ("vcpus", 0)):
        if not least <= values[key] <= MOST:
            wrong_value(key, f"is not between {least} and {MOST:,}", "use a number between them")
            values[key] = least
    if values["min_nodes"] > values["nodes"]:
        wrong_value("min_nodes", f"is more than the {values['nodes']} nodes", "raise nodes, or lower min_nodes")
    return PoolRequest(name=name or ("cpu" if accelerator.name == "cpu" else "gpu"), path=path, **values)
