"""How a resource type is described: what judges its inputs, what it answers, what replaces it, what holds it."""

from __future__ import annotations

import hashlib
import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from tests.engine.double.wire import UNKNOWN

if TYPE_CHECKING:
    from tests.engine.double.cloud import Cloud, Resource

Inputs = dict[str, Any]


class Problem(NamedTuple):
    """What is wrong with an input."""

    path: str
    """The property, in Pulumi's own name and the engine's syntax; empty where no single one is at fault."""
    reason: str


class Refusal(Exception):  # noqa: N818 - it is the cloud's answer, not a mistake of this program
    """The cloud says no: `code` is the vendor's name for the reason; providers try again where it is `passing`."""

    def __init__(self, code: str, message: str, *, passing: bool = False) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.passing = passing


class Judged(Protocol):
    """One operation of a vendor's API which some properties of a resource end up in."""

    @property
    def properties(self) -> frozenset[str]:
        """The Pulumi properties that it takes."""
        ...

    def problems(self, inputs: Inputs) -> Iterator[Problem]:
        """What the vendor's model says against these inputs."""
        ...


@dataclass(frozen=True)
class Autoname:
    """How the provider names what the program leaves unnamed: `<logical name>-<seven hexadecimal digits>`."""

    property: str = "name"
    limit: int = 255
    """Longest name, in characters: the logical name is cut, never the random part."""
    unless: str = "namePrefix"
    """A property that stands in for the name."""
    lower: bool = False

    def make(self, logical: str, proposed: str, seed: bytes) -> str:
        """A new name: the engine's proposal where there is one, else from the engine's random seed."""
        if proposed:
            return proposed
        suffix = f"-{hashlib.sha256(seed + logical.encode()).hexdigest()[:7]}"
        name = logical[: self.limit - len(suffix)] + suffix
        return name.lower() if self.lower else name


@dataclass(frozen=True)
class Situation:
    """What a rule or an output is worked out from."""

    cloud: Cloud
    config: Mapping[str, Any]
    """The provider instance's surroundings: region, account, partition and the like."""
    inputs: Inputs
    id: str = ""
    old: Resource | None = None
    """The resource before the update; None at creation."""

    def others(self, token: str) -> list[Resource]:
        """Resources of that type in the same region, without the one at hand."""
        return [found for found in self.cloud.of(token, self.config["region"]) if found.id != self.id]


Output = str | Callable[[Situation], Any] | int | float | bool | list[Any] | dict[str, Any]
Check = Callable[[Inputs], Iterator[Problem]]
Rule = Callable[[Situation], Iterator[Problem]]


@dataclass(frozen=True)
class Type:
    """One resource type. What is not written here is refused: see `problems`."""

    calls: Sequence[Judged]
    """The first is always made, the others where one of their properties is given."""
    id: str
    """Pattern of the id, such as `vpc-{hex17}` or `{name}`: see `cloud.fill`."""
    outputs: Mapping[str, Output] = field(default_factory=dict[str, Output])
    """What the cloud computes: a pattern, a function of the situation, or a constant."""
    defaults: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Values that the cloud fills in for inputs left out, with conditions none: they show in outputs only."""
    replace: str = ""
    """Properties that cannot change in place, separated by blanks; `block.member` means that member alone."""
    own: Mapping[str, str] = field(default_factory=dict[str, str])
    """Properties that are the provider's own business and never reach the API, each with the reason."""
    name: Autoname | None = None
    unique: str = ""
    """Properties that no two resources of the type may have alike in a region."""
    refers: Mapping[str, str] = field(default_factory=dict[str, str])
    """Property path (`vpcId`, `vpcConfig.subnetIds`) to the types, by blanks, of which it must name an existing one."""
    held_by: str = ""
    """Types whose resources, as long as they name this one, keep it from being deleted."""
    unless: str = ""
    """A property that, when true, lets deletion go ahead all the same."""
    guard: str = ""
    """A property that, while true, keeps it from being deleted: deletion protection."""
    handles: str = ""
    """Outputs that others may name it by beside id, ARN and name; `vpcConfig.clusterSecurityGroupId` reaches deeper."""
    changing: str = ""
    """Outputs that every update changes, and that its preview therefore cannot know."""
    secret: str = ""
    """Outputs that are secrets."""
    imports: str = "{id}"
    """Pattern of what `pulumi import` is given, where that is not the id."""
    checks: Sequence[Check] = ()
    """Rules over several properties of one resource, applied with every Check; values may be `UNKNOWN`."""
    rules: Sequence[Rule] = ()
    """Rules over several resources, applied when one is created or updated: everything is known then."""
    comes_up: Sequence[Rule] = ()
    """Rules that decide whether what was created works; what breaks one exists, and is broken."""
    failed: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Outputs that tell of something which came up broken, as long as it exists: `{"status": "CREATE_FAILED"}`."""
    regional: bool = True
    """Whether it lives in a region, and takes the property `region`."""

    @property
    def properties(self) -> frozenset[str]:
        """Every input property that is mapped or declared."""
        taken = frozenset[str]().union(*(call.properties for call in self.calls))
        return taken | frozenset(self.own) | (frozenset({"region"}) if self.regional else frozenset())

    @property
    def replacing(self) -> list[str]:
        """The properties that cannot change in place."""
        return [*self.replace.split(), *(["region"] if self.regional else [])]

    def problems(self, inputs: Inputs) -> Iterator[Problem]:
        """Everything wrong with inputs, of which some may be unknown: unmapped ones, the vendor's model, our checks."""
        for name in sorted(set(inputs) - self.properties):
            yield Problem(name, "no map says what the cloud makes of this property: map it, or declare it in `own`")
        for index, call in enumerate(self.calls):
            if index == 0 or call.properties & set(inputs):
                yield from call.problems(inputs)
        for check in self.checks:
            yield from check(inputs)


Function = Callable[[Inputs, Situation], dict[str, Any]]
"""A data source: its arguments and the situation to its result; raises a `Refusal` where there is none."""


@dataclass(frozen=True)
class Provider:
    """Everything known about one provider, gathered from its package `tests.engine.double.<name>`."""

    name: str
    types: Mapping[str, Type]
    functions: Mapping[str, Function]
    surroundings: Callable[[Inputs], dict[str, Any]]
    """Provider configuration to what patterns and rules use; raises a `Refusal` for what it does not know."""
    prepare: Callable[[Type, Inputs, Mapping[str, Any]], Inputs]
    """What the provider adds to inputs before anything else, such as default tags."""
    echoes: Mapping[str, str]
    """Outputs that every type which has them answers from an input: `tagsAll` from `tags`."""

    @classmethod
    def load(cls, name: str) -> Provider:
        """Gathers TYPES and FUNCTIONS of every module in the provider's package.

        Raises:
            ValueError: two modules describe the same type or function.
        """
        package = importlib.import_module(f"{__package__}.{name.replace('-', '_')}")
        types: dict[str, Type] = getattr(package, "KINDS", dict[str, Type])()
        functions: dict[str, Function] = {}
        for found in pkgutil.iter_modules(package.__path__):
            module = importlib.import_module(f"{package.__name__}.{found.name}")
            for whole, part in ((types, getattr(module, "TYPES", {})), (functions, getattr(module, "FUNCTIONS", {}))):
                if twice := set(whole) & set(part):
                    raise ValueError(f"{module.__name__} describes again: {sorted(twice)}")
                whole.update(part)
        return cls(name, types, functions, package.surroundings, package.prepare, package.ECHOES)


def values(inputs: Any, dotted: str) -> list[Any]:
    """What lies at a path, through lists: `values(inputs, "subnetMappings.subnetId")`; unknowns are left out."""
    found = [inputs]
    for step in [*dotted.split("."), None]:
        flat = [item for one in found for item in (one if isinstance(one, list) else [one])]
        found = flat if step is None else [one[step] for one in flat if isinstance(one, dict) and step in one]
    return [one for one in found if one is not UNKNOWN]
