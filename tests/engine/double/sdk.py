"""What the SDK's classes say of a resource type: its inputs, and the outputs that a program may count on."""

from __future__ import annotations

import ast
import importlib.util
import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

MADE_UP = "made-up:"
"""What begins every text that stands in for an output which no map computes."""

_GETTER = re.compile(
    r'@pulumi\.getter(?:\(name="(?P<wire>\w+)"\))?\n(?:    @.*\n)*'
    r"    def (?P<name>\w+)\(self\) -> pulumi\.Output\[(?P<type>.*)\]:"
)
_STAND_INS: Mapping[str, Any] = {"_builtins.bool": False, "_builtins.int": 0, "_builtins.float": 0.0}


class Signature(NamedTuple):
    """A resource class of the SDK."""

    inputs: frozenset[str]
    """Properties that its constructor takes, in their names on the wire."""
    outputs: frozenset[str]
    required: Mapping[str, str]
    """Outputs that are always there, and their annotated type."""


_OBJECT = frozenset({"apiVersion", "kind", "metadata", "spec"})
CUSTOM = Signature(_OBJECT, _OBJECT, {})
"""An object of a kind that a cluster was taught: the SDK has one class for all of them."""


@cache
def signature(token: str) -> Signature:
    """Reads the class of a type such as `aws:ec2/subnet:Subnet` from the SDK's source, without importing it.

    Raises:
        LookupError: the SDK has no such class.
    """
    package, module, name = token.split(":")
    folder = module.split("/")[0]
    origin = importlib.util.find_spec(f"pulumi_{package.replace('-', '_')}")
    if origin is None or origin.origin is None:
        raise LookupError(f"no SDK is installed for {token}")
    root = Path(origin.origin).parent
    if package == "kubernetes":
        group, _, release = module.partition("/")
        file = root / group.split(".")[0] / release / f"{name}.py"
        return _read(file.read_text(), name) if file.exists() else CUSTOM
    sources = [root] if folder == "index" else [root / folder, root / f"{folder}_"]
    for source in [file for place in sources for file in sorted(place.glob(f"{snake(name)}*.py"))]:
        text = source.read_text()
        if f"'{token}'," in text:
            return _read(text, name)
    raise LookupError(f"the SDK has no {token}")


def _read(text: str, name: str) -> Signature:
    start = text.index(f"\nclass {name}(")
    body = text[start:]
    getters = {found["name"]: found for found in _GETTER.finditer(body)}
    wire = {python: found["wire"] or python for python, found in getters.items()}
    init = body[body.index("def _internal_init") :]
    arguments = ast.parse(init[: init.index("):")].replace("\n", " ") + "): ...").body[0]
    assert isinstance(arguments, ast.FunctionDef)
    names = [argument.arg for argument in arguments.args.args[1:]]
    inputs = frozenset(wire[one] for one in names if one in wire)
    required = {wire[one]: found["type"] for one, found in getters.items() if not found["type"].startswith("Optional")}
    return Signature(inputs, frozenset(wire.values()), required)


def made_up(token: str, outputs: Mapping[str, Any]) -> dict[str, Any]:
    """Stand-ins for the required outputs of a type that are missing: texts say that they are made up."""
    found: dict[str, Any] = {}
    for name, kind in signature(token).required.items():
        if name not in outputs and name not in {"id", "urn"}:
            found[name] = _stand_in(name, kind)
    return found


def _stand_in(name: str, kind: str) -> Any:
    if kind in _STAND_INS:
        return _STAND_INS[kind]
    if kind.startswith(("Sequence", "List")):
        return []
    return f"{MADE_UP}{name}" if kind == "_builtins.str" else {}


def snake(name: str) -> str:
    """A name on the wire as Python has it."""
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
