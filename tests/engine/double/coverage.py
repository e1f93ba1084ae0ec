"""What the maps leave out, and what they name wrongly.

`python -m tests.engine.double.coverage aws:eks/`; `… --api eks.CreateCluster` prints the members of an operation.
"""

from __future__ import annotations

import sys

from botocore.model import ListShape, Shape, StructureShape

from tests.engine.double import sdk
from tests.engine.double.judge import operation
from tests.engine.double.types import Provider


def misnamed(provider: Provider) -> dict[str, list[str]]:
    """Types whose map names properties or outputs that the SDK does not have."""
    found: dict[str, list[str]] = {}
    for token, type_ in provider.types.items():
        known = sdk.signature(token)
        named = {*type_.outputs, *type_.defaults, *type_.changing.split(), *type_.secret.split()}
        listed = {*type_.replace.split(), *type_.refers, *type_.unique.split(), *type_.unless.split()}
        wrong = sorted(
            {*(type_.properties - known.inputs), *(named - known.outputs)}
            | {path for path in listed if path.split(".")[0] not in known.inputs}
        )
        if wrong:
            found[token] = wrong
    return found


def left_out(provider: Provider, prefix: str) -> dict[str, list[str]]:
    """Types and the input properties that no call takes and nothing declares: using one fails."""
    types = {token: type_ for token, type_ in provider.types.items() if token.startswith(prefix)}
    return {token: sorted(sdk.signature(token).inputs - type_.properties) for token, type_ in types.items()}


def _print(shape: Shape | None, indent: str = "  ", depth: int = 0) -> None:
    if isinstance(shape, ListShape):
        _print(shape.member, indent, depth)
    elif isinstance(shape, StructureShape) and depth < 6:
        for name, member in shape.members.items():
            enum = getattr(member, "enum", [])
            required = " (required)" if name in shape.required_members else ""
            print(f"{indent}{name}: {member.type_name}{required} {' | '.join(enum[:12])}")
            _print(member, f"{indent}  ", depth + 1)


if __name__ == "__main__":
    if sys.argv[1] == "--api":
        _print(operation(sys.argv[2]).input_shape)
    else:
        known = Provider.load(sys.argv[1].split(":")[0])
        for described, names in left_out(known, sys.argv[1]).items():
            print(f"{described}: {' '.join(names) or '-'}")
        print("not in the SDK:", misnamed(known) or "-")
