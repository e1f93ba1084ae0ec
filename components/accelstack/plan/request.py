"""What a user asks of a plan, read from settings or options, every mistake of form found at once."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from accelstack.plan import accelerators
from accelstack.plan.findings import Finding, Severity, one_of
from accelstack.plan.machines import CLOUDS

CAPACITY = ("on_demand", "spot", "reservation", "block", "flex_start")
FABRICS = ("auto", "none", "efa", "tcpx", "tcpxo", "roce", "infiniband", "ici")
ARCHITECTURES = ("any", "x86_64", "arm64")


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
    versions: dict[str, str] = field(default_factory=dict[str, str])
    """Versions that the user fixes, by component (`kubernetes`, `driver`, `kueue`, …)."""
    cidr: str = "10.0.0.0/16"
    """Address range of the network."""
    budget: float = 0
    """Most USD a month; 0 for no limit."""
    storage_gib: float = 0
    """GiB kept in object storage, for the estimate."""
    egress_gib: float = 0
    """GiB sent to the internet a month, for the estimate."""


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _amount(value: Any) -> float:
    amount = float(value)
    if isinstance(value, bool) or not 0 <= amount < float("inf"):
        raise ValueError
    return amount


def _words(value: Any) -> tuple[str, ...]:
    words: Sequence[Any] = value.replace(",", " ").split() if isinstance(value, str) else value
    if not all(isinstance(word, str) for word in words):
        raise ValueError
    return tuple(words)


def _text(value: Any) -> str:
    if isinstance(value, (dict, list)):
        raise ValueError
    return str(value)


def _versions(value: Any) -> dict[str, str]:
    return {_text(name): _text(version) for name, version in dict(value).items()}


Reader = tuple[Callable[[Any], Any], str]
TEXT: Reader = (_text, "a text")
WHOLE: Reader = (_whole, "a whole number")
AMOUNT: Reader = (_amount, "a number of 0 or more")
WORDS: Reader = (_words, "a list of names")
POOL_KEYS: dict[str, tuple[Reader, Any]] = {
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
STACK_KEYS: dict[str, tuple[Reader, Any]] = {
    "target": (TEXT, None),
    "region": (TEXT, ""),
    "name": (TEXT, "accelstack"),
    "versions": ((_versions, "names with versions"), {}),
    "cidr": (TEXT, "10.0.0.0/16"),
    "budget": (AMOUNT, 0.0),
    "storage_gib": (AMOUNT, 0.0),
    "egress_gib": (AMOUNT, 0.0),
}


def parse(given: Mapping[str, Any]) -> tuple[Request | None, list[Finding]]:
    """The request that settings make, and what is wrong with their form; None where no pool or target is left."""
    findings: list[Finding] = []
    stack = _read(given, STACK_KEYS, "", findings)
    pools: Any = given.get("pools") or {}
    if not isinstance(pools, Mapping):
        findings.append(
            Finding(Severity.INVALID, "pools", repr(pools), "is no table of pools by name", 'use {"train": {…}, …}')
        )
        pools = {}
    asked: list[PoolRequest] = []
    entries: dict[str, Any] = dict(pools) if pools else {"": {}}  # pyright: ignore[reportUnknownArgumentType]
    for name, entry in entries.items():
        path = f"pools.{name}." if name else ""
        if not isinstance(entry, Mapping):
            findings.append(
                Finding(Severity.INVALID, path[:-1], repr(entry), "is no table of settings", "use {accelerator: …}")
            )
            continue
        own: dict[str, Any] = dict(entry)  # pyright: ignore[reportUnknownArgumentType]
        findings += [finding for key in own if (finding := one_of(f"{path}{key}", key, POOL_KEYS, "setting of a pool"))]
        inherited = {key: value for key, value in given.items() if key in POOL_KEYS}
        pool = _pool(name, path, _read({**inherited, **own}, POOL_KEYS, path, findings), findings)
        if pool is not None:
            asked.append(pool)
    target = stack["target"] or ""
    wrong_target = one_of("target", target, CLOUDS, "target with machine tables")
    if wrong_target:
        findings.append(wrong_target)
    if wrong_target or not asked:
        return None, findings
    return Request(pools=tuple(asked), **stack), findings


def _pool(name: str, path: str, values: dict[str, Any], findings: list[Finding]) -> PoolRequest | None:
    values["min_nodes"] = values["nodes"] if values["min_nodes"] is None else values["min_nodes"]
    text = values["accelerator"] or ""
    try:
        accelerator = accelerators.parse(text)
    except ValueError as error:
        findings.append(Finding(Severity.INVALID, f"{path}accelerator", text, str(error), "see `accelstack gpus`"))
        return None
    if accelerator.per_node:
        if values["per_node"] not in (0, accelerator.per_node):
            findings.append(
                Finding(
                    Severity.INVALID,
                    f"{path}per_node",
                    str(values["per_node"]),
                    f"contradicts accelerator {text}",
                    "give the count once",
                )
            )
        values["per_node"] = accelerator.per_node
    values["accelerator"] = accelerator.name
    for key, known, what in (
        ("capacity", CAPACITY, "capacity type"),
        ("fabric", FABRICS, "fabric"),
        ("architecture", ARCHITECTURES, "architecture"),
    ):
        wrong = one_of(f"{path}{key}", values[key], known, what)
        if wrong:
            findings.append(wrong)
            values[key] = POOL_KEYS[key][1]
    for key, least in (("nodes", 1), ("min_nodes", 0), ("per_node", 0), ("vcpus", 0)):
        if values[key] < least:
            findings.append(
                Finding(Severity.INVALID, f"{path}{key}", str(values[key]), f"is below {least}", f"use {least} or more")
            )
            values[key] = least
    if values["min_nodes"] > values["nodes"]:
        findings.append(
            Finding(
                Severity.INVALID,
                f"{path}min_nodes",
                str(values["min_nodes"]),
                f"is more than the {values['nodes']} nodes",
                "raise nodes, or lower min_nodes",
            )
        )
    return PoolRequest(name=name or ("cpu" if accelerator.name == "cpu" else "gpu"), path=path, **values)


def _read(
    given: Mapping[str, Any], keys: dict[str, tuple[Reader, Any]], path: str, findings: list[Finding]
) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for key, ((convert, description), default) in keys.items():
        values[key] = default
        if given.get(key) is None:
            continue
        try:
            values[key] = convert(given[key])
        except (TypeError, ValueError, OverflowError):
            findings.append(
                Finding(
                    Severity.INVALID, f"{path}{key}", repr(given[key]), f"is not {description}", f"use {description}"
                )
            )
    return values
