"""The workloads of a stack: a training job and the service of the model that comes of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pulumi
from accelstack import local
from accelstack.contracts import TrainingJob
from settings import Settings

from blueprints.platform import Platform


@dataclass(frozen=True)
class Workloads:
    """What runs on the platform."""

    training: TrainingJob
    inference: local.InferenceService


def build(chosen: Settings, base: Platform) -> Workloads:
    """Trains on the platform's cluster and serves the model version that comes of it."""
    training = local.TrainingJob(
        "training",
        {
            "workload": chosen.workload,
            "dataset": chosen.dataset,
            "epochs": chosen.epochs,
            "batch_size": chosen.batch_size,
            "learning_rate": chosen.learning_rate,
            "seed": chosen.seed,
            "model": chosen.model,
            "store": base.store.uri,
            "accelerator": base.cluster.accelerator,
            "processes": base.cluster.processes,
        },
    )
    inference = local.InferenceService(
        "inference",
        {
            "model": training.model,
            "replicas": chosen.replicas,
            "rest_port": base.network.rest_port,
            "grpc_port": base.network.grpc_port,
            "folder": base.cluster.folder,
        },
    )
    return Workloads(training=training, inference=inference)


def outputs(work: Workloads) -> dict[str, pulumi.Input[Any]]:
    """The stack outputs that tell of the workloads."""
    return {
        "training": {"run_id": work.training.run_id, "metrics": work.training.metrics},
        "model": work.training.model,
        "inference": {
            "rest": work.inference.rest,
            "grpc": work.inference.grpc,
            "console": work.inference.console,
            "logs": work.inference.logs,
        },
    }
