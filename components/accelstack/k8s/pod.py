"""Every pod's specification: hardened, with requests and limits, by image digest, on the pool that it is for.

What is written out here satisfies the restricted Pod Security Standard and checkov's CKV_K8S_8 to 14, 20, 22, 31, 37,
38, 40, 43 and 49. Waived is CKV_K8S_35: a store's secret becomes variables, since its libraries read nothing else.
"""

import re
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi

from accelstack.contracts import ClusterPool, PodFabric, StoreAccess
from accelstack.k8s.quantity import amount, canonical

USER = 10001
"""User and group of the programs: none of the host's (CKV_K8S_40)."""
REST_PORT, GRPC_PORT = 8080, 8081
SHARED_MEMORY = "shm"


class Container(TypedDict):
    """A container, in fewer words than the API's. Its root is read-only, and `/tmp` is the pod's own."""

    name: str
    """Unique in its pod."""
    image: pulumi.Input[str]
    """By digest: see `checked_image`."""
    command: NotRequired[list[pulumi.Input[str]]]
    """What it runs; the image's own if left out."""
    environment: NotRequired[dict[str, pulumi.Input[str]]]
    """Variables by name."""
    variables: NotRequired[list[dict[str, Any]]]
    """Variables in the API's words, such as those with a `fieldRef`."""
    secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets whose keys become variables."""
    ports: NotRequired[dict[str, int]]
    """Ports that it listens on, by name."""
    cpu: str
    """Cores that it asks for, such as `500m`."""
    cpu_limit: NotRequired[str]
    """Cores that it never has more of; what it asks for, if left out."""
    memory: str
    """What it asks for and never has more of, such as `2Gi`; what it writes to `/dev/shm` and `/tmp` counts."""
    resources: NotRequired[dict[str, str]]
    """Extended resources and huge pages, by name."""
    claims: NotRequired[list[str]]
    """The pod's claims of devices that it uses."""
    mounts: NotRequired[dict[str, str]]
    """Where it sees the pod's volumes, by volume."""
    read_only: NotRequired[list[str]]
    """Volumes that it cannot write to."""
    startup: NotRequired[dict[str, Any]]
    """Probe, in the API's words, until which the others wait."""
    readiness: NotRequired[dict[str, Any]]
    """Probe that decides whether it gets requests."""
    liveness: NotRequired[dict[str, Any]]
    """Probe that decides whether it is started again."""
    pre_stop: NotRequired[dict[str, Any]]
    """Hook, in the API's words, that runs before SIGTERM."""
    capabilities: NotRequired[list[str]]
    """What it may beyond nothing. It runs as root then, with no right but these: Kubernetes gives another user's
    program none of them (https://github.com/kubernetes/enhancements/issues/2763)."""
    writable_root: NotRequired[bool]
    """For an image of others' that writes beside its volumes."""


class PodArgs(TypedDict):
    """A pod, in fewer words than the API's."""

    containers: list[Container]
    """The programs."""
    init_containers: NotRequired[list[Container]]
    """Steps before them, one after the other."""
    sidecars: NotRequired[list[Container]]
    """They start before the containers and end after them."""
    volumes: NotRequired[dict[str, dict[str, Any]]]
    """Volume sources in the API's words, by name."""
    shared_memory: NotRequired[str]
    """Size of `/dev/shm`, which counts into the memory of the containers that write there."""
    claims: NotRequired[dict[str, pulumi.Input[str]]]
    """Templates of claims of devices, by the pod's name for the claim."""
    pool: ClusterPool
    """The pool whose nodes it runs on."""
    tolerations: NotRequired[list[dict[str, Any]]]
    """Beside those of the pool's taints, in the API's words."""
    service_account: pulumi.Input[str]
    """Whose name it goes by; it is given no token."""
    labels: NotRequired[dict[str, pulumi.Input[str]]]
    """What selectors find it by."""
    annotations: NotRequired[dict[str, pulumi.Input[str]]]
    """What controllers read of it."""
    grace_seconds: NotRequired[int]
    """Between SIGTERM and SIGKILL; 30 if left out."""
    restart: NotRequired[str]
    """`Always`, `OnFailure` or `Never`; `Always` if left out."""
    pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Beside those of the service account."""
    spread: NotRequired[list[dict[str, Any]]]
    """Topology spread constraints, in the API's words."""


def pod_template(asked: PodArgs) -> dict[str, Any]:
    """The `metadata` and `spec` of pods, as Deployments, Jobs and StatefulSets take them.

    Raises:
        ValueError: shared memory is no less than the memory of a container that has it.
    """
    volumes: dict[str, dict[str, Any]] = {"tmp": {"emptyDir": {}}, **asked.get("volumes", {})}
    shared = asked.get("shared_memory", "")
    if shared:
        volumes[SHARED_MEMORY] = {"emptyDir": {"medium": "Memory", "sizeLimit": canonical(shared)}}
        for each in asked["containers"]:
            if amount(each["memory"]) <= amount(shared):
                raise ValueError(
                    f"container {each['name']} has {each['memory']} of memory and /dev/shm, which counts into it, "
                    f"{shared}; give it more memory"
                )
    pool = asked["pool"]
    spec: dict[str, Any] = {
        "containers": [_in_pod(each, shared) for each in asked["containers"]],
        "volumes": [{"name": name, **source} for name, source in volumes.items()],
        "serviceAccountName": asked["service_account"],
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": asked.get("grace_seconds", 30),
        "restartPolicy": asked.get("restart", "Always"),
    }
    before = [{**_in_pod(each), "restartPolicy": "Always"} for each in asked.get("sidecars", [])]
    before += [_in_pod(each) for each in asked.get("init_containers", [])]
    optional: dict[str, Any] = {
        "initContainers": before,
        "nodeSelector": pool["labels"],
        "tolerations": [*({**taint, "operator": "Equal"} for taint in pool["taints"]), *asked.get("tolerations", [])],
        "resourceClaims": [
            {"name": name, "resourceClaimTemplateName": template} for name, template in asked.get("claims", {}).items()
        ],
        "imagePullSecrets": [{"name": name} for name in asked.get("pull_secrets", [])],
        "topologySpreadConstraints": asked.get("spread"),
    }
    metadata = {"labels": asked.get("labels", {}), "annotations": asked.get("annotations", {})}
    return {"metadata": filled(metadata), "spec": spec | filled(optional)}


def container(asked: Container) -> dict[str, Any]:
    """The container in the API's words."""
    own = asked.get("resources", {})
    rights: dict[str, Any] = {"drop": ["ALL"]}
    security: dict[str, Any] = {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": not asked.get("writable_root", False),
        "capabilities": rights,
    }
    if added := asked.get("capabilities"):
        rights["add"] = added
        security |= {"runAsUser": 0, "runAsNonRoot": False}
    read_only = asked.get("read_only", [])
    mounts = [
        {"name": volume, "mountPath": path, **({"readOnly": True} if volume in read_only else {})}
        for volume, path in asked.get("mounts", {}).items()
    ]
    environment = [{"name": key, "value": value} for key, value in asked.get("environment", {}).items()]
    optional: dict[str, Any] = {
        "command": asked.get("command"),
        "env": [*asked.get("variables", []), *environment],
        "envFrom": [{"secretRef": {"name": name}} for name in asked.get("secrets", [])],
        "ports": [{"name": name, "containerPort": port} for name, port in asked.get("ports", {}).items()],
        "volumeMounts": mounts,
        "startupProbe": asked.get("startup"),
        "readinessProbe": asked.get("readiness"),
        "livenessProbe": asked.get("liveness"),
        "lifecycle": {"preStop": asked["pre_stop"]} if "pre_stop" in asked else None,
    }
    claims = {"claims": [{"name": name} for name in asked.get("claims", [])]} if asked.get("claims") else {}
    return {
        "name": asked["name"],
        "image": asked["image"],
        "imagePullPolicy": "IfNotPresent",
        "resources": {
            "requests": _written({"cpu": asked["cpu"], "memory": asked["memory"], **own}),
            "limits": _written({"cpu": asked.get("cpu_limit", asked["cpu"]), "memory": asked["memory"], **own}),
            **claims,
        },
        "securityContext": security,
        **filled(optional),
    }


def _in_pod(asked: Container, shared: str = "") -> dict[str, Any]:
    """The container with what each of a pod has: a place to write, and one to call home."""
    shm = {SHARED_MEMORY: "/dev/shm"} if shared else {}  # noqa: S108
    inside: Container = {
        **asked,
        "environment": {"HOME": "/tmp", **asked.get("environment", {})},  # noqa: S108
        "mounts": {"tmp": "/tmp", **shm, **asked.get("mounts", {})},  # noqa: S108
    }
    return container(inside)


def standard(fabric: PodFabric) -> str:
    """The Pod Security Standard that a namespace must have for pods on this fabric: `restricted` or `privileged`.

    Capabilities such as IPC_LOCK and folders of the host are beyond `baseline` too
    (https://kubernetes.io/docs/concepts/security/pod-security-standards/).
    """
    return "privileged" if fabric["capabilities"] or fabric["folders"] or "daemon" in fabric else "restricted"


def image_problem(image: str) -> str:
    """Why an image reference is refused, and the fix; empty if it is taken."""
    if re.fullmatch(r"[a-z0-9][a-z0-9._/:-]*@sha256:[0-9a-f]{64}", image):
        return ""
    return (
        f"{image!r} names no image by digest, and may be another one tomorrow; use <registry>/<name>@sha256:<64 hex "
        "digits>, as `docker buildx imagetools inspect` or `accelstack addons lock` shows it"
    )


def checked_image(path: str, image: pulumi.Input[str]) -> pulumi.Input[str]:
    """The image, refused where it has no digest: now, or when it becomes known.

    Raises:
        pulumi.InputPropertyError: it has none.
    """

    def check(known: str) -> str:
        if problem := image_problem(known):
            raise pulumi.InputPropertyError(path, problem)
        return known

    return check(image) if isinstance(image, str) else pulumi.Output.from_input(image).apply(check)


def store_parts(
    store: StoreAccess,
) -> tuple[dict[str, pulumi.Input[str]], list[pulumi.Input[str]], dict[str, dict[str, Any]], dict[str, str]]:
    """What a pod and its containers have for the object store: environment, secrets, volumes and mounts."""
    secrets = [store["secret"]] if "secret" in store else []
    if "claim" not in store:
        return {**store["environment"]}, secrets, {}, {}
    volume = {"persistentVolumeClaim": {"claimName": store["claim"]}}
    return {**store["environment"]}, secrets, {"store": volume}, {"store": "/store"}


def labels(part_of: str, name: str = "") -> dict[str, str]:
    """Labels of an object of a component; with a name, those that selectors can rely on too."""
    own = {"app.kubernetes.io/managed-by": "accelstack", "app.kubernetes.io/part-of": part_of}
    return own | ({"app.kubernetes.io/name": name, "app.kubernetes.io/instance": part_of} if name else {})


def _written(quantities: Mapping[str, str]) -> dict[str, str]:
    return {name: canonical(each) for name, each in quantities.items()}


def filled(table: Mapping[str, Any]) -> dict[str, Any]:
    """The entries that hold something: neither None nor an empty text, list or table."""
    return {key: value for key, value in table.items() if value not in (None, "", [], {})}
