"""The plan of a stack: decided before the first resource, printed once, exported."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pulumi
from accelstack.local import planning as local
from accelstack.plan import addons, adoption, export, machines
from accelstack.plan import plan as plans
from accelstack.plan.findings import errors
from accelstack.plan.plan import Plan
from settings import Settings

if TYPE_CHECKING:
    from accelstack.private.planning import Decided as Existing

BROUGHT = {"aws": ("device_plugin", "efa_device_plugin")}
"""Add-ons that a cloud's own charts are, by target."""


@dataclass(frozen=True)
class Planned:
    """What a stack comes to, before its first resource."""

    plan: Plan
    existing: Existing | None = None
    """What was read of a cluster that is there already; None on targets that make their own."""
    add_ons: dict[str, str] = field(default_factory=dict)
    """Versions of the add-ons to install in the cluster, and of their parts."""
    adopted: list[str] = field(default_factory=list[str])
    """Add-ons of others in it that are used."""
    homes: list[str] = field(default_factory=list[str])
    """Others' namespaces that add-ons are installed into."""


def decide(chosen: Settings) -> Planned:
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
    planned = _planned(chosen.target, given)
    decided = planned.plan
    wrong = errors(decided.findings)
    if wrong:
        lines = [f"  {finding}" for finding in wrong]
        raise pulumi.RunError("\n".join(["the plan of this stack does not fit; nothing was created:", *lines]))
    if pulumi.runtime.is_dry_run():
        from accelstack.report import layout  # only here, since an update prints nothing
        from accelstack.report import plans as shown

        pulumi.log.info("\n" + layout.text(shown.plan(decided)))
    return planned


def _planned(target: str, given: dict[str, Any]) -> Planned:
    match target:
        case "local":
            return Planned(local.plan(given))
        case "private":
            from accelstack.private import planning as private  # only here: it reads a cluster

            existing = private.decide(given)
            # what is there says nothing of what is wanted
            fixed = existing.plan.request.versions if existing.plan.request else {}
            wanted = _add_ons(existing.plan, fixed)
            owner = add_ons_name(str(given["name"]))
            if existing.inventory is None or existing.plan.request is None:
                return Planned(existing.plan, existing, wanted)
            own = [home for home, part_of in existing.inventory.homes.items() if part_of == owner]
            decided = adoption.decide(existing.inventory, wanted, own)
            plan = plans.with_findings(existing.plan, decided.findings)
            versions = addons.pins(decided.install, target, wanted)
            return Planned(plan, existing, versions, [*decided.adopted], [*decided.homes])
        case _:
            plan = plans.plan(given)
            return Planned(plan, add_ons=_add_ons(plan, plan.versions))


def add_ons_name(stack: str) -> str:
    """Name of the component that installs a stack's add-ons: its own are told from others' by it."""
    return f"{stack}-add-ons"


def _add_ons(plan: Plan, fixed: Mapping[str, str]) -> dict[str, str]:
    """The add-ons that a plan's cluster needs, with the versions of their parts: those fixed, else the table's."""
    request = plan.request
    if request is None or request.platform.runs_on == "managed":
        return {}
    asked = request.inside
    names = addons.needed(
        pools=plan.pools,
        versions=plan.versions,
        serves=bool(asked.serving or asked.wait_minutes),
        observability=asked.observability,
        backup=bool(asked.backup),
        gateway=bool(asked.gateway or asked.gateway_class),
        issuer=bool(asked.issuer),
        scale_on_queue=bool(asked.max_replicas) and asked.scale_on == "queue",
        several_nodes=asked.replica_nodes > 1,
        brought=BROUGHT.get(request.target, ()),
    )
    return addons.pins(names, request.target, fixed)


def outputs(decided: Plan) -> dict[str, pulumi.Input[Any]]:
    """The stack outputs that tell of the plan."""
    plan = export.as_dict(decided)
    return {"cost": plan.pop("cost"), "plan": plan}
