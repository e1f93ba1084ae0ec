"""Property values as they travel between engine and provider: unknowns are markers, secrets signed objects."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

from google.protobuf import struct_pb2

_SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"  # noqa: S105 - the protocol's mark of a secret, not one
_MARKER = "04da6b54-80e4-46f7-96ec-b56ff0331ba9"
_MARKERS = frozenset(
    {
        _MARKER,
        "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",  # a boolean
        "3eeb2bf0-c639-47a8-9e75-3b44932eb421",  # a number
        "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",  # a list
        "030794c1-ac77-496b-92df-f27374a8bd58",  # an asset
        "e48ece36-62e2-4504-bad9-02848725956a",  # an archive
        "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",  # an object
    }
)


class Unknown:
    """The type of `UNKNOWN`."""

    def __repr__(self) -> str:
        return "unknown"


UNKNOWN: Final = Unknown()
"""A value that a preview cannot know yet."""


@dataclass(frozen=True)
class Secret:
    """A value that the engine keeps encrypted and never shows."""

    value: Any


def read(struct: struct_pb2.Struct) -> dict[str, Any]:
    """The properties of a message, with `UNKNOWN` and `Secret` in place of the engine's markers; nulls are left out."""
    found = {key: _read(value) for key, value in struct.fields.items()}
    return {key: value for key, value in found.items() if value is not None}


def _read(value: struct_pb2.Value) -> Any:
    kind = value.WhichOneof("kind")
    if kind == "struct_value":
        fields = read(value.struct_value)
        return Secret(fields.get("value")) if fields.get(_SIGNATURE) == _SECRET else fields
    if kind == "list_value":
        return [_read(item) for item in value.list_value.values]
    if kind == "string_value":
        return UNKNOWN if value.string_value in _MARKERS else value.string_value
    if kind == "number_value":
        number = value.number_value
        return int(number) if number.is_integer() else number
    return value.bool_value if kind == "bool_value" else None


def write(properties: dict[str, Any]) -> struct_pb2.Struct:
    """The message for properties: the reverse of `read`."""
    struct = struct_pb2.Struct()
    struct.update({key: _write(value) for key, value in properties.items()})
    return struct


def _write(value: Any) -> Any:
    if value is UNKNOWN:
        return _MARKER
    if isinstance(value, Secret):
        return {_SIGNATURE: _SECRET, "value": _write(value.value)}
    if isinstance(value, dict):
        return {key: _write(item) for key, item in value.items()}
    return [_write(item) for item in value] if isinstance(value, list | tuple) else value


def reveal(value: Any) -> Any:
    """The same value without any mark of secrecy."""
    if isinstance(value, Secret):
        return reveal(value.value)
    if isinstance(value, dict):
        return {key: reveal(item) for key, item in value.items()}
    return [reveal(item) for item in value] if isinstance(value, list) else value


def conceal(value: Any, like: Any) -> Any:
    """The value, secret wherever the value that it is compared with is."""
    if isinstance(like, Secret):
        return value if isinstance(value, Secret) else Secret(conceal(value, like.value))
    if isinstance(value, dict) and isinstance(like, dict):
        return {key: conceal(item, like.get(key)) for key, item in value.items()}
    if isinstance(value, list) and isinstance(like, list):
        padded = [*like, *[None] * len(value)]
        return [conceal(item, other) for item, other in zip(value, padded, strict=False)]
    return value


def knows(value: Any) -> bool:
    """Whether nothing in the value is unknown."""
    if isinstance(value, dict):
        return all(knows(item) for item in value.values())
    return all(knows(item) for item in value) if isinstance(value, list) else value is not UNKNOWN


def path(*steps: str | int) -> str:
    """A property path in the engine's own syntax: `tags["a.b/c"]`, `rules[0].port`."""
    text = ""
    for step in steps:
        if isinstance(step, int):
            text += f"[{step}]"
        elif step.replace("_", "").isalnum():
            text += f".{step}" if text else step
        else:
            text += '["{}"]'.format(step.replace("\\", "\\\\").replace('"', '\\"'))
    return text
