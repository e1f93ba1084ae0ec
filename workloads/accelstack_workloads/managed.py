"""Training as Vertex AI and Azure ML run it: which machines train together, and where things go, is in the environment.

The rest is what the pods of a cluster do, in `cluster_job`. SageMaker's files and folders are `sagemaker`'s.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from accelstack_workloads.errors import WorkloadError

MOUNTED = Path("/gcs")
"""Where Vertex AI mounts Cloud Storage, each bucket by its name
(https://cloud.google.com/vertex-ai/docs/training/cloud-storage-file-system)."""


@dataclass(frozen=True)
class Place:
    """One machine of a job, and what the platform says of the job.

    Attributes:
        nodes: machines that train together.
        index: this one's number among them, from 0.
        rendezvous: `host:port` on the first one.
        run_id: identity of the job, which is the same when it is started again; empty if the platform names none.
        store: path or URI for the run; empty if the platform names none.
        model: path or URI that the platform takes the model up from; empty for none.
    """

    nodes: int
    index: int
    rendezvous: str
    run_id: str
    store: str
    model: str


def place(environment: Mapping[str, str]) -> Place:
    """What the platform's variables say.

    Raises:
        WorkloadError: there are none of either platform, or they contradict each other.
    """
    if {"CLUSTER_SPEC", "AIP_MODEL_DIR", "CLOUD_ML_JOB_ID"} & {*environment}:
        return vertex(environment)
    if "AZUREML_RUN_ID" in environment:
        return azure_ml(environment)
    raise WorkloadError(
        "managed train: the environment is neither Vertex AI's (CLUSTER_SPEC, AIP_MODEL_DIR) nor Azure ML's "
        "(AZUREML_RUN_ID); use `train` here, and `cluster train` in pods"
    )


def vertex(environment: Mapping[str, str]) -> Place:
    """Vertex AI's custom jobs (https://cloud.google.com/vertex-ai/docs/training/distributed-training and
    https://cloud.google.com/vertex-ai/docs/training/code-requirements#environment-variables).

    Raises:
        WorkloadError: CLUSTER_SPEC cannot be read.
    """
    hosts, index = ["127.0.0.1:2222"], 0
    if text := environment.get("CLUSTER_SPEC"):
        try:
            spec = json.loads(text)
            pools: dict[str, list[str]] = spec["cluster"]
            task = spec["task"]
            names = sorted(pools)
            hosts = [host for name in names for host in pools[name]]
            index = sum(len(pools[name]) for name in names[: names.index(task["type"])]) + int(task["index"])
        except (ValueError, KeyError, TypeError) as error:
            raise WorkloadError(f"CLUSTER_SPEC: {text[:200]!r} is none ({error!r}); let Vertex AI write it") from error
        if not hosts or not 0 <= index < len(hosts):
            raise WorkloadError(f"CLUSTER_SPEC: task {index} is none of its {len(hosts)} hosts; let Vertex AI write it")
    model = mounted(environment.get("AIP_MODEL_DIR", "")).rstrip("/")
    base = model.rpartition("/")[0]  # AIP_MODEL_DIR is `model/` in the job's base directory
    return Place(len(hosts), index, hosts[0], environment.get("CLOUD_ML_JOB_ID", ""), base, model)


def azure_ml(environment: Mapping[str, str]) -> Place:
    """Azure ML's jobs of distribution `pytorch` with one process on each machine, and jobs of one machine
    (https://learn.microsoft.com/azure/machine-learning/how-to-train-distributed-gpu).

    Raises:
        WorkloadError: the job starts several processes on each machine, which torchrun does here.
    """
    nodes, index = int(environment.get("WORLD_SIZE", "1")), int(environment.get("NODE_RANK", "0"))
    if "NODE_RANK" in environment and environment.get("RANK", str(index)) != str(index):
        raise WorkloadError(
            f"distribution: process {environment['RANK']} on machine {index}: Azure ML started several processes on a "
            "machine; set process_count_per_instance to 1, and --processes to the machine's accelerators"
        )
    if not 0 <= index < nodes:
        raise WorkloadError(f"NODE_RANK: is {index}, and WORLD_SIZE is {nodes}; let Azure ML set both")
    rendezvous = f"{environment.get('MASTER_ADDR', '127.0.0.1')}:{environment.get('MASTER_PORT', '6105')}"
    return Place(nodes, index, rendezvous, environment["AZUREML_RUN_ID"], "", "")


def mounted(uri: str) -> str:
    """The path at which a `gs://` URI is mounted, where it is; else the URI."""
    bucket = uri.removeprefix("gs://")
    return str(MOUNTED / bucket) if bucket != uri and MOUNTED.is_dir() else uri
