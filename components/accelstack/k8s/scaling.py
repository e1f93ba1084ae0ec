"""How many copies of a server there are: as many as asked for, or as its load wants."""

from dataclasses import dataclass
from typing import Any

import pulumi

from accelstack.k8s.serving_manifests import metadata_of
from accelstack.k8s.serving_pod import Revision, Serving

CPU_PERCENT = 70
"""Of what a copy asks for: room for the load to grow while another one starts."""
POLL_SECONDS = 15
"""As often as Prometheus usually looks."""
COOLDOWN_SECONDS = 300
"""Without requests, until the last copy goes: starting one takes minutes where its node goes too."""
NEVER_REACHED = 10**9
"""Threshold of a trigger that wakes, and does not count."""


@dataclass(frozen=True, slots=True)
class Scaling:
    """Copies that follow the load."""

    fewest: int
    most: int
    on: str
    """`cpu` or `queue`."""
    at: int
    """Per cent of the cores asked for, or requests in a copy, that it aims at."""
    prometheus: pulumi.Input[str] = ""
    """URL of the Prometheus that KEDA asks."""
    wake_query: pulumi.Input[str] = ""
    """PromQL whose answer is above 0 while somebody wants the service, though no copy is there to count."""


def scaler(asked: Serving, revision: Revision, scaling: Scaling, target: pulumi.Input[str]) -> dict[str, Any]:
    """What scales a revision: a HorizontalPodAutoscaler, or KEDA's ScaledObject where the queue tells.

    Args:
        target: name of what makes the revision's pods.
    """
    api, kind = asked.workload
    reference = {"apiVersion": api, "kind": kind, "name": target}
    if scaling.on == "queue":
        return _scaled_object(asked, revision, scaling, reference)
    usage = {"type": "Utilization", "averageUtilization": scaling.at}
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": metadata_of(asked, revision.name),
        "spec": {
            "scaleTargetRef": reference,
            "minReplicas": scaling.fewest,
            "maxReplicas": scaling.most,
            "metrics": [{"type": "Resource", "resource": {"name": "cpu", "target": usage}}],
        },
    }


def load_query(asked: Serving, revision: Revision) -> pulumi.Output[str]:
    """PromQL of the requests that are in a revision's servers, all together; 0 where there is none to count."""
    pods = pulumi.Output.format('namespace="{}", pod=~"{}-.+"', asked.namespace, revision.name)
    return pods.apply(lambda chosen: f"sum({asked.engine.load.replace('%s', chosen)}) or vector(0)")


def _scaled_object(asked: Serving, revision: Revision, scaling: Scaling, reference: dict[str, Any]) -> dict[str, Any]:
    at: dict[str, Any] = {"serverAddress": scaling.prometheus}
    triggers: list[dict[str, Any]] = [
        {
            "type": "prometheus",
            "name": "load",
            "metricType": "AverageValue",
            "metadata": {**at, "query": load_query(asked, revision), "threshold": str(scaling.at)},
        }
    ]
    if scaling.wake_query != "":
        wake = {**at, "query": scaling.wake_query, "threshold": str(NEVER_REACHED), "activationThreshold": "0"}
        triggers.append({"type": "prometheus", "name": "wake", "metricType": "AverageValue", "metadata": wake})
    # where Prometheus does not answer, what is there stays, and one serves at least
    fallback = {"failureThreshold": 3, "replicas": max(scaling.fewest, 1), "behavior": "currentReplicasIfHigher"}
    return {
        "apiVersion": "keda.sh/v1alpha1",
        "kind": "ScaledObject",
        "metadata": metadata_of(asked, revision.name),
        "spec": {
            "scaleTargetRef": reference,
            "minReplicaCount": scaling.fewest,
            "maxReplicaCount": scaling.most,
            "pollingInterval": POLL_SECONDS,
            "cooldownPeriod": COOLDOWN_SECONDS,
            "fallback": fallback,
            "triggers": triggers,
        },
    }


def refusal(asked: Scaling, *, engine_counts: bool, engine: str, accelerator: str) -> tuple[str, str] | None:
    """What is wrong with the scaling asked for: the property, and why; None if nothing is.

    Args:
        engine_counts: whether the engine tells how many requests it has.
        accelerator: of the pool; empty for none.
    """
    if asked.on not in ("cpu", "queue"):
        return "scale_on", f"is {asked.on!r}; use cpu or queue"
    if asked.fewest > asked.most:
        return "max_replicas", f"is {asked.most}, less than the fewest, {asked.fewest}; raise it"
    if asked.at < 1:
        return "scale_at", f"is {asked.at}; it must be 1 or more"
    if asked.on == "cpu" and accelerator:
        return "scale_on", f"is cpu, whose load does not tell that of {accelerator}; use queue"
    if asked.on == "cpu" and not asked.fewest:
        return (
            "min_replicas",
            "is 0, and no load of no server brings one back; use 1 or more, or scale_on: queue (KEDA)",
        )
    if asked.on == "cpu" and (asked.prometheus != "" or asked.wake_query != ""):
        return "scale_on", "is cpu, which needs neither prometheus nor wake_query; leave them out, or use queue"
    if asked.on == "queue" and not engine_counts:
        return "scale_on", f"is queue, and {engine} does not tell how many requests it has; use cpu"
    if asked.on == "queue" and asked.prometheus == "":
        return "prometheus", "is left out; give the URL of the Prometheus that reads the servers' metrics"
    if asked.on == "queue" and not asked.fewest and asked.wake_query == "":
        return "min_replicas", (
            "is 0, and nothing would tell that somebody asks; give as wake_query what your Gateway counts, or use 1"
        )
    return None
