"""How Pulumi's shapes become the API's: what a `Put` sends a property through."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tests.engine.double.judge import Node, Put, Target, lift, lower
from tests.engine.double.wire import UNKNOWN

Shaping = Callable[[Node], Node]


def pairs(key: str = "Key", value: str = "Value") -> Shaping:
    """A map into a list of structures: `{"a": "b"}` into `[{Key: a, Value: b}]`."""

    def shape(node: Node) -> Node:
        if not isinstance(node.value, dict):
            return node
        entries = sorted(node.value.items())
        return Node(
            node.steps, [Node(item.steps, {key: Node(item.steps, name), value: item}) for name, item in entries]
        )

    return shape


def block(**names: Target | None) -> Shaping:
    """Renames members of a structure, or of each structure in a list.

    Names that are not given stay, and meet the API's member of the same name apart from case. A `Put` may shape further
    and move deeper; None drops a member that is the provider's own.
    """

    def shape(node: Node) -> Node:
        if isinstance(node.value, list):
            return Node(node.steps, [item if item.value is UNKNOWN else shape(item) for item in node.value])
        if not isinstance(node.value, dict):
            return node
        tree: dict[str, Node] = {}
        for name, item in node.value.items():
            target = names.get(name, name)
            if target is None:
                continue
            put = Put(target) if isinstance(target, str) else target
            shaped = put.through(item) if put.through and item.value is not UNKNOWN else item
            place = tree
            *outer, last = put.target.split(".")
            for step in outer:
                place = place.setdefault(step, Node(item.steps, {})).value
            place[last] = shaped
        return Node(node.steps, tree)

    return shape


def one(node: Node) -> Node:
    """A list of one into what it holds."""
    return node.value[0] if isinstance(node.value, list) and len(node.value) == 1 else node


def many(node: Node) -> Node:
    """A single thing into a list of one."""
    return Node(node.steps, [node])


def within(member: str) -> Shaping:
    """Every item of a list into a structure that holds it: `["10.0.0.0/8"]` into `[{CidrIp: 10.0.0.0/8}]`."""

    def shape(node: Node) -> Node:
        return Node(node.steps, [Node(item.steps, {member: item}) for item in node.value])

    return shape


def flag(node: Node) -> Node:
    """`"true"` into true: where the SDK takes a string for a boolean."""
    return Node(node.steps, {"true": True, "false": False}.get(node.value, node.value))


def text(node: Node) -> Node:
    """A number into a string."""
    return Node(node.steps, str(node.value)) if isinstance(node.value, int | float) else node


def number(node: Node) -> Node:
    """A string of digits into a number."""
    return Node(node.steps, int(node.value)) if isinstance(node.value, str) and node.value.isdecimal() else node


def chain(*steps: Shaping) -> Shaping:
    """One shaping after the other."""

    def shape(node: Node) -> Node:
        for step in steps:
            node = node if node.value is UNKNOWN else step(node)
        return node

    return shape


def plain(function: Callable[[Any], Any]) -> Shaping:
    """A function of the plain value, which may hold `UNKNOWN`; what it makes is blamed on the whole property."""

    def blame(node: Node, steps: tuple[str | int, ...]) -> Node:
        if isinstance(node.value, dict):
            return Node(steps, {key: blame(item, steps) for key, item in node.value.items()})
        if isinstance(node.value, list):
            return Node(steps, [blame(item, steps) for item in node.value])
        return Node(steps, node.value)

    def shape(node: Node) -> Node:
        return blame(lift(function(lower(node))), node.steps)

    return shape
