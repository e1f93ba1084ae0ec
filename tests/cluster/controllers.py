"""Kueue, JobSet and LeaderWorkerSet outside the cluster: their settings, and their webhooks by address."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.certificates import Certificates
from tests.cluster.crds import Manifest, manifests
from tests.cluster.programs import folder

_RATE = {"qps": 2000, "burst": 4000}


@dataclass(frozen=True)
class Controller:
    """One controller out of the cluster."""

    component: str
    program: str
    namespace: str
    """Where it would run and keep what it keeps."""
    config: Mapping[str, Any]
    arguments: tuple[str, ...]
    webhooks: str
    """Where its archive has them."""
    pods: str = ""
    """Label without which its webhooks leave pods alone; empty for all pods."""


CONTROLLERS = (
    Controller(
        "kueue",
        "kueue",
        "kueue-system",
        {
            "apiVersion": "config.kueue.x-k8s.io/v1beta2",
            "metrics": {"enableClusterQueueResources": True},
            "controller": {
                "groupKindConcurrency": {
                    "Job.batch": 5,
                    "Pod": 5,
                    "Workload.kueue.x-k8s.io": 5,
                    "JobSet.jobset.x-k8s.io": 5,
                    "LocalQueue.kueue.x-k8s.io": 1,
                    "ClusterQueue.kueue.x-k8s.io": 1,
                    "ResourceFlavor.kueue.x-k8s.io": 1,
                }
            },
            "integrations": {"frameworks": ["batch/job", "jobset.x-k8s.io/jobset"]},
        },
        ("--feature-gates=VisibilityOnDemand=false", "--zap-log-level=error"),
        "config/components/webhook/manifests.yaml",
    ),
    Controller(
        "jobset",
        "jobset",
        "jobset-system",
        {"apiVersion": "config.jobset.x-k8s.io/v1alpha1"},
        ("--zap-log-level=error",),
        "config/components/webhook/manifests.yaml",
        "jobset.sigs.k8s.io/jobset-name",
    ),
    Controller(
        "leader_worker_set",
        "lws",
        "lws-system",
        {"apiVersion": "config.lws.x-k8s.io/v1alpha1"},
        ("--zap-log-level=error",),
        "config/webhook/manifests.yaml",
        "leaderworkerset.sigs.k8s.io/name",
    ),
)


def command(
    controller: Controller,
    home: Path,
    certificates: Certificates,
    webhooks: int,
    health: int,
    settings: Mapping[str, Any],
) -> list[str]:
    """Its command line, with its configuration in a file.

    Args:
        webhooks: port.
        health: port, for `/readyz`.
        settings: more of its configuration.
    """
    config = {
        **controller.config,
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": f"127.0.0.1:{health}"},
        "webhook": {"host": "127.0.0.1", "port": webhooks, "certDir": str(certificates.folder)},
        "leaderElection": {"leaderElect": False},
        "internalCertManagement": {"enable": False},
        "clientConnection": _RATE,
        **settings,
    }
    config["metrics"] = {**config.get("metrics", {}), "bindAddress": "0"}
    file = home / f"{controller.program}.yaml"
    file.write_text(yaml.safe_dump(config))
    return [str(folder(controller.component) / controller.program), f"--config={file}", *controller.arguments]


def webhooks(controller: Controller, certificates: Certificates, port: int) -> list[Manifest]:
    """Its webhooks as its installation would register them, at an address of this machine."""
    found = manifests(
        controller.component, controller.webhooks, "MutatingWebhookConfiguration", "ValidatingWebhookConfiguration"
    )
    authority = base64.b64encode(certificates.authority.read_bytes()).decode()
    for configuration in found:
        configuration["metadata"]["name"] = f"{controller.program}-{configuration['metadata']['name']}"
        for webhook in configuration["webhooks"]:
            path = webhook["clientConfig"]["service"]["path"]
            webhook["clientConfig"] = {"url": f"https://127.0.0.1:{port}{path}", "caBundle": authority}
            if controller.pods and any("pods" in rule["resources"] for rule in webhook["rules"]):
                webhook["objectSelector"] = {"matchExpressions": [{"key": controller.pods, "operator": "Exists"}]}
        if controller.component == "kueue":
            groups = {"kueue.x-k8s.io", *map(_group, controller.config["integrations"]["frameworks"])}
            configuration["webhooks"] = [
                webhook for webhook in configuration["webhooks"] if groups & set(webhook["rules"][0]["apiGroups"])
            ]
    return found


def _group(framework: str) -> str:
    """The API group of a framework that Kueue integrates; it answers for the others too, with nothing to say."""
    group, _, kind = framework.rpartition("/")
    return group or {"pod": ""}.get(kind, "apps")
