"""How a gang gets on, read from what the API server has of it: its JobSet, its Kueue workload and its pods."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from accelstack.k8s.gang import PROGRAM

Object = Mapping[str, Any]
"""An object in the API's words."""
INDEX = "batch.kubernetes.io/job-completion-index"
UNPULLABLE = ("ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull")
UNSTARTABLE = ("CreateContainerConfigError", "RunContainerError", "CreateContainerError")
NEVER = ("maximum capacity", "doesn't exist", "is not mapped")
"""In Kueue's words: no job that ends will make room for this one."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a gang gets on."""

    stage: str
    """`missing`, `queued`, `starting`, `running`, `restarting`, `succeeded` or `failed`."""
    told: str
    """A line for people."""
    leader: str = ""
    """Name of the pod whose log tells most; empty where there is none."""
    result: dict[str, Any] | None = None
    """What the program left, once it succeeded."""
    stuck: str = ""
    """Why waiting alone will not help, and the fix; empty where it may."""


def read(job_set: Object | None, workload: Object | None, pods: Sequence[Object]) -> Outcome:
    """How the gang gets on.

    Args:
        job_set: None where it is gone.
        workload: Kueue's for it; None where there is none (yet).
        pods: the JobSet's.
    """
    if job_set is None:
        return Outcome("missing", "is not in the cluster; `pulumi up --refresh` submits it again")
    leader = _leader(pods)
    name = leader["metadata"]["name"] if leader else ""
    if done := _condition(job_set, "Completed"):
        return Outcome("succeeded", done.get("message", ""), name, _result(leader))
    if failed := _condition(job_set, "Failed"):
        worst = _failures(pods)
        blamed = next((pod for pod in pods if _failures([pod])), leader)
        told = "; ".join([str(failed.get("message", "it failed")), *worst])
        return Outcome("failed", told, blamed["metadata"]["name"] if blamed else "")
    if job_set["spec"].get("suspend"):
        return _queued(job_set, workload)
    return _under_way(job_set, pods, name)


def _queued(job_set: Object, workload: Object | None) -> Outcome:
    queue = job_set["metadata"].get("labels", {}).get("kueue.x-k8s.io/queue-name", "")
    if workload is None:
        return Outcome("queued", f"queued in {queue}; Kueue has not looked at it yet")
    if evicted := _condition(workload, "Evicted"):
        return Outcome("queued", f"queued again, taken back by Kueue: {_words(evicted)}")
    if reserved := _condition(workload, "QuotaReserved"):
        checks = [
            f"{each['name']}: {each.get('message') or each.get('state')}"
            for each in workload.get("status", {}).get("admissionChecks", [])
            if each.get("state") != "Ready"
        ]
        return Outcome("queued", f"has quota, waits for {', '.join(checks) or _words(reserved)}")
    waits = _condition(workload, "QuotaReserved", "False")
    if waits is None:
        return Outcome("queued", f"queued in {queue}")
    told = f"queued in {queue}: {_words(waits)}"
    hopeless = any(each in told for each in NEVER)
    fix = "raise the team's quota or ask for fewer nodes, or check queue and pool"
    return Outcome("queued", told, stuck=f"{told}; {fix}" if hopeless else "")


def _under_way(job_set: Object, pods: Sequence[Object], leader: str) -> Outcome:
    status = job_set.get("status", {})
    restarts = status.get("restarts", 0)
    again = f", begun again {restarts} times" if restarts > 1 else ", begun again once" if restarts else ""
    for pod in pods:
        if stuck := _stuck(pod):
            return Outcome("starting", stuck, leader, stuck=stuck)
    wanted = sum(each["template"]["spec"].get("completions", 1) for each in job_set["spec"]["replicatedJobs"])
    running = [pod for pod in pods if pod.get("status", {}).get("phase") in ("Running", "Succeeded")]
    if len(running) == wanted:
        return Outcome("running", f"runs on {wanted} {_nodes(wanted)}{again}", leader)
    if lost := [pod for pod in pods if _condition(pod, "DisruptionTarget")]:
        told = (
            f"lost {', '.join(_where(pod) for pod in lost)} ({_words(_condition(lost[0], 'DisruptionTarget') or {})})"
        )
        return Outcome("restarting", told, leader)
    for pod in pods:
        placed = _condition(pod, "PodScheduled", "False")
        if placed and placed.get("reason") == "Unschedulable":
            return Outcome("starting", f"admitted, has no place yet: {placed.get('message', '')}", leader)
    stage = "restarting" if restarts and not running else "starting"
    return Outcome(stage, f"{len(running)} of {wanted} pods run{again}", leader)


def _leader(pods: Sequence[Object]) -> Object | None:
    """The newest pod of index 0."""
    first = [pod for pod in pods if pod["metadata"].get("labels", {}).get(INDEX) == "0"]
    return max(first, key=lambda pod: str(pod["metadata"].get("creationTimestamp", "")), default=None)


def _result(leader: Object | None) -> dict[str, Any] | None:
    """What the program wrote as its last words; None where it wrote no JSON, or its pod is gone."""
    said = [_state(each, "terminated").get("message", "") for _, each in _containers(leader) if each["name"] == PROGRAM]
    try:
        found: Any = json.loads(said[0]) if said else None
    except ValueError:
        return None
    return cast(dict[str, Any], found) if isinstance(found, dict) else None


def _failures(pods: Sequence[Object]) -> list[str]:
    """What each pod that failed says of it."""
    told: list[str] = []
    for pod in pods:
        for name, each in _containers(pod):
            ended = _state(each, "terminated")
            if ended.get("exitCode"):
                said = str(ended.get("message", "")).strip()
                reason = f"{ended.get('reason', 'Error')}, exit code {ended['exitCode']}"
                told.append(f"{_where(pod)}: {name}: {reason}{': ' + said if said else ''}")
        status = pod.get("status", {})
        if status.get("reason"):  # such as Evicted, by the node
            told.append(f"{_where(pod)}: {status['reason']}: {status.get('message', '')}")
    return told


def _stuck(pod: Object) -> str:
    """Why a pod will not start by itself; empty where it may."""
    for _, each in _containers(pod):
        waiting = _state(each, "waiting")
        reason, message = waiting.get("reason", ""), waiting.get("message", "")
        if reason in UNPULLABLE:
            fix = "check its name and digest, the pull secret, and the mirror where the cluster reaches no other"
            return f"image {each.get('image', '')} cannot be pulled ({reason}: {message}); {fix}"
        if reason in UNSTARTABLE:
            return f"{_where(pod)} cannot start ({reason}: {message}); mend what it names"
    return ""


def _containers(pod: Object | None) -> list[tuple[str, Object]]:
    """Names and status of a pod's containers, in the order in which they start."""
    status: dict[str, Any] = pod.get("status", {}) if pod else {}
    found: list[Object] = [*(status.get("initContainerStatuses") or ()), *(status.get("containerStatuses") or ())]
    return [(each["name"], each) for each in found]


def _state(container: Object, kind: str) -> dict[str, Any]:
    """What is said of a container that is `waiting`, `running` or `terminated`; nothing if it is not."""
    return container.get("state", {}).get(kind) or {}


def _condition(of: Object, kind: str, status: str = "True") -> Object | None:
    for each in of.get("status", {}).get("conditions") or ():
        if each["type"] == kind and each["status"] == status:
            return each
    return None


def _words(condition: Object) -> str:
    return str(condition.get("message") or condition.get("reason") or "")


def _where(pod: Object) -> str:
    node = pod.get("spec", {}).get("nodeName", "")
    return f"pod {pod['metadata']['name']}{' on ' + node if node else ''}"


def _nodes(count: int) -> str:
    return "node" if count == 1 else "nodes"
