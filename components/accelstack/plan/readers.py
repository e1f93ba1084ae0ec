"""How settings are read: from a value as users and Pulumi write it to the value that the plan works with."""

from collections.abc import Callable, Mapping
from typing import Any, cast

from accelstack.plan.findings import Finding, Severity


def _whole(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _amount(value: Any) -> float:
    amount = float(value)
    if isinstance(value, bool) or not 0 <= amount < float("inf"):
        raise ValueError
    return amount


def _words(value: Any) -> tuple[str, ...]:
    """Names in a list, or in a text with commas or blanks; each once."""
    if isinstance(value, str) and value:
        value = value.replace(",", " ").split() or [None]
    if not all(isinstance(word, str) and word for word in value):
        raise ValueError
    return tuple(dict.fromkeys(value))


def _text(value: Any) -> str:
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise ValueError
    return str(value)


def _switch(value: Any) -> bool:
    if value not in (True, False, "true", "false"):
        raise ValueError
    return value in (True, "true")


def _versions(value: Any) -> dict[str, str]:
    if not isinstance(value, Mapping):
        raise ValueError
    table = cast(Mapping[Any, Any], value)
    return {_text(name): _text(version) for name, version in table.items()}


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError
    return {_text(name): entry for name, entry in cast(Mapping[Any, Any], value).items()}


Reader = tuple[Callable[[Any], Any], str]
"""A conversion, which raises ValueError or TypeError, and what it takes."""
Keys = dict[str, tuple[Reader, Any]]
"""Settings by name: how each is read, and its default."""
TEXT: Reader = (_text, "a text")
WHOLE: Reader = (_whole, "a whole number")
AMOUNT: Reader = (_amount, "a number of 0 or more")
WORDS: Reader = (_words, "a list of names")
SWITCH: Reader = (_switch, "true or false")
TABLE: Reader = (_table, "a table by name")
VERSIONS: Reader = (_versions, 'a table of versions in quotes, such as {kubernetes: "1.35"}')


def defaults(keys: Keys) -> dict[str, Any]:
    """The default of each setting."""
    return {key: default for key, (_, default) in keys.items()}


def read(given: Mapping[str, Any], keys: Keys, path: str, findings: list[Finding]) -> dict[str, Any]:
    """The given values of these keys, converted; a finding for each that cannot be."""
    values: dict[str, Any] = {}
    for key, ((convert, description), _) in keys.items():
        if given.get(key) is None:
            continue
        try:
            values[key] = convert(given[key])
        except (TypeError, ValueError, OverflowError):
            fix = f"use {description}"
            findings.append(Finding(Severity.INVALID, f"{path}{key}", repr(given[key]), f"is not {description}", fix))
    return values
