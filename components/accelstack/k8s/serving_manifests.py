"""What serves one model version, as Kubernetes objects: what makes its pods, and who reaches them."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from accelstack.k8s import pod_fabric
from accelstack.k8s.pod import labels, pod_template
from accelstack.k8s.serving_pod import KIND, Revision, Serving, pod, selector

LEADER = {"leaderworkerset.sigs.k8s.io/worker-index": "0"}
READY_SECONDS = 5
"""A pod counts as available so long after it is ready: until then gateways have its address too."""
SURGE = "25%"


def workload(asked: Serving, revision: Revision) -> dict[str, Any]:
    """What makes the pods of a revision: a Deployment, or a LeaderWorkerSet where a copy has several nodes."""
    api, kind = asked.workload
    metadata = metadata_of(asked, revision.name, revision.model)
    if kind == "Deployment":
        spec: dict[str, Any] = {
            "replicas": asked.replicas,
            "selector": {"matchLabels": selector(asked.name, revision.name)},
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": SURGE}},
            "minReadySeconds": READY_SECONDS,
            "progressDeadlineSeconds": asked.deadline_seconds,
            "revisionHistoryLimit": 3,
            "template": pod_template(pod(asked, revision)),
        }
        return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}
    metadata["annotations"]["pulumi.com/waitFor"] = "condition=Available"
    leader, worker = pod(asked, revision), pod(asked, revision, worker=True)
    spec = {
        "replicas": asked.replicas,
        "startupPolicy": "LeaderCreated",
        "rolloutStrategy": {
            "type": "RollingUpdate",
            "rollingUpdateConfiguration": {"maxUnavailable": 0, "maxSurge": 1},
        },
        "leaderWorkerTemplate": {
            "size": asked.nodes,
            "restartPolicy": "RecreateGroupOnPodRestart",
            "leaderTemplate": pod_template(pod_fabric.joined(leader, revision.name, asked.daemon_image)),
            "workerTemplate": pod_template(pod_fabric.joined(worker, revision.name, asked.daemon_image)),
        },
    }
    return {"apiVersion": api, "kind": kind, "metadata": metadata, "spec": spec}


def claims(asked: Serving, revision: Revision) -> dict[str, dict[str, Any]]:
    """What the pods' claims of devices are made from, where nodes of one copy are joined by a fabric."""
    if asked.nodes == 1:
        return {}
    return pod_fabric.objects(asked.pool, revision.name, asked.namespace, asked.name, asked.nodes)


def service(asked: Serving, name: pulumi.Input[str], revision: pulumi.Input[str]) -> dict[str, Any]:
    """An address inside the cluster for the pods of a revision."""
    protocols = {"rest": "http", "grpc": "kubernetes.io/h2c"}
    metadata = metadata_of(asked, name)
    # its pods may be none while they scale, and that they serve is known from what makes them
    metadata["annotations"] = {"pulumi.com/skipAwait": "true"}
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {
            "type": "ClusterIP",
            "selector": {**selector(asked.name, revision), **(LEADER if asked.nodes > 1 else {})},
            "ports": [
                {"name": port, "port": number, "targetPort": port, "protocol": "TCP", "appProtocol": protocols[port]}
                for port, number in asked.engine.ports.items()
                if port in protocols
            ],
        },
    }


def disruption_budget(asked: Serving, revision: Revision, name: pulumi.Input[str]) -> dict[str, Any]:
    """Nodes are drained one copy at a time, and a copy that is broken anyway holds nobody up. A single copy goes with
    its node: that it must not would keep nodes from ever being drained."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": metadata_of(asked, name),
        "spec": {
            "maxUnavailable": 1,
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
            "selector": {"matchLabels": selector(asked.name, revision.name)},
        },
    }


def network_policy(
    asked: Serving, clients: Sequence[pulumi.Input[str]], addresses: Sequence[str], monitoring: pulumi.Input[str]
) -> dict[str, Any]:
    """Who reaches the pods, beside the node that probes them.

    Args:
        clients: namespaces of those that send requests.
        addresses: their address ranges, outside the cluster.
        monitoring: namespace of what reads metrics; empty for none.
    """
    ports = asked.engine.ports
    ingress: list[dict[str, Any]] = []
    if peers := [*(_namespace(each) for each in clients), *({"ipBlock": {"cidr": each}} for each in addresses)]:
        numbers = [number for port, number in ports.items() if port != "metrics"]
        ingress.append({"from": peers, "ports": [{"port": number, "protocol": "TCP"} for number in numbers]})
    if monitoring != "" and asked.engine.metrics:
        number = ports.get("metrics", ports["rest"])
        ingress.append({"from": [_namespace(monitoring)], "ports": [{"port": number, "protocol": "TCP"}]})
    if asked.nodes > 1:
        ingress.append({"from": [{"podSelector": {"matchLabels": selector(asked.name)}}]})
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata_of(asked, asked.name),
        "spec": {
            "podSelector": {"matchLabels": selector(asked.name)},
            "policyTypes": ["Ingress"],
            "ingress": ingress,
        },
    }


def metadata_of(
    asked: Serving, name: pulumi.Input[str], model: Mapping[str, pulumi.Input[str]] | None = None
) -> dict[str, Any]:
    """Metadata of one of the service's objects, with the model version that it is for."""
    known = {f"accelstack/model-{key}": value for key, value in model.items()} if model else {}
    found: dict[str, Any] = {"name": name, "namespace": asked.namespace, "labels": labels(asked.name, KIND)}
    return {**found, "annotations": known} if known else found


def _namespace(name: pulumi.Input[str]) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": name}}}
