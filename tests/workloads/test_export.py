"""Exported models: what other programs load and get, and refusals that leave nothing behind."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from accelstack_workloads import model_format
from accelstack_workloads.datasets import prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.export import export
from accelstack_workloads.exports import onnx_file, program, saved_model, trial
from accelstack_workloads.model_files import ModelDescription
from accelstack_workloads.models.model import Model
from accelstack_workloads.tensors import TensorSpec
from google.protobuf import text_format
from torch import nn
from tritonclient.grpc import model_config_pb2

from tests.workloads.steps import run, run_json

BATCHES = (1, 3, 100)


@pytest.fixture(scope="module")
def exported(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The digits model in all forms that need no further packages."""
    folder = tmp_path_factory.mktemp("export") / "out"
    formats = [word for name in ("onnx", "torch", "triton") for word in ("--format", name)]
    report = run_json("export", "--model", digits_run / "model", "--out", folder, *formats)
    assert report == json.loads((folder / "export.json").read_text())
    assert {*report["formats"]} == {"onnx", "torch", "triton"}
    assert report["model"]["digest"] == model_format.digest(digits_run / "model")
    return folder


@pytest.fixture(scope="module")
def pictures(digits_data: Path) -> np.ndarray:
    """Held-out pictures, as the model takes them."""
    return prepared.load(digits_data).test["images"].astype(np.float32) / 255


def expected(digits_run: Path, pictures: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        return model_format.load(digits_run / "model")(torch.from_numpy(pictures)).numpy()


@pytest.mark.parametrize("batch", BATCHES)
@pytest.mark.parametrize("file", ["model.onnx", "triton/vision/1/model.onnx"])
def test_onnx_runtime_gives_what_the_model_gives(
    exported: Path, digits_run: Path, pictures: np.ndarray, file: str, batch: int
) -> None:
    session = onnxruntime.InferenceSession(exported / file, providers=["CPUExecutionProvider"])
    (found,) = session.run(["probabilities"], {"image": pictures[:batch]})
    np.testing.assert_allclose(found, expected(digits_run, pictures[:batch]), atol=1e-5)


@pytest.mark.parametrize("batch", BATCHES)
def test_the_program_of_torch_gives_what_the_model_gives(
    exported: Path, digits_run: Path, pictures: np.ndarray, batch: int
) -> None:
    loaded = torch.export.load(exported / "model.pt2").module()
    found = loaded(torch.from_numpy(pictures[:batch])).detach().numpy()
    np.testing.assert_allclose(found, expected(digits_run, pictures[:batch]), atol=1e-5)


def test_the_onnx_form_is_valid_has_readable_axes_and_names_no_file_of_this_machine(exported: Path) -> None:
    content = (exported / "model.onnx").read_bytes()
    model = onnx.load_model_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    axes = [size.dim_param or size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim]
    assert axes == ["batch", 1, 8, 8]
    assert model.graph.output[0].type.tensor_type.shape.dim[0].dim_param == "batch"
    assert b".py" not in content


def test_the_same_model_gives_the_same_onnx_bytes_in_another_process(exported: Path, digits_run: Path) -> None:
    again = onnx_file.onnx(model_format.load(digits_run / "model"))
    assert again == (exported / "model.onnx").read_bytes()


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A speech model that has learnt nothing: what it gives need not make sense to be the same."""
    folder = tmp_path_factory.mktemp("speech") / "model"
    facts = {"rate": 8000, "symbols": [*"0123456789"], "longest": 16000}
    model_format.save(model_format.build(ModelDescription("speech", "lstm", facts)), folder)
    return folder


@pytest.mark.parametrize("samples", [16000, 4001, 1])
@pytest.mark.parametrize("batch", BATCHES[:2])
def test_onnx_runtime_hears_recordings_of_every_length(speech: Path, batch: int, samples: int, tmp_path: Path) -> None:
    onnx_file.write(model := model_format.load(speech), tmp_path)
    generator = np.random.default_rng(batch)
    audio = generator.uniform(-1, 1, (batch, samples)).astype(np.float32)
    lengths = generator.integers(1, samples, (batch, 1), endpoint=True)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    found, steps = session.run(["log_probabilities", "steps"], {"audio": audio, "length": lengths})
    with torch.inference_mode():
        meant, counted = model(torch.from_numpy(audio), torch.from_numpy(lengths))
    np.testing.assert_allclose(found, meant.numpy(), atol=1e-5)
    np.testing.assert_array_equal(steps, counted.numpy())


def test_a_form_that_would_run_at_one_length_alone_is_refused(speech: Path, tmp_path: Path) -> None:
    done = run("export", "--model", speech, "--out", tmp_path / "out", "--format", "onnx", "--format", "torch")
    assert (done.returncode, done.stdout) == (2, "")
    assert "torch.export fixes the length" in done.stderr
    assert "take onnx or triton" in done.stderr
    assert not (tmp_path / "out").exists()


def test_triton_s_configuration_names_the_tensors_as_its_model_does(exported: Path) -> None:
    config = model_config_pb2.ModelConfig()
    text_format.Parse((exported / "triton/vision/config.pbtxt").read_text(), config)
    session = onnxruntime.InferenceSession(exported / "triton/vision/1/model.onnx", providers=["CPUExecutionProvider"])
    for ours, theirs in ((config.input, session.get_inputs()), (config.output, session.get_outputs())):
        assert [(tensor.name, ["batch", *tensor.dims]) for tensor in ours] == [
            (tensor.name, tensor.shape) for tensor in theirs
        ]
        assert {tensor.data_type for tensor in ours} == {model_config_pb2.TYPE_FP32}
    assert (config.name, config.backend) == ("vision", "onnxruntime")
    assert config.HasField("dynamic_batching")
    assert config.max_batch_size > 1


@pytest.mark.skipif(
    not all(map(find_spec, saved_model.PACKAGES)), reason="the packages of accelstack[tensorflow] are not installed"
)
def test_tensorflow_gives_what_the_model_gives(digits_run: Path, pictures: np.ndarray, tmp_path: Path) -> None:
    run_json("export", "--model", digits_run / "model", "--out", tmp_path / "out", "--format", "tensorflow")
    np.save(tmp_path / "pictures.npy", pictures[:5])
    program = (
        "import numpy, tensorflow\n"
        f"served = tensorflow.saved_model.load('{tmp_path}/out/tensorflow/1').signatures['serving_default']\n"
        f"pictures = tensorflow.constant(numpy.load('{tmp_path}/pictures.npy'))\n"
        f"numpy.save('{tmp_path}/found.npy', served(image=pictures)['probabilities'].numpy())\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, capture_output=True)
    np.testing.assert_allclose(np.load(tmp_path / "found.npy"), expected(digits_run, pictures[:5]), atol=1e-5)


def test_tensorflow_without_its_packages_is_refused_with_the_fix(
    monkeypatch: pytest.MonkeyPatch, digits_run: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(saved_model, "PACKAGES", ("torch", "nowhere_to_be_found"))
    with pytest.raises(WorkloadError, match=r"tensorflow needs nowhere_to_be_found; install accelstack\[tensorflow\]"):
        export(digits_run / "model", tmp_path / "out", ["tensorflow"])
    assert not list(tmp_path.iterdir())


def test_a_form_that_differs_is_an_error_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, digits_run: Path, tmp_path: Path
) -> None:
    monkeypatch.setattr(trial, "TOLERANCE", 0)
    with pytest.raises(WorkloadError, match=r"--format onnx: probabilities of a batch of \d differs .*more than 0"):
        export(digits_run / "model", tmp_path / "out", ["torch", "onnx"])
    assert not list(tmp_path.iterdir())


def test_an_unknown_format_is_named_with_those_there_are(digits_run: Path, tmp_path: Path) -> None:
    done = run("export", "--model", digits_run / "model", "--out", tmp_path / "out", "--format", "caffe")
    assert (done.returncode, done.stdout) == (2, "")
    assert "--format: 'caffe' is not known; use some of: torch, onnx, triton, tensorflow" in done.stderr
    assert not list(tmp_path.iterdir())


def test_a_folder_with_something_else_in_it_is_kept(digits_run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes").write_text("mine")
    with pytest.raises(WorkloadError, match="holds something else"):
        export(digits_run / "model", tmp_path, ["onnx"])
    assert (tmp_path / "notes").read_text() == "mine"


class Counting(Model):
    """Two inputs, one of whose sizes varies, and two outputs; what no bundled picture model has."""

    networks: ClassVar[dict[str, Any]] = {"embedding": lambda facts: nn.Embedding(9, 4)}

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        tokens = TensorSpec("tokens", "INT64", (-1,), least=0, most=8, longest=12)
        return (tokens, TensorSpec("row", "FP32", (4,), missing=True))

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        return (TensorSpec("each", "FP32", (-1, 4)), TensorSpec("total", "FP32", ()))

    def forward(self, tokens: torch.Tensor, row: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        each = self.network(tokens) * torch.nan_to_num(row)[:, None]
        return each, each.sum(dim=(1, 2))

    outcome = evaluate = table = None  # pyright: ignore


Counting.__abstractmethods__ = frozenset()


@pytest.mark.parametrize("module", [program, onnx_file])
def test_lengths_vary_values_may_be_missing_and_outputs_may_be_several(module: Any, tmp_path: Path) -> None:
    model = Counting(ModelDescription("counting", "embedding", {})).eval()
    assert module.write(model, tmp_path) <= 1e-5
    if module is onnx_file:
        session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
        assert [tensor.shape for tensor in session.get_inputs()] == [["batch", "tokens_1"], ["batch", 4]]
        row = np.ones((3, 4), np.float32)
        each, total = session.run(["each", "total"], {"tokens": np.ones((3, 5), np.int64), "row": row})
        assert each.shape == (3, 5, 4)
        np.testing.assert_allclose(total, each.sum((1, 2)), rtol=1e-5)
