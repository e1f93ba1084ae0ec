"""Plans as plain data, for JSON and stack outputs."""

from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from accelstack.plan.findings import Finding
from accelstack.plan.plan import Plan
from accelstack.plan.pool import PoolPlan


def as_dict(decided: Plan) -> dict[str, Any]:
    """The plan as plain data, for JSON and stack outputs."""
    request = decided.request
    estimate = decided.estimate
    return {
        "fits": decided.fits,
        "target": request.target if request else None,
        "region": request.region if request else None,
        "pools": [_pool_dict(pool, request.region if request else "") for pool in decided.pools],
        "versions": decided.versions,
        "subnets": [asdict(subnet) for subnet in decided.subnets],
        "quotas": [asdict(need) for need in decided.quotas],
        "cost": {
            "hourly_usd": _cents(estimate.hourly_usd),
            "monthly_usd": _cents(estimate.monthly_usd),
            "known_monthly_usd": _cents(estimate.known_monthly_usd) if estimate.items else None,
            "unknown": list(estimate.unknown),
            "catalogue_date": estimate.catalogue_date,
            "items": [
                {"name": item.name, "monthly_usd": _cents(item.monthly_usd), "source": item.source, "date": item.date}
                for item in estimate.items
            ],
        },
        "findings": findings_dict(decided.findings),
    }


def findings_dict(found: Iterable[Finding]) -> list[dict[str, Any]]:
    """Findings as plain data."""
    return [asdict(finding) for finding in found]


def _pool_dict(pool: PoolPlan, region: str) -> dict[str, Any]:
    machine = pool.machine
    return {
        "name": pool.name,
        "target": machine.target,
        "region": region,
        "zones": list(pool.terms.zones),
        "machine": machine.name,
        "accelerator": machine.accelerator,
        "per_node": machine.per_node,
        "nodes": pool.nodes,
        "min_nodes": pool.min_nodes,
        "gpus": pool.gpus,
        "vcpus": machine.vcpus,
        "memory_gib": machine.memory_gib,
        "architecture": machine.architecture,
        "image": machine.image,
        "driver": machine.driver,
        "driver_version": pool.driver or None,
        "fabric": pool.fabric.name,
        "fabric_interfaces": pool.fabric.count,
        "wiring": asdict(pool.fabric),
        "capacity": pool.terms.capacity,
        "placement": pool.terms.placement,
        "launch": pool.terms.launch,
        "taints": list(pool.terms.taints),
        "hourly_usd": _cents(pool.hourly_usd),
        "monthly_usd": _cents(pool.cost.monthly_usd),
        "catalogue_date": pool.cost.date or None,
        "findings": findings_dict(pool.findings),
    }


def _cents(amount: float | None) -> float | None:
    return None if amount is None else round(amount, 2)
