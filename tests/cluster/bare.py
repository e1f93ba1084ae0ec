"""Gangs and queues as one writes them by hand, without accelstack: what its own are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from accelstack.contracts import ClusterPool

from tests.cluster.launch import DELAY

Manifest = dict[str, Any]
QUEUE = "team"
_KUEUE = "kueue.x-k8s.io/v1beta2"


def queue(pool: ClusterPool, nodes: int, name: str, levels: Sequence[str] = ()) -> list[Manifest]:
    """A cluster queue with all that so many nodes of a pool have, and the flavor of it.

    Args:
        name: of both.
        levels: labels by which it places pods near each other, widest first.
    """
    resources = {
        "cpu": pool["cores"] * nodes,
        "memory": f"{int(pool['memory_gib']) * nodes}Gi",
        pool["resource"]: pool["per_node"] * nodes,
    }
    quotas = [{"name": resource, "nominalQuota": quota} for resource, quota in resources.items()]
    group = {"coveredResources": [*resources], "flavors": [{"name": name, "resources": quotas}]}
    flavor: Manifest = {"nodeLabels": pool["labels"]}
    near: list[Manifest] = []
    if levels:
        flavor |= {"topologyName": name}
        near.append(_object("Topology", name, {"levels": [{"nodeLabel": label} for label in levels]}))
    return [
        *near,
        _object("ResourceFlavor", name, flavor),
        _object("ClusterQueue", name, {"namespaceSelector": {}, "resourceGroups": [group]}),
    ]


def local_queue(namespace: str, cluster_queue: str) -> Manifest:
    """The way into a cluster queue from a namespace."""
    return _object("LocalQueue", QUEUE, {"clusterQueue": cluster_queue}, namespace)


def gang(
    pool: ClusterPool,
    namespace: str,
    name: str,
    nodes: int,
    *,
    seconds: float = 0.0,
    annotations: dict[str, str] | None = None,
) -> Manifest:
    """A JobSet with a pod on each of several nodes, which has all of its accelerators.

    Args:
        seconds: how long its pods run.
        annotations: more of its pods'.
    """
    accelerators = {pool["resource"]: str(pool["per_node"])}
    secure = {
        "runAsNonRoot": True,
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "seccompProfile": {"type": "RuntimeDefault"},
    }
    container = {
        "name": "main",
        "image": "example.org/nothing",
        "securityContext": secure,
        "resources": {"requests": {"cpu": "1", "memory": "1Gi", **accelerators}, "limits": accelerators},
    }
    pod = {
        "metadata": {"annotations": {DELAY: f"{seconds}s", **(annotations or {})}},
        "spec": {
            "restartPolicy": "Never",
            "nodeSelector": pool["labels"],
            "tolerations": [{**taint, "operator": "Equal"} for taint in pool["taints"]],
            "containers": [container],
        },
    }
    job = {
        "parallelism": nodes,
        "completions": nodes,
        "completionMode": "Indexed",
        "backoffLimit": 0,
        "template": pod,
    }
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": {"name": name, "namespace": namespace, "labels": {"kueue.x-k8s.io/queue-name": QUEUE}},
        "spec": {"replicatedJobs": [{"name": "workers", "replicas": 1, "template": {"spec": job}}]},
    }


def _object(kind: str, name: str, spec: Manifest, namespace: str = "") -> Manifest:
    metadata = {"name": name, "namespace": namespace} if namespace else {"name": name}
    return {"apiVersion": _KUEUE, "kind": kind, "metadata": metadata, "spec": spec}
