"""A short job that measures the fabric, so that training never runs on TCP unseen."""

import hashlib
import json
from typing import Any, NotRequired

import pulumi

from accelstack import fingerprint
from accelstack.contracts import ClusterPool
from accelstack.k8s import bundle, gang
from accelstack.k8s.gang import Gang, RuntimeArgs
from accelstack.k8s.job_outcome import ProbeOutcome
from accelstack.k8s.objects import KubernetesObject

USUAL_NODES = 2
USUAL_MINUTES = 30.0
"""Nodes may have to start first; the measurement itself takes seconds."""
RESTARTS = 2
MEGABYTES = 1024
"""Size of the all-reduced tensor: large enough for the bandwidth to be the fabric's, small enough for any memory."""
TOLD_BY_NCCL = {"NCCL_DEBUG": "INFO", "NCCL_DEBUG_SUBSYS": "INIT,NET"}
"""So that the log says which network was used."""


class K8sFabricProbeArgs(RuntimeArgs):
    """Args of `k8s.FabricProbe`."""

    namespace: pulumi.Input[str]
    """Namespace that it runs in: the training job's."""
    service_account: pulumi.Input[str]
    """Service account of its pods."""
    pool: ClusterPool
    """The pool whose fabric is measured."""
    queue: pulumi.Input[str]
    """Kueue's local queue in the namespace."""
    priority: NotRequired[pulumi.Input[str]]
    """Kueue's priority class; the queue's usual one if left out."""
    nodes: NotRequired[int]
    """Nodes that it measures between, 2 or more; 2 if left out."""
    floor_gbs: NotRequired[float]
    """Least bus bandwidth in GB/s; the pool's own if left out. With 0 nothing is held against it."""
    gate: NotRequired[bool]
    """Whether a bandwidth below the floor fails `up`, so that nothing trains; true if left out, false warns."""
    wait_minutes: NotRequired[float]
    """How long `up` waits for it, queue and starting nodes included; 30 if left out."""
    kubeconfig: pulumi.Input[str]
    """The cluster, and how to sign in to it."""


class FabricProbe(pulumi.ComponentResource):
    """An all-reduce between nodes of a pool, held against a floor. Give `passed` to the training job as `probed`.

    It runs again when the pool, its fabric or the image change, and with `pulumi up --replace`. Works from Python
    programs alone, since it stands on a dynamic resource.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    bus_gbs: pulumi.Output[float]
    """Bus bandwidth that was measured, in GB/s, as NCCL's own tests count it
    (https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md)."""
    passed: pulumi.Output[str]
    """What was measured, in words; known when training may begin."""

    def __init__(self, name: str, args: K8sFabricProbeArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        pool, runtime = args["pool"], gang.refuse_runtime(args, args["pool"])
        nodes = args.get("nodes", min(USUAL_NODES, pool["nodes"]))
        for path, reason in problems(args, nodes).items():
            raise pulumi.InputPropertyError(path, reason)
        super().__init__("accelstack:index:K8sFabricProbe", name, None, opts)
        identity = {
            "owner": f"{pulumi.get_project()}/{pulumi.get_stack()}",
            "component": name,
            "nodes": nodes,
            "pool": {key: pool[key] for key in ("name", "accelerator", "per_node", "fabric", "labels", "pod_fabric")},
            "image": runtime.get("image", runtime.get("base_image", "")),
            **({} if "image" in runtime else {"code": fingerprint.training_code()}),
        }
        called = pulumi.Output.all(**identity).apply(lambda known: f"{gang.fitting(name)}-{_short(known)}")
        asked: Gang = {
            "name": called,
            "namespace": args["namespace"],
            "role": gang.PROBE,
            "part_of": name,
            "service_account": args["service_account"],
            "queue": args["queue"],
            "pool": pool,
            "nodes": nodes,
            "min_nodes": nodes,
            "runtime": runtime,
            "program": program(pool, nodes, called),
            "environment": {**TOLD_BY_NCCL},
            "restarts": RESTARTS,
        }
        if "priority" in args:
            asked["priority"] = args["priority"]
        if "base_image" in args:
            manifest = bundle.config_map(name, args["namespace"])
            code = KubernetesObject(f"{name}-code", manifest, pulumi.ResourceOptions(parent=self))
            asked["config_map"] = gang.name_of(code)
            asked["packages"] = bundle.requirements()
        job = gang.submit(self, name, asked)
        outcome = ProbeOutcome(
            f"{name}-outcome",
            {
                "kubeconfig": pulumi.Output.secret(args["kubeconfig"]),
                "namespace": args["namespace"],
                "job": called,
                "uid": job.uid,
                "urn": job.urn,
                "wait_minutes": args.get("wait_minutes", USUAL_MINUTES),
                "fabric": pool["fabric"],
                "pool": pool["name"],
                "floor_gbs": args.get("floor_gbs", pool["pod_fabric"]["floor_gbs"]),
                "source": "as given" if "floor_gbs" in args else f"the table's for {pool['accelerator']}",
                "gate": args.get("gate", True),
            },
            pulumi.ResourceOptions(parent=self),
        )
        self.bus_gbs, self.passed = outcome.bus_gbs, outcome.passed
        self.register_outputs({"bus_gbs": self.bus_gbs, "passed": self.passed})


def problems(args: K8sFabricProbeArgs, nodes: int) -> dict[str, str]:
    """Every arg of a probe that breaks its rule, with the reason and the fix."""
    pool, found = args["pool"], dict[str, str]()
    if pool["nodes"] < USUAL_NODES:
        found["pool"] = f"{pool['name']} has {pool['nodes']} node, and a fabric joins two or more; leave the probe out"
    elif not USUAL_NODES <= nodes <= pool["nodes"]:
        found["nodes"] = f"is {nodes}; use 2 to {pool['nodes']}, what pool {pool['name']} has"
    if args.get("floor_gbs", 0) < 0:
        found["floor_gbs"] = f"is {args.get('floor_gbs')}; use GB/s of bus bandwidth, or 0 for no floor"
    if args.get("wait_minutes", USUAL_MINUTES) <= 0:
        found["wait_minutes"] = f"is {args.get('wait_minutes')}; it must be above 0, or the probe would gate nothing"
    return found


def program(pool: ClusterPool, nodes: int, name: pulumi.Input[str]) -> list[pulumi.Input[str]]:
    """The command of every pod of a probe."""
    options: dict[str, pulumi.Input[str]] = {
        "--nodes": str(nodes),
        "--processes": str(pool["per_node"]),
        "--rendezvous": gang.rendezvous(name),
        "--megabytes": str(MEGABYTES),
    }
    words = [word for pair in options.items() for word in pair]
    return ["python", "-m", "accelstack_workloads", "cluster", "probe", *words]


def _short(identity: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:8]
