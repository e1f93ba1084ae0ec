"""`accelstack doctor`: the checks of a target, and the command that mends each."""

from dataclasses import asdict
from importlib import import_module
from typing import Any

import typer

from accelstack.checks import Check, State
from accelstack.cli import accounts
from accelstack.plan import plan as plans
from accelstack.plan import quota
from accelstack.plan.findings import Severity, errors
from accelstack.plan.machines import CLOUDS, offers
from accelstack.plan.plan import Plan
from accelstack.report import checks, layout


def doctor(given: dict[str, Any], as_json: bool) -> int:
    """Prints what was found; 1 where something is wrong, else 0.

    Raises:
        typer.BadParameter: the target or the region is unknown.
    """
    target = given.get("target")
    if target not in ("local", "private", *CLOUDS):
        raise typer.BadParameter(
            f"{target or 'nothing'!r} is no target; use local, private, {', '.join(CLOUDS)}", param_hint="--target"
        )
    by_target = {"local": _local, "private": lambda: _private(given)}
    found = by_target.get(str(target), lambda: _cloud(str(target), given))()
    if as_json:
        layout.emit([asdict(check) for check in found])
    else:
        layout.console().print(checks.checks(found))
    return int(any(check.state is State.FAILED for check in found))


def _local() -> list[Check]:
    from accelstack.local import doctor

    return doctor.checks()


def _private(given: dict[str, Any]) -> list[Check]:
    """The checks of an existing cluster, and of the plan of what is asked of it."""
    try:
        from accelstack.private import doctor
    except ImportError as error:
        fix = "pip install 'accelstack[kubernetes]'"
        return [Check("packages", State.FAILED, f"{error.name} is not installed", fix)]
    return doctor.checks(given)


def _cloud(target: str, given: dict[str, Any]) -> list[Check]:
    """The target's checks for what the settings ask for, and the account's quotas for it."""
    region = given.get("region")
    if region not in (known := sorted(offers(target))):
        said = "no region is given" if region is None else f"{region!r} is no region of {target}"
        raise typer.BadParameter(f"{said}; use one of {', '.join(known)}", param_hint="--region")
    decided = plans.plan(given if given.get("accelerator") or given.get("pools") else {**given, "accelerator": "cpu:4"})
    try:
        checked: Any = import_module(f"accelstack.{target}.doctor")
    except ImportError as error:
        fix = f"pip install 'accelstack[{target}]'"
        return [Check("packages", State.FAILED, f"{error.name} is not installed", fix)]
    cluster = decided.request.name if decided.request else ""
    return [*checked.checks(region, decided.pools, cluster), _quota(target, decided)]


def _quota(target: str, decided: Plan) -> Check:
    if decided.request is None or errors(decided.findings):
        return Check("quota", State.UNCHECKED, "the settings make no plan that fits; see `accelstack plan`")
    limits, problem = accounts.limits(target, decided.request.region, decided.quotas)
    if problem:
        return Check("quota", State.UNCHECKED, problem.rule, problem.fix)
    findings = quota.compare(decided.quotas, limits)
    short = [finding for finding in findings if finding.severity is Severity.ERROR]
    if short:
        return Check("quota", State.FAILED, "; ".join(f.rule for f in short), "; ".join(f.fix for f in short))
    if findings:
        return Check("quota", State.UNCHECKED, "; ".join(finding.rule for finding in findings), findings[0].fix)
    return Check("quota", State.OK, f"{len(decided.quotas)} quotas are large enough")
