"""Kubernetes objects from manifests: data in the API's own words, which may hold outputs."""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

import pulumi

Manifest = Mapping[str, Any]
"""An object: `apiVersion`, `kind`, `metadata` with a name (and a namespace where the kind has one), and the rest."""


class KubernetesObject(pulumi.CustomResource):
    """An object of any kind. The SDK's own classes know one kind each, and its `CustomResource` a `spec` alone.

    The provider waits for it as its kind asks: a Deployment for its replicas, for instance. Its `id` is
    `<namespace>/<name>`.
    """

    def __init__(self, name: str, manifest: Manifest, opts: pulumi.ResourceOptions | None = None) -> None:
        group = manifest["apiVersion"] if "/" in manifest["apiVersion"] else f"core/{manifest['apiVersion']}"
        plugin = pulumi.ResourceOptions(version=version("pulumi-kubernetes"))
        super().__init__(
            f"kubernetes:{group}:{manifest['kind']}",
            name,
            {**manifest},
            pulumi.ResourceOptions.merge(plugin, opts),
        )
