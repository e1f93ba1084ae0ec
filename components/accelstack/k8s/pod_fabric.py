"""A pod that has all of a node, joined to others by the pool's fabric."""

from typing import Any

import pulumi

from accelstack.contracts import ClusterPool, FabricDaemon, HostFolder, PodFabric
from accelstack.k8s.pod import Container, PodArgs, labels
from accelstack.k8s.quantity import amount

CPU_SHARE = 0.85
MEMORY_SHARE = 0.8
"""Of a node, for the pod that has it: the rest is the node's own and its daemons'. The most that a cloud keeps is about
a quarter of the memory, on small nodes
(https://cloud.google.com/kubernetes-engine/docs/concepts/plan-node-sizes)."""
DAEMON_CPU, DAEMON_MEMORY = "500m", "2Gi"
LIBRARIES: dict[str, pulumi.Input[str]] = {"LD_LIBRARY_PATH": "/usr/local/nvidia/lib64"}
"""Where a daemon finds the driver that GKE puts on its nodes."""
INSTALLED = "/home/"
"""Host folders of programs and libraries, which pods only read."""
CHANNEL = "imex"
LOST_SECONDS = 60
"""Until a pod on a node that is not heard of is given up: the others wait for it, and their accelerators with them."""


def whole_node(pool: ClusterPool) -> dict[str, str]:
    """What a pod asks for that has all of a node: cores, memory, accelerators and the fabric's resources."""
    return {"cpu": cores(pool), "memory": memory(pool), **devices(pool)}


def cores(pool: ClusterPool) -> str:
    """Cores of the pod, such as `81600m`."""
    return f"{int(pool['cores'] * CPU_SHARE * 1000)}m"


def memory(pool: ClusterPool) -> str:
    """Memory of the pod, such as `1638400Mi`: huge pages are no part of it."""
    pages = sum(amount(size) for name, size in pool["pod_fabric"]["resources"].items() if name.startswith("hugepages-"))
    return f"{int((pool['memory_gib'] * MEMORY_SHARE * 2**30 - pages) / 2**20)}Mi"


def devices(pool: ClusterPool) -> dict[str, str]:
    """Extended resources of the pod: the node's accelerators, and what the fabric asks for."""
    accelerators = {pool["resource"]: str(pool["per_node"])} if pool["resource"] else {}
    return {**accelerators, **pool["pod_fabric"]["resources"]}


def joined(asked: PodArgs, name: pulumi.Input[str], daemon_image: pulumi.Input[str]) -> PodArgs:
    """The pod with what the fabric needs; its first container is the program on all of the node.

    Args:
        name: of the job, as given to `objects`.
        daemon_image: of the fabric's daemon, where it has one.
    """
    pool, fabric = asked["pool"], asked["pool"]["pod_fabric"]
    program, *others = asked["containers"]
    daemon = fabric.get("daemon")
    shared = [folder for folder in daemon["folders"] if not folder["host_path"]] if daemon else []
    folders = [*fabric["folders"], *shared]
    claims = claim_templates(pool, name)
    within: Container = {
        **program,
        "environment": {**fabric["environment"], **program.get("environment", {})},
        "resources": {**devices(pool), **program.get("resources", {})},
        "claims": [*claims],
        "mounts": {**program.get("mounts", {}), **_mounts(folders)},
        "read_only": [*program.get("read_only", []), *_read_only(folders)],
    }
    if fabric["capabilities"]:
        within["capabilities"] = fabric["capabilities"]
    if fabric["script"]:
        # the script is GKE's own and speaks bash
        within["command"] = [
            "bash",
            "-c",
            f'source {fabric["script"]} && exec "$@"',
            "bash",
            *program.get("command", []),
        ]
    pod: PodArgs = {
        **asked,
        "containers": [within, *others],
        "volumes": {**asked.get("volumes", {}), **_volumes([*folders, *(daemon["folders"] if daemon else [])])},
        "claims": claims,
        "annotations": {**fabric["annotations"], **asked.get("annotations", {})},
        "tolerations": [
            *asked.get("tolerations", []),
            *(
                {"key": f"node.kubernetes.io/{state}", "operator": "Exists", "effect": "NoExecute", **_SOON}
                for state in ("not-ready", "unreachable")
            ),
        ],
    }
    if fabric["shared_memory"]:
        pod["shared_memory"] = fabric["shared_memory"]
    if daemon:
        pod["sidecars"] = [*asked.get("sidecars", []), _daemon(daemon, fabric, daemon_image)]
    return pod


def claim_templates(pool: ClusterPool, name: pulumi.Input[str]) -> dict[str, pulumi.Input[str]]:
    """Templates of what each pod of a job claims, by the pod's name for the claim."""
    fabric = pool["pod_fabric"]
    own = {_word(device): pulumi.Output.concat(name, "-", _word(device)) for device in fabric["claims"]}
    channel = {CHANNEL: pulumi.Output.concat(name, "-", CHANNEL)} if fabric["compute_domain"] else {}
    return {**own, **channel}


def objects(
    pool: ClusterPool, name: pulumi.Input[str], namespace: pulumi.Input[str], part_of: str, nodes: int
) -> dict[str, dict[str, Any]]:
    """What a job's claims are made from, by what it is: templates, and a ComputeDomain, whose controller makes its own
    (https://github.com/kubernetes-sigs/dra-driver-nvidia-gpu)."""
    fabric, templates = pool["pod_fabric"], claim_templates(pool, name)
    found: dict[str, dict[str, Any]] = {}
    for device, count in fabric["claims"].items():
        word = _word(device)
        exactly = {"deviceClassName": device, "allocationMode": "ExactCount", "count": int(count)}
        found[word] = {
            "apiVersion": "resource.k8s.io/v1",
            "kind": "ResourceClaimTemplate",
            "metadata": {"name": templates[word], "namespace": namespace, "labels": labels(part_of)},
            "spec": {"spec": {"devices": {"requests": [{"name": word, "exactly": exactly}]}}},
        }
    if fabric["compute_domain"]:
        found["compute-domain"] = {
            "apiVersion": "resource.nvidia.com/v1beta1",
            "kind": "ComputeDomain",
            "metadata": {"name": name, "namespace": namespace, "labels": labels(part_of)},
            "spec": {"numNodes": nodes, "channel": {"resourceClaimTemplate": {"name": templates[CHANNEL]}}},
        }
    return found


_SOON = {"tolerationSeconds": LOST_SECONDS}


def _daemon(daemon: FabricDaemon, fabric: PodFabric, image: pulumi.Input[str]) -> Container:
    """It sees what the pod sees of the host, and what it names itself. Its image writes beside its volumes."""
    folders = [*fabric["folders"], *daemon["folders"]]
    return {
        "name": daemon["name"],
        "image": image,
        "command": ["/bin/sh", "-c", f"exec {daemon['command']}"],
        "environment": LIBRARIES,
        "cpu": DAEMON_CPU,
        "memory": DAEMON_MEMORY,
        "mounts": _mounts(folders),
        "read_only": _read_only(folders),
        "capabilities": daemon["capabilities"],
        "writable_root": True,
    }


def _volume(folder: HostFolder) -> str:
    return f"host-{_word(folder['host_path'])}" if folder["host_path"] else f"shared-{_word(folder['mount_path'])}"


def _volumes(folders: list[HostFolder]) -> dict[str, dict[str, Any]]:
    return {
        _volume(each): {"hostPath": {"path": each["host_path"], "type": "Directory"}}
        if each["host_path"]
        else {"emptyDir": {}}
        for each in folders
    }


def _mounts(folders: list[HostFolder]) -> dict[str, str]:
    return {_volume(each): each["mount_path"] for each in folders}


def _read_only(folders: list[HostFolder]) -> list[str]:
    return [_volume(each) for each in folders if each["host_path"].startswith(INSTALLED)]


def _word(text: str) -> str:
    """The text as names of volumes and claims may be."""
    return "-".join(part for part in text.lower().replace(".", "/").replace("_", "/").split("/") if part)
