"""The workloads as SageMaker runs them: its files and environment in place of the command line's options.

SageMaker starts the image with the one word `train` or `serve`. Training's settings, hosts and data lie in files below
/opt/ml; what is left in /opt/ml/model becomes the model artifact, and /opt/ml/checkpoints is kept in step with S3
(https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-training-algo-running-container.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/your-algorithms-inference-code.html).
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from accelstack_workloads.errors import EXIT_BAD_INPUT, WorkloadError
from accelstack_workloads.model_files import DESCRIPTION, WEIGHTS, check_digest
from accelstack_workloads.steps import Steps

ROOT_VARIABLE = "SAGEMAKER_BASE_DIR"
"""Stands in for /opt/ml, as in AWS's own containers."""
CHANNEL = "dataset"
"""Input channel with the pictures; without it the dataset is a bundled one."""
OPTIONS = {
    "architecture": "--architecture",
    "epochs": "--epochs",
    "batch_size": "--batch-size",
    "learning_rate": "--learning-rate",
    "seed": "--seed",
}
"""Hyperparameters that `train` takes, by their names on the command line."""
USUAL = "vision"
RESULTS = ("training.json", "evaluation.json", "metrics.jsonl")
"""Beside the evaluation's pictures."""
"""Files of a run that go beside the model, where whoever started the job finds them."""
RENDEZVOUS_PORT = "29400"
MOST_REASON = 1024
"""Characters of the failure file that SageMaker shows (same page)."""


@dataclass(frozen=True)
class Hosts:
    """The machines that train together.

    Attributes:
        names: of all, in the same order on each.
        rank: this one's number among them, from 0.
        interface: network interface between them.
    """

    names: tuple[str, ...]
    rank: int
    interface: str


def folder() -> Path:
    """Where SageMaker's files are."""
    return Path(os.environ.get(ROOT_VARIABLE, "/opt/ml"))


def asked(arguments: list[str]) -> bool:
    """Whether SageMaker, not a person, called: with one word, and its own files in place."""
    return (arguments == ["train"] and (folder() / "input/config/resourceconfig.json").exists()) or (
        arguments == ["serve"] and (folder() / "model").is_dir()
    )


def run(verb: str) -> int:
    """Runs `train` or `serve`; gives the exit status."""
    return train() if verb == "train" else serve()


def train() -> int:
    """Trains and evaluates on this host together with the job's other hosts; gives the exit status.

    The host with the first name leaves the model and the run's results in /opt/ml/model. SIGTERM, which comes two
    minutes before a spot machine goes or a stopped job is killed, makes the trainers save a checkpoint and end.
    """
    root = folder()
    reason = ""
    try:
        hyperparameters = _read(root / "input/config/hyperparameters.json")
        hosts = _hosts(_read(root / "input/config/resourceconfig.json"))
        run_folder = root / "checkpoints"
        with tempfile.TemporaryDirectory() as scratch:
            prepared, notes = (str(Path(scratch, name)) for name in ("data", "launcher"))
            status, reason = Steps(hosts.interface if len(hosts.names) > 1 else "").run(
                [
                    [
                        *(*_module(), "prepare", "--workload", str(hyperparameters.get("workload", USUAL))),
                        *("--dataset", _dataset(root, hyperparameters), "--out", prepared),
                    ],
                    [
                        *_launcher(hyperparameters, hosts),
                        "--log-dir",
                        notes,
                        *_options(hyperparameters, prepared, run_folder),
                    ],
                ]
            )
        if status == 0 and hosts.rank == 0:
            _deliver(run_folder, root / "model")
    except (WorkloadError, OSError) as error:
        status, reason = EXIT_BAD_INPUT, str(error)
        print(f"error: {error}", file=sys.stderr, flush=True)
    if reason:
        (root / "output").mkdir(parents=True, exist_ok=True)
        (root / "output/failure").write_text(reason[:MOST_REASON])
    return status


def serve() -> int:
    """Serves /opt/ml/model on the port that SageMaker calls, as the environment names the model; blocks."""
    from accelstack_workloads.serve import server

    model, settings = folder() / "model", os.environ
    if digest := settings.get("ACCELSTACK_MODEL_DIGEST", ""):
        check_digest(model, digest)
    name, version = settings.get("ACCELSTACK_MODEL_NAME", "model"), settings.get("ACCELSTACK_MODEL_VERSION", "1")
    server.run(model, name, version, "0.0.0.0", int(settings.get("SAGEMAKER_BIND_TO_PORT", "8080")), 0)  # noqa: S104
    return 0


def _read(path: Path) -> dict[str, Any]:
    try:
        return json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise WorkloadError(f"{path.name}: is not JSON ({error}); let SageMaker write it") from error


def _hosts(resources: Mapping[str, Any]) -> Hosts:
    names = tuple(sorted(resources.get("hosts", ["localhost"])))
    current = resources.get("current_host", names[0])
    if current not in names:
        raise WorkloadError(f"resourceconfig.json: current_host {current!r} is not among hosts {', '.join(names)}")
    return Hosts(names, names.index(current), resources.get("network_interface_name", ""))


def _dataset(root: Path, hyperparameters: Mapping[str, Any]) -> str:
    channel = root / "input/data" / CHANNEL
    return str(channel) if channel.is_dir() else str(hyperparameters.get("dataset", "digits"))


def _module() -> list[str]:
    return [sys.executable, "-m", "accelstack_workloads"]


def _launcher(hyperparameters: Mapping[str, Any], hosts: Hosts) -> list[str]:
    """torchrun over all hosts, which meet at the first."""
    port = os.environ.get("MASTER_PORT", RENDEZVOUS_PORT)
    return [
        *(sys.executable, "-m", "torch.distributed.run"),
        *("--nnodes", str(len(hosts.names)), "--node-rank", str(hosts.rank)),
        *("--nproc-per-node", str(hyperparameters.get("processes", "1"))),
        *("--master-addr", hosts.names[0], "--master-port", port),
    ]


def _options(hyperparameters: Mapping[str, Any], prepared: str, run_folder: Path) -> list[str]:
    given = [(option, str(hyperparameters[name])) for name, option in OPTIONS.items() if name in hyperparameters]
    command = ["-m", "accelstack_workloads", "train", "--evaluate", "--data", prepared, "--out", str(run_folder)]
    return [*command, *(word for pair in given for word in pair)]


def _deliver(run_folder: Path, model: Path) -> None:
    """Leaves the model and the run's results where SageMaker takes them up."""
    model.mkdir(parents=True, exist_ok=True)
    for name in (WEIGHTS, DESCRIPTION):
        shutil.copyfile(run_folder / "model" / name, model / name)
    pictures = _read(run_folder / "evaluation.json")["pictures"]
    for name in (*RESULTS, *pictures):
        shutil.copyfile(run_folder / name, model / name)
