"""AWS's own models, as botocore carries them, against what a resource's inputs become in the API's calls.

botocore checks types and required members before it sends; enums, patterns, lengths and ranges are left to the service.
So the shapes are walked here, with everything that they say.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from typing import Any

import botocore.session
from botocore.model import ListShape, MapShape, OperationModel, Shape, StructureShape

from tests.engine.double import patterns, wire
from tests.engine.double.types import Inputs, Problem
from tests.engine.double.wire import UNKNOWN


@dataclass(frozen=True)
class Node:
    """A value on its way into a call, and the Pulumi property that it comes from."""

    steps: tuple[str | int, ...]
    value: Any
    """A scalar, `UNKNOWN`, a dict of nodes or a list of nodes."""

    @property
    def path(self) -> str:
        """The property in the engine's syntax."""
        return wire.path(*self.steps)


def lift(value: Any, *steps: str | int) -> Node:
    """A plain value as a tree of nodes."""
    if isinstance(value, dict):
        return Node(steps, {key: lift(item, *steps, key) for key, item in value.items()})
    if isinstance(value, list):
        return Node(steps, [lift(item, *steps, index) for index, item in enumerate(value)])
    return Node(steps, value)


def lower(node: Node) -> Any:
    """The plain value of a tree of nodes."""
    if isinstance(node.value, dict):
        return {key: lower(item) for key, item in node.value.items()}
    return [lower(item) for item in node.value] if isinstance(node.value, list) else node.value


@dataclass(frozen=True)
class Put:
    """Where a property goes."""

    target: str
    """Path of API members, `VpcConfig.SubnetIds`, whose case does not matter; `Rules.0.Port`: in a list of one."""
    through: Callable[[Node], Node] | None = None
    """What happens on the way: see `shaping`; not applied to unknowns."""
    check: Callable[[Any], Iterator[str]] | None = None
    """What else must hold of the plain value, such as `policies.problems`; not applied to what holds unknowns."""


Target = str | Put


@dataclass(frozen=True)
class Call:
    """One API operation and the properties that end up in it."""

    operation: str
    """`ec2.CreateVpc`: botocore's name of the service, and the operation."""
    same: str = ""
    """Properties that go where the API's member has the same name apart from case, separated by blanks."""
    moved: Mapping[str, Target] = field(default_factory=dict[str, Target])
    """The others."""
    always: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Members that the provider fills in by itself; `UNKNOWN` for what only the created resource can tell."""

    @property
    def properties(self) -> frozenset[str]:
        """The Pulumi properties that the call takes."""
        return frozenset(self.same.split()) | frozenset(self.moved)

    def problems(self, inputs: Inputs) -> Iterator[Problem]:
        """What the model says against these inputs."""
        for name, put in self._puts.items():
            if put.check and name in inputs and wire.knows(inputs[name]):
                yield from (Problem(name, reason) for reason in put.check(inputs[name]))
        model = operation(self.operation)
        if model.input_shape is None:
            return
        names = {put.target.lower(): name for name, put in self._puts.items()}
        for problem in walk(model.input_shape, self._tree(inputs), skip=frozenset(model.idempotent_members)):
            where = problem.path or names.get(problem.reason.split(" ")[0].lower(), "")
            yield Problem(where, f"{self.operation}: {problem.reason}")

    def arguments(self, inputs: Inputs) -> dict[str, Any]:
        """The operation's parameters, in the API's own spelling."""
        shape = operation(self.operation).input_shape
        return spelled(shape, self._tree(inputs)) if shape is not None else {}

    @property
    def _puts(self) -> dict[str, Put]:
        targets: dict[str, Target] = {**{name: name for name in self.same.split()}, **self.moved}
        return {name: Put(target) if isinstance(target, str) else target for name, target in targets.items()}

    def _tree(self, inputs: Inputs) -> Node:
        """The operation's input, each value with the property that it comes from."""
        tree: dict[str, Node] = {}
        for member, value in self.always.items():
            _place(tree, member.split("."), lift(value))
        for name, put in self._puts.items():
            if name in inputs:
                given = lift(inputs[name], name)
                node = put.through(given) if put.through and given.value is not UNKNOWN else given
                _place(tree, put.target.split("."), node)
        return Node((), tree)


@cache
def operation(name: str) -> OperationModel:
    """The model of `service.Operation`."""
    service, called = name.split(".")
    return _model(service).operation_model(called)


@cache
def _model(service: str) -> Any:
    return botocore.session.get_session().get_service_model(service)


def _place(tree: dict[str, Node], target: list[str], node: Node) -> None:
    """Puts a node at a path, beside what other properties have put into the same structure or list."""
    first, *rest = target
    present = tree.get(first)
    if rest[:1] == ["0"]:
        element: dict[str, Node] = dict(present.value[0].value) if present else {}
        if rest[1:]:
            _place(element, rest[1:], node)
        elif isinstance(node.value, dict):
            element.update(node.value)
        node = Node(node.steps, [Node(node.steps, element)])
    elif rest:
        inner: dict[str, Node] = dict(present.value) if present else {}
        _place(inner, rest, node)
        node = Node(present.steps if present else node.steps, inner)
    elif present and isinstance(present.value, dict) and isinstance(node.value, dict):
        node = Node(present.steps, {**present.value, **node.value})
    elif present and isinstance(present.value, list) and isinstance(node.value, list):
        node = Node(present.steps, [*present.value, *node.value])
    tree[first] = node


def spelled(shape: Shape, node: Node) -> Any:
    """The plain value with the members' names as the API spells them."""
    if isinstance(shape, StructureShape) and isinstance(node.value, dict):
        members = {name.lower(): name for name in shape.members}
        named = {members.get(name.lower(), name): item for name, item in node.value.items()}
        return {name: spelled(shape.members[name], item) for name, item in named.items() if name in shape.members}
    if isinstance(shape, ListShape) and isinstance(node.value, list):
        return [spelled(shape.member, item) for item in node.value]
    return lower(node)


def walk(shape: Shape, node: Node, skip: frozenset[str] = frozenset()) -> Iterator[Problem]:
    """Everything in which a value departs from its shape; required members in `skip` may be missing at the top."""
    value = node.value
    if value is UNKNOWN or getattr(shape, "is_document_type", False):
        return
    if isinstance(shape, StructureShape):
        yield from _structure(shape, node, skip)
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            yield Problem(node.path, f"{shape.name} is a list, not {value!r}")
            return
        yield from _size(shape, node, len(value), "items")
        for item in value:
            yield from walk(shape.member, item)
    elif isinstance(shape, MapShape):
        if not isinstance(value, dict):
            yield Problem(node.path, f"{shape.name} is a map, not {value!r}")
            return
        yield from _size(shape, node, len(value), "entries")
        for key, item in value.items():
            yield from walk(shape.key, Node(item.steps, key))
            yield from walk(shape.value, item)
    else:
        reason = _scalar(shape, value)
        if reason:
            yield Problem(node.path, f"{shape.name} {reason}")


def _structure(shape: StructureShape, node: Node, skip: frozenset[str]) -> Iterator[Problem]:
    if not isinstance(node.value, dict):
        yield Problem(node.path, f"{shape.name} is a structure, not {lower(node)!r}")
        return
    members = {name.lower(): name for name in shape.members}
    given: dict[str, Node] = {}
    for name, item in node.value.items():
        member = members.get(name.lower())
        if member is None:
            yield Problem(item.path, f"{shape.name} has no member {name}; it has {', '.join(shape.members)}")
        elif member in given:
            yield Problem(item.path, f"{shape.name}.{member} is given twice, also by {given[member].path}")
        else:
            given[member] = item
    for missing in [name for name in shape.required_members if name not in given and name not in skip]:
        yield Problem(node.path, f"{missing} is required in {shape.name}")
    if getattr(shape, "is_tagged_union", False) and len(given) != 1:
        yield Problem(node.path, f"{shape.name} takes exactly one of {', '.join(shape.members)}")
    for name, item in given.items():
        yield from walk(shape.members[name], item)


def _scalar(shape: Shape, value: Any) -> str:
    """What is wrong with a single value, or nothing."""
    kind = shape.type_name
    if kind == "string":
        return _text(shape, value)
    if kind == "boolean":
        return "" if isinstance(value, bool) else f"is true or false, not {value!r}"
    if kind in {"integer", "long", "float", "double"}:
        return _number(shape, value, whole=kind in {"integer", "long"})
    if kind == "timestamp":
        return _time(value)
    return "" if isinstance(value, str | dict) else f"is {kind}, not {value!r}"


def _text(shape: Shape, value: Any) -> str:
    if not isinstance(value, str):
        return f"is a string, not {value!r}"
    enum, pattern = getattr(shape, "enum", []), shape.metadata.get("pattern")
    if enum and value not in enum:
        return f"is one of {', '.join(enum[:40])}{', …' if len(enum) > 40 else ''}, not {value!r}"
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max", math.inf)
    if not least <= len(value) <= most:
        return f"has {least} to {most} characters, not {len(value)}: {value!r}"
    return f"must match {pattern}, unlike {value!r}" if pattern and not patterns.matches(pattern, value) else ""


def _number(shape: Shape, value: Any, *, whole: bool) -> str:
    if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
        return f"is a {'whole ' if whole else ''}number, not {value!r}"
    least, most = shape.metadata.get("min", -math.inf), shape.metadata.get("max", math.inf)
    return "" if least <= value <= most else f"is between {least} and {most}, not {value}"


def _time(value: Any) -> str:
    if isinstance(value, int | float):
        return ""
    try:
        datetime.fromisoformat(str(value))
    except ValueError:
        return f"is a time such as 2026-01-31T12:00:00Z, not {value!r}"
    return ""


def _size(shape: Shape, node: Node, size: int, what: str) -> Iterator[Problem]:
    least, most = shape.metadata.get("min", 0), shape.metadata.get("max", math.inf)
    if not least <= size <= most:
        yield Problem(node.path, f"{shape.name} has {least} to {most} {what}, not {size}")
