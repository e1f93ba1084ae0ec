"""Models of tables: their numerics beside scikit-learn's and numpy's, and the whole way by the command line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pytest
import torch
from accelstack_workloads import lineage, model_format
from accelstack_workloads.datasets import prepared, table
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.evaluate import evaluate
from accelstack_workloads.group import Group
from accelstack_workloads.model_files import describe
from accelstack_workloads.models import probabilities, quantities
from accelstack_workloads.models.tables import Features
from accelstack_workloads.optimizer import WEIGHT_DECAY
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.sampling import batch, order
from accelstack_workloads.schedule import learning_rate
from accelstack_workloads.settings import Execution, Settings
from accelstack_workloads.train import Trainer
from PIL import Image
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.impute import SimpleImputer
from sklearn.metrics import f1_score, mean_absolute_error, r2_score, root_mean_squared_error
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from tests.workloads import tables
from tests.workloads.serving import Served, serving
from tests.workloads.steps import run, run_json

BATCH = 32
RATE = 0.01


@pytest.fixture(scope="module")
def cancer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `data` and `run` of the usual dataset and settings, by the command line."""
    folder = tmp_path_factory.mktemp("cancer")
    run_json("prepare", "--workload", "tabular", "--out", folder / "data")
    done = run("train", "--data", folder / "data", "--out", folder / "run")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a table with columns of every kind."""
    folder = tmp_path_factory.mktemp("mixed")
    return trained(folder, tables.mixed(400), epochs=3)


def trained(folder: Path, frame: pd.DataFrame, epochs: int) -> Path:
    """A folder with `data` and `run` of a table."""
    trainer = trainer_of(folder, frame, epochs)
    start = trainer.resume()
    trainer.fit(start, False)
    trainer.finish(start)
    return folder


def trainer_of(folder: Path, frame: pd.DataFrame, epochs: int = 2) -> Trainer:
    data = table.read(str(tables.csv(folder / "table.csv", frame)))
    prepared.save(data, folder / "data")
    settings = Settings(data.digest, epochs, BATCH, RATE, 0, "mlp")
    return Trainer(data, RunFolder(folder / "run"), settings, Group(0, 1, torch.device("cpu")), Execution())


def wine() -> pd.DataFrame:
    return load_wine(as_frame=True).frame


def test_breast_cancer_is_told_by_the_usual_settings(cancer: Path, tmp_path: Path) -> None:
    evaluation = run_json("evaluate", "--model", cancer / "run" / "model", "--data", cancer / "data", "--out", tmp_path)
    assert evaluation["roc_auc"] >= 0.99
    assert evaluation["accuracy"] >= 0.95
    assert evaluation["calibration_error"] < 0.05
    assert evaluation["score"] == "accuracy"
    assert (tmp_path / "confusion.png").read_bytes().startswith(b"\x89PNG")
    shown = run("evaluate", "--model", cancer / "run" / "model", "--data", cancer / "data", "--out", tmp_path).stdout
    assert f"ROC-AUC {evaluation['roc_auc']:.4f}, calibration error" in shown


def test_preprocessing_is_that_of_scikit_learn(tmp_path: Path) -> None:
    train, test = tables.mixed(80), tables.mixed(30, seed=1)
    train = train.assign(constant=1.5, bought=train.pop("bought"))
    test = test.assign(constant=1.5, bought=test.pop("bought"))
    test.loc[3, "colour"] = "violet"
    tables.csv(tmp_path / "train.csv", train)
    tables.csv(tmp_path / "test.csv", test)
    data = table.read(str(tmp_path))
    numbers = ["age", "member", "count", "constant"]
    theirs = make_column_transformer(
        (make_pipeline(StandardScaler(), SimpleImputer(strategy="mean")), numbers),
        (OneHotEncoder(handle_unknown="ignore", sparse_output=False), ["colour"]),
    ).fit(typed(train, numbers))
    features = Features(data.facts)
    for split, frame in (("train", train), ("test", test)):
        ours = features(torch.from_numpy(getattr(data, split)["rows"])).numpy()
        expected = theirs.transform(typed(frame, numbers))
        if split == "test":
            expected[3, 4:] = expected[frame["colour"].isna().to_numpy()][0, 4:]  # never seen is as good as missing
        np.testing.assert_allclose(ours, expected, rtol=1e-5, atol=1e-6)


def typed(frame: pd.DataFrame, numbers: list[str]) -> pd.DataFrame:
    """Numbers as FP32 in float64, and None as what scikit-learn calls missing."""
    known = frame[numbers].astype(np.float32).astype(np.float64)
    return known.assign(colour=frame["colour"].astype(object).where(frame["colour"].notna(), np.nan))


def test_what_was_never_missing_and_then_is_becomes_the_mean_or_no_category() -> None:
    facts = {
        "columns": [{"name": "a", "kind": "number"}, {"name": "b", "kind": "category", "categories": ["x", "y"]}],
        "mean": [5.0, None],
        "std": [2.0, None],
    }
    rows = torch.tensor([[float("nan"), float("nan")], [7, 1]])
    assert Features(facts)(rows).tolist() == [[0, 0, 0], [1, 0, 1]]


@pytest.mark.parametrize("frame", [tables.mixed(100), wine(), tables.quantities(100)], ids=["two", "three", "quantity"])
def test_a_training_step_is_that_of_a_perceptron_written_in_numpy(tmp_path: Path, frame: pd.DataFrame) -> None:
    trainer = trainer_of(tmp_path, frame)
    network, facts = trainer.model.network, trainer.model.description.facts
    before = {name: value.double().numpy().copy() for name, value in network.state_dict().items()}
    indices = order(0, 0, trainer.feed.count)
    chosen = batch(indices, 0, BATCH)
    x, targets = (part.double().numpy() for part in trainer.feed.batch(chosen, slice(None), 0, 0))
    trainer.train_step(network, indices, 0, 0)

    loss, gradients = numpy_gradients(before, x, targets, facts)
    measured, right, count = trainer.totals.tolist()
    assert measured / count == pytest.approx(loss, rel=1e-5)
    assert count == BATCH
    assert right <= BATCH
    rate = learning_rate(trainer.settings.schedule, 0, trainer.steps * trainer.settings.epochs, RATE)
    for name, parameter in network.named_parameters():
        np.testing.assert_allclose(parameter.grad.numpy(), gradients[name], rtol=1e-4, atol=1e-6)
        # The first step of AdamW (https://arxiv.org/abs/1711.05101): both moments, unbiased, are the gradient's own.
        own = parameter.grad.double().numpy()
        expected = before[name] * (1 - rate * WEIGHT_DECAY) - rate * own / (np.abs(own) + 1e-8)
        np.testing.assert_allclose(parameter.detach().numpy(), expected, rtol=1e-5, atol=1e-7)


def numpy_gradients(
    weights: dict[str, np.ndarray], x: np.ndarray, targets: np.ndarray, facts: dict[str, Any]
) -> tuple[float, dict[str, np.ndarray]]:
    """Loss and gradients of two hidden layers, by hand."""
    layers = ("hidden1", "hidden2", "output")
    inputs = [x]
    for name in layers:
        outputs = inputs[-1] @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
        inputs.append(outputs if name == "output" else np.maximum(outputs, 0))
    outputs, count = inputs.pop(), len(x)
    if "value" in facts:
        errors = outputs[:, 0] - (targets - facts["value"]["mean"]) / facts["value"]["std"]
        loss, gradient = np.mean(errors**2), 2 * errors[:, None] / count
    elif len(facts["classes"]) == 2:
        sure = 1 / (1 + np.exp(-outputs[:, 0]))
        loss = -np.mean(np.where(targets == 1, np.log(sure), np.log(1 - sure)))
        gradient = (sure - targets)[:, None] / count
    else:
        sure = np.exp(outputs) / np.exp(outputs).sum(axis=1, keepdims=True)
        right = np.eye(len(facts["classes"]))[targets.astype(int)]
        loss, gradient = -np.mean(np.log((sure * right).sum(axis=1))), (sure - right) / count
    gradients = {}
    for name in reversed(layers):
        inside = inputs.pop()
        gradients |= {f"{name}.weight": gradient.T @ inside, f"{name}.bias": gradient.sum(axis=0)}
        gradient = gradient @ weights[f"{name}.weight"] * (inside > 0)
    return float(loss), gradients


def test_measures_of_probabilities_are_those_of_a_second_computation() -> None:
    random = np.random.default_rng(0)
    for classes in (2, 4):
        certain = random.dirichlet(np.ones(classes), 300)
        labels = np.array([random.choice(classes, p=p) for p in random.dirichlet(np.ones(classes), 300)])
        found = probabilities.scores(labels, certain.astype(np.float32), [f"c{n}" for n in range(classes)])
        assert found["f1"] == pytest.approx(f1_score(labels, certain.argmax(1), average="macro"), abs=1e-5)
        of = range(1, 2) if classes == 2 else range(classes)
        assert found["roc_auc"] == pytest.approx(np.mean([area(labels == c, certain[:, c]) for c in of]), abs=1e-5)
        sure, right, error = certain.max(1), certain.argmax(1) == labels, 0.0
        for low in np.arange(15) / 15:
            inside = (sure > low) & (sure <= low + 1 / 15)
            error += inside.mean() * abs(right[inside].mean() - sure[inside].mean()) if inside.any() else 0
        assert found["calibration_error"] == pytest.approx(error, abs=1e-5)


def area(positive: np.ndarray, sure: np.ndarray) -> float:
    """ROC-AUC as it is defined: how often a positive sample gets more than a negative one; half where they tie."""
    pairs = sure[positive][:, None] - sure[~positive][None]
    return float(((pairs > 0) + 0.5 * (pairs == 0)).mean())


def test_perfectly_sure_and_right_is_perfectly_calibrated() -> None:
    for labels, error in (([0, 1], 0), ([1, 0], 1)):
        bins = probabilities.reliability(np.array(labels), np.array([[1.0, 0], [0, 1]], np.float32))
        assert probabilities.calibration_error(bins) == error


def test_the_score_is_told_of_each_part_of_a_column(mixed: Path) -> None:
    step = ("evaluate", "--model", mixed / "run" / "model", "--data", mixed / "data", "--out", mixed / "sliced")
    found = run_json(*step, "--slice", "colour")
    parts = found["slices"]["parts"]
    assert {*parts} == {"red", "green", "blue", "missing"}
    assert sum(of["samples"] for of in parts.values()) == found["samples"]
    right = sum(of["samples"] * of["accuracy"] for of in parts.values())
    assert right / found["samples"] == pytest.approx(found["accuracy"], abs=1e-5)
    quarters = run_json(*step, "--slice", "age")["slices"]["parts"]
    counts = [of["samples"] for value, of in quarters.items() if value != "missing"]
    assert len(counts) == 4
    assert max(counts) - min(counts) <= 3
    assert "colour" in run(*step, "--slice", "colour").stdout
    wrong = run(*step, "--slice", "size")
    assert wrong.returncode == 2
    assert "--slice: 'size' is no column of the table; use one of: age, colour, member, count" in wrong.stderr


def test_pictures_show_what_is_confused_and_how_far_to_trust(mixed: Path) -> None:
    found = run_json(
        *("evaluate", "--model", mixed / "run" / "model", "--data", mixed / "data", "--out", mixed / "shown")
    )
    assert found["pictures"] == ["confusion.png", "reliability.png"]
    for name in found["pictures"]:
        with Image.open(mixed / "shown" / name) as picture:
            assert min(picture.size) > 100
    assert sum(of["samples"] for of in found["reliability"]) == found["samples"]


def test_a_quantity_is_predicted_in_its_unit(tmp_path: Path) -> None:
    folder = trained(tmp_path, tables.quantities(400), epochs=30)
    found = evaluate(folder / "run" / "model", folder / "data", tmp_path / "out")
    assert found["score"] == "r2"
    assert found["r2"] > 0.95
    assert "accuracy" not in found
    held_out = prepared.load(folder / "data").test
    model = model_format.load(folder / "run" / "model")
    with torch.inference_mode():
        predicted = model(torch.from_numpy(held_out["rows"])).numpy()[:, 0]
    for name, theirs in (("r2", r2_score), ("rmse", root_mean_squared_error), ("mae", mean_absolute_error)):
        assert found[name] == pytest.approx(theirs(held_out["targets"], predicted), rel=1e-4)
    assert quantities.table(found).startswith(f"R² {found['r2']:.4f}, RMSE ")
    last = json.loads((folder / "run" / "metrics.jsonl").read_text().splitlines()[-1])
    assert last["r2"] == pytest.approx(1 - last["loss"], abs=1e-5)
    result = json.loads((folder / "run" / "training.json").read_text())
    assert result["metrics"].keys() == {"loss", "r2"}


def test_a_registered_version_says_its_score(tmp_path: Path) -> None:
    folder = trained(tmp_path, tables.quantities(100), epochs=1)
    found = evaluate(folder / "run" / "model", folder / "data", tmp_path / "out")
    model = folder / "run" / "model"
    tags = lineage.tags(describe(model), found["model"]["digest"], tmp_path / "out" / "evaluation.json", "sha256:0")
    assert tags["r2"] == str(found["r2"])
    assert tags["data"] == found["data"]["digest"]


def test_three_classes_are_told_apart(tmp_path: Path) -> None:
    folder = trained(tmp_path, wine(), epochs=10)
    assert evaluate(folder / "run" / "model", folder / "data", tmp_path / "out")["roc_auc"] > 0.99


def test_data_with_other_columns_is_refused(cancer: Path, mixed: Path, tmp_path: Path) -> None:
    with pytest.raises(WorkloadError, match=r"data has columns .* give data prepared from the same dataset"):
        evaluate(cancer / "run" / "model", mixed / "data", tmp_path)


@pytest.fixture(scope="module")
def served_cancer(cancer: Path) -> Iterator[Served]:
    with serving(cancer / "run" / "model") as served:
        yield served


@pytest.fixture(scope="module")
def served_mixed(mixed: Path) -> Iterator[Served]:
    with serving(mixed / "run" / "model") as served:
        yield served


def ask(served: Served, content: object, kind: str = "application/json") -> httpx.Response:
    body = content if isinstance(content, str | bytes) else json.dumps(content)
    return httpx.post(f"{served.rest}/predict", content=body, headers={"Content-Type": kind})


def infer(served: Served, rows: np.ndarray) -> np.ndarray:
    data = [None if np.isnan(value) else float(value) for value in rows.ravel()]
    tensor = {"name": "row", "datatype": "FP32", "shape": rows.shape, "data": data}
    answer = httpx.post(f"{served.rest}/v2/models/digits/infer", json={"inputs": [tensor]})
    assert answer.status_code == 200, answer.text
    output = answer.json()["outputs"][0]
    assert output["name"] == "probabilities"
    return np.array(output["data"]).reshape(output["shape"])


def test_tumours_are_told_over_both_ways_of_asking(cancer: Path, served_cancer: Served) -> None:
    data = prepared.load(cancer / "data")
    answers = infer(served_cancer, data.test["rows"])
    assert (answers.argmax(axis=1) == data.test["targets"]).mean() >= 0.95
    names = load_breast_cancer().feature_names
    answer = ask(served_cancer, dict(zip(names, data.test["rows"][0].tolist(), strict=True))).json()
    assert answer["classes"][0]["label"] == data.facts["classes"][answers[0].argmax()]
    assert answer["classes"][0]["probability"] == pytest.approx(answers[0].max(), abs=1e-6)


def test_a_row_in_json_and_in_csv_and_as_a_tensor_is_one(served_mixed: Served, tmp_path: Path, mixed: Path) -> None:
    answer = ask(served_mixed, {"age": 30.5, "colour": "green", "member": True, "count": 3}).json()["classes"]
    csv = "count,colour,age,member\n3,green,30.5,True\n"
    assert ask(served_mixed, csv, "text/csv").json()["classes"] == answer
    given = {of["label"]: of["probability"] for of in answer}
    np.testing.assert_allclose(
        infer(served_mixed, np.array([[30.5, 1, 1, 3]]))[0], [given["no"], given["yes"]], atol=1e-6
    )
    (tmp_path / "row.csv").write_text(csv)
    done = run("predict", "--model", mixed / "run" / "model", tmp_path / "row.csv")
    assert done.stdout == f"{tmp_path / 'row.csv'}  {answer[0]['label']}  {answer[0]['probability']:.3f}\n"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        ({"age": 30.5, "count": 3}, "application/json"),
        ({"age": 30.5, "count": 3, "colour": None, "member": None}, "application/json"),
        ("age,count\n30.5,3\n", "text/csv"),
        ("\ufeffage,count,colour,member\r\n30.5,3,,NA\r\n".encode(), "text/csv"),
    ],
)
def test_what_is_missing_may_be_left_out(served_mixed: Served, content: object, kind: str) -> None:
    expected = infer(served_mixed, np.array([[30.5, np.nan, np.nan, 3]])).max()
    assert ask(served_mixed, content, kind).json()["classes"][0]["probability"] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        ({"agee": 1}, "row: 'agee' is no column; the model takes 'age', 'colour', 'member', 'count'"),
        (
            {"colour": "violet"},
            "row: 'colour' is 'violet', which is none of its categories; send 'blue', 'green', 'red'",
        ),
        ({"colour": 1}, "'colour' is 1, which is none of its categories"),
        ({"age": "old"}, "row: 'age' is 'old', which is no number"),
        ({"age": True}, "'age' is True, which is no number"),
        ({"age": [1]}, "'age' is [1], which is no number"),
        ({"age": 1e39}, "'age' is 1e+39, which is no number up to 3.4e+38"),
        ({"member": 1}, "row: 'member' is 1, which is no boolean; send true or false"),
        ([{"age": 1}], "row: is an array; send one object"),
        ('{"age": NaN}', "row: is not JSON"),
        ("", "row: has 0 lines of CSV; send a header and one row, or an object in JSON"),
        ("age\n1\n2\n", "row: has 3 lines of CSV"),
        ("age,colour\n1\n", "row: has 1 values for 2 columns"),
        ("age,age\n1,2\n", "row: has 2 columns 'age'"),
        ("age,bought\n1,yes\n", "row: 'bought' is no column"),
        ("age\ninf\n", "'age' is inf, which is no number"),
        ("age\nold\n", "'age' is 'old', which is no number"),
        ("member\nmaybe\n", "'member' is 'maybe', which is no boolean"),
        (b"colour\ncaf\xe9\n", "row: is neither JSON nor CSV ("),
        ('colour\n"gre\n', "row: is neither JSON nor CSV ("),
    ],
)
def test_what_is_no_row_is_refused_by_name(served_mixed: Served, content: object, found: str) -> None:
    answer = ask(served_mixed, content)
    assert answer.status_code == 400
    assert found in answer.json()["error"]


def test_other_media_types_are_refused(served_mixed: Served) -> None:
    answer = ask(served_mixed, "age: 1", "application/yaml")
    assert answer.status_code == 415
    assert "send application/json, text/csv" in answer.json()["error"]


def test_the_pages_example_is_a_row_that_is_answered(served_mixed: Served) -> None:
    page = httpx.get(served_mixed.rest).text
    import html
    import re

    example = html.unescape(re.search(r"<textarea[^>]*>(.*?)</textarea>", page, re.DOTALL)[1])
    assert json.loads(example).keys() == {"age", "colour", "member", "count"}
    assert ask(served_mixed, example).status_code == 200


def test_sagemakers_invocations_take_csv(served_mixed: Served) -> None:
    answer = httpx.post(f"{served_mixed.rest}/invocations", content="age\n30\n", headers={"Content-Type": "text/csv"})
    assert answer.json()["classes"][0]["label"] in ("yes", "no")
