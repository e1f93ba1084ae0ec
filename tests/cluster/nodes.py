"""Nodes of a pool as KWOK plays them: its labels, taints and zones, and what pods on them may ask for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from accelstack.contracts import ClusterPool
from accelstack.k8s.pools import HOST, ZONE

ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
PODS = 110
NEIGHBOURS = 4
"""Nodes below one value of the narrowest topology label above the host; the next wider label has as many of those."""
RESERVED = 0.06
"""Of a machine's memory, kept from pods as clouds do it."""
HUGE_PAGES = "hugepages-2Mi"


def nodes(pool: ClusterPool, count: int, *, prefix: str = "") -> list[dict[str, Any]]:
    """Manifests of a pool's nodes, which KWOK makes ready.

    Zones are taken in turn; every other label of the pool's topology tells apart groups of `NEIGHBOURS`.

    Args:
        prefix: of their names, instead of the pool's name and `-`.
    """
    return [_node(pool, number, f"{prefix or pool['name'] + '-'}{number}") for number in range(count)]


def cpu_pool(name: str = "cpu", **changes: Any) -> ClusterPool:
    """A pool of ordinary machines over three zones, for tests that need no plan."""
    return {**_PLAIN, "name": name, "labels": {"accelstack/pool": name}, **changes}  # type: ignore[typeddict-item]


def gpu_pool(name: str = "gpu", **changes: Any) -> ClusterPool:
    """A pool of machines with 8 GPUs each, for tests that need no plan."""
    accelerated = {
        "accelerator": "h100",
        "per_node": 8,
        "resource": "nvidia.com/gpu",
        "cores": 192,
        "memory_gib": 2048.0,
        "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}],
    }
    return {**cpu_pool(name), **accelerated, **changes}  # type: ignore[typeddict-item]


_PLAIN: Mapping[str, Any] = {
    "accelerator": "cpu",
    "per_node": 0,
    "nodes": 2,
    "min_nodes": 0,
    "fabric": "tcp",
    "cores": 16,
    "memory_gib": 64.0,
    "capacity": "on_demand",
    "architecture": "x86_64",
    "resource": "",
    "taints": [],
    "zones": ["a", "b", "c"],
    "topology": [ZONE, HOST],
    "pod_fabric": {
        "name": "tcp",
        "resources": {},
        "claims": {},
        "annotations": {},
        "environment": {},
        "script": "",
        "folders": [],
        "shared_memory": "16Gi",
        "capabilities": [],
        "compute_domain": False,
        "floor_gbs": 0.0,
    },
}


def _node(pool: ClusterPool, number: int, name: str) -> dict[str, Any]:
    resources = {
        "cpu": str(pool["cores"]),
        "memory": f"{int(pool['memory_gib'] * (1 - RESERVED) * 1024)}Mi",
        "ephemeral-storage": "500Gi",
        "pods": str(PODS),
        HUGE_PAGES: "0",
        **pool["pod_fabric"]["resources"],
    }
    if pool["resource"]:
        resources[pool["resource"]] = str(pool["per_node"])
    architecture = ARCHITECTURES[pool["architecture"]]
    labels = {
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": architecture,
        **_places(pool, number),
        HOST: name,
        **pool["labels"],
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": labels},
        "spec": {"taints": [{**taint} for taint in pool["taints"]]},
        "status": {
            "allocatable": resources,
            "capacity": resources,
            "nodeInfo": {
                "architecture": architecture,
                "operatingSystem": "linux",
                **dict.fromkeys(("bootID", "machineID", "systemUUID", "osImage"), ""),
                "kernelVersion": "6.12.0",
                "containerRuntimeVersion": "containerd://2.1.0",
                "kubeletVersion": "v1.36.3",
                "kubeProxyVersion": "",
            },
        },
    }


def _places(pool: ClusterPool, number: int) -> dict[str, str]:
    """Labels of where a node is: its zone, and its group for each other level of the topology."""
    zones = pool["zones"]
    found = {ZONE: zones[number % len(zones)]} if zones else {}
    order = number // len(zones) if zones else number
    where = found.get(ZONE, "")
    for above, label in enumerate(reversed([each for each in pool["topology"] if each not in (ZONE, HOST)]), start=1):
        found[label] = f"{where}{'-' if where else ''}{above}-{order // NEIGHBOURS**above}"
    return found
