"""The plan of a stack on this machine: one node, with what it has, at no price."""

from collections.abc import Mapping
from typing import Any

from accelstack.local import machine
from accelstack.plan import fabric, platform, pricing, request
from accelstack.plan.capacity import Terms
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.machines import Machine
from accelstack.plan.plan import Plan
from accelstack.plan.pool import PoolPlan

MEANT = ("target", "accelerator", "name", "budget")
"""Settings of a plan that mean something here; any budget holds, since nobody bills this machine by the hour."""


def plan(given: Mapping[str, Any]) -> Plan:
    """The plan of settings whose target is `local`."""
    findings = request.check_keys(given)
    findings += [
        Finding(
            Severity.INVALID,
            key,
            str(given[key]),
            "means nothing on target local, which is this one machine",
            "leave it out, or choose a cloud as target",
        )
        for key in request.KEYS
        if given.get(key) is not None and key not in MEANT
    ]
    found = machine.find()
    asked = str(given.get("accelerator") or "auto")
    try:
        accelerator = machine.resolve(asked, found)
    except ValueError as error:
        findings.append(Finding(Severity.ERROR, "accelerator", asked, str(error), "or choose a cloud as target"))
        return Plan(None, (), {}, (), (), pricing.Estimate(()), tuple(findings))
    here = Machine(
        target="local",
        name="this machine",
        accelerator=accelerator.name,
        per_node=accelerator.per_node or 1,
        vcpus=found["cores"],
        memory_gib=found["memory_gib"],
        architecture=found["architecture"],
        local_storage_gib=0,
        network_gbps=None,
        network_cards=0,
        fabric="none",
        fabric_interfaces=0,
        fabric_cards=(),
        nvlink_domain=None,
        placement="",
        family="",
        vendor_accelerator="",
        image="",
        driver="none",
        capacity=("on_demand",),
        note="",
        source="",
        date="",
    )
    free = pricing.Item("pool local", 0.0, "", "")
    pool = PoolPlan("local", here, 1, 1, "", Terms("on_demand", (), "none"), fabric.NONE, free, 0.0, ())
    asked_for = request.Request(
        target="local",
        region="",
        name=str(given.get("name", "")),
        pools=(),
        versions={},
        cidr="",
        budget=0,
        storage_gib=0,
        egress_gib=0,
        platform=platform.USUAL,
    )
    return Plan(asked_for, (pool,), {}, (), (), pricing.Estimate((free,)), tuple(findings))
