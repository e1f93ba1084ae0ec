"""A gang of pods, one on each node, that start and end together: a JobSet that waits in a Kueue queue."""

import re
from typing import Any, NotRequired, TypedDict

import pulumi

from accelstack.contracts import ClusterPool
from accelstack.k8s import bundle
from accelstack.k8s.objects import KubernetesObject
from accelstack.k8s.pod import Container, PodArgs, checked_image, filled, labels, pod_template
from accelstack.k8s.pod_fabric import cores, joined, memory, objects
from accelstack.k8s.pools import ZONE

PORT = 29500
"""Where the processes find each other."""
WORKERS = "workers"
PROGRAM = "program"
BAD_INPUT, STOPPED = 2, 3
"""Exit codes of the program: no restart helps, and ended after a checkpoint on SIGTERM."""
GRACE_SECONDS = 120
"""For a checkpoint, after SIGTERM. AWS gives a spot machine as long; Google Cloud and Azure take it after 30 s whatever
is asked for here."""
MOST_NAME = 42
"""Characters of a JobSet's name, so that those of its pods fit in 63: `-workers-0-` and four digits, six more."""
SCRATCH: dict[str, dict[str, Any]] = {"scratch": {"emptyDir": {}}}
SCRATCH_MOUNT = {"scratch": "/scratch"}
REQUIRED, PREFERRED = (f"kueue.x-k8s.io/podset-{each}-topology" for each in ("required", "preferred"))


class RuntimeArgs(TypedDict):
    """What a program runs in: an image with the workloads, or a base image with their source beside it."""

    image: NotRequired[pulumi.Input[str]]
    """Image that has the workloads, by digest."""
    base_image: NotRequired[pulumi.Input[str]]
    """Image with Python and torch, by digest, such as PyTorch's own; the workloads' source is unpacked in it, and the
    packages that they need are installed, when a pod starts."""
    index_url: NotRequired[pulumi.Input[str]]
    """Where a base image's pip finds those packages; its own default if left out."""
    daemon_image: NotRequired[pulumi.Input[str]]
    """Image of the fabric's daemon, by digest, for fabrics that have one."""
    pull_secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets that images are pulled with, beside those of the service account."""


TRAINING, PROBE = "training", "probe"
"""What gangs are for, as the label `app.kubernetes.io/name` says it."""


class Gang(TypedDict):
    """A gang, in fewer words than the API's."""

    role: str
    """`TRAINING` or `PROBE`."""

    name: pulumi.Input[str]
    """Of the JobSet: no longer than `MOST_NAME`."""
    namespace: pulumi.Input[str]
    """Where it runs."""
    part_of: str
    """Name of the component."""
    service_account: pulumi.Input[str]
    """Of its pods."""
    queue: pulumi.Input[str]
    """Local queue in the namespace."""
    priority: NotRequired[pulumi.Input[str]]
    """Kueue's priority class."""
    pool: ClusterPool
    """The pool whose nodes it has."""
    nodes: int
    """Pods, each with all of a node."""
    min_nodes: int
    """Nodes that go on while a lost one is replaced; the same as `nodes` where all begin again together."""
    runtime: RuntimeArgs
    """What the program runs in."""
    config_map: NotRequired[pulumi.Input[str]]
    """The bundle, for a base image."""
    packages: NotRequired[list[str]]
    """What a base image may lack."""
    program: list[pulumi.Input[str]]
    """Command of each pod."""
    environment: NotRequired[dict[str, pulumi.Input[str]]]
    """Its variables."""
    secrets: NotRequired[list[pulumi.Input[str]]]
    """Secrets whose keys become variables."""
    volumes: NotRequired[dict[str, dict[str, Any]]]
    """Volume sources by name, as `store_parts` gives them."""
    mounts: NotRequired[dict[str, str]]
    """Where the program sees them."""
    annotations: NotRequired[dict[str, pulumi.Input[str]]]
    """Of the JobSet."""
    restarts: int
    """How often it begins again after a failure of its own; a lost or taken machine does not count."""


def refuse_runtime(args: RuntimeArgs, pool: ClusterPool) -> RuntimeArgs:
    """The runtime, with images that are by digest.

    Raises:
        pulumi.InputPropertyError: not one of `image` and `base_image` is given, an image has no digest, or the fabric's
            daemon has no image.
    """
    if ("image" in args) == ("base_image" in args):
        reason = "give one of image (with the workloads in it) and base_image (such as PyTorch's own)"
        raise pulumi.InputPropertyError("image", reason)
    daemon = pool["pod_fabric"].get("daemon")
    if daemon and "daemon_image" not in args:
        reason = f"is left out, and the fabric {pool['fabric']} has a daemon in every pod; give {daemon['component']}"
        raise pulumi.InputPropertyError("daemon_image", f"{reason} by digest")
    found: RuntimeArgs = {**args}
    if "image" in args:
        found["image"] = checked_image("image", args["image"])
    if "base_image" in args:
        found["base_image"] = checked_image("base_image", args["base_image"])
    if "daemon_image" in args:
        found["daemon_image"] = checked_image("daemon_image", args["daemon_image"])
    return found


def job_set(gang: Gang) -> dict[str, Any]:
    """The JobSet: one Job with a pod on each node, begun again as a whole when one is lost or fails.

    A finished one stays until its run is another: were it removed by itself, the next `up` would run it again.
    """
    queue = {"kueue.x-k8s.io/queue-name": gang["queue"]}
    priority = {"kueue.x-k8s.io/priority-class": gang["priority"]} if "priority" in gang else {}
    elastic = gang["min_nodes"] < gang["nodes"]
    return {
        "apiVersion": "jobset.x-k8s.io/v1alpha2",
        "kind": "JobSet",
        "metadata": filled(
            {
                "name": gang["name"],
                "namespace": gang["namespace"],
                "labels": {**labels(gang["part_of"], gang["role"]), **queue, **priority},
                "annotations": gang.get("annotations"),
            }
        ),
        "spec": {
            "network": {"enableDNSHostnames": True, "publishNotReadyAddresses": True, "subdomain": gang["name"]},
            "successPolicy": {"operator": "All", "targetReplicatedJobs": [WORKERS]},
            "failurePolicy": {
                "maxRestarts": gang["restarts"],
                "rules": [
                    _rule("badInput", "FailJobSet", [f"exit code {BAD_INPUT} "]),
                    _rule("disrupted", "RestartJobSetAndIgnoreMaxRestarts", [f"exit code {STOPPED} ", "Disruption"]),
                ],
            },
            "replicatedJobs": [
                {
                    "name": WORKERS,
                    "replicas": 1,
                    "template": {
                        "spec": {
                            "completionMode": "Indexed",
                            "parallelism": gang["nodes"],
                            "completions": gang["nodes"],
                            "backoffLimit": 0,
                            "podReplacementPolicy": "Failed",
                            "podFailurePolicy": {
                                "rules": [
                                    {
                                        # an elastic gang goes on while the Job replaces the pod
                                        "action": "Ignore" if elastic else "FailJob",
                                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                                    },
                                    {
                                        "action": "FailJob",
                                        "onExitCodes": {
                                            "containerName": PROGRAM,
                                            "operator": "In",
                                            "values": [BAD_INPUT, STOPPED],
                                        },
                                    },
                                ]
                            },
                            "template": pod_template(_pod(gang)),
                        }
                    },
                }
            ],
        },
    }


def rendezvous(name: pulumi.Input[str]) -> pulumi.Output[str]:
    """`host:port` of the first pod, as the others of the gang resolve it."""
    return pulumi.Output.concat(name, f"-{WORKERS}-0-0.", name, f":{PORT}")


class JobSet(KubernetesObject):
    """A JobSet in the cluster."""

    metadata: pulumi.Output[dict[str, Any]]
    """As the API server has it."""

    @property
    def uid(self) -> pulumi.Output[str]:
        """What tells it from another one of the same name."""
        return self.metadata.apply(lambda metadata: str(metadata.get("uid", "")))


def submit(parent: pulumi.Resource, name: str, gang: Gang) -> JobSet:
    """Makes the gang's JobSet and what its pods claim.

    No part of a JobSet can be changed: a change makes another one in its place, which goes on from the last checkpoint.
    """
    child = pulumi.ResourceOptions(parent=parent, delete_before_replace=True)
    claimed = [
        KubernetesObject(f"{name}-{what}", manifest, child)
        for what, manifest in objects(
            gang["pool"], gang["name"], gang["namespace"], gang["part_of"], gang["nodes"]
        ).items()
    ]
    once = pulumi.ResourceOptions(depends_on=claimed, replace_on_changes=["spec", "metadata.labels"])
    return JobSet(f"{name}-job", job_set(gang), pulumi.ResourceOptions.merge(child, once))


def name_of(made: KubernetesObject) -> pulumi.Output[str]:
    """Name of an object, known when it is there."""
    return made.id.apply(lambda found: found.rpartition("/")[2])


def fitting(name: str) -> str:
    """The component's name as JobSets may be named, so short that a dash and eight characters fit behind it."""
    plain = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    return re.sub(r"^[^a-z]+", "", plain)[: MOST_NAME - 9].rstrip("-") or "job"


def levels(pool: ClusterPool) -> list[str]:
    """Labels, widest first, by which Kueue places pods near each other; none where it cannot.

    It places on nodes that are there and have all the labels: nothing would ever be admitted to a pool whose nodes
    start once they are asked for, or, with a level for zones, to one whose nodes name none.
    """
    near = [label for label in pool["topology"] if label != ZONE or pool["zones"]]
    return near if len(near) > 1 and pool["min_nodes"] >= pool["nodes"] else []


def topology(pool: ClusterPool) -> dict[str, str]:
    """How near to each other its nodes must be, or are to be if they can.

    A fabric does not cross zones, so a pool that spans several must give all nodes in one.
    """
    near = levels(pool)
    if not near:
        return {}
    if pool["fabric"] != "none" and len(pool["zones"]) > 1:
        return {REQUIRED: near[0]}
    return {PREFERRED: near[-2]}


def _rule(name: str, action: str, patterns: list[str]) -> dict[str, Any]:
    reasons = {"onJobFailureReasons": ["PodFailurePolicy"], "onJobFailureMessagePatterns": patterns}
    return {"name": name, "action": action, **reasons}


def _pod(gang: Gang) -> PodArgs:
    pool, runtime = gang["pool"], gang["runtime"]
    threads = max(1, pool["cores"] // max(1, pool["per_node"]))
    own, volumes, mounts = bundle.parts(gang["config_map"]) if "config_map" in gang else ({}, SCRATCH, SCRATCH_MOUNT)
    program: Container = {
        "name": PROGRAM,
        "image": runtime.get("image", runtime.get("base_image", "")),
        "command": gang["program"],
        "environment": {
            "PYTHONUNBUFFERED": "1",
            "OMP_NUM_THREADS": str(threads),
            **gang.get("environment", {}),
            **own,
        },
        "secrets": gang.get("secrets", []),
        "cpu": cores(pool),
        "memory": memory(pool),
        "mounts": {**mounts, **gang.get("mounts", {})},
    }
    pod: PodArgs = {
        "containers": [program],
        "volumes": {**volumes, **gang.get("volumes", {})},
        "pool": pool,
        "service_account": gang["service_account"],
        "labels": {**labels(gang["part_of"], gang["role"])},
        "annotations": {**topology(pool)},
        "grace_seconds": GRACE_SECONDS,
        "restart": "Never",
        "pull_secrets": runtime.get("pull_secrets", []),
    }
    if "config_map" in gang:
        image, index = runtime.get("base_image", ""), runtime.get("index_url", "")
        pod["init_containers"] = [bundle.unpacking(image, gang.get("packages", []), index)]
    return joined(pod, gang["name"], runtime.get("daemon_image", ""))
