"""Custom resource definitions of the components that accelstack works with, from their modules' archives."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from tests.cluster.programs import folder

Manifest = dict[str, Any]
COMPONENTS = {
    "cert_manager": "deploy/crds/*.yaml",
    "dra_driver": "deployments/**/*.yaml",
    "gateway_api": "config/crd/standard/*.yaml",
    "gke_networking": "config/crds/*.yaml",
    "jobset": "config/components/crd/bases/*.yaml",
    "karpenter": "pkg/apis/crds/*.yaml",
    "keda": "config/crd/bases/*.yaml",
    "kueue": "config/components/crd/bases/*.yaml",
    "leader_worker_set": "config/crd/bases/*.yaml",
    "prometheus_operator": "example/prometheus-operator-crd/*.yaml",
    "velero": "config/crd/*/bases/*.yaml",
}
"""Where in its archive a component has them."""


class _Loader(yaml.CSafeLoader):
    """Takes a bare `=` for the text that it is."""


_Loader.add_constructor("tag:yaml.org,2002:value", _Loader.construct_yaml_str)


def crds(component: str) -> list[Manifest]:
    """The definitions of one component, such as `kueue`.

    Raises:
        tests.cluster.programs.UnavailableError: the archive is not there and cannot be had.
    """
    return manifests(component, COMPONENTS[component], "CustomResourceDefinition")


def manifests(component: str, pattern: str, *kinds: str) -> list[Manifest]:
    """The manifests of these kinds in the files of a component's archive that match a pattern."""
    files = sorted(Path(folder(component)).glob(pattern))
    read = (each for file in files for each in yaml.load_all(file.read_text(), _Loader))
    return [each for each in read if each and each["kind"] in kinds]
