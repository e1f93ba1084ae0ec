"""`accelstack doctor`: the checks of a target, and the command that mends each."""

from dataclasses import asdict
from importlib import import_module
from typing import Any

import typer

from accelstack.checks import Check, State
from accelstack.cli import accounts
from accelstack.cli.main import emit
from accelstack.plan import plan as plans
from accelstack.plan import quota
from accelstack.plan.findings import Severity
from accelstack.plan.machines import CLOUDS, offers
from accelstack.plan.plan import Plan
from accelstack.report import checks, layout


def doctor(given: dict[str, Any], as_json: bool) -> int:
    """Prints what was found; 1 where something is wrong, else 0.

    Raises:
        typer.BadParameter: the target or the region is unknown.
    """
    target = given.get("target")
    if target not in ("local", *CLOUDS):
        raise typer.BadParameter(
            f"{target or 'nothing'!r} is no target; use local, {', '.join(CLOUDS)}", param_hint="--target"
        )
    found = _local() if target == "local" else _cloud(str(target), given)
    if as_json:
        emit([asdict(check) for check in found])
    else:
        layout.console().print(checks.checks(found))
    return int(any(check.state is State.FAILED for check in found))


def _local() -> list[Check]:
    from accelstack.local import doctor

    return doctor.checks()


def _cloud(target: str, given: dict[str, Any]) -> list[Check]:
    """The target's checks for what the settings ask for, and the account's quotas for it."""
    region = given.get("region") or ""
    if region not in offers(target):
        known = ", ".join(sorted(offers(target)))
        raise typer.BadParameter(
            f"{region or 'nothing'!r} is no region of {target}; use one of {known}", param_hint="--region"
        )
    decided = plans.plan(given if given.get("accelerator") or given.get("pools") else {**given, "accelerator": "cpu:4"})
    try:
        checked: Any = import_module(f"accelstack.{target}.doctor")
    except ImportError as error:
        fix = f"pip install 'accelstack[{target}]'"
        return [Check("packages", State.FAILED, f"{error.name} is not installed", fix)]
    machines = list(dict.fromkeys(pool.machine.name for pool in decided.pools))
    cluster = str(given.get("name", "accelstack"))
    if target == "aws":
        spot = any(pool.terms.capacity == "spot" for pool in decided.pools)
        found = checked.checks(region, machines, spot, cluster)
    elif target == "gcp":
        zones = sorted({zone for pool in decided.pools for zone in pool.terms.zones})
        found = checked.checks(region, zones, machines, cluster)
    else:
        infiniband = any(pool.machine.fabric == "infiniband" for pool in decided.pools)
        found = checked.checks(region, machines, infiniband, cluster, cluster)
    return [*found, _quota(target, decided)]


def _quota(target: str, decided: Plan) -> Check:
    if decided.request is None:
        return Check("quota", State.UNCHECKED, "the settings make no plan; see `accelstack plan`")
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
