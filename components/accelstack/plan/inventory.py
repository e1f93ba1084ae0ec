"""What an existing cluster has, parsed from the objects of its API: nodes, classes, definitions, add-ons, version."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

Object = Mapping[str, Any]
"""An object as the API gives it in JSON."""

IMAGES = {
    "amd-gpu-operator": "amd_gpu_operator",
    "aws-efa-k8s-device-plugin": "efa_device_plugin",
    "cert-manager-controller": "cert_manager",
    "cluster-autoscaler": "cluster_autoscaler",
    "dcgm-exporter": "dcgm_exporter",
    "gpu-operator": "gpu_operator",
    "jobset": "jobset",
    "k8s-device-plugin": "device_plugin",
    "dra-driver-nvidia-gpu": "dra_driver",
    "k8s-dra-driver-gpu": "dra_driver",
    "keda": "keda",
    "kueue": "kueue",
    "lws": "leader_worker_set",
    "network-operator": "network_operator",
    "prometheus-operator": "prometheus_operator",
    "trainer-controller-manager": "trainer",
    "velero": "velero",
}
"""Components of the versions table by the last part of their images' names; AMD's operator has that of its chart."""
SCALE = {
    **{suffix: Decimal(10) ** power for suffix, power in zip(("n", "u", "m", "", "k"), range(-9, 4, 3), strict=True)},
    **{suffix: Decimal(10) ** (3 * power) for power, suffix in enumerate("MGTPE", start=2)},
    **{f"{prefix}i": Decimal(2) ** (10 * power) for power, prefix in enumerate("KMGTPE", start=1)},
}
"""Suffixes of quantities (https://kubernetes.io/docs/reference/kubernetes-api/common-definitions/quantity/)."""


@dataclass(frozen=True, slots=True)
class Taint:
    """A taint of a node."""

    key: str
    value: str
    effect: str


@dataclass(frozen=True, slots=True)
class Node:
    """A node, as the API knows it."""

    name: str
    labels: Mapping[str, str]
    taints: tuple[Taint, ...]
    """Those that stay: not what the node controller adds while a node starts or is lost."""
    allocatable: Mapping[str, float]
    """What pods may have of each resource: cores of `cpu`, bytes of `memory`, counts of the others."""
    architecture: str
    """`x86_64` or `arm64`."""
    ready: bool
    unschedulable: bool

    @property
    def usable(self) -> bool:
        """Whether pods can start on it now."""
        return self.ready and not self.unschedulable


@dataclass(frozen=True, slots=True)
class StorageClass:
    """A storage class."""

    name: str
    provisioner: str
    default: bool


@dataclass(frozen=True, slots=True)
class Crd:
    """A custom resource definition."""

    name: str
    versions: tuple[str, ...]
    """Versions that are served."""
    labels: Mapping[str, str]
    annotations: Mapping[str, str]

    @property
    def managed_by(self) -> str:
        """Who says that it manages it, such as `Helm`; empty if nobody does."""
        return self.labels.get(MANAGED_BY, "")


@dataclass(frozen=True, slots=True)
class Installed:
    """An add-on that runs in the cluster."""

    component: str
    """Its name in the versions table."""
    version: str
    """As its image's tag says, without a leading `v`; empty where that is no version."""
    managed_by: str
    namespace: str


@dataclass(frozen=True, slots=True)
class Inventory:
    """What a cluster has. What could not be read is empty, and a warning says so."""

    version: str
    """Such as `1.34.2`."""
    nodes: tuple[Node, ...] = ()
    storage_classes: tuple[StorageClass, ...] = ()
    gateway_classes: tuple[str, ...] = ()
    crds: tuple[Crd, ...] = ()
    installed: tuple[Installed, ...] = ()
    warnings: tuple[str, ...] = ()
    homes: Mapping[str, str] = field(default_factory=dict[str, str])
    """What made them, as `app.kubernetes.io/part-of` says it, of the namespaces that accelstack made."""
    namespaces: tuple[str, ...] = ()
    unread: frozenset[str] = frozenset()
    """Kinds that could not be listed, such as `storageclasses`."""


MANAGED_BY, PART_OF, OURS = "app.kubernetes.io/managed-by", "app.kubernetes.io/part-of", "accelstack"
DEFAULT_CLASS = "storageclass.kubernetes.io/is-default-class"
PASSING = ("node.kubernetes.io/", "node.cloudprovider.kubernetes.io/", "ToBeDeletedByClusterAutoscaler")
"""What taints begin with that come and go with a node's condition."""
ARCHITECTURES = {"amd64": "x86_64", "arm64": "arm64"}


def from_objects(
    version: str,
    *,
    nodes: Iterable[Object] = (),
    storage_classes: Iterable[Object] = (),
    gateway_classes: Iterable[Object] = (),
    crds: Iterable[Object] = (),
    workloads: Iterable[Object] = (),
    namespaces: Iterable[Object] = (),
    unread: Mapping[str, str] | None = None,
) -> Inventory:
    """The inventory of a cluster.

    Args:
        version: `gitVersion` of the API server, such as `v1.34.2-eks-113cf36`.
        workloads: Deployments and DaemonSets of all namespaces, in which add-ons are found.
        unread: why each kind that is missing could not be listed.
    """
    unread, spaces = unread or {}, [*namespaces]
    return Inventory(
        version=_release(version),
        nodes=tuple(sorted((_node(each) for each in nodes), key=lambda node: node.name)),
        storage_classes=tuple(_storage_class(each) for each in storage_classes),
        gateway_classes=tuple(each["metadata"]["name"] for each in gateway_classes),
        crds=tuple(_crd(each) for each in crds),
        installed=_installed(workloads),
        homes={each["metadata"]["name"]: part for each in spaces if (part := _part_of(each))},
        namespaces=tuple(each["metadata"]["name"] for each in spaces),
        warnings=tuple(f"{kind} could not be listed: {reason}" for kind, reason in unread.items()),
        unread=frozenset(unread),
    )


def quantity(text: str | float) -> float:
    """The number that a quantity such as `3920m` or `16Gi` means.

    Raises:
        ValueError: it is no quantity.
    """
    match = re.fullmatch(r"([0-9]+\.?[0-9]*(?:[eE][+-]?[0-9]+)?|\.[0-9]+)([numkMGTPE]?|[KMGTPE]i)", str(text))
    if not match:
        raise ValueError(f"{text!r} is no quantity; use one such as 16Gi")
    return float(Decimal(match[1]) * SCALE[match[2]])


def _part_of(item: Object) -> str:
    """The component of accelstack that made an object; empty if none did."""
    labels: Mapping[str, str] = item["metadata"].get("labels") or {}
    return labels.get(PART_OF, "") if labels.get(MANAGED_BY) == OURS else ""


def _release(text: str) -> str:
    """`1.34.2` of `v1.34.2-eks-113cf36`."""
    match = re.match(r"v?(\d+(?:\.\d+)*)", text)
    return match[1] if match else ""


def _node(node: Object) -> Node:
    spec, status = node.get("spec", {}), node.get("status", {})
    labels: dict[str, str] = node["metadata"].get("labels") or {}
    machine = labels.get("kubernetes.io/arch", "")
    taints = tuple(
        Taint(each["key"], each.get("value") or "", each["effect"])
        for each in spec.get("taints") or ()
        if not each["key"].startswith(PASSING)
    )
    conditions: Sequence[Object] = status.get("conditions") or ()
    allocatable: Mapping[str, str] = status.get("allocatable") or {}
    return Node(
        name=node["metadata"]["name"],
        labels=labels,
        taints=taints,
        allocatable={key: quantity(value) for key, value in allocatable.items()},
        architecture=ARCHITECTURES.get(machine, machine),
        ready=any(each["type"] == "Ready" and each["status"] == "True" for each in conditions),
        unschedulable=bool(spec.get("unschedulable")),
    )


def _storage_class(item: Object) -> StorageClass:
    metadata = item["metadata"]
    annotations: Mapping[str, str] = metadata.get("annotations") or {}
    return StorageClass(metadata["name"], item.get("provisioner", ""), annotations.get(DEFAULT_CLASS) == "true")


def _crd(item: Object) -> Crd:
    metadata = item["metadata"]
    served = tuple(each["name"] for each in item["spec"]["versions"] if each.get("served"))
    return Crd(metadata["name"], served, metadata.get("labels") or {}, metadata.get("annotations") or {})


def _installed(workloads: Iterable[Object]) -> tuple[Installed, ...]:
    """The add-ons among Deployments and DaemonSets, each once: the first of its images that names a version."""
    found: dict[str, Installed] = {}
    for each in workloads:
        metadata, pod = each["metadata"], each["spec"]["template"]["spec"]
        labels: dict[str, str] = metadata.get("labels") or {}
        for container in pod.get("containers") or ():
            name, tag = _image(container.get("image", ""))
            chart = labels.get("helm.sh/chart", "")
            named = "amd-gpu-operator" if name == "gpu-operator" and "amd" in chart else name
            component = IMAGES.get(named, "")
            if component and (component not in found or not found[component].version):
                version = _release(tag) or _release(labels.get("app.kubernetes.io/version", ""))
                manager = labels.get(MANAGED_BY, "")
                found[component] = Installed(component, version, manager, metadata.get("namespace", ""))
    return tuple(found.values())


def _image(reference: str) -> tuple[str, str]:
    """The last part of an image's name, and its tag."""
    plain = reference.partition("@")[0].rpartition("/")[2]
    name, _, tag = plain.partition(":")
    return name, tag
