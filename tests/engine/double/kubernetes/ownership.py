"""Who owns which fields of an object, as server-side apply keeps account of it in `metadata.managedFields`."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from typing import Any

from tests.engine.double.kubernetes.api import CREATOR, Object

_TAKEN = (
    ("kubectl", ("Apply", "Update")),
    ("before-first-apply", ("Update",)),
    (CREATOR, ("Update",)),
)
"""Managers whose fields the provider makes its own with every update, by the beginning of their names. So what someone
changed with `kubectl edit` is set back, and what a controller changed is a conflict."""


def takeover(live: Object, manager: str) -> list[Object]:
    """A JSON patch that gives one manager what kubectl and the creation left behind; empty where there is nothing."""
    entries: list[Object] = live["metadata"].get("managedFields") or []
    taken = [one for one in entries if _ours(one, manager)]
    if not any(one["manager"] != manager or one["operation"] != "Apply" for one in taken):
        return []
    fields: Object = {}
    for one in taken:
        fields = _union(fields, one["fieldsV1"])
    mine = {**taken[0], "manager": manager, "operation": "Apply", "fieldsV1": fields}
    kept = [one for one in entries if not _ours(one, manager)]
    return [
        {"op": "test", "path": "/metadata/resourceVersion", "value": live["metadata"]["resourceVersion"]},
        {"op": "replace", "path": "/metadata/managedFields", "value": [mine, *kept]},
    ]


def forced(live: Object) -> bool:
    """Whether a dry run must not mind conflicts, since the takeover only comes with the real update."""
    entries = live["metadata"].get("managedFields") or []
    return not entries or any(one["manager"] == CREATOR and one["operation"] == "Update" for one in entries)


def without_ignored(inputs: Object, live: Object, manager: str, ignored: Iterable[str]) -> Object:
    """What to apply where the program ignores changes of some properties.

    A property that someone else owns (replicas, by an autoscaler) is left out; one that is ours or nobody's keeps its
    live value, since leaving it out would take it away.
    """
    made = copy.deepcopy(inputs)
    for path in ignored:
        steps = path.split(".")
        owners = {one["manager"] for one in live["metadata"].get("managedFields") or [] if _owns(one, steps)}
        inner: Any = made
        for step in steps[:-1]:
            inner = inner.get(step) if isinstance(inner, dict) else None
        if not isinstance(inner, dict):
            continue
        found = list(_values(live, steps))
        if owners and manager not in owners:
            inner.pop(steps[-1], None)
        elif found:
            inner[steps[-1]] = found[0]
    return made


def _ours(entry: Object, manager: str) -> bool:
    if entry.get("subresource"):
        return False
    name, operation = entry["manager"], entry["operation"]
    return (name, operation) == (manager, "Apply") or any(
        name.startswith(prefix) and operation in operations
        for prefix, operations in _TAKEN
        if prefix != CREATOR or name == CREATOR
    )


def _owns(entry: Object, steps: list[str]) -> bool:
    fields: Any = entry.get("fieldsV1", {})
    for step in steps:
        fields = fields.get(f"f:{step}") if isinstance(fields, dict) else None
    return fields is not None


def _union(one: Object, other: Object) -> Object:
    both = {key: _union(one[key], other[key]) for key in one.keys() & other.keys()}
    return {**one, **other, **both}


def _values(live: Any, steps: list[str]) -> Iterator[Any]:
    for step in steps:
        if not isinstance(live, dict) or step not in live:
            return
        live = live[step]
    yield live
