"""What changed between two sets of inputs, with property paths in the engine's syntax."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from pulumi.runtime.proto import provider_pb2

from tests.engine.double import wire

Kind = provider_pb2.PropertyDiff.Kind


def changes(old: Any, new: Any, *steps: str | int) -> Iterator[tuple[tuple[str | int, ...], Kind.ValueType]]:
    """Every path at which the two differ, as its steps, and whether something was added, deleted or updated there."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted({*old, *new}):
            if key not in old:
                yield (*steps, key), Kind.ADD
            elif key not in new:
                yield (*steps, key), Kind.DELETE
            else:
                yield from changes(old[key], new[key], *steps, key)
    elif isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        for index, (before, after) in enumerate(zip(old, new, strict=True)):
            yield from changes(before, after, *steps, index)
    elif old != new:
        yield steps, Kind.UPDATE


def answer(
    old: dict[str, Any], new: dict[str, Any], replacing: Sequence[str], ignoring: Sequence[str] = ()
) -> provider_pb2.DiffResponse:
    """The answer to Diff.

    Args:
        replacing: the properties that cannot change in place; `block.member` means that member alone.
        ignoring: paths, in the engine's syntax, below which nothing counts as changed.
    """
    detailed: dict[str, provider_pb2.PropertyDiff] = {}
    replaces: set[str] = set()
    for steps, kind in changes(wire.reveal(old), wire.reveal(new)):
        if any(re.match(rf"{re.escape(path)}(?![^.\[])", wire.path(*steps)) for path in ignoring):
            continue
        if _replaces(steps, replacing):
            replaces.add(str(steps[0]))
            kind = Kind.Value(f"{Kind.Name(kind)}_REPLACE")
        detailed[wire.path(*steps)] = provider_pb2.PropertyDiff(kind=kind, inputDiff=True)
    return provider_pb2.DiffResponse(
        changes=provider_pb2.DiffResponse.DIFF_SOME if detailed else provider_pb2.DiffResponse.DIFF_NONE,
        replaces=sorted(replaces),
        diffs=sorted({re.split(r"[.\[]", path)[0] for path in detailed}),
        detailedDiff=detailed,
        hasDetailedDiff=True,
    )


def _replaces(steps: tuple[str | int, ...], replacing: Sequence[str]) -> bool:
    """Whether a change here lies within, or takes with it, something that cannot change in place."""
    names = [step for step in steps if isinstance(step, str)]
    return any(all(a == b for a, b in zip(names, fixed.split("."), strict=False)) for fixed in replacing)
