"""The stack outputs that other programs rely on: the same names on every target."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pulumi
from accelstack.contracts import Cluster, InferenceService, ObjectStore, TrainingJob

Outputs = Mapping[str, pulumi.Input[Any]]


def of_cluster(cluster: Cluster, pools: pulumi.Input[Any]) -> Outputs:
    """The cluster, and its pools."""
    return {"cluster": {"name": cluster.name, "kubeconfig": cluster.kubeconfig, "pools": pools}}


def of_store(store: ObjectStore, **more: pulumi.Input[Any]) -> Outputs:
    """Storage; `more` are the target's own kinds of it."""
    return {"storage": {"uri": store.uri, **more}}


def of_workloads(training: TrainingJob, inference: InferenceService, **more: pulumi.Input[Any]) -> Outputs:
    """The run, the model that came of it and its service; `more` tells how the target runs it."""
    return {
        "training": {"run_id": training.run_id, "metrics": training.metrics},
        "model": training.model,
        "inference": {"rest": inference.rest, "grpc": inference.grpc, "console": inference.console, **more},
    }
