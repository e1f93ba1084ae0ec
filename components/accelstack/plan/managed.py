"""A pool on a cloud's managed platform, which brings machines for each job and each endpoint: no cluster, no nodes."""

from dataclasses import replace

from accelstack.plan import choice, fabric, tables
from accelstack.plan.capacity import Terms
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.machines import Machine
from accelstack.plan.pool import PoolPlan
from accelstack.plan.pricing import Item
from accelstack.plan.request import PoolRequest, Request

CAPACITY = ("on_demand", "spot")
"""Capacity types that are provisioned on managed platforms."""


def instance(target: str, machine: str, use: str) -> str:
    """The managed platform's name of a machine type for `training` or `hosting`; empty if it has none for that."""
    for row in tables.rows("managed"):
        if (row["target"], row["machine"], row[use]) == (target, machine, "yes"):
            return row["name"]
    return ""


def decide(pool: PoolRequest, request: Request) -> tuple[PoolPlan | None, list[Finding]]:
    """A pool of the managed platform as it will be, or None, and what was found about it."""
    if pool.capacity not in CAPACITY:
        fix = f"use one of: {', '.join(CAPACITY)}; or runs_on: cluster"
        reason = "is no capacity that is provisioned on a managed platform"
        return None, [Finding(Severity.ERROR, f"{pool.path}capacity", pool.capacity, reason, fix)]
    # the bundled image is built for it, and the cheapest machines without accelerators are of the other kind
    built_for = "x86_64" if pool.accelerator == "cpu" else pool.architecture
    wanted = replace(pool, fabric="auto", architecture=built_for)
    chosen, findings = choice.choose(wanted, request.target, request.region)
    if chosen is None:
        return None, findings
    machine = chosen.machine
    if not any(instance(request.target, machine.name, use) for use in ("training", "hosting")):
        has = sorted(
            {
                f"{other.accelerator}:{other.per_node}"
                for other in choice.candidates(replace(pool, machine="", per_node=0), request.target)
                if instance(request.target, other.name, "training")
            }
        )
        fix = f"use {' or '.join(has)}, or runs_on: cluster" if has else "use another accelerator, or runs_on: cluster"
        reason = f"{machine.name} is not on the managed platform of {request.target}"
        return None, [Finding(Severity.ERROR, f"{pool.path}accelerator", pool.accelerator, reason, fix)]
    return _planned(pool, machine), findings


def _planned(pool: PoolRequest, machine: Machine) -> PoolPlan:
    uses = (instance(machine.target, machine.name, use) for use in ("training", "hosting"))
    name = next(filter(None, uses))
    terms = Terms(pool.capacity, (), "none", {"instance_type": name})
    unpriced = Item(f"pool {pool.name}", None, "", "")  # no source gives what SageMaker adds to a machine's price
    return PoolPlan(pool.name, machine, pool.nodes, pool.min_nodes, "", terms, fabric.NONE, unpriced, None, ())
