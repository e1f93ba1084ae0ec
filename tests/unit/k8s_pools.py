"""Pools as components get them: planned, then in Kubernetes' words."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pulumi
from accelstack.contracts import ClusterPool
from accelstack.k8s.pools import cluster_pool
from accelstack.plan import plan
from accelstack.plan.findings import errors

REGIONS = {"aws": "us-east-1", "gcp": "us-central1", "azure": "eastus"}


def planned(target: str, accelerator: str, nodes: int = 2, **settings: Any) -> ClusterPool:
    """The pool that a stack with these settings has."""
    place = {"region": REGIONS[target], **settings}
    decided = plan.plan({"target": target, "accelerator": accelerator, "nodes": nodes, **place})
    assert not errors(decided.findings), [str(each) for each in decided.findings]
    pool = decided.pools[0]
    taint = {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}
    taints: Any = [] if pool.machine.accelerator == "cpu" else [taint]
    return cluster_pool(pool, {"accelstack/pool": pool.name}, taints, zones=["zone-a"])


def resolved(manifest: Callable[[], Any]) -> Any:
    """What the engine would be sent of a manifest that holds outputs."""

    async def known() -> Any:
        return await pulumi.Output.from_input(manifest()).future()

    return asyncio.run(known())
