"""A training job on this machine: torchrun, then evaluation, then a model version."""

import hashlib
import json
from pathlib import Path
from typing import Any, cast

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from accelstack import fingerprint
from accelstack.contracts import ModelVersion, TrainingJobArgs
from accelstack.dynamic import DynamicProvider, UserError, changed, child_of, failed
from accelstack.local import machine, processes, steps
from accelstack.local.model_registry import ModelVersionResource
from accelstack.plan import training

SETTINGS = ["workload", "architecture", "epochs", "batch_size", "learning_rate", "seed", "accelerator", "processes"]
IDENTITY = ["name", *SETTINGS, "dataset", "data_digest", "code_digest"]


class LocalTrainingJobArgs(TrainingJobArgs):
    """Args of `local.TrainingJob`."""

    accelerator: pulumi.Input[str]
    """What to train on, such as the cluster's `accelerator`; with `cpu`, GPUs that may be there are left alone."""
    processes: pulumi.Input[int]
    """Trainers that torchrun starts, such as the cluster's `processes`."""


class TrainingRunProvider(DynamicProvider):
    """Trains and evaluates in a folder that its identity names, so an interrupted run is found and goes on.

    Identity is code, data and settings. A change of any makes a new run; the former one stays until it has ended well.
    """

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        former = _olds if _olds.get("dataset") == news["dataset"] else {}
        problems: dict[str, str] = {}
        if isinstance(news["processes"], int | float):  # in a preview it may still be unknown
            reason = training.uneven_batch(int(news["batch_size"]), int(news["processes"]))
            problems = {"batch_size": reason} if reason else {}
        try:
            listing, digest = fingerprint.data(news["dataset"], former.get("data_listing"), former.get("data_digest"))
            found = {"data_listing": listing, "data_digest": digest, "code_digest": fingerprint.training_code()}
        except UserError as error:
            return failed(news, {**problems, "dataset": str(error)})
        return failed({**news, **found}, problems)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=changed(_olds, _news, [*IDENTITY, "store"]))

    def create(self, props: dict[str, Any]) -> CreateResult:
        outs = _run(props)
        return CreateResult("run", outs)

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        outs = _run(_news)
        if outs["run_folder"] != _olds["run_folder"]:
            processes.remove_folder(Path(_olds["run_folder"]))
        return UpdateResult(outs)

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_ if results(Path(props["run_folder"])) else "", props)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        folder = Path(_props["run_folder"])
        processes.stop_all_below(folder)
        processes.remove_folder(folder)


def results(run: Path) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """What a finished run tells of its training and its evaluation; None where it is not finished or is damaged."""
    if not all((run / "model" / name).exists() for name in ("model.json", "model.safetensors")):
        return None
    try:
        trained, evaluation = (json.loads((run / f"{name}.json").read_text()) for name in ("training", "evaluation"))
    except (FileNotFoundError, ValueError):
        return None
    return trained, evaluation


def _run(props: dict[str, Any]) -> dict[str, Any]:
    """Prepares, trains and evaluates; a step that is done already is not done again."""
    identity = json.dumps([props[name] for name in IDENTITY])
    run_id = hashlib.sha256(identity.encode()).hexdigest()[:12]
    store = steps.path_of(props["store"])
    run, data = store / "runs" / props["name"] / run_id, store / "datasets" / props["data_digest"]
    log = run / "run.log"
    processes.stop_all_below(run)  # trainers of an engine that was killed are on their way out
    ranks = int(props["processes"])
    finished = results(run)
    if finished is None:
        steps.run(["prepare", "--workload", props["workload"], "--dataset", props["dataset"], "--out", str(data)], log)
        _train(props, run, data, log, ranks)
        finished = results(run)
        if finished is None:
            raise UserError(f"the run in {run} ended without results; its log {log} says more")
    trained, evaluation = finished
    metrics = {
        evaluation["score"]: evaluation[evaluation["score"]],
        "loss": trained["metrics"]["loss"],
        "seconds": trained["seconds"],
        "samples_per_second": trained["samples_per_second"],
        "evaluation": str(run / "evaluation.json"),
        "pictures": [str(run / name) for name in evaluation["pictures"]],
        "log": str(log),
    }
    return {**props, "run_id": run_id, "run_folder": str(run), "metrics": metrics}


def _train(props: dict[str, Any], run: Path, data: Path, log: Path, ranks: int) -> None:
    settings = {
        "--architecture": props["architecture"],
        "--epochs": int(props["epochs"]),
        "--batch-size": int(props["batch_size"]),
        "--learning-rate": props["learning_rate"],
        "--seed": int(props["seed"]),
        "--data": data,
        "--out": run,
    }
    # evaluated in the same process: starting another one takes longer than evaluating
    command = ["train", "--evaluate", *(str(word) for pair in settings.items() for word in pair)]
    threads = machine.threads(machine.find()["cores"], ranks)
    try:
        hidden = {"CUDA_VISIBLE_DEVICES": ""} if props["accelerator"] == "cpu" else {}
        steps.run(command, log, steps.torchrun(ranks, run / "launcher"), {"OMP_NUM_THREADS": str(threads), **hidden})
    except steps.StepError as error:
        if any(line.startswith("stopped") for line in error.lines):
            raise UserError(f"training was stopped; the next `up` goes on from its checkpoint (log: {log})") from error
        raise UserError(f"{error}\nWhat was trained so far is kept: the next `up` goes on from there.") from error


class _TrainingRun(Resource, module="accelstack", name="LocalTrainingRun"):
    run_id: pulumi.Output[str]
    run_folder: pulumi.Output[str]
    metrics: pulumi.Output[dict[str, Any]]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(
            TrainingRunProvider(), name, {**props, "run_id": None, "run_folder": None, "metrics": None}, opts
        )


class TrainingJob(pulumi.ComponentResource):
    """A run of a bundled workload on this machine; `up` waits for its result.

    The same code, data and settings make no new run. A run that was killed or stopped goes on from its last complete
    checkpoint. Works from Python programs alone, since it stands on dynamic resources.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    run_id: pulumi.Output[str]
    """Identity of the run, from its code, data and settings."""
    metrics: pulumi.Output[dict[str, Any]]
    """The workload's score on held-out data, such as `accuracy` (0 to 1), `loss`, `seconds`, `samples_per_second`, and
    the paths of the `evaluation`, its `pictures` and the `log`."""
    model: pulumi.Output[ModelVersion]
    """The model version that came of the run."""

    def __init__(self, name: str, args: LocalTrainingJobArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        asked = training.settled(args)
        for path, reason in training.problems(asked).items():
            raise pulumi.InputPropertyError(path, reason)
        super().__init__("accelstack:index:LocalTrainingJob", name, None, opts)
        props = {key: value for key, value in asked.items() if key != "model"}
        digests = dict.fromkeys(["data_listing", "data_digest", "code_digest"])
        run = _TrainingRun(
            name,
            {**props, **digests, "name": name},
            child_of(self),
        )
        version = ModelVersionResource(name, asked["model"], run.run_folder, args["store"], child_of(self))
        self.run_id = run.run_id
        self.metrics = run.metrics
        self.model = cast(
            pulumi.Output[ModelVersion],
            pulumi.Output.all(
                name=asked["model"],
                version=version.version,
                digest=version.digest,
                uri=version.uri,
                public_key=version.public_key,
            ),
        )
        self.register_outputs({"run_id": self.run_id, "metrics": self.metrics, "model": self.model})
