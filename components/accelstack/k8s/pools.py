"""Planned pools in Kubernetes' words: how their nodes are told apart, and what pods on them ask for."""

from collections.abc import Mapping, Sequence

from accelstack.contracts import ClusterPool, FabricDaemon, HostFolder, PodFabric, Taint
from accelstack.plan.accelerators import KINDS
from accelstack.plan.fabric import Fabric, Mount
from accelstack.plan.pool import PoolPlan

ZONE = "topology.kubernetes.io/zone"
HOST = "kubernetes.io/hostname"


def cluster_pool(
    pool: PoolPlan,
    labels: Mapping[str, str],
    taints: Sequence[Taint] = (),
    *,
    zones: Sequence[str] = (),
    topology: Sequence[str] = (ZONE, HOST),
) -> ClusterPool:
    """A planned pool whose nodes have these labels and taints.

    Args:
        zones: as the nodes' labels name them, which is not always as the plan does.
        topology: labels of nodes, widest first, that tell how near they are to each other.
    """
    machine = pool.machine
    return {
        "name": pool.name,
        "accelerator": machine.accelerator,
        "per_node": machine.per_node,
        "nodes": pool.nodes,
        "min_nodes": pool.min_nodes,
        "fabric": pool.fabric.name,
        "cores": machine.vcpus,
        "memory_gib": machine.memory_gib,
        "capacity": pool.terms.capacity,
        "architecture": machine.architecture,
        "resource": KINDS[machine.accelerator].resource,
        "labels": {**labels},
        "taints": [*taints],
        "zones": [*zones],
        "topology": [*topology],
        "pod_fabric": pod_fabric(pool.fabric),
    }


def pod_fabric(fabric: Fabric) -> PodFabric:
    """What a fabric asks of a pod that has all the accelerators of its node."""
    asked: PodFabric = {
        "name": fabric.name,
        "resources": dict(fabric.requests),
        "claims": dict(fabric.claims),
        "annotations": dict(fabric.annotations),
        "environment": dict(fabric.environment),
        "script": fabric.script,
        "folders": _folders(fabric.mounts),
        "shared_memory": fabric.shared_memory,
        "capabilities": [*fabric.capabilities],
        "compute_domain": bool(fabric.compute_domain),
        "floor_gbs": fabric.floor.bus_gbs if fabric.floor else 0.0,
    }
    if daemon := fabric.sidecar:
        component = next(each for each in fabric.components if each.endswith("_daemon"))
        asked["daemon"] = FabricDaemon(
            name=daemon.name,
            component=component,
            command=daemon.command,
            capabilities=[*daemon.capabilities],
            folders=_folders(daemon.mounts),
        )
    return asked


def _folders(mounts: Sequence[Mount]) -> list[HostFolder]:
    return [HostFolder(host_path=each.host_path, mount_path=each.mount_path) for each in mounts]
