"""Neutral accelerator names: `NAME` or `NAME:COUNT`, the count per node."""

from dataclasses import dataclass
from functools import cache

from accelstack.plan import tables
from accelstack.plan.findings import nearest


@dataclass(frozen=True, slots=True)
class Kind:
    """An accelerator of one form."""

    name: str
    kind: str
    """`gpu`, `tpu` or `cpu`."""
    vendor: str
    memory_gib: float | None
    driver: str
    """Lowest driver branch that knows it, such as `570`; empty where there is no driver."""
    resource: str
    """Extended resource that a pod asks for."""


KINDS = {
    row["name"]: Kind(
        row["name"], row["kind"], row["vendor"], tables.number(row["memory_gib"]), row["driver"], row["resource"]
    )
    for row in tables.rows("accelerators")
}
FAMILIES = tuple(
    dict.fromkeys(base for base in (name.rpartition("-")[0] for name in KINDS) if base and base not in ("TPU", "RTX"))
)
"""Names that stand for several forms: `A100` for `A100-40` and `A100-80`."""
NAMES = (*KINDS, *FAMILIES)


@dataclass(frozen=True)
class Accelerator:
    """A neutral name and, where it was given, a count per node."""

    name: str
    per_node: int | None


def parse(text: str) -> Accelerator:
    """The accelerator that `NAME` or `NAME:COUNT` names.

    Raises:
        ValueError: the name is unknown or the count is no whole number above 0; the message names the fix.
    """
    name, colon, count = text.partition(":")
    if name not in NAMES:
        near = nearest(name, NAMES) or NAMES
        raise ValueError(f"{name!r} is no known accelerator; did you mean {' or '.join(near)}?")
    if not colon:
        return Accelerator(name, None)
    if not count.isdecimal() or int(count) < 1:
        raise ValueError(f"{text!r} has the count {count!r}; write {name}:N with a whole number N of 1 or more")
    return Accelerator(name, int(count))


@cache
def forms(name: str) -> tuple[str, ...]:
    """The forms that a name stands for: itself, or those of its family."""
    return (name,) if name in KINDS else tuple(form for form in KINDS if form.rpartition("-")[0] == name)
