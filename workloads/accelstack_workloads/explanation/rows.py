"""What answers to rows of tables rest on: columns."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch

from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.explanation.attribution import attribute
from accelstack_workloads.explanation.explained import Explained
from accelstack_workloads.models.tables import TablePredictor

BASELINE = "the mean of the training rows; of categories, how often each is there"
SCORE = "logit of the class that was answered, or the value"


def count(data: Prepared) -> int:
    """How many held-out samples there are."""
    return len(data.test["targets"])


def explain(model: TablePredictor, data: Prepared, indices: list[int]) -> list[Explained]:
    """Attributions [columns] of some held-out rows; those to a column's categories are summed."""
    columns = model.description.facts["columns"]
    baseline = model.features(torch.from_numpy(data.train["rows"])).mean(0, keepdim=True)
    of_column = torch.cat([model.features.numbers, model.features.hot]).numpy()
    explained = []
    for index in indices:
        row = torch.from_numpy(data.test["rows"][index : index + 1])
        with torch.no_grad():
            outputs = model(row)[0]
        answer = int(outputs.argmax())
        found = attribute(lambda features, to=answer: _score(model, features, to), model.features(row), baseline)
        values = np.bincount(of_column, weights=found.values, minlength=len(columns))
        target = data.test["targets"][index]
        said, meant = (
            (model.names[answer], model.names[int(target)]) if model.names else (f"{outputs[0]:g}", f"{target:g}")
        )
        cells = [_cell(column, value) for column, value in zip(columns, row[0].tolist(), strict=True)]
        explained.append(Explained(index, said, meant, [of["name"] for of in columns], values, found, cells))
    return explained


def importance(explained: list[Explained]) -> dict[str, float]:
    """Mean absolute attribution of each column over the samples, the largest first."""
    means = np.mean([np.abs(each.values) for each in explained], axis=0)
    pairs = zip(explained[0].parts, means.tolist(), strict=True)
    return dict(sorted(pairs, key=lambda pair: -pair[1]))


def _score(model: TablePredictor, features: torch.Tensor, answer: int) -> torch.Tensor:
    outputs = model.network(features)
    if not model.names:
        return outputs[:, 0] * model.std + model.mean
    if len(model.names) > 2:
        return outputs[:, answer]
    return outputs[:, 0] if answer else -outputs[:, 0]  # one output: for the second class, against the first


def _cell(column: dict[str, Any], value: float) -> str:
    """A value as the table had it."""
    if math.isnan(value):
        return "missing"
    if column["kind"] == "category":
        return str([name for name in column["categories"] if name is not None][int(value)])
    return str(bool(value)).lower() if column["kind"] == "boolean" else f"{value:g}"
