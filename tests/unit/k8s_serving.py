"""Inference services as tests ask for them, and what comes of them."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import pulumi
from accelstack.contracts import ClusterPool, ModelVersion
from accelstack.k8s.inference_service import InferenceService

from tests.unit.k8s_engine import run
from tests.unit.k8s_pools import planned

IMAGE = f"registry.example/workloads@sha256:{'a' * 64}"
ENGINE_IMAGE = f"registry.example/engine@sha256:{'b' * 64}"
WAY_IN = {"gateway_class": "envoy", "hostname": "digits.example.org"}


def version(letter: str, number: str = "1") -> ModelVersion:
    """A registered model version, whose digest is of one letter."""
    uri = f"s3://ours/models/{letter}"
    return {"name": "digits", "version": number, "digest": f"sha256:{letter * 64}", "uri": uri}


@cache
def pool(accelerator: str = "cpu:4") -> ClusterPool:
    """A pool of two nodes on AWS."""
    return planned("aws", accelerator)


def args(**more: Any) -> Any:
    """Args of a service; None leaves one out, and a function gives an output, which needs a running engine."""
    given = {
        "model": version("a"),
        "namespace": "models",
        "service_account": "workload",
        "pool": pool(),
        "store": {
            "uri": "s3://ours",
            "environment": {"AWS_ENDPOINT_URL": "https://objects.example"},
            "secret": "store",
        },
        "image": IMAGE,
        **more,
    }
    return {key: value() if callable(value) else value for key, value in given.items() if value is not None}


@dataclass(frozen=True)
class Made:
    """What a program makes, by logical name, and what its service gives out."""

    objects: dict[str, dict[str, Any]]
    outputs: dict[str, Any]

    def spec(self, name: str) -> dict[str, Any]:
        """Specification of one of the objects."""
        return self.objects[name]["spec"]

    def pod(self, name: str) -> dict[str, Any]:
        """Specification of a Deployment's pods."""
        return self.spec(name)["template"]["spec"]

    def server(self, name: str) -> dict[str, Any]:
        """The container that serves."""
        return self.pod(name)["containers"][0]


def serve(**more: Any) -> Made:
    """Everything that a service named `digits` makes."""

    def program() -> Any:
        service = InferenceService("digits", args(**more))
        return {each: getattr(service, each) for each in ("rest", "grpc", "console", "deployments", "route")}

    cluster, outputs = run(program)
    return Made({name: inputs for _, name, inputs in cluster.made if "metadata" in inputs}, outputs)


def refused(**more: Any) -> tuple[str, str]:
    """The property that a service is refused for, and the reason."""
    try:
        InferenceService("digits", args(**more))
    except pulumi.InputPropertyError as error:
        return error.property_path, error.reason
    raise AssertionError("it is not refused")
