"""What a training job runs, and what makes it the run that it is."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

import pulumi

from accelstack.contracts import ClusterPool, StoreAccess
from accelstack.k8s.gang import rendezvous
from accelstack.plan import training

SETTINGS = (*training.DECIDED, "model")
TPU = "google.com/tpu"
RUN_ID = 12
"""Hexadecimal digits."""
SHORT = 8
"""Of them, those that a JobSet is named after."""


def run_id(identity: Mapping[str, Any]) -> str:
    """Identity of a run: the same for the same owner, code, data and settings."""
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:RUN_ID]


def program(
    args: Mapping[str, Any],
    nodes: int,
    min_nodes: int,
    name: pulumi.Input[str],
    run: pulumi.Input[str],
    store: StoreAccess,
) -> list[pulumi.Input[str]]:
    """The command of every pod of a training job.

    Args:
        args: of the job.
        name: of the JobSet, whose first pod the others meet at.
        run: identity of the run.
        store: as pods see it.
    """
    options: dict[str, pulumi.Input[str]] = {
        "--workload": args["workload"],
        "--architecture": args["architecture"],
        "--dataset": args["dataset"],
        "--epochs": str(args["epochs"]),
        "--batch-size": str(args["batch_size"]),
        "--learning-rate": str(args["learning_rate"]),
        "--seed": str(args["seed"]),
        "--nodes": str(nodes),
        "--processes": str(args["pool"]["per_node"]),
        "--rendezvous": rendezvous(name),
        "--store": store["uri"],
        "--run-id": run,
        "--model": args["model"],
        **({"--registry": args["registry"]} if "registry" in args else {}),
        **({"--min-nodes": str(min_nodes)} if min_nodes < nodes else {}),
    }
    words = [word for pair in options.items() for word in pair]
    return ["python", "-m", "accelstack_workloads", "cluster", "train", *words]


def problems(args: Mapping[str, Any]) -> dict[str, str]:
    """Every arg of a training job on a cluster that breaks its rule, with the reason and the fix."""
    found = training.problems(args)
    pool: ClusterPool = args["pool"]
    nodes: int = args.get("nodes", pool["nodes"])
    least: int = args.get("min_nodes", nodes)
    if pool["resource"] == TPU:
        found["pool"] = (
            f"{pool['name']} has {pool['accelerator']}, which the bundled workloads do not train on; use GPUs"
        )
    if not 1 <= nodes <= pool["nodes"]:
        found["nodes"] = f"is {nodes}, and pool {pool['name']} has 1 to {pool['nodes']}; no queue would ever admit it"
    elif not 1 <= least <= nodes:
        found["min_nodes"] = f"is {least}; it must be 1 to {nodes}, the job's nodes"
    elif reason := _uneven(args["batch_size"], pool["per_node"], least, nodes):
        found.setdefault("batch_size", reason)
    if not 0 <= args.get("restarts", 0) <= 1000:
        found["restarts"] = f"is {args['restarts']}; it must be 0 to 1000"
    waits = args.get("wait_minutes", 0)
    if waits < 0:
        found["wait_minutes"] = f"is {waits}; use 0, which returns at submission, or more"
    if waits and "kubeconfig" not in args:
        found["kubeconfig"] = "is left out, and wait_minutes needs it to follow the job; give the cluster's"
    store: pulumi.Input[str] = args.get("store_access", {"uri": args["store"]})["uri"]
    if isinstance(store, str) and store.startswith("file://") and "claim" not in args.get("store_access", {}):
        found["store"] = (
            f"{store!r} is no storage that pods share; give a URI such as s3://…, or store_access with a claim"
        )
    return found


def _uneven(batch_size: int, per_node: int, least: int, nodes: int) -> str:
    """Why a batch cannot be spread over the processes of every number of nodes that may train, and the fix."""
    step = math.lcm(*(count * per_node for count in range(least, nodes + 1)))
    if batch_size % step == 0:
        return ""
    on = f"{least} to {nodes} nodes" if least < nodes else f"{nodes} nodes"
    use = -(-batch_size // step) * step
    return f"is {batch_size}, and cannot be spread evenly over {on} with {per_node} processes each; use {use}"
