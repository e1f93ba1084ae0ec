"""A Pulumi program over a real API server, for tests: objects from manifests, and a namespace of their own."""

from __future__ import annotations

import json
from typing import Any

from tests.cluster.control_plane import ControlPlane
from tests.cluster.nodes import cpu_pool
from tests.engine.programs import Program, Run

HEADER = """
import pulumi
import pulumi_kubernetes as kubernetes
from accelstack.k8s.objects import KubernetesObject


def options(**given):
    return pulumi.ResourceOptions(provider=cluster, **given)


def timeouts(seconds):
    return {name: pulumi.CustomTimeouts(**{name: f"{seconds}s"}) for name in ("create", "update", "delete")}

"""
POOL = cpu_pool("double")
QUEUES = {
    "apiVersion": "apiextensions.k8s.io/v1",
    "kind": "CustomResourceDefinition",
    "metadata": {"name": "queues.double.test"},
    "spec": {
        "group": "double.test",
        "names": {"kind": "Queue", "plural": "queues"},
        "scope": "Cluster",
        "versions": [
            {
                "name": "v1",
                "served": True,
                "storage": True,
                "schema": {
                    "openAPIV3Schema": {
                        "type": "object",
                        "properties": {
                            "spec": {"type": "object", "properties": {"size": {"type": "integer"}}},
                            "status": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
                        },
                    }
                },
            }
        ],
    },
}
AT_ONCE = {"pulumi.com/deletionPropagationPolicy": "background"}  # the collector learns of new kinds every 30 s only
QUEUE = {
    "apiVersion": "double.test/v1",
    "kind": "Queue",
    "metadata": {"name": "q", "annotations": AT_ONCE},
    "spec": {"size": 1},
}


def config_map(name: str, namespace: str, **data: str) -> dict[str, Any]:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name, "namespace": namespace}, "data": data}


def deployment(name: str, namespace: str, replicas: int = 2, **more: Any) -> dict[str, Any]:
    """On the simulated node, where every pod becomes ready; without its selector, on none."""
    pod = {"containers": [{"name": "main", "image": "example.org/app:1"}], "nodeSelector": POOL["labels"], **more}
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": pod},
        },
    }


def fine(run: Run) -> Run:
    assert run.ok, run.output
    return run


class Setting:
    """A program with one provider for a cluster, and a namespace of its own in it."""

    def __init__(self, program: Program, plane: ControlPlane, namespace: str) -> None:
        self.program, self.plane, self.namespace = program, plane, namespace

    def write(self, *resources: tuple[str, dict[str, Any], str] | tuple[str, dict[str, Any]], **settings: Any) -> None:
        """Sets the program: resources as name, manifest and the text of options."""
        given = {"kubeconfig": str(self.plane.kubeconfig), **settings}
        lines = [f"cluster = kubernetes.Provider('cluster', **{given!r})"]
        for name, manifest, *options in resources:
            lines.append(f"{name} = KubernetesObject({name!r}, {manifest!r}, options({', '.join(options)}))")
        lines.append("pulumi.export('ids', [" + ", ".join(f"{name}.id" for name, *_ in resources) + "])")
        self.program.write("\n".join(lines), HEADER)

    def get(self, kind: str, name: str, *, all_fields: bool = False) -> dict[str, Any]:
        shown = ["--show-managed-fields"] if all_fields else []
        return json.loads(self.kubectl("get", kind, name, "-o", "json", *shown))

    def kubectl(self, *arguments: str) -> str:
        return self.plane.kubectl("--namespace", self.namespace, *arguments)
