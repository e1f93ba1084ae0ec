"""What the provider compares: the live object cut to what the program said of it, against what it says now."""

from __future__ import annotations

import base64
import copy
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from tests.engine.double.wire import Secret, knows, reveal

INTERNAL = ("__inputs", "__initialApiVersion", "__fieldManager")
"""What the provider keeps in the state beside the live object."""
_READ_ONLY = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "generation",
    "managedFields",
    "resourceVersion",
    "uid",
]
_SELECTOR = ("spec.selector",)
_JOB = ("spec.completions", "spec.parallelism", "spec.selector", "spec.template")
_SET = "spec.podManagementPolicy spec.revisionHistoryLimit spec.selector spec.serviceName spec.volumeClaimTemplates"
_CLAIM = ("spec.accessModes", "spec.selector", "spec.storageClassName", "spec.volumeName")
_POD = """affinity automountServiceAccountToken dnsConfig dnsPolicy enableServiceLinks hostAliases hostIPC hostNetwork
    hostPID hostname imagePullSecrets nodeName nodeSelector overhead preemptionPolicy priority priorityClassName
    readinessGates restartPolicy runtimeClassName schedulerName securityContext serviceAccount serviceAccountName
    shareProcessNamespace subdomain terminationGracePeriodSeconds volumes containers initContainers"""
REPLACING: Mapping[tuple[str, str], tuple[str, ...]] = {
    ("apps/v1", "DaemonSet"): _SELECTOR,
    ("apps/v1", "Deployment"): _SELECTOR,
    ("apps/v1", "StatefulSet"): tuple(_SET.split()),
    ("batch/v1", "Job"): _JOB,
    ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"): ("roleRef",),
    ("rbac.authorization.k8s.io/v1", "RoleBinding"): ("roleRef",),
    ("storage.k8s.io/v1", "StorageClass"): ("parameters", "provisioner"),
    ("v1", "PersistentVolumeClaim"): _CLAIM,
    ("v1", "Pod"): tuple(f"spec.{name}" for name in _POD.split()),
    ("v1", "ResourceQuota"): ("spec.scopes",),
    ("v1", "Service"): ("spec.clusterIP",),
}
"""Properties that the provider replaces an object for. Objects of kinds that are not here are only ever updated,
whatever the server then says of fields that cannot change.

https://github.com/pulumi/pulumi-kubernetes/blob/master/provider/pkg/provider/diff.go
"""
_NATIVE = re.compile(r"apps|autoscaling|batch|policy|(?:rbac\.|flowcontrol\.)?[a-z]+\.k8s\.io")
_QUANTITY = re.compile(r"([+-]?[0-9.]+)(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei|[eE][+-]?[0-9]+)?")
_UNITS = {
    "m": Decimal("0.001"),
    **{unit: Decimal(1000) ** (power + 1) for power, unit in enumerate("kMGTPE")},
    **{f"{unit}i": Decimal(1024) ** (power + 1) for power, unit in enumerate("KMGTPE")},
}


def replacing(inputs: Mapping[str, Any], options: Mapping[str, bool]) -> list[str]:
    """The properties for which an object of this kind is replaced.

    Secrets and ConfigMaps are replaced for their data, unless `enableSecretMutable` and `enableConfigMapMutable` say
    otherwise and they are not `immutable`.
    """
    version, kind = inputs.get("apiVersion"), inputs.get("kind")
    found = ["metadata.name", "metadata.namespace", *REPLACING.get((str(version), str(kind)), ())]
    fixed = inputs.get("immutable") is True
    if (version, kind) == ("v1", "Secret"):
        found += ["type"] if options.get("enableSecretMutable") and not fixed else ["type", "stringData", "data"]
    if (version, kind) == ("v1", "ConfigMap") and (fixed or not options.get("enableConfigMapMutable")):
        found += ["binaryData", "data"]
    return found


def native(version: str) -> bool:
    """Whether an `apiVersion` is one of Kubernetes itself, not of a custom resource."""
    return "/" not in version or _NATIVE.fullmatch(version.split("/")[0]) is not None


def normal(inputs: dict[str, Any]) -> dict[str, Any]:
    """Inputs as the provider keeps them: without what only the server sets, a Secret's `stringData` as `data`."""
    made = copy.copy(inputs)
    if isinstance(made.get("metadata"), dict):
        made["metadata"] = {key: value for key, value in made["metadata"].items() if key not in _READ_ONLY}
    text = reveal(made.get("stringData"))
    if (made.get("apiVersion"), made.get("kind")) == ("v1", "Secret") and text and knows(text):
        encoded = {key: base64.b64encode(str(value).encode()).decode() for key, value in text.items()}
        made["data"] = {**(reveal(made.get("data")) or {}), **encoded}
        del made["stringData"]
    if made.get("kind") == "CustomResourceDefinition":
        made.pop("status", None)
    return made


def secretive(inputs: dict[str, Any]) -> dict[str, Any]:
    """The same with what a Secret holds marked as secret."""
    if inputs.get("kind") != "Secret":
        return inputs
    return {
        key: Secret(value) if key in ("data", "stringData") and not isinstance(value, Secret) else value
        for key, value in inputs.items()
    }


def pruned(live: Any, like: Any) -> Any:
    """What is in both, with the live values: what the cluster added by itself is left out."""
    if isinstance(live, dict) and isinstance(like, dict):
        return {key: pruned(value, like[key]) for key, value in live.items() if key in like}
    if isinstance(live, list) and isinstance(like, list):
        return [pruned(one, other) for one, other in zip(live, like, strict=False)]
    return live


def aligned(live: Any, new: Any, *, typed: bool) -> Any:
    """The live value, written as the program does wherever both mean the same.

    Args:
        typed: whether the kind is one of Kubernetes' own, whose quantities (`1000m`, `1`) and empty values the provider
            brings into one form; of custom resources it knows nothing.
    """
    if isinstance(live, dict) and isinstance(new, dict):
        found = {key: aligned(value, new.get(key), typed=typed) for key, value in live.items()}
        absent = {key: value for key, value in new.items() if key not in live and typed and _empty(value)}
        return {**found, **absent}
    if isinstance(live, list) and isinstance(new, list):
        padded = [*new, *[None] * len(live)]
        return [aligned(one, other, typed=typed) for one, other in zip(live, padded, strict=False)]
    if typed and isinstance(live, str | int | float) and isinstance(new, str | int | float) and live != new:
        amount = quantity(live)
        return new if amount is not None and amount == quantity(new) else live
    return live


def quantity(value: Any) -> Decimal | None:
    """A Kubernetes quantity such as `500m` or `1Gi` as a number; None where it is none."""
    if isinstance(value, bool):
        return None
    match = _QUANTITY.fullmatch(str(value))
    if match is None or match[1].count(".") > 1 or not any(digit.isdigit() for digit in match[1]):
        return None
    number, unit = Decimal(match[1]), match[2] or ""
    return number * (
        Decimal(f"1{unit}") if unit[:1] in ("e", "E") and unit[1:] not in ("", "i") else _UNITS.get(unit, 1)
    )


def imported(live: dict[str, Any]) -> dict[str, Any]:
    """Inputs for an object that the program did not make."""
    found = {key: value for key, value in live.items() if key != "status"}
    return {**found, "metadata": {key: value for key, value in live["metadata"].items() if key not in _READ_ONLY}}


def _empty(value: Any) -> bool:
    return value in ({}, [], "", 0, False)
