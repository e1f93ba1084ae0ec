"""A training job as each pod of its gang runs it: data and checkpoints in, torchrun over all pods, results out."""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelstack_workloads import model_store, registry
from accelstack_workloads.cluster_store import Mirror, RunStore
from accelstack_workloads.errors import EXIT_STOPPED, WorkloadError
from accelstack_workloads.model_files import DESCRIPTION, WEIGHTS, digest
from accelstack_workloads.probe import RESULT, RESULT_VARIABLE, wait_for
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.steps import Steps

SCRATCH_VARIABLE, SCRATCH = "ACCELSTACK_SCRATCH", "/scratch"
RESOLVE_SECONDS = 300.0
JOIN_SECONDS = 900
"""How much earlier than the last pod one may start: pulling an image of tens of gigabytes takes minutes."""
ELASTIC_RESTARTS = 100
"""Of the trainers, where a gang goes on without a lost pod until there is another."""
DELIVERED = ("training.json", "evaluation.json", "metrics.jsonl")
"""Beside the evaluation's pictures."""
LOST = "lost another one of its group"
"""What a trainer says whose peer has ended: nothing that it was given is wrong."""
LAST_RESULT_SECONDS = 120.0


@dataclass(frozen=True)
class Job:
    """What a gang is to do; the same in each pod.

    Attributes:
        workload: a bundled one.
        dataset: its name, path or URI.
        options: of `train`: epochs, batch size, learning rate, seed.
        nodes, min_nodes: pods that train together, and fewest that go on while a lost one is replaced.
        processes: in each pod.
        rendezvous: `host:port` in the first pod.
        registry: URI or URL of the model registry; empty for none.
        index: this machine's number, from 0.
        taken_up: path or URI that a managed platform takes the model up from; empty for none.
    """

    workload: str
    dataset: str
    options: dict[str, str]
    nodes: int
    min_nodes: int
    processes: int
    rendezvous: str
    store: str
    run_id: str
    model: str
    registry: str
    index: int = 0
    taken_up: str = ""


def train(job: Job) -> int:
    """Trains in this pod together with the others; gives the exit status.

    Returns:
        0 done, 3 stopped on SIGTERM after a checkpoint, 1 failed (another pod may be to blame).

    Raises:
        WorkloadError: bad input, which no restart mends.
    """
    host, port = _refuse(job)
    store = RunStore(job.store, job.run_id)
    if done := store.result():
        print(f"already trained: run {job.run_id} is in the store", flush=True)
        return _leave(done)
    address, interface = wait_for(host, port, RESOLVE_SECONDS)
    folder = Path(os.environ.get(SCRATCH_VARIABLE, SCRATCH))
    with tempfile.TemporaryDirectory(dir=folder if folder.is_dir() else None) as scratch:
        data, run = Path(scratch, "data"), RunFolder(Path(scratch, "run"))
        store.restore(run.checkpoints)
        steps = Steps(interface, restarts=job.min_nodes < job.nodes)
        module = [sys.executable, "-m", "accelstack_workloads"]
        with Mirror(store, run.checkpoints):
            status, said = steps.run(
                [
                    [*module, "prepare", "--workload", job.workload, "--dataset", job.dataset, "--out", str(data)],
                    [
                        *_launcher(job, host, port, address),
                        *("--log-dir", str(Path(scratch, "launcher"))),
                        *_options(job, data, run.path),
                    ],
                ]
            )
        if status == EXIT_STOPPED:
            return status
        if status:
            if said.startswith("error") and LOST not in said:
                raise WorkloadError(said.partition(": ")[2])
            return 1
        if (run.path / "training.json").exists():  # this pod led
            _deliver(job, store, run)
    return _leave(_wait(store)) if job.index == 0 else 0


def _refuse(job: Job) -> tuple[str, int]:
    host, _, port = job.rendezvous.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 2**16):
        raise WorkloadError(
            f"rendezvous: {job.rendezvous!r} is not HOST:PORT; give the first pod's name and a free port"
        )
    if not 1 <= job.min_nodes <= job.nodes:
        raise WorkloadError(f"min-nodes: {job.min_nodes} is not 1 to {job.nodes}, the job's nodes; give one of them")
    if job.registry.startswith(registry.HTTP) and job.store.startswith(("file://", "/")):
        raise WorkloadError(
            f"registry: {job.registry!r} takes models in object stores alone, and the store is {job.store!r}; "
            "leave it out, or use s3://, gs:// or abfs://"
        )
    return host.strip("[]"), int(port)


def _launcher(job: Job, host: str, port: int, address: str) -> list[str]:
    """torchrun over all pods. Where all must be there, each has its place; else they take places as they come."""
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(max(1, job.processes))]
    if job.min_nodes == job.nodes:
        return [
            *command,
            *("--nnodes", str(job.nodes), "--node-rank", str(job.index), "--max-restarts", "0"),
            *("--master-addr", host, "--master-port", str(port)),
        ]
    hosting = f"is_host={str(job.index == 0).lower()}"
    return [
        *command,
        *("--nnodes", f"{job.min_nodes}:{job.nodes}", "--max-restarts", str(ELASTIC_RESTARTS)),
        *("--rdzv-backend", "c10d", "--rdzv-endpoint", f"{host}:{port}", "--rdzv-id", job.run_id),
        *("--rdzv-conf", f"join_timeout={JOIN_SECONDS},{hosting}", "--local-addr", address),
    ]


def _options(job: Job, data: Path, run: Path) -> list[str]:
    given = [word for pair in job.options.items() for word in pair]
    return ["-m", "accelstack_workloads", "train", "--evaluate", "--data", str(data), "--out", str(run), *given]


def _deliver(job: Job, store: RunStore, run: RunFolder) -> None:
    """Leaves the model, what was measured, and last the result in the store."""
    for name in (WEIGHTS, DESCRIPTION):  # the description last: without it a directory is no model
        store.write(f"model/{name}", (run.model / name).read_bytes())
    measured = json.loads((run.path / "evaluation.json").read_text())
    for name in (*DELIVERED, *measured["pictures"]):
        store.write(name, (run.path / name).read_bytes())
    identity = digest(run.model)
    if job.taken_up:
        model_store.put(run.model, identity, job.taken_up)
    version = {
        "name": job.model,
        "version": identity.removeprefix("sha256:")[:12],
        "digest": identity,
        "uri": f"{store.uri}/model",
    }
    if job.registry:
        models = f"{job.store.rstrip('/')}/models"
        version = registry.register(run.model, job.model, job.registry, models, run.path / "evaluation.json")
    elif model_store.digest_at(version["uri"]) != identity:
        raise WorkloadError(f"store: the model at {version['uri']} is not what was copied; run the job again")
    trained = json.loads((run.path / "training.json").read_text())
    metrics = {
        measured["score"]: round(measured[measured["score"]], 6),
        "loss": trained["metrics"]["loss"],
        "seconds": trained["seconds"],
        "samples_per_second": trained["samples_per_second"],
        "world_size": trained["world_size"],
        "device": trained["device"],
    }
    result = {"run_id": job.run_id, "metrics": metrics, "model": version}
    store.write("result.json", (json.dumps(result, indent=2) + "\n").encode())


def _wait(store: RunStore) -> dict[str, Any]:
    """The result, which the pod that led writes."""
    end = time.monotonic() + LAST_RESULT_SECONDS
    while (found := store.result()) is None:
        if time.monotonic() > end:
            raise WorkloadError(f"store: {store.uri} has no result although training ended; run the job again")
        time.sleep(1)
    return found


def _leave(result: dict[str, Any]) -> int:
    """Leaves the result where Kubernetes takes it up, and prints it."""
    text = json.dumps(result)
    print(text, flush=True)
    path = Path(os.environ.get(RESULT_VARIABLE, RESULT))
    try:
        path.write_text(text)
    except OSError as error:
        print(f"warning: {path} cannot be written ({error.strerror}); the result is in the store", flush=True)
    return 0
