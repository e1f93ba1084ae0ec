"""Kueue's objects: what a cluster's pools give to whom, and in what order jobs come.

Fields: https://kueue.sigs.k8s.io/docs/reference/kueue.v1beta2/.
"""

import hashlib
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import pulumi

from accelstack.contracts import ClusterPool
from accelstack.k8s.gang import levels
from accelstack.k8s.namespace import NAME
from accelstack.k8s.pod import labels
from accelstack.k8s.pod_fabric import DAEMON_CPU, DAEMON_MEMORY, whole_node
from accelstack.k8s.quantity import amount, canonical

API = "kueue.x-k8s.io/v1beta2"
PRIORITIES = {"low": -1000, "normal": 0, "high": 1000}
"""Jobs that name no priority have 0, as Kubernetes gives it to pods."""
BEST_FIRST = ("reservation", "block", "on_demand", "spot", "flex_start")
"""Capacity as jobs that may run on several pools take it: first what is paid for anyhow, last what must be waited
for."""
CHANNEL_CLASS = "compute-domain-default-channel.nvidia.com"
"""What each pod of a ComputeDomain claims."""
CHECK = "flex-start"
AT_ONCE = {"pulumi.com/deletionPropagationPolicy": "background"}
"""These objects own nothing, and the garbage collector takes up to half a minute to learn of new kinds."""
Manifest = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Portion:
    """What a team has of every pool."""

    team: str
    namespace: pulumi.Input[str]
    share: Fraction
    """0 to 1."""
    borrow: bool
    """Whether it takes what others leave."""
    lend: bool
    """Whether others get what it leaves."""
    weight: float
    """Of two that borrow, the one with twice the weight gets twice as much."""


def manifests(name: str, pools: Sequence[ClusterPool], portions: Sequence[Portion]) -> list[dict[str, Manifest]]:
    """All objects by what they are, in steps: each step refers to objects of those before, which stay while they are
    referred to.

    What no team has of a pool, such as the ninth of nine nodes that two share, belongs to the cohort: every team that
    may borrow can have it.

    Args:
        name: of the component; names that the cluster's users share begin with it.
    """
    pools = sorted(pools, key=lambda pool: BEST_FIRST.index(pool["capacity"]))
    near = {pool["name"]: levels(pool) for pool in pools}
    queued = [pool for pool in pools if pool["capacity"] == "flex_start"]
    first = {f"priority-{each}": _priority(name, each) for each in PRIORITIES}
    first |= {f"topology-{pool['name']}": _topology(name, pool) for pool in pools if near[pool["name"]]}
    second = {f"flavor-{pool['name']}": _flavor(name, pool) for pool in pools}
    if queued:
        first[f"{CHECK}-config"] = _provisioning(name, queued)
        second[CHECK] = _check(name)
    return [
        first,
        second,
        {"cohort": _cohort(name, pools, portions)},
        {f"cluster-{each.team}": _cluster_queue(name, pools, each) for each in portions},
        {f"local-{each.team}": _local_queue(name, each) for each in portions},
    ]


def flavor_name(name: str, pool: ClusterPool) -> str:
    """Name of a pool's flavor. With a topology, a flavor's labels and levels can never change, so that others make
    another flavor, under a name of its own."""
    if not levels(pool):
        return f"{name}-{pool['name']}"
    fixed = json.dumps([levels(pool), pool["labels"]], sort_keys=True)
    return f"{name}-{pool['name']}-{hashlib.sha256(fixed.encode()).hexdigest()[:6]}"


def offered(pool: ClusterPool) -> dict[str, int]:
    """What all nodes of a pool have for pods, by resource, in the steps that it is counted in (`step`): a gang has as
    many nodes as the pool, and nothing is left over."""
    fabric = pool["pod_fabric"]
    claimed = {**fabric["claims"], **({CHANNEL_CLASS: "1"} if fabric["compute_domain"] else {})}
    each = {resource: amount(asked) for resource, asked in {**whole_node(pool), **claimed}.items()}
    if "daemon" in fabric:
        each["cpu"] += amount(DAEMON_CPU)
        each["memory"] += amount(DAEMON_MEMORY)
    return {resource: pool["nodes"] * round(Fraction(asked) / step(resource)) for resource, asked in each.items()}


def step(resource: str) -> Fraction:
    """The least of a resource that quotas tell apart: a thousandth of a core, a mebibyte, or one."""
    if resource == "cpu":
        return Fraction(1, 1000)
    return Fraction(2**20 if resource == "memory" or resource.startswith("hugepages-") else 1)


def covered(pools: Sequence[ClusterPool]) -> list[str]:
    """Every resource that pods on any of the pools ask for: Kueue admits none that asks for another."""
    return list(dict.fromkeys(resource for pool in pools for resource in offered(pool)))


def quota(pool: ClusterPool, resource: str, share: Fraction) -> int:
    """A share of a resource of a pool, in whole steps; 0 where the pool has none."""
    return math.floor(offered(pool).get(resource, 0) * share)


def _priority(name: str, priority: str) -> Manifest:
    made = _object(name, "WorkloadPriorityClass", f"{name}-{priority}")
    return {**made, "value": PRIORITIES[priority], "description": f"Jobs of {priority} priority"}


def _topology(name: str, pool: ClusterPool) -> Manifest:
    near = [{"nodeLabel": label} for label in levels(pool)]
    return {**_object(name, "Topology", flavor_name(name, pool)), "spec": {"levels": near}}


def _flavor(name: str, pool: ClusterPool) -> Manifest:
    """No tolerations: pods carry their own, and Kueue's would show as a change of the job."""
    own = flavor_name(name, pool)
    spec: Manifest = {"nodeLabels": {**pool["labels"]}}
    if pool["taints"]:
        spec["nodeTaints"] = [{**taint} for taint in pool["taints"]]
    if levels(pool):
        spec["topologyName"] = own
    return {**_object(name, "ResourceFlavor", own), "spec": spec}


def _provisioning(name: str, pools: Sequence[ClusterPool]) -> Manifest:
    """Asks Google Cloud for all nodes of a job at once, and puts its pods on those
    (https://cloud.google.com/kubernetes-engine/docs/how-to/provisioningrequest)."""
    spec: Manifest = {
        "provisioningClassName": "queued-provisioning.gke.io",
        "podSetUpdates": {
            "nodeSelector": [
                {
                    "key": "autoscaling.gke.io/provisioning-request",
                    "valueFromProvisioningClassDetail": "ResizeRequestName",
                }
            ]
        },
    }
    if managed := sorted({pool["resource"] for pool in pools} - {""}):
        spec["managedResources"] = managed
    return {**_object(name, "ProvisioningRequestConfig", f"{name}-{CHECK}"), "spec": spec}


def _check(name: str) -> Manifest:
    config = {"apiGroup": "kueue.x-k8s.io", "kind": "ProvisioningRequestConfig", "name": f"{name}-{CHECK}"}
    spec = {"controllerName": "kueue.x-k8s.io/provisioning-request", "parameters": config}
    return {**_object(name, "AdmissionCheck", f"{name}-{CHECK}"), "spec": spec}


def _cohort(name: str, pools: Sequence[ClusterPool], portions: Sequence[Portion]) -> Manifest:
    spec: Manifest = {"fairSharing": {"weight": "1"}}
    left = {
        (pool["name"], resource): quota(pool, resource, Fraction(1))
        - sum(quota(pool, resource, each.share) for each in portions)
        for pool in pools
        for resource in covered(pools)
    }
    if any(left.values()):
        spec["resourceGroups"] = _groups(
            name, pools, lambda pool, resource: {"nominalQuota": _written(resource, left[pool["name"], resource])}
        )
    return {**_object(name, "Cohort", name), "spec": spec}


def _cluster_queue(name: str, pools: Sequence[ClusterPool], portion: Portion) -> Manifest:
    """What a team's jobs are admitted by. Of the jobs that it has in hand it stops those of lower priority for one of
    higher priority; and it takes back what others borrowed from it, whatever their priority."""
    limits = {"borrowingLimit": not portion.borrow, "lendingLimit": not portion.lend}
    none = {limit: "0" for limit, applies in limits.items() if applies}
    spec: Manifest = {
        "cohortName": name,
        "namespaceSelector": {"matchLabels": {NAME: portion.namespace}},
        "queueingStrategy": "BestEffortFIFO",
        "resourceGroups": _groups(
            name,
            pools,
            lambda pool, resource: {
                "nominalQuota": _written(resource, quota(pool, resource, portion.share)),
                **none,
            },
        ),
        # in the better pool others' quota is taken, but nobody is stopped there while another pool has room
        "flavorFungibility": {"whenCanBorrow": "MayStopSearch", "whenCanPreempt": "TryNextFlavor"},
        # how borrowers stop each other is for fair sharing to say: borrowWithinCohort has no place beside it
        "preemption": {"reclaimWithinCohort": "Any", "withinClusterQueue": "LowerPriority"},
        "fairSharing": {"weight": canonical(f"{round(portion.weight * 1000)}m")},
        "stopPolicy": "None",
    }
    queued = [flavor_name(name, pool) for pool in pools if pool["capacity"] == "flex_start"]
    if queued:
        spec["admissionChecksStrategy"] = {"admissionChecks": [{"name": f"{name}-{CHECK}", "onFlavors": queued}]}
    made = _object(name, "ClusterQueue", f"{name}-{portion.team}")
    made["metadata"]["annotations"]["pulumi.com/waitFor"] = "condition=Active"
    return {**made, "spec": spec}


def _local_queue(name: str, portion: Portion) -> Manifest:
    made = _object(name, "LocalQueue", portion.team)
    made["metadata"]["namespace"] = portion.namespace
    return {**made, "spec": {"clusterQueue": f"{name}-{portion.team}", "stopPolicy": "None"}}


def _groups(
    name: str, pools: Sequence[ClusterPool], limits: Callable[[ClusterPool, str], dict[str, str]]
) -> list[Manifest]:
    """One group, since all pools have cores; every flavor lists all its resources in the same order."""
    every = covered(pools)
    flavors = [
        {
            "name": flavor_name(name, pool),
            "resources": [{"name": resource, **limits(pool, resource)} for resource in every],
        }
        for pool in pools
    ]
    return [{"coveredResources": every, "flavors": flavors}]


def _written(resource: str, steps: int) -> str:
    """So many steps as Kubernetes writes them."""
    if not steps:
        return "0"
    unit = {Fraction(1, 1000): "m", Fraction(2**20): "Mi"}.get(step(resource), "")
    return canonical(f"{steps}{unit}")


def _object(part_of: str, kind: str, name: str) -> Manifest:
    metadata = {"name": name, "labels": labels(part_of), "annotations": {**AT_ONCE}}
    return {"apiVersion": API, "kind": kind, "metadata": metadata}
