"""Evaluation and prediction: right numbers, a picture people can read, clear refusals."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from accelstack_workloads import model_format
from accelstack_workloads.confusion_picture import draw
from accelstack_workloads.datasets import pictures, prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.evaluate import evaluate
from accelstack_workloads.models.classes import scores
from PIL import Image
from sklearn.metrics import precision_recall_fscore_support

from tests.workloads.steps import picture_folder, run, run_json


def test_the_digits_are_recognised(digits_data: Path, digits_run: Path, tmp_path: Path) -> None:
    evaluation = run_json("evaluate", "--model", digits_run / "model", "--data", digits_data, "--out", tmp_path)
    assert evaluation["accuracy"] >= 0.98
    assert evaluation["samples"] == 359
    assert evaluation == json.loads((tmp_path / "evaluation.json").read_text())
    assert evaluation["model"]["digest"] == model_format.digest(digits_run / "model")
    with Image.open(tmp_path / "confusion.png") as picture:
        assert min(picture.size) > 400


def test_people_get_a_table(digits_data: Path, digits_run: Path, tmp_path: Path) -> None:
    done = run("evaluate", "--model", digits_run / "model", "--data", digits_data, "--out", tmp_path)
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["class", "precision", "recall", "f1", "support"]
    assert [line.split()[0] for line in lines[1:11]] == list("0123456789")
    assert lines[11].startswith("accuracy 0.9")


def test_the_scores_are_those_of_scikit_learn() -> None:
    random = np.random.default_rng(0)
    labels, predicted = random.integers(0, 4, 500), random.integers(0, 3, 500)  # class 3 is never predicted
    matrix = np.zeros((4, 4), dtype=np.int64)
    np.add.at(matrix, (labels, predicted), 1)
    ours = scores(matrix, list("abcd"))
    theirs = precision_recall_fscore_support(labels, predicted, zero_division=0)
    for index, name in enumerate("abcd"):
        expected = [values[index] for values in theirs]
        assert list(ours["classes"][name].values()) == pytest.approx(expected, abs=1e-6)
    assert ours["accuracy"] == pytest.approx((labels == predicted).mean())


def test_the_picture_shows_the_more_answers_the_darker() -> None:
    names = [f"class {index}" for index in range(8)]
    matrix = np.diag(np.full(8, 100))
    matrix[0] = [90, 10, 0, 0, 0, 0, 0, 0]
    picture = draw(matrix, names)
    left, top = picture.width - 24 - 8 * 56, picture.height - 24 - 8 * 56
    shade = {at: sum(picture.getpixel((left + at[1] * 56 + 4, top + at[0] * 56 + 4))) for at in np.ndindex(8, 8)}
    assert shade[1, 1] == shade[7, 7] < shade[0, 0] < shade[0, 1] < shade[0, 2] == shade[7, 0]


@pytest.mark.parametrize("classes", [2, 100, 1000])
def test_any_number_of_classes_fits_a_picture(classes: int) -> None:
    picture = draw(np.eye(classes, dtype=np.int64), [f"class {index}" for index in range(classes)])
    assert max(picture.size) < 4400


def test_data_of_another_dataset_is_refused(digits_run: Path, tmp_path: Path) -> None:
    prepared.save(pictures.read(str(picture_folder(tmp_path / "pictures", {"cat": 5, "dog": 5}))), tmp_path / "data")
    with pytest.raises(WorkloadError, match=r"has classes \['cat', 'dog'\], the model was trained on \['0', '1'"):
        evaluate(digits_run / "model", tmp_path / "data", tmp_path)


def test_a_damaged_model_is_refused(digits_data: Path, digits_run: Path, tmp_path: Path) -> None:
    model = shutil.copytree(digits_run / "model", tmp_path / "model")
    weights = model / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-10])
    with pytest.raises(WorkloadError, match="cannot be loaded"):
        evaluate(model, digits_data, tmp_path)


def test_pictures_are_classified_from_files(digits_data: Path, digits_run: Path, tmp_path: Path) -> None:
    data = prepared.load(digits_data)
    files = []
    for label in range(10):
        image = data.test["images"][np.flatnonzero(data.test["labels"] == label)[0], 0]
        files.append(tmp_path / f"{label}.png")
        Image.fromarray(image).save(files[-1])
    done = run("predict", "--model", digits_run / "model", *files)
    answers = [line.split("  ") for line in done.stdout.splitlines()]
    assert [answer[0] for answer in answers] == [str(file) for file in files]
    assert sum(answer[1] == str(label) for label, answer in enumerate(answers)) >= 9
    assert all(0 < float(answer[2]) <= 1 for answer in answers)


def test_a_file_that_is_no_picture_is_refused(digits_run: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.png").write_text("not a picture")
    done = run("predict", "--model", digits_run / "model", tmp_path / "notes.png")
    assert done.returncode == 2
    assert f"error: {tmp_path}/notes.png: picture: cannot be decoded" in done.stderr
    missing = run("predict", "--model", digits_run / "model", tmp_path / "missing.png")
    assert missing.returncode == 2
    assert "cannot be read (No such file or directory)" in missing.stderr
