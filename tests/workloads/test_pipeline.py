"""Pipelines: nothing is done twice, what was broken off goes on, and the compiled form does the same."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelstack_workloads import model_format
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.pipelines.compiled import Place, compile_to
from accelstack_workloads.pipelines.plan import Choice, plan

from tests.workloads.steps import END_SECONDS, Running, run
from tests.workloads.tables import csv, mixed

PLAIN = ("--skip", "compress", "--skip", "export", "--skip", "register")
IMAGE = f"registry.example.com/accelstack@sha256:{'0' * 64}"


def pipeline(*arguments: object) -> subprocess.CompletedProcess[str]:
    return run("pipeline", "run", "--workload", "tabular", *arguments)


def statuses(done: subprocess.CompletedProcess[str]) -> dict[str, str]:
    """What a run said of each step."""
    assert done.returncode == 0, done.stderr
    lines = re.findall(r"^(running|unchanged): (\S+)$", done.stdout, re.MULTILINE)
    return {step: status for status, step in lines}


def choice(**changes: Any) -> Choice:
    usual: dict[str, Any] = {"workload": "vision", "dataset": "digits", "epochs": 2, "batch_size": 64, "seed": 0}
    usual |= {"learning_rate": 0.005, "method": "prune", "formats": ("onnx",), "name": "digits"}
    return Choice(**{**usual, "registry": "https://mlflow.example.com", "store": "s3://bucket/models", **changes})


def test_only_what_differs_is_run_again(tmp_path: Path) -> None:
    table, out = csv(tmp_path / "table.csv", mixed(120)), tmp_path / "pipeline"
    usual = ("--dataset", table, "--out", out, "--batch-size", 8, *PLAIN)
    assert statuses(pipeline(*usual, "--epochs", 2)) == dict.fromkeys(("prepare", "train", "evaluate"), "running")
    unchanged = dict.fromkeys(("prepare", "train", "evaluate"), "unchanged")
    assert statuses(pipeline(*usual, "--epochs", 2)) == unchanged

    longer = pipeline(*usual, "--epochs", 3)
    assert statuses(longer) == {"prepare": "unchanged", "train": "running", "evaluate": "running"}
    assert "epoch 3/3" in longer.stdout
    assert statuses(pipeline(*usual, "--epochs", 2)) == unchanged  # the former settings' results are still there

    csv(table, mixed(120, seed=1))
    changed = pipeline(*usual, "--epochs", 2, "--skip", "evaluate")
    assert statuses(changed) == {"prepare": "running", "train": "running"}

    csv(table, mixed(120))
    state = json.loads((out / "pipeline.json").read_text())
    evaluated = out / next(of["out"] for of in reversed(state["done"].values()) if of["step"] == "evaluate")
    (evaluated / "evaluation.json").write_text("{}")
    assert statuses(pipeline(*usual, "--epochs", 3)) == {**unchanged, "evaluate": "running"}


def test_a_killed_pipeline_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    arguments = ("--epochs", 60, "--batch-size", 8, "--out", tmp_path / "pipeline", *PLAIN)
    first = Running("pipeline", "run", "--workload", "tabular", *arguments)
    first.wait_for("epoch 3/60")
    processes = first.processes()
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.communicate(timeout=END_SECONDS)
    assert json.loads((tmp_path / "pipeline" / "pipeline.json").read_text())["last"]["train"]["status"] == "running"
    second = pipeline(*arguments)
    assert statuses(second) == {"prepare": "unchanged", "train": "running", "evaluate": "running"}
    assert "going on from step-" in second.stdout
    assert not any(each.is_running() for each in processes)
    shown = run("pipeline", "run", "--workload", "tabular", *arguments, "--json")
    report = json.loads(shown.stdout)
    assert report["train"]["status"] == "unchanged"
    assert report["train"]["digest"] == model_format.digest(Path(report["train"]["out"]) / "model")


def test_asked_to_stop_it_goes_on_later(tmp_path: Path) -> None:
    arguments = ("--epochs", 60, "--batch-size", 8, "--out", tmp_path / "pipeline", *PLAIN)
    stopped = Running("pipeline", "run", "--workload", "tabular", *arguments)
    stopped.wait_for("epoch 3/60")
    processes = stopped.processes()
    stopped.process.terminate()
    status, said, errors = stopped.end()
    assert (status, errors) == (3, "")
    assert said.endswith("stopped in train; run again to go on\n")
    assert not any(each.is_running() for each in processes)
    state = json.loads((tmp_path / "pipeline" / "pipeline.json").read_text())
    assert {name: of["status"] for name, of in state["last"].items()} == {"prepare": "done", "train": "stopped"}


def test_a_step_that_failed_is_run_again_and_nothing_before_it_is_lost(tmp_path: Path) -> None:
    out = tmp_path / "pipeline"
    (tmp_path / "in-the-way").write_text("")
    arguments = ("--epochs", 1, "--out", out, "--skip", "compress", "--skip", "export", "--skip", "evaluate")
    failed = pipeline(*arguments, "--store", tmp_path / "in-the-way")
    assert failed.returncode == 2
    assert failed.stderr.startswith("error: register: ")
    assert failed.stderr.count("\n") == 1
    before = {"prepare": "unchanged", "train": "unchanged"}
    assert statuses(pipeline(*arguments)) == {**before, "register": "running"}
    assert statuses(pipeline(*arguments)) == {**before, "register": "unchanged"}
    (out / "models.db").unlink()
    assert statuses(pipeline(*arguments)) == {**before, "register": "running"}
    assert run(
        "registry", "verify", "--registry", f"sqlite:///{out / 'models.db'}", "--name", "tabular", "--version", 1
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--epochs", 0), "--epochs: 0 is not above 0"),
        (("--skip", "train"), "--skip: 'train' cannot be left out; use some of: evaluate, compress"),
        (("--format", "paper"), "--format: 'paper' is not known"),
        (("--format", "torch"), "--format: 'torch' is not made of a quantised model"),
        (("--method", "squash"), "--method: 'squash' is not known"),
        (("--workload", "taste"), "--workload: 'taste' is not bundled"),
    ],
)
def test_bad_input_is_refused_before_the_first_step(tmp_path: Path, arguments: tuple[object, ...], words: str) -> None:
    done = pipeline("--out", tmp_path / "pipeline", *arguments)
    assert done.returncode == 2
    assert words in done.stderr
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "pipeline").exists()


def test_a_compressed_model_takes_the_trained_ones_place(tmp_path: Path) -> None:
    inputs = {step.name: step.inputs for step in plan(choice())}
    assert inputs == {
        "prepare": (),
        "train": ("prepare",),
        "evaluate": ("train", "prepare"),
        "compress": ("train", "prepare"),
        "evaluate-compressed": ("compress", "prepare"),
        "export": ("compress",),
        "register": ("compress", "evaluate-compressed"),
    }
    inputs = {step.name: step.inputs for step in plan(choice(skip=("compress", "evaluate")))}
    assert inputs == {"prepare": (), "train": ("prepare",), "export": ("train",), "register": ("train",)}


def compiled(path: Path, choice: Choice, place: Place) -> tuple[dict[str, Any], dict[str, Any]]:
    """What is said of the file, and what kfp itself reads from it."""
    from google.protobuf.json_format import MessageToDict
    from kfp import components

    report = compile_to(path, choice, place)
    return report, MessageToDict(components.load_component_from_text(path.read_text()).pipeline_spec)


def apart(function: Callable[..., Any], *arguments: object) -> Any:
    """Calls in a new process: kfp and Pulumi each bring a google.rpc.Status, so that no process can have both."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result(timeout=END_SECONDS)


def test_the_compiled_pipeline_has_the_steps_and_what_they_take_from_each_other(tmp_path: Path) -> None:
    path = tmp_path / "pipeline.yaml"
    report, read = apart(compiled, path, choice(), Place(IMAGE, "nvidia.com/gpu", 2))
    tasks = read["root"]["dag"]["tasks"]
    assert [*report["steps"]] == [step.name for step in plan(choice())]
    assert {name: {*task.get("dependentTasks", ())} for name, task in tasks.items()} == {
        step.name: {*step.inputs} for step in plan(choice())
    }
    uncached = {name for name, task in tasks.items() if not task["cachingOptions"].get("enableCache")}
    assert uncached == {"prepare", "register"}
    assert {*read["root"]["inputDefinitions"]["parameters"]} == {"dataset", "epochs", "name", "registry", "store"}
    executors = yaml.safe_load(path.read_text())["deploymentSpec"]["executors"]
    assert {of["container"]["image"] for of in executors.values()} == {IMAGE}
    computing = {name for name, of in executors.items() if "accelerator" in of["container"].get("resources", {})}
    assert computing == {"exec-train", "exec-compress"}
    assert executors["exec-train"]["container"]["resources"]["accelerator"]["resourceCount"] == "2"


class Launcher:
    """Runs a compiled pipeline's containers here as KFP's launcher runs them in their pods: parameters and the places
    of artifacts take the place of their placeholders, and the folder that an output lies in is there already.
    """

    def __init__(self, path: Path, root: Path, **parameters: object) -> None:
        self.spec, self.root = yaml.safe_load(path.read_text()), root
        definitions = self.spec["root"]["inputDefinitions"]["parameters"]
        self.parameters = {name: of["defaultValue"] for name, of in definitions.items()} | parameters

    def run(self) -> dict[str, Path]:
        tasks, places = dict(self.spec["root"]["dag"]["tasks"]), dict[str, Path]()
        while tasks:
            name = next(name for name, task in tasks.items() if {*task.get("dependentTasks", ())} <= {*places})
            places[name] = self._task(name, tasks.pop(name), places)
        return places

    def _task(self, name: str, task: dict[str, Any], places: dict[str, Path]) -> Path:
        out = self.root / name / "out"
        out.parent.mkdir(parents=True)
        known = {"$.outputs.artifacts['out'].path": str(out)}
        for given, of in task["inputs"].get("artifacts", {}).items():
            known[f"$.inputs.artifacts['{given}'].path"] = str(places[of["taskOutputArtifact"]["producerTask"]])
        for given, of in task["inputs"].get("parameters", {}).items():
            value = self.parameters[of["componentInputParameter"]]
            known[f"$.inputs.parameters['{given}']"] = f"{value:g}" if isinstance(value, float) else str(value)
        label = self.spec["components"][task["componentRef"]["name"]]["executorLabel"]
        container = self.spec["deploymentSpec"]["executors"][label]["container"]
        words = [re.sub(r"\{\{(.*?)\}\}", lambda found: known[found[1]], word) for word in container["args"]]
        assert container["command"][0] == "python"
        command = [sys.executable, *container["command"][1:], *words]
        done = subprocess.run(command, capture_output=True, text=True, timeout=END_SECONDS, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
        return out


def test_containers_of_the_compiled_pipeline_make_the_same_model_as_the_plain_steps(
    digits_data: Path, tmp_path: Path
) -> None:
    path = tmp_path / "pipeline.yaml"
    options = ("--workload", "vision", "--image", IMAGE, "--out", path, "--epochs", 1, *PLAIN)
    done = run("pipeline", "compile", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == f"compiled: {path}: accelstack-vision: prepare, train, evaluate\n"
    places = Launcher(path, tmp_path / "pods", epochs=2.0).run()
    assert not (places["train"] / "checkpoints").exists()

    plain = run("train", "--data", digits_data, "--out", tmp_path / "plain", "--epochs", 2)
    assert plain.returncode == 0, plain.stderr
    assert model_format.digest(places["train"] / "model") == model_format.digest(tmp_path / "plain" / "model")
    evaluation = json.loads((places["evaluate"] / "evaluation.json").read_text())
    assert evaluation["model"]["digest"] == model_format.digest(tmp_path / "plain" / "model")


def test_what_pods_cannot_reach_is_refused(tmp_path: Path) -> None:
    for changes, words in (
        (
            {"registry": "sqlite:////srv/models.db"},
            "--registry: 'sqlite:////srv/models.db' is not reached from the pods",
        ),
        ({"store": "models"}, "--store: 'models' is not reached"),
        ({"dataset": str(tmp_path)}, "--dataset: "),
    ):
        with pytest.raises(WorkloadError, match=re.escape(words)):
            compile_to(tmp_path / "pipeline.yaml", choice(**changes), Place(IMAGE))
    for image in ("accelstack", "accelstack:latest", "accelstack@sha256:0123", ""):
        with pytest.raises(WorkloadError, match=r"--image: .* is not pinned.*give NAME@sha256:DIGEST"):
            Place(image)
    assert not (tmp_path / "pipeline.yaml").exists()


def test_a_step_that_fails_in_its_pod_leaves_no_output(tmp_path: Path) -> None:
    out = tmp_path / "out"
    done = run("pipeline", "step", "--out", out, "--", "prepare", "--dataset", tmp_path / "none")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert not out.exists()
