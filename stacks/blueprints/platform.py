"""The platform of a stack: network, cluster and storage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pulumi
from accelstack import local
from accelstack.contracts import ObjectStore
from settings import Settings

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Platform:
    """The components that workloads stand on."""

    network: local.Network
    cluster: local.Cluster
    store: ObjectStore


def build(chosen: Settings) -> Platform:
    """The platform on this machine, in the checkout's own folder for this stack."""
    folder = ROOT / ".accelstack" / "stacks" / pulumi.get_stack()
    return Platform(
        network=local.Network("network", {"rest_port": chosen.rest_port, "grpc_port": chosen.grpc_port}),
        cluster=local.Cluster("cluster", {"folder": str(folder / "run"), "accelerator": chosen.accelerator}),
        store=local.ObjectStore("store", {"folder": str(folder / "store")}),
    )


def outputs(base: Platform) -> dict[str, pulumi.Input[Any]]:
    """The stack outputs that tell of the platform."""
    return {
        "cluster": {"name": base.cluster.name, "kubeconfig": base.cluster.kubeconfig, "pools": base.cluster.pools},
        "storage": {"uri": base.store.uri},
    }
