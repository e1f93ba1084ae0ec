"""The plan of a stack: decided before the first resource, printed once, exported."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pulumi
from accelstack.local import planning as local
from accelstack.plan import export, machines
from accelstack.plan import plan as plans
from accelstack.plan.findings import errors
from accelstack.plan.plan import Plan
from settings import Settings


def decide(chosen: Settings) -> Plan:
    """The plan of the settings, printed in previews.

    Raises:
        pulumi.RunError: the plan does not fit, every reason at once; or the file of fresh prices cannot be used.
    """
    fresh = os.environ.get("ACCELSTACK_PRICES")
    try:
        machines.use_prices(Path(fresh) if fresh else None)
    except ValueError as error:
        raise pulumi.RunError(f"ACCELSTACK_PRICES: {error}") from None
    given = {"name": f"{pulumi.get_project()}-{pulumi.get_stack()}", **chosen.plan}
    decided = local.plan(given) if chosen.target == "local" else plans.plan(given)
    wrong = errors(decided.findings)
    if wrong:
        lines = [f"  {finding}" for finding in wrong]
        raise pulumi.RunError("\n".join(["the plan of this stack does not fit; nothing was created:", *lines]))
    if pulumi.runtime.is_dry_run():
        from accelstack.report import layout  # only here, since an update prints nothing
        from accelstack.report import plans as shown

        pulumi.log.info("\n" + layout.text(shown.plan(decided)))
    return decided


def outputs(decided: Plan) -> dict[str, pulumi.Input[Any]]:
    """The stack outputs that tell of the plan."""
    plan = export.as_dict(decided)
    return {"cost": plan.pop("cost"), "plan": plan}
