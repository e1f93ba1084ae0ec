"""A stack on this machine: its platform, and the workloads on it."""

from __future__ import annotations

from pathlib import Path

import pulumi
from accelstack import local
from settings import Settings

from blueprints.outputs import Outputs, of_cluster, of_store, of_workloads
from blueprints.planning import Planned

ROOT = Path(__file__).resolve().parents[2]


def build(chosen: Settings, _planned: Planned) -> Outputs:
    """The stack, in the checkout's own folder for it: trains on this machine and serves what comes of it."""
    folder = ROOT / ".accelstack" / "stacks" / pulumi.get_stack()
    network = local.Network("network", {"rest_port": chosen.rest_port, "grpc_port": chosen.grpc_port})
    cluster = local.Cluster("cluster", {"folder": str(folder / "run"), "accelerator": chosen.accelerator})
    store = local.ObjectStore("store", {"folder": str(folder / "store")})
    training = local.TrainingJob(
        "training",
        {
            **chosen.training,
            "store": store.uri,
            "accelerator": cluster.accelerator,
            "processes": cluster.processes,
        },
    )
    inference = local.InferenceService(
        "inference",
        {
            "model": training.model,
            "replicas": chosen.replicas,
            "rest_port": network.rest_port,
            "grpc_port": network.grpc_port,
            "folder": cluster.folder,
        },
    )
    return {
        **of_cluster(cluster, cluster.pools),
        **of_store(store),
        **of_workloads(training, inference, logs=inference.logs),
    }
