"""Which versions of Kubernetes, drivers and add-ons go together, by a table of rules, each with its reason."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

from packaging.specifiers import SpecifierSet
from packaging.version import Version

from accelstack.plan import tables
from accelstack.plan.accelerators import Kind
from accelstack.plan.findings import Finding, Severity, one_of

ALWAYS = ("kubernetes", "kueue", "jobset")
"""Components of every cluster."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What one component's version must be under some conditions."""

    severity: Severity
    component: str
    range: SpecifierSet
    when: tuple[tuple[str, tuple[str, ...] | SpecifierSet], ...]
    """Facts of a pool and values of which it must have one, or other components and their ranges."""
    reason: str
    fix: str

    def applies(self, facts: Mapping[str, str], versions: Mapping[str, str]) -> bool:
        """Whether the rule speaks of a pool with these facts, in a stack of these versions."""
        return all(_holds(wanted, facts.get(key), versions.get(key)) for key, wanted in self.when)


@cache
def rules() -> tuple[Rule, ...]:
    """Every rule of the table."""
    return tuple(_rule(row) for row in tables.document("compatibility")["rule"])


def defaults(target: str, components: Sequence[str]) -> dict[str, str]:
    """The versions installed by default, of these components, on a target."""
    table = {row["component"]: row["version"] for row in tables.rows("versions") if row["target"] in ("any", target)}
    return {component: table[component] for component in components if component in table}


def driver(target: str, accelerator: Kind) -> str:
    """The NVIDIA driver that nodes with an accelerator have by default on a target; empty where they need none."""
    if accelerator.vendor != "nvidia":
        return ""
    table = {row["accelerator"]: row["version"] for row in tables.rows("drivers") if row["target"] == target}
    return table.get(accelerator.name, table["*"])


def check_names(given: Mapping[str, str], known: Sequence[str]) -> list[Finding]:
    """The findings of versions that a user fixes: unknown components, and texts that are no version."""
    found: list[Finding] = []
    for component, text in given.items():
        wrong = one_of(f"versions.{component}", component, known, "component")
        if wrong:
            found.append(wrong)
        elif _version(text) is None:
            found.append(
                Finding(
                    Severity.INVALID, f"versions.{component}", text, "is no version", "use one such as 1.34 or 0.17.0"
                )
            )
    return found


def components() -> tuple[str, ...]:
    """Every component that the versions table knows."""
    return tuple(dict.fromkeys([*(row["component"] for row in tables.rows("versions")), "driver"]))


def check(facts: Mapping[str, str], versions: Mapping[str, str]) -> list[Finding]:
    """What the rules say of a pool with these facts, in a stack of these versions."""
    found: list[Finding] = []
    for rule in rules():
        version = _newest(rule.component, versions.get(rule.component, ""))
        if version is None or version in rule.range or not rule.applies(facts, versions):
            continue
        found.append(
            Finding(
                rule.severity,
                f"versions.{rule.component}",
                versions[rule.component],
                f"{rule.component} must be {rule.range}: {rule.reason}",
                rule.fix,
            )
        )
    return found


def check_driver(accelerator: Kind, installed: str) -> list[Finding]:
    """The finding that the driver is older than the accelerator."""
    version = _version(installed)
    if version is None or version >= Version(accelerator.driver):
        return []
    reason = f"driver must be >={accelerator.driver}: older ones do not know {accelerator.name}"
    fix = f"use a driver of branch {accelerator.driver} or newer"
    return [Finding(Severity.ERROR, "versions.driver", installed, reason, fix)]


def _rule(row: dict[str, Any]) -> Rule:
    when = tuple((key, _condition(value)) for key, value in row.get("when", {}).items())
    return Rule(
        severity=Severity(row["severity"]),
        component=row["component"],
        range=SpecifierSet(row["range"], prereleases=True),
        when=when,
        reason=row["reason"],
        fix=row["fix"],
    )


def _condition(value: Any) -> tuple[str, ...] | SpecifierSet:
    if isinstance(value, str) and value[:1] in "<>=!~":
        return SpecifierSet(value, prereleases=True)
    return (value,) if isinstance(value, str) else tuple(value)


def _holds(wanted: tuple[str, ...] | SpecifierSet, fact: str | None, text: str | None) -> bool:
    if isinstance(wanted, SpecifierSet):
        version = _version(text or "")
        return version is not None and version in wanted
    return fact in wanted


def _newest(component: str, text: str) -> Version | None:
    """The version that a text means: managed Kubernetes takes `1.35` as its newest patch."""
    version = _version(text)
    if version is not None and component == "kubernetes" and len(version.release) == 2:
        return Version(f"{version.major}.{version.minor}.999")
    return version


@cache
def _version(text: str) -> Version | None:
    """The version in a text such as `1.35`, `v0.19.2` or `1.35.1-gke.100`; None if it holds none."""
    return Version(found[1]) if (found := re.fullmatch(r"v?(\d+(?:\.\d+){0,3})(?:-[\w.]+)?", text)) else None
