"""What a plan has to say: errors and warnings, each with the property, its value, the rule and the fix."""

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum


class Severity(StrEnum):
    """How much a finding weighs."""

    INVALID = "invalid"
    """The input is no possible value: a word, a number or a name that nothing means."""
    ERROR = "error"
    """The input is understood, and what it asks for cannot be."""
    WARNING = "warning"
    """It can be done, but the user would want to know."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that the plan found about one property."""

    severity: Severity
    property: str
    """Path of the setting, such as `pools.train.per_node`."""
    value: str
    rule: str
    fix: str

    def __str__(self) -> str:
        return f"{self.property}: {self.value or 'empty'}: {self.rule}; {self.fix}"


def errors(findings: Iterable[Finding]) -> list[Finding]:
    """The findings that keep a plan from being carried out."""
    return [finding for finding in findings if finding.severity is not Severity.WARNING]


def nearest(word: str, known: Iterable[str]) -> list[str]:
    """Up to three of the known words that look most like one, whatever its case; the nearest first."""
    by_upper = {each.upper(): each for each in known}
    return [by_upper[each] for each in get_close_matches(word.upper(), by_upper, n=3)]


def one_of(path: str, value: str, known: Iterable[str], what: str) -> Finding | None:
    """The finding that a value is not among the known ones, nearest names first; None if it is."""
    choices = list(known)
    if value in choices:
        return None
    near = nearest(value, choices)
    fix = f"did you mean {' or '.join(near)}?" if near else f"use one of: {', '.join(choices)}"
    return Finding(Severity.INVALID, path, value, f"is no known {what}", fix)
