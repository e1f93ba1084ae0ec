"""Explanations: attributions add up, and the part of a sample that decides gets the most."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from accelstack_workloads import model_format
from accelstack_workloads.datasets import prepared
from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.explain import explain
from accelstack_workloads.explanation.attribution import TOLERANCE, attribute
from accelstack_workloads.export import export
from accelstack_workloads.model_files import ModelDescription
from PIL import Image
from torch import nn

from tests.workloads.steps import run, run_json
from tests.workloads.tables import csv, quantities

RATE = 8000


def trained(folder: Path, workload: str, dataset: Path, *options: object) -> tuple[Path, Path]:
    """Model and data of a dataset."""
    run_json("prepare", "--workload", workload, "--dataset", dataset, "--out", folder / "data")
    done = run("train", "--data", folder / "data", "--out", folder / "run", *options)
    assert done.returncode == 0, done.stderr
    return folder / "run" / "model", folder / "data"


def untrained(folder: Path, data: Prepared, architecture: str, **sizes: int) -> tuple[Path, Path]:
    """A model with its first weights, and its data."""
    prepared.save(data, folder / "data")
    torch.manual_seed(0)
    model = model_format.build(ModelDescription(data.workload, architecture, data.facts, sizes=sizes))
    model_format.save(model, folder / "model")
    return folder / "model", folder / "data"


def values(sample: dict[str, Any]) -> np.ndarray:
    """Attributions of a sample, in its parts' shape."""
    return np.array([each["value"] if isinstance(each, dict) else each for each in sample["attributions"]])


def check(report: dict[str, Any], out: Path, samples: int) -> None:
    """What holds of every report: attributions add up to the score less the baseline's, and pictures are there."""
    assert json.loads((out / "explanation.json").read_text()) == report
    assert len(report["samples"]) == samples
    for sample in report["samples"]:
        difference = sample["score"] - sample["baseline_score"]
        taken = report["tolerance"] * np.abs(values(sample)).sum() + 1e-4
        assert values(sample).sum() == pytest.approx(
            difference, abs=max(taken, abs(sample["convergence_delta"]) * 1.01)
        )
        assert sample["complete"]
        with Image.open(out / sample["picture"]) as picture:
            assert picture.format == "PNG"
            assert min(picture.size) > 50


@pytest.fixture(scope="module")
def blobs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A model of grey noise with a bright square: in the upper left or in the lower right corner, by class."""
    folder, chance = tmp_path_factory.mktemp("blobs"), np.random.default_rng(0)
    for number in range(80):
        pixels = chance.integers(90, 120, (12, 12), dtype=np.uint8)
        start = 1 if number % 2 else 8
        pixels[start : start + 3, start : start + 3] = 250
        path = folder / "pictures" / ("upper" if number % 2 else "lower") / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(path)
    return trained(folder, "vision", folder / "pictures", "--epochs", 8, "--batch-size", 16)


def table(rows: int = 200) -> pd.DataFrame:
    """A target that depends on one category of one column, and on nothing else."""
    chance = np.random.default_rng(0)
    frame = pd.DataFrame({f"noise{number}": chance.normal(5, 2, rows) for number in range(3)})
    frame["colour"] = chance.choice(["red", "green", "blue"], rows)
    frame["other"] = chance.choice(["a", "b", "c"], rows)
    return frame.assign(target=np.where(frame["colour"] == "red", "yes", "no"))


def test_the_pixels_that_tell_the_classes_apart_get_the_most(blobs: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = blobs
    report = run_json("explain", "--model", model, "--data", data, "--out", tmp_path, "--samples", 4)
    check(report, tmp_path, 4)
    for sample in report["samples"]:
        assert sample["answer"] == sample["meant"]
        row, column = np.unravel_index(np.abs(values(sample)).argmax(), (12, 12))
        corners = [slice(0, 5), slice(7, 12)]
        assert any(row in range(12)[of] and column in range(12)[of] for of in corners), (row, column)
        inside = sum(np.abs(values(sample))[of, of].sum() for of in corners)
        assert inside > 0.6 * np.abs(values(sample)).sum()


def test_the_column_that_decides_gets_the_most_in_each_row_and_in_all(tmp_path: Path) -> None:
    model, data = trained(tmp_path, "tabular", csv(tmp_path / "table.csv", table()), "--epochs", 15)
    done = run("explain", "--model", model, "--data", data, "--out", tmp_path / "why", "--samples", 10)
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "why" / "explanation.json").read_text())
    check(report, tmp_path / "why", 10)
    lines = done.stdout.splitlines()
    assert lines[lines.index(next(line for line in lines if line.startswith("column"))) + 1].startswith("colour ")
    for sample in report["samples"]:
        assert [of["name"] for of in sample["attributions"]] == ["noise0", "noise1", "noise2", "colour", "other"]
        assert np.abs(values(sample)).argmax() == 3
        assert values(sample)[3] > 0  # it speaks for what was answered
    means = np.mean([np.abs(values(sample)) for sample in report["samples"]], axis=0)
    assert report["importance"] == pytest.approx(
        dict(zip(("noise0", "noise1", "noise2", "colour", "other"), means, strict=True))
    )
    assert (tmp_path / "why" / "importance.png").read_bytes().startswith(b"\x89PNG")


def test_a_quantity_is_explained_in_its_own_unit(tmp_path: Path) -> None:
    model, data = trained(tmp_path, "tabular", csv(tmp_path / "table.csv", quantities(200)), "--epochs", 30)
    report = explain(model, data, tmp_path / "why", 5)
    check(report, tmp_path / "why", 5)
    mean = prepared.load(data).facts["value"]["mean"]
    for sample in report["samples"]:
        assert sample["score"] == pytest.approx(float(sample["answer"]), rel=1e-4)
        assert sample["baseline_score"] == pytest.approx(mean, rel=0.1)


def test_frames_of_recordings_add_up_to_the_probability_of_what_was_heard(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    sounds = (chance.normal(0, 3000, 3 * 1600)).astype(np.int16)
    arrays = {"audio": sounds, "audio_ends": np.array([1600, 3200, 4800]), "text": np.array([0, 1, 0])}
    arrays["text_ends"] = np.array([1, 2, 3])
    facts = {"rate": RATE, "symbols": ["1", "2"], "longest": 20 * RATE}
    data = Prepared("speech", "none", "recordings", facts, arrays, arrays, {"train": 3, "test": 3})
    model, folder = untrained(tmp_path, data, "lstm", width=16, depth=1)
    report = explain(model, folder, tmp_path / "why", 3)
    check(report, tmp_path / "why", 3)
    for sample in report["samples"]:
        assert [of["name"] for of in sample["attributions"]][:3] == ["0.000 s", "0.010 s", "0.020 s"]
        assert len(sample["attributions"]) == 1600 // 80 + 1
        assert sample["score"] <= 0  # a logarithm of a probability


def test_tokens_add_up_to_the_score_of_the_next_one(tmp_path: Path) -> None:
    for number in range(6):
        text = " ".join(f"word{number}{index % 7}" for index in range(300))
        (tmp_path / "texts").mkdir(exist_ok=True)
        (tmp_path / "texts" / f"{number}.txt").write_text(text)
    run_json("prepare", "--workload", "text", "--dataset", tmp_path / "texts", "--out", tmp_path / "read")
    data = prepared.load(tmp_path / "read")
    model, folder = untrained(tmp_path, data, "gpt", width=16, depth=1, heads=2)
    report = explain(model, folder, tmp_path / "why", 1)
    check(report, tmp_path / "why", 1)
    (sample,) = report["samples"]
    assert len(sample["attributions"]) == data.facts["context"]
    assert "word" in "".join(of["name"] for of in sample["attributions"])


def test_steps_are_doubled_until_attributions_add_up() -> None:
    class Steep(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.sigmoid(400 * (x.sum(1) - 0.3))

    sample, baseline = torch.tensor([[0.9, 0.1]]), torch.zeros(1, 2)
    found = attribute(Steep(), sample, baseline)
    assert found.complete
    assert found.steps > 64
    assert found.values.sum() == pytest.approx(1, abs=TOLERANCE)
    assert found.values[0] / found.values[1] == pytest.approx(9, rel=1e-3)
    assert math.isclose(found.score, 1, abs_tol=1e-6)


def test_bad_input_is_refused_with_the_fix(blobs: tuple[Path, Path], tmp_path: Path) -> None:
    model, data = blobs
    export(model, tmp_path / "exported", ["onnx"])
    onnx = tmp_path / "onnx"
    onnx.mkdir()
    shutil.copy(tmp_path / "exported" / "model.onnx", onnx)
    shutil.copy(model / "model.json", onnx)
    for folder, samples, words in (
        (onnx, 1, "give the model that it was made from"),
        (model, 0, "--samples: 0 is not above 0"),
        (model, 17, "--samples: 17 is more than the 16 held-out samples; give 16 or less"),
        (tmp_path / "none", 1, "give a model directory"),
    ):
        done = run("explain", "--model", folder, "--data", data, "--out", tmp_path / "why", "--samples", samples)
        assert done.returncode == 2
        assert words in done.stderr
        assert done.stderr.count("\n") == 1
        assert not (tmp_path / "why").exists()
