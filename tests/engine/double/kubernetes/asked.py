"""What annotations ask of the provider: `pulumi.com/waitFor`, `skipAwait`, `timeoutSeconds` and the like.

https://www.pulumi.com/registry/packages/kubernetes/installation-configuration/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from tests.engine.double.kubernetes.api import Object
from tests.engine.double.types import Refusal

AUTONAMED = "pulumi.com/autonamed"
PATIENCE = 600.0
"""Seconds until the provider gives up waiting where nothing else is said."""
_STEP = re.compile(
    r"""\.?(?P<name>[\w-]+)|\[(?P<index>\d+)\]|\[(?P<all>\*)\]|\[['"](?P<key>[^'"]+)['"]\]"""
    r"""|\[\?\(?\s*@\.(?P<member>[\w.-]+)\s*==\s*['"](?P<text>[^'"]*)['"]\s*\)?\]"""
)


def of(inputs: Mapping[str, Any], name: str) -> str:
    """The value of annotation `pulumi.com/<name>`; empty without it."""
    about = inputs.get("metadata")
    found = about.get("annotations") if isinstance(about, dict) else None
    value = found.get(f"pulumi.com/{name}", "") if isinstance(found, dict) else ""
    return value if isinstance(value, str) else ""


def patience(inputs: Mapping[str, Any], timeout: float) -> float:
    """Seconds to wait: the resource's `custom_timeouts`, else its annotation, else ten minutes."""
    asked = of(inputs, "timeoutSeconds")
    return timeout or (float(asked) if asked.isdecimal() else PATIENCE)


def unmet(wanted: str, live: Object) -> list[str]:
    """Which of the conditions of a `waitFor` annotation do not hold.

    Args:
        wanted: `jsonpath=<expression>[=<value>]`, `condition=<type>[=<status>]`, or a JSON list of those.

    Raises:
        Refusal: it is none of these, or its JSONPath goes beyond names, indexes, `[*]` and equality filters.
    """
    try:
        listed = json.loads(wanted)
    except ValueError:
        listed = [wanted]
    if not isinstance(listed, list) or not listed:
        raise Refusal("InvalidAnnotation", f"pulumi.com/waitFor must hold at least one condition: {wanted}")
    return [f"waiting for {one}" for one in listed if not _holds(one, live)]


def _holds(wanted: Any, live: Object) -> bool:
    how, _, what = str(wanted).partition("=")
    if how == "condition":
        kind, _, status = what.partition("=")
        return _condition(kind, status or "True", live)
    if how != "jsonpath":
        raise Refusal("InvalidAnnotation", f"pulumi.com/waitFor: expected jsonpath=… or condition=…, got {wanted}")
    expression, value = _split(what)
    found = list(_walk(live, expression))
    return any(_text(one) == value for one in found) if value is not None else bool(found)


def _condition(kind: str, status: str, live: Object) -> bool:
    for one in live.get("status", {}).get("conditions") or []:
        if one["type"].lower() == kind.lower():
            seen = one.get("observedGeneration")
            current = seen is None or seen >= live["metadata"].get("generation", 0)
            return current and one["status"].lower() == status.lower()
    return False


def _split(what: str) -> tuple[str, str | None]:
    """An expression in braces or without, and the value that it must have."""
    what = what.strip("'\"") if what.startswith(("'", '"')) and what.endswith(what[0]) else what
    if what.startswith("{"):
        expression, _, rest = what[1:].rpartition("}")
        return expression, rest[1:].strip("'\"") if rest.startswith("=") else None
    bare = re.fullmatch(r"(?P<path>(?:\[[^\]]*\]|[^=\[])*)(?:=(?P<value>.*))?", what)
    return (bare["path"], bare["value"]) if bare else (what, None)


def _walk(live: Any, expression: str) -> Iterator[Any]:
    steps, place = [], 1 if expression.startswith("$") else 0
    while place < len(expression):
        match = _STEP.match(expression, place)
        if match is None:
            raise Refusal("InvalidAnnotation", f"pulumi.com/waitFor: the double cannot read {expression[place:]!r}")
        steps.append(match)
        place = match.end()
    found = [live]
    for step in steps:
        found = [one for value in found for one in _step(value, step)]
    yield from found


def _step(value: Any, step: re.Match[str]) -> list[Any]:
    if isinstance(value, dict):
        name = step["name"] or step["key"]
        return [value[name]] if name in value else list(value.values()) if step["all"] else []
    if not isinstance(value, list):
        return []
    if step["all"]:
        return value
    if step["index"]:
        return value[int(step["index"]) :][:1]
    return [one for one in value if step["member"] and _text(_member(one, step["member"])) == step["text"]]


def _member(value: Any, dotted: str) -> Any:
    for name in dotted.split("."):
        value = value.get(name) if isinstance(value, dict) else None
    return value


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
