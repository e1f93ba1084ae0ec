"""Compressed models: really smaller, as right as before, served as any other, and measured honestly."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
import torch
from accelstack_workloads import model_format, model_store
from accelstack_workloads.compress import compress, table
from accelstack_workloads.compression.choice import Choice
from accelstack_workloads.compression.fit import TEMPERATURE, lesson
from accelstack_workloads.compression.measure import latencies
from accelstack_workloads.compression.narrow import narrowed
from accelstack_workloads.datasets import pictures, prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.evaluate import evaluate
from accelstack_workloads.export import export
from accelstack_workloads.model_files import ModelDescription, check_digest, describe
from accelstack_workloads.models.pictures import PictureClassifier
from safetensors.torch import load_file
from scipy.special import log_softmax, rel_entr
from torch import nn

from tests.workloads.serving import NAME, infer_body, serving
from tests.workloads.steps import picture_folder, run, run_json

METHODS = ("prune", "quantize", "distill")


@pytest.fixture(scope="module")
def compressed(
    digits_data: Path, digits_run: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The digits model by each method: the folder, and what was printed."""
    made = {}
    for method in METHODS:
        folder = tmp_path_factory.mktemp(method)
        options = ("--data", digits_data, "--out", folder, "--method", method)
        made[method] = folder, run_json("compress", "--model", digits_run / "model", *options)
    return made


@pytest.mark.parametrize("method", METHODS)
def test_figures_are_those_of_the_models_on_disk(
    compressed: dict[str, tuple[Path, dict[str, Any]]], digits_data: Path, digits_run: Path, tmp_path: Path, method: str
) -> None:
    folder, report = compressed[method]
    assert report == json.loads((folder / "compression.json").read_text())
    file = folder / "model" / ("model.onnx" if method == "quantize" else "model.safetensors")
    assert report["compressed"]["size"] == file.stat().st_size
    assert report["original"]["size"] == (digits_run / "model" / "model.safetensors").stat().st_size
    assert report["smaller"] == pytest.approx(report["original"]["size"] / report["compressed"]["size"], abs=1e-3)
    assert report["model"]["digest"] == model_format.digest(folder / "model")
    for side, model in (("original", digits_run / "model"), ("compressed", folder / "model")):
        measured = evaluate(model, digits_data, tmp_path)["accuracy"]
        assert report[side]["measures"]["accuracy"] == measured
        assert all(ms > 0 for times in report[side]["milliseconds"].values() for ms in times.values())
    assert report["smaller"] > 3
    assert report["changes"]["accuracy"] >= -0.03


@pytest.mark.parametrize("method", ["prune", "distill"])
def test_half_of_the_channels_and_units_are_really_gone(
    compressed: dict[str, tuple[Path, dict[str, Any]]], method: str
) -> None:
    folder, _ = compressed[method]
    shapes = {name: tuple(value.shape) for name, value in load_file(folder / "model" / "model.safetensors").items()}
    assert shapes["conv1.weight"] == (16, 1, 3, 3)
    assert shapes["conv2.weight"] == (32, 16, 3, 3)
    assert shapes["hidden.weight"] == (32, 32 * 2 * 2)
    assert shapes["output.weight"] == (10, 32)
    assert describe(folder / "model").sizes == {"conv1": 16, "conv2": 32, "hidden": 32}


class Normed(nn.Module):
    """A convolution with its norm, read by another one."""

    readers = {"first": ("norm", "second")}  # noqa: RUF012 - as a network has it

    def __init__(self, facts: dict[str, Any], first: int = 8) -> None:
        super().__init__()
        self.first = nn.Conv2d(facts["shape"][0], first, 3, bias=False)
        self.norm = nn.BatchNorm2d(first)
        self.second = nn.Conv2d(first, len(facts["classes"]), 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.second(self.norm(self.first(images)).relu()).mean((2, 3))


FACTS = {"classes": ["a", "b"], "shape": [1, 8, 8], "mean": [0.5], "std": [0.2]}


@pytest.mark.parametrize(
    ("architecture", "dead"),
    [("cnn", {"conv1": (), "conv2": (), "hidden": ()}), ("normed", {"first": ("norm",)})],
)
def test_units_that_do_nothing_can_go_without_changing_any_answer(
    monkeypatch: pytest.MonkeyPatch, architecture: str, dead: dict[str, tuple[str, ...]]
) -> None:
    monkeypatch.setattr(PictureClassifier, "networks", {**PictureClassifier.networks, "normed": Normed})
    torch.manual_seed(0)
    model = model_format.build(ModelDescription("vision", architecture, FACTS)).eval()
    with torch.no_grad():
        for layer, norms in dead.items():
            for module in (model.network.get_submodule(name) for name in (layer, *norms)):
                for name, value in module.state_dict().items():
                    if value.dim() and name != "running_var":
                        value[1::2] = 0
    smaller = narrowed(model, 0.5)
    images = torch.rand(5, 1, 8, 8)
    torch.testing.assert_close(smaller(images), model(images))
    assert sum(value.numel() for value in smaller.parameters()) < sum(value.numel() for value in model.parameters())


def test_a_network_that_does_not_say_what_can_go_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    model = model_format.build(ModelDescription("vision", "cnn", FACTS))
    monkeypatch.setattr(type(model.network), "readers", {})
    with pytest.raises(WorkloadError, match="architecture cnn cannot be narrowed; use quantize"):
        narrowed(model, 0.5)


def test_the_teacher_s_part_of_the_loss_is_the_divergence_at_a_temperature() -> None:
    random = np.random.default_rng(0)
    student, teacher = random.standard_normal((2, 6, 4))
    p, q = (np.exp(log_softmax(each / TEMPERATURE, axis=1)) for each in (teacher, student))
    expected = rel_entr(p, q).sum(1).mean() * TEMPERATURE**2
    assert lesson(torch.tensor(student), torch.tensor(teacher)).item() == pytest.approx(expected)
    values, targets = torch.tensor([[1.0], [2.0]]), torch.tensor([[3.0], [2.0]])
    assert lesson(values, targets).item() == pytest.approx(2.0)


def test_the_int8_model_is_served_as_any_other(
    compressed: dict[str, tuple[Path, dict[str, Any]]], digits_data: Path, digits_run: Path
) -> None:
    folder, report = compressed["quantize"]
    test = prepared.load(digits_data).test
    images = test["images"].astype(np.float32) / 255
    with serving(folder / "model") as served:
        answer = httpx.post(f"{served.rest}/v2/models/{NAME}/infer", json=infer_body(images), timeout=30).json()
    probabilities = np.array(answer["outputs"][0]["data"]).reshape(answer["outputs"][0]["shape"])
    accuracy = float((probabilities.argmax(1) == test["labels"]).mean())
    assert accuracy == pytest.approx(report["compressed"]["measures"]["accuracy"], abs=1e-6)
    assert accuracy >= report["original"]["measures"]["accuracy"] - 0.01
    with torch.inference_mode():
        expected = model_format.load(digits_run / "model")(torch.from_numpy(images)).numpy()
    assert np.abs(probabilities - expected).max() > 0  # it is int8 that answers, not the original
    assert np.abs(probabilities - expected).mean() < 0.01


def test_the_digest_and_the_store_cover_the_int8_weights(
    compressed: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    model = shutil.copytree(compressed["quantize"][0] / "model", tmp_path / "model")
    identity = model_format.digest(model)
    uri = model_store.copy(model, identity, str(tmp_path / "store"), "digits")
    assert model_store.digest_at(uri) == identity
    (onnx,) = (tmp_path / "store").rglob("model.onnx")
    onnx.write_bytes(onnx.read_bytes() + b"\0")
    assert model_store.digest_at(uri) != identity
    with pytest.raises(WorkloadError, match="its files were changed"):
        check_digest(onnx.parent, identity)


def test_the_int8_model_is_exported_as_onnx_as_it_is_and_as_nothing_else(
    compressed: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path
) -> None:
    model = compressed["quantize"][0] / "model"
    export(model, tmp_path / "out", ["onnx"])
    assert (tmp_path / "out" / "model.onnx").read_bytes() == (model / "model.onnx").read_bytes()
    with pytest.raises(WorkloadError, match="is an ONNX form already"):
        export(model, tmp_path / "other", ["torch"])


def test_compressing_twice_is_refused(
    compressed: dict[str, tuple[Path, dict[str, Any]]], digits_data: Path, tmp_path: Path
) -> None:
    with pytest.raises(WorkloadError, match="is compressed already; give the model that it was made from"):
        compress(compressed["quantize"][0] / "model", digits_data, tmp_path, Choice("prune"))
    assert not list(tmp_path.iterdir())


def test_people_get_a_table_that_does_not_hide_a_loss(compressed: dict[str, tuple[Path, dict[str, Any]]]) -> None:
    report = json.loads(json.dumps(compressed["quantize"][1]))
    report["faster"] = {"1": 0.5, "32": 2.0}
    lines = table(report).splitlines()
    assert any(line.startswith("size on disk, bytes") and line.endswith("x smaller") for line in lines)
    assert any(line.startswith("fastest, batch 1, ms") and line.endswith("2.00 x SLOWER") for line in lines)
    assert any(line.startswith("fastest, batch 32, ms") and line.endswith("2.00 x faster") for line in lines)
    assert any(line.startswith("accuracy ") for line in lines)
    assert lines[-1].startswith("calibration_error ")


def test_latency_is_the_median_of_what_the_calls_took() -> None:
    def slow(_inputs: object) -> None:
        time.sleep(0.004)

    found = latencies({("a", "slow"): slow, ("a", "quick"): lambda _: None}, {})
    assert found["a", "slow"] >= 4
    assert found["a", "quick"] < 1


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"method": "shrink"}, "--method: 'shrink' is not known; use one of: prune, quantize, distill"),
        ({"ratio": 0.0}, "--ratio: 0.0 is not between 0 and 1"),
        ({"ratio": 1.0}, "--ratio: 1.0 is not between 0 and 1"),
        ({"ratio": float("nan")}, "--ratio: nan is not between 0 and 1"),
        ({"epochs": 0}, "--epochs: 0 is not above 0"),
        ({"seed": -1}, "--seed: -1 is not within 0"),
    ],
)
def test_a_choice_out_of_range_is_named(options: dict[str, Any], said: str) -> None:
    with pytest.raises(WorkloadError) as caught:
        Choice(**{"method": "prune", **options})
    assert str(caught.value).startswith(said)


def test_bad_input_is_one_line_and_writes_nothing(digits_data: Path, digits_run: Path, tmp_path: Path) -> None:
    options = ("--model", digits_run / "model", "--data", digits_data, "--out", tmp_path / "out", "--method", "shrink")
    done = run("compress", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: --method: 'shrink' is not known")
    assert not list(tmp_path.iterdir())


def test_data_of_another_dataset_is_refused(digits_run: Path, tmp_path: Path) -> None:
    prepared.save(pictures.read(str(picture_folder(tmp_path / "pictures", {"cat": 5, "dog": 5}))), tmp_path / "data")
    with pytest.raises(WorkloadError, match=r"has classes \['cat', 'dog'\], the model was trained on"):
        compress(digits_run / "model", tmp_path / "data", tmp_path / "out", Choice("quantize"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [b"", b"not onnx", b"\x80\x04."])
def test_a_file_that_is_not_onnx_is_refused(
    compressed: dict[str, tuple[Path, dict[str, Any]]], tmp_path: Path, content: bytes
) -> None:
    model = shutil.copytree(compressed["quantize"][0] / "model", tmp_path / "model")
    (model / "model.onnx").write_bytes(content)
    with pytest.raises(WorkloadError, match=r"model\.onnx cannot be loaded"):
        model_format.load(model)


def test_the_onnx_of_another_kind_of_model_is_refused(
    compressed: dict[str, tuple[Path, dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = compressed["quantize"][0] / "model"
    spec = replace(model_format.load(folder).inputs[0], name="other")
    monkeypatch.setattr(PictureClassifier, "inputs", property(lambda _: (spec,)))
    with pytest.raises(WorkloadError, match=r"takes \['image'\], its description \['other'\]"):
        model_format.load(folder)


@pytest.mark.parametrize(
    ("sizes", "said"),
    [({"conv9": 4}, "sizes: 'conv9' is none of cnn; use one of: conv1, conv2, hidden"), ({"conv1": 0}, "conv1 is 0")],
)
def test_sizes_that_a_network_does_not_have_are_named(sizes: dict[str, int], said: str) -> None:
    with pytest.raises(WorkloadError, match=said):
        model_format.build(ModelDescription("vision", "cnn", FACTS, sizes=sizes))
