"""When an object counts as made: by kind, as the provider knows them, or as an annotation asks.

It follows the provider's own rules, https://www.pulumi.com/registry/packages/kubernetes/how-to-guides/, with these
differences: a CustomResourceDefinition is waited for until it is established (the provider instead tries custom objects
again and again), endpoints are not given ten seconds to settle, and an Ingress is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from tests.engine.double.kubernetes.api import Cluster, Object

_BAD_WAITING = frozenset(
    [
        "ImagePullBackOff",
        "ErrImagePull",
        "InvalidImageName",
        "CrashLoopBackOff",
        "CreateContainerConfigError",
        "CreateContainerError",
        "RunContainerError",
        "ErrImageNeverPull",
    ]
)


class Verdict(NamedTuple):
    """How far an object is."""

    ready: bool
    reasons: list[str] = []  # noqa: RUF012 - never changed
    """What is missing."""
    final: bool = False
    """Whether waiting longer is of no use."""


Judge = Callable[[Object, Cluster], Verdict]
READY = Verdict(ready=True)


def verdict(live: Object, cluster: Cluster) -> Verdict:
    """How far a live object is, by its kind; kinds without a rule are ready once they exist."""
    rule = _RULES.get((live["apiVersion"], live["kind"]))
    return rule(live, cluster) if rule else READY


def _conditions(live: Object) -> dict[str, Object]:
    return {one["type"]: one for one in live.get("status", {}).get("conditions") or []}


def _unmet(conditions: dict[str, Object], *types: str) -> list[str]:
    found = [conditions[one] for one in types if one in conditions and conditions[one]["status"] != "True"]
    return [f"[{one.get('reason', '')}] {one.get('message', '')}" for one in found]


def _observed(live: Object) -> bool:
    return live.get("status", {}).get("observedGeneration", 0) >= live["metadata"].get("generation", 0)


def _deployment(live: Object, cluster: Cluster) -> Verdict:
    status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
    conditions = _conditions(live)
    done = (
        _observed(live)
        and status.get("updatedReplicas", 0) >= wanted
        and status.get("availableReplicas", 0) >= wanted
        and status.get("replicas", 0) == status.get("updatedReplicas", 0)
        and conditions.get("Available", {}).get("status") == "True"
    )
    if done:
        return READY
    missing = f"{status.get('availableReplicas', 0)} of {wanted} replicas are available"
    failed = conditions.get("ReplicaFailure", {}).get("status") == "True"
    refused = [conditions["ReplicaFailure"]["message"]] if failed else []  # quota, admission
    return Verdict(False, [missing, *_unmet(conditions, "Progressing", "Available"), *refused, *_pods(live, cluster)])


def _stateful_set(live: Object, cluster: Cluster) -> Verdict:
    status, wanted = live.get("status", {}), live["spec"].get("replicas", 1)
    rolled = status.get("currentRevision") == status.get("updateRevision")
    on_delete = live["spec"].get("updateStrategy", {}).get("type") == "OnDelete"
    if _observed(live) and status.get("readyReplicas", 0) >= wanted and (rolled or on_delete):
        return READY
    missing = f"{status.get('readyReplicas', 0)} of {wanted} replicas are ready"
    return Verdict(False, [missing, *_pods(live, cluster)])


def _daemon_set(live: Object, cluster: Cluster) -> Verdict:
    status = live.get("status", {})
    wanted, ready = status.get("desiredNumberScheduled", 0), status.get("numberReady", 0)
    if _observed(live) and ready >= wanted and status.get("updatedNumberScheduled", 0) >= wanted:
        return READY
    return Verdict(False, [f"{ready} of {wanted} pods are ready", *_pods(live, cluster)])


def _job(live: Object, cluster: Cluster) -> Verdict:
    conditions = _conditions(live)
    if conditions.get("Complete", {}).get("status") == "True":
        return READY
    failed = conditions.get("Failed", {})
    if failed.get("status") == "True":
        return Verdict(False, [f"[{failed.get('reason', '')}] {failed.get('message', '')}"], final=True)
    return Verdict(False, ["the Job is not complete", *_pods(live, cluster)])


def _pod(live: Object, cluster: Cluster) -> Verdict:
    phase, conditions = live.get("status", {}).get("phase", "Pending"), _conditions(live)
    if phase == "Succeeded" or (phase == "Running" and conditions.get("Ready", {}).get("status") == "True"):
        return READY
    return Verdict(False, [f"the Pod is {phase}", *_trouble(live)])


def _service(live: Object, cluster: Cluster) -> Verdict:
    spec, about = live["spec"], live["metadata"]
    if spec.get("type") == "LoadBalancer" and not live.get("status", {}).get("loadBalancer", {}).get("ingress"):
        return Verdict(False, ["no load balancer gave the Service an address: does anything in the cluster do so?"])
    if spec.get("type") == "ExternalName" or spec.get("clusterIP") == "None" or not spec.get("selector"):
        return READY
    labels = f"kubernetes.io/service-name={about['name']}"
    slices = cluster.list("discovery.k8s.io/v1", "EndpointSlice", about["namespace"], labels)
    endpoints = [one for found in slices for one in found.get("endpoints") or []]
    if endpoints and all(one.get("conditions", {}).get("ready", True) for one in endpoints):
        return READY
    return Verdict(False, ["the Service targets no ready Pods: none match `spec.selector`, or they are not ready"])


def _claim(live: Object, cluster: Cluster) -> Verdict:
    phase, name = live.get("status", {}).get("phase"), live["spec"].get("storageClassName")
    if phase == "Bound":
        return READY
    found = cluster.get("storage.k8s.io/v1", "StorageClass", "", name) if name else None
    if found and found.get("volumeBindingMode") == "WaitForFirstConsumer":
        return READY
    return Verdict(False, [f"the claim is {phase}" + ("" if found else f": there is no storage class {name!r}")])


def _volume(live: Object, cluster: Cluster) -> Verdict:
    phase = live.get("status", {}).get("phase")
    return READY if phase in ("Available", "Bound") else Verdict(False, [f"the volume is {phase}"])


def _quota(live: Object, cluster: Cluster) -> Verdict:
    done = live["spec"].get("hard") == live.get("status", {}).get("hard")
    return READY if done else Verdict(False, ["the quota is not in force"])


def _definition(live: Object, cluster: Cluster) -> Verdict:
    conditions = _conditions(live)
    if conditions.get("Established", {}).get("status") == "True":
        return READY
    refused = conditions.get("NamesAccepted", {}).get("status") == "False"
    return Verdict(False, ["it is not established", *_unmet(conditions, "NamesAccepted")], final=refused)


def _pods(live: Object, cluster: Cluster) -> list[str]:
    """What is wrong with the pods that an object selects, each thing once."""
    labels = (live["spec"].get("selector") or {}).get("matchLabels") or {}
    selector = ",".join(f"{key}={value}" for key, value in labels.items())
    if not selector:
        return []
    pods = cluster.list("v1", "Pod", live["metadata"]["namespace"], selector)
    return list(dict.fromkeys(reason for pod in pods for reason in _trouble(pod)))


def _trouble(pod: Object) -> Iterator[str]:
    status = pod.get("status", {})
    scheduled = _conditions(pod).get("PodScheduled", {})
    if scheduled.get("status") == "False":
        yield f"[{scheduled.get('reason', '')}] {scheduled.get('message', '')}"
    for one in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        waiting: dict[str, Any] = one.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in _BAD_WAITING:
            container = f"container {one['name']} of {one.get('image', '')}"
            yield f"[{waiting['reason']}] {container}: {waiting.get('message', '')}"
        ended: dict[str, Any] = one.get("state", {}).get("terminated") or {}
        if ended.get("exitCode"):
            yield f"[{ended.get('reason', '')}] container {one['name']} ended with {ended['exitCode']}"


_RULES: dict[tuple[str, str], Judge] = {
    ("apps/v1", "Deployment"): _deployment,
    ("apps/v1", "StatefulSet"): _stateful_set,
    ("apps/v1", "DaemonSet"): _daemon_set,
    ("batch/v1", "Job"): _job,
    ("v1", "Pod"): _pod,
    ("v1", "Service"): _service,
    ("v1", "PersistentVolumeClaim"): _claim,
    ("v1", "PersistentVolume"): _volume,
    ("v1", "ResourceQuota"): _quota,
    ("apiextensions.k8s.io/v1", "CustomResourceDefinition"): _definition,
}
