"""What exists in the cloud that a double stands for: it outlives engine runs; a test may look, change and break it."""

from __future__ import annotations

import copy
import random
import re
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.engine.double import sdk, wire
from tests.engine.double.types import Inputs, Provider, Refusal, Situation, Type, values

_HANDLES = "arn name bucket keyId repositoryUrl"


@dataclass
class Resource:
    """One thing that exists."""

    token: str
    id: str
    inputs: Inputs
    outputs: dict[str, Any]
    config: Mapping[str, Any]
    """The surroundings of the provider instance that made it: region, account and the like."""
    name: str = ""
    """The logical name in the program; empty for what a test added."""
    made_up: frozenset[str] = frozenset()
    """Outputs that no map computes: stand-ins."""
    contents: list[str] = field(default_factory=list[str])
    """What a test put inside, such as objects in a bucket: keeps it from being deleted."""
    handles: frozenset[str] = frozenset()
    """What others may name it by: its id, its ARN, its physical names."""
    failed: bool = False
    """Whether it came up broken, which no update mends."""


@dataclass(frozen=True)
class Seen:
    """One call that reached the double."""

    operation: str
    """check, diff, create, read, update, delete or invoke."""
    token: str
    name: str
    inputs: Inputs
    region: str
    preview: bool = False


class Cloud:
    """One account of one provider. Its methods may be called from several threads."""

    def __init__(self, provider: Provider) -> None:
        self.provider = provider
        self.resources: list[Resource] = []
        self.seen: list[Seen] = []
        self.lock = threading.RLock()
        self._random = random.Random(0)  # noqa: S311 - ids need to differ, not to be secret

    def of(self, token: str, region: str | None = None) -> list[Resource]:
        """Resources of a type, in one region or all."""
        with self.lock:
            found = [one for one in self.resources if one.token == token]
            return [one for one in found if region is None or one.config.get("region") == region]

    def one(self, token: str, name: str = "") -> Resource:
        """The only resource of a type, or the only one with that logical name.

        Raises:
            AssertionError: there is none, or more than one.
        """
        found = [one for one in self.of(token) if name in ("", one.name)]
        assert len(found) == 1, f"{len(found)} of {token} {name}: {[one.name for one in self.of(token)]}"
        return found[0]

    def find(self, token: str, handle: str, region: str | None = None) -> Resource | None:
        """The resource of a type with that id, ARN or name."""
        return next((one for one in self.of(token, region) if handle in one.handles), None)

    def get(self, token: str, id: str, region: str | None = None) -> Resource | None:  # noqa: A002
        """The resource with that id, or with what `pulumi import` takes for it."""
        type_ = self.provider.types[token]
        where = region if type_.regional else None
        for one in self.of(token, where):
            if id == one.id or id == fill(type_.imports, self._terms(one.config, one.inputs, one.id, one.outputs)):
                return one
        return None

    def add(self, token: str, inputs: Inputs, id: str = "", **config: Any) -> Resource:  # noqa: A002
        """Something that was there before, or made by others: nothing judges it.

        Args:
            id: its id, where the type's pattern should not decide.
            config: the provider's configuration, such as `region="us-west-2"`.
        """
        return self.create(token, "", inputs, self.provider.surroundings(config), id=id, judged=False)

    def change(self, id: str, path: str, value: Any) -> None:  # noqa: A002
        """Drift: someone sets `path` (dotted, list positions as numbers) of a resource; None takes the value away."""
        resource = next(one for one in self.resources if id in one.handles)
        for place in (resource.inputs, resource.outputs):
            *outer, last = [int(step) if step.isdecimal() else step for step in path.split(".")]
            inner: Any = place
            for step in outer:
                inner = inner[step]
            if value is None:
                inner.pop(last, None)
            else:
                inner[last] = copy.deepcopy(value)

    def remove(self, id: str) -> None:  # noqa: A002
        """Drift: someone deletes a resource behind the engine's back, whatever depends on it."""
        with self.lock:
            self.resources = [one for one in self.resources if id not in one.handles]

    def create(
        self,
        token: str,
        name: str,
        inputs: Inputs,
        config: Mapping[str, Any],
        *,
        id: str = "",  # noqa: A002
        judged: bool = True,
    ) -> Resource:
        """Brings a resource into being.

        Raises:
            Refusal: something like it exists, something that it names does not, or it breaks a rule.
        """
        type_ = self.provider.types[token]
        with self.lock:
            given = wire.reveal(inputs)
            situation = Situation(self, config, given)
            if judged:
                self._obey(type_, token, situation)
            id = id or fill(type_.id, self._terms(config, given))  # noqa: A001
            if any(one.id == id for one in self.of(token, config.get("region") if type_.regional else None)):
                raise Refusal("AlreadyExists", f"there is a {token} {id} already")
            resource = Resource(token, id, copy.deepcopy(given), {}, config, name)
            self._compute(type_, resource, None)
            self.resources.append(resource)
            return resource

    def update(self, resource: Resource, inputs: Inputs, config: Mapping[str, Any]) -> Resource:
        """Changes a resource in place.

        Raises:
            Refusal: as for `create`.
        """
        type_ = self.provider.types[resource.token]
        with self.lock:
            given = wire.reveal(inputs)
            self._obey(type_, resource.token, Situation(self, config, given, resource.id, resource))
            before = copy.copy(resource)
            resource.inputs = copy.deepcopy(given)
            self._compute(type_, resource, before)
            return resource

    def broken(self, resource: Resource) -> str:
        """Why something just created does not work; empty where it does."""
        situation = Situation(self, resource.config, resource.inputs, resource.id)
        found = [problem for rule in self.provider.types[resource.token].comes_up for problem in rule(situation)]
        return found[0].reason if found else ""

    def fail(self, resource: Resource) -> None:
        """Something just created came up broken."""
        with self.lock:
            resource.failed = True
            self._compute(self.provider.types[resource.token], resource, copy.copy(resource))

    def delete(self, resource: Resource) -> None:
        """Deletes a resource.

        Raises:
            Refusal: it is protected, or something that exists still needs it.
        """
        type_ = self.provider.types[resource.token]
        with self.lock:
            if type_.guard and resource.inputs.get(type_.guard):
                raise Refusal("InvalidRequestException", f"{resource.id} has {type_.guard} set")
            forced = bool(type_.unless and resource.inputs.get(type_.unless))
            holders = [] if forced else [*resource.contents, *self._holders(type_, resource)]
            if holders:
                raise Refusal("DependencyViolation", f"{resource.id} has a dependent object: {', '.join(holders)}")
            self.resources = [one for one in self.resources if one is not resource]

    def preview(self, token: str, inputs: Inputs, config: Mapping[str, Any], old: Resource | None) -> dict[str, Any]:
        """The outputs that a creation or update will have, as far as they are known before."""
        type_ = self.provider.types[token]
        known = {**self._given(type_, config, inputs), **self._echoes(token, inputs)}
        filled = [
            name for name in type_.outputs if isinstance(inputs.get(name), dict)
        ]  # the cloud adds to what is given
        if old is None:
            computed = dict.fromkeys({*type_.outputs, *sdk.signature(token).required}, wire.UNKNOWN)
            return {**computed, **known, **dict.fromkeys(filled, wire.UNKNOWN)}
        kept = {name: value for name, value in old.outputs.items() if name not in old.inputs}
        both = {
            name: {**old.outputs[name], **inputs[name]} for name in filled if isinstance(old.outputs.get(name), dict)
        }
        return {**kept, **known, **both, **dict.fromkeys(type_.changing.split(), wire.UNKNOWN)}

    def _given(self, type_: Type, config: Mapping[str, Any], inputs: Inputs) -> dict[str, Any]:
        """Inputs as outputs, with what the cloud fills in for those left out."""
        region = {"region": config["region"]} if type_.regional else {}
        return {**region, **copy.deepcopy(dict(type_.defaults)), **inputs}

    def _echoes(self, token: str, inputs: Inputs) -> dict[str, Any]:
        required = sdk.signature(token).required
        return {name: inputs.get(of, {}) for name, of in self.provider.echoes.items() if name in required}

    def _obey(self, type_: Type, token: str, situation: Situation) -> None:
        """What must hold before the cloud does anything."""
        for dotted, tokens in type_.refers.items():
            for named in values(situation.inputs, dotted):
                if named and not any(self._reaches(other, named, situation.config) for other in tokens.split()):
                    raise Refusal("NotFound", f"{token}.{dotted}: there is no {tokens} {named}")
        keys = type_.unique.split()
        for other in situation.others(token) if keys else []:
            if all(other.inputs.get(key) == situation.inputs.get(key) for key in keys):
                raise Refusal("AlreadyExists", f"{other.id} has the same {', '.join(keys)}")
        for rule in type_.rules:
            for problem in rule(situation):
                raise Refusal(
                    "InvalidParameter", f"{problem.path}: {problem.reason}" if problem.path else problem.reason
                )

    def _reaches(self, token: str, handle: str, config: Mapping[str, Any]) -> bool:
        """Whether there is such a thing in the region; an ARN also reaches into others."""
        type_ = self.provider.types.get(token)
        anywhere = type_ is None or not type_.regional or handle.startswith("arn:")
        return self.find(token, handle, None if anywhere else config["region"]) is not None

    def _compute(self, type_: Type, resource: Resource, before: Resource | None) -> None:
        """Works the outputs out anew; what was drawn at random stays."""
        situation = Situation(self, resource.config, resource.inputs, resource.id, before)
        inputs = copy.deepcopy(resource.inputs)
        outputs = {
            **self._given(type_, resource.config, inputs),
            **self._echoes(resource.token, inputs),
        }
        for name, output in type_.outputs.items():
            drawn = isinstance(output, str) and re.search(r"\{(hex|digits)\d+\}", output)
            if before is not None and drawn:
                outputs[name] = before.outputs[name]
            elif isinstance(output, str):
                outputs[name] = fill(output, self._terms(resource.config, resource.inputs, resource.id, outputs))
            else:
                outputs[name] = output(situation) if callable(output) else copy.deepcopy(output)
        if resource.failed:
            outputs.update(type_.failed)
        stand_ins = sdk.made_up(resource.token, outputs)
        resource.made_up = frozenset(stand_ins)
        resource.outputs = {**outputs, **stand_ins}
        names = [name for place in f"{_HANDLES} {type_.handles}".split() for name in values(outputs, place)]
        resource.handles = frozenset(name for name in [resource.id, *names] if isinstance(name, str) and name)

    def _holders(self, type_: Type, resource: Resource) -> list[str]:
        return [
            f"{other.token} {other.id}"
            for token in type_.held_by.split()
            for other in self.of(token)
            if other is not resource and _names(other.inputs, resource.handles)
        ]

    def _terms(self, config: Mapping[str, Any], inputs: Inputs, *more: Any) -> dict[str, Any]:
        """What a pattern may use."""
        known: dict[str, Any] = {**config, **inputs, **(more[1] if len(more) > 1 else {})}
        if more:
            known["id"] = more[0]
        return _Terms(known, self._random)


class _Terms(dict[str, Any]):
    """Terms of a pattern: `{hexN}` and `{digitsN}` are drawn."""

    def __init__(self, known: dict[str, Any], source: random.Random) -> None:
        super().__init__(known)
        self._source = source

    def __missing__(self, key: str) -> str:
        drawn = re.fullmatch(r"(hex|digits)(\d+)", key)
        if drawn is None:
            return ""
        alphabet = "0123456789abcdef" if drawn[1] == "hex" else "123456789"
        return "".join(self._source.choices(alphabet, k=int(drawn[2])))


def fill(pattern: str, terms: Mapping[str, Any]) -> str:
    """`arn:{partition}:ec2:{region}:{account}:vpc/{id}` with its terms filled in; what is not given is left empty."""
    return pattern.format_map(terms)


def _names(value: Any, handles: frozenset[str]) -> bool:
    """Whether a value names one of these handles anywhere."""
    if isinstance(value, dict):
        return any(_names(item, handles) for item in value.values())
    if isinstance(value, list):
        return any(_names(item, handles) for item in value)
    return isinstance(value, str) and value in handles
