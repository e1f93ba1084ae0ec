"""Workload `tabular`: rows of tables to probabilities of classes, or to a quantity."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.nn import functional

from accelstack_workloads.model_files import ModelDescription
from accelstack_workloads.models import classes, probabilities, quantities
from accelstack_workloads.models.mlp import Mlp
from accelstack_workloads.models.model import Arrays, Feed, Model, Outcome, Tensors
from accelstack_workloads.models.slices import by_column
from accelstack_workloads.tensors import TensorSpec

BATCH_SIZE = 4096  # rows that are evaluated at once


class Features(nn.Module):
    """Rows of a table to what a network takes: what is missing filled in, numbers standardised, categories one-hot.

    A missing number becomes the mean; a missing category one of its own, or no category at all where none was missing
    in the rows to train on.

    Args:
        facts: of the data: `columns`, and `mean` and `std` of those that are numbers.
    """

    def __init__(self, facts: Mapping[str, Any]) -> None:
        super().__init__()
        columns = facts["columns"]
        numbers = [index for index, column in enumerate(columns) if column["kind"] != "category"]
        hot = [
            (index, code) for index, column in enumerate(columns) for code in range(len(column.get("categories", ())))
        ]
        fill = [
            float(sum(name is not None for name in column["categories"])) if column["kind"] == "category" else mean
            for column, mean in zip(columns, facts["mean"], strict=True)
        ]
        constants = {
            "fill": torch.tensor(fill, dtype=torch.float32),
            "numbers": torch.tensor(numbers, dtype=torch.int64),
            "mean": torch.tensor([facts["mean"][index] for index in numbers], dtype=torch.float32),
            "std": torch.tensor([facts["std"][index] for index in numbers], dtype=torch.float32),
            "hot": torch.tensor([index for index, _ in hot], dtype=torch.int64),
            "codes": torch.tensor([code for _, code in hot], dtype=torch.float32),
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    fill: torch.Tensor
    numbers: torch.Tensor
    mean: torch.Tensor
    std: torch.Tensor
    hot: torch.Tensor
    codes: torch.Tensor

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """[batch, features], the numbers first, of rows [batch, columns] with NaN where a value is missing."""
        rows = torch.where(rows.isnan(), self.fill, rows)
        numbers = (rows[:, self.numbers] - self.mean) / self.std
        if not len(self.hot):
            return numbers
        return torch.cat([numbers, (rows[:, self.hot] == self.codes).float()], dim=1)


class RowFeed(Feed):
    """Rows as the network takes them, prepared once for the whole run."""

    def __init__(self, samples: Tensors, facts: Mapping[str, Any], seed: int) -> None:
        super().__init__(samples, facts, seed)
        self.features = Features(facts).to(samples["rows"].device)(samples["rows"])
        self.targets = samples["targets"]

    @property
    def count(self) -> int:
        return len(self.targets)

    def batch(self, indices: torch.Tensor, mine: slice, epoch: int, step: int) -> tuple[torch.Tensor, ...]:
        """Features [share, features] and targets [share]."""
        chosen = indices[mine].to(self.targets.device)
        return self.features[chosen], self.targets[chosen]


class TablePredictor(Model):
    """Rows with NaN where a value is missing in; class probabilities out, or a quantity."""

    networks: ClassVar[Mapping[str, Callable[..., nn.Module]]] = {"mlp": Mlp}
    feed = RowFeed
    unit = "rows"
    same_facts = ("columns", "target", "classes")

    def __init__(self, description: ModelDescription) -> None:
        super().__init__(description)
        self.features = Features(description.facts)
        self.names: list[str] = description.facts.get("classes", [])
        self.mean, self.std = (description.facts.get("value", {}).get(name, 0.0) for name in ("mean", "std"))

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        wanted = (
            "values in the order of the columns: categories as indices, booleans as 0 or 1, NaN for what is missing"
        )
        return (TensorSpec("row", "FP32", (len(self.description.facts["columns"]),), missing=True, wanted=wanted),)

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        if self.names:
            return (TensorSpec("probabilities", "FP32", (len(self.names),)),)
        return (TensorSpec("value", "FP32", (1,)),)

    @property
    def score(self) -> str:
        """`r2`, the coefficient of determination, where the target is a quantity."""
        return "accuracy" if self.names else "r2"

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Probabilities [batch, classes], or values [batch, 1], of rows [batch, columns]."""
        outputs = self.network(self.features(rows))
        if not self.names:
            return outputs * self.std + self.mean
        if len(self.names) > 2:
            return outputs.softmax(dim=1)
        second = outputs.sigmoid()
        return torch.cat([1 - second, second], dim=1)

    def outcome(self, network: nn.Module, *batch: torch.Tensor) -> Outcome:
        features, targets = batch
        outputs = network(features)
        if len(self.names) > 2:
            return classes.outcome(functional.cross_entropy(outputs, targets), outputs, targets)
        outputs = outputs.squeeze(1)
        if self.names:
            loss = functional.binary_cross_entropy_with_logits(outputs, targets.float())
            right = (outputs.detach() > 0) == targets.bool()
        else:
            # Standardised targets have a variance of 1, so 1 less the squared errors' mean is the score.
            errors = (outputs - (targets - self.mean) / self.std).square()
            loss, right = errors.mean(), 1 - errors.detach()
        return Outcome(loss, right.sum(), torch.tensor(len(targets), device=targets.device))

    def evaluate(self, held_out: Arrays) -> dict[str, Any]:
        """Of classes: accuracy, macro F1, ROC-AUC and calibration error, precision, recall and F1 per class, and the
        confusion matrix. Of a quantity: R², RMSE and MAE, in its unit."""
        outputs = self._answers(held_out["rows"])
        if not self.names:
            return quantities.scores(held_out["targets"], outputs[:, 0])
        return probabilities.scores(held_out["targets"], outputs, self.names)

    def slices(self, held_out: Arrays, column: str) -> dict[str, dict[str, Any]]:
        """Of each part of the rows: `samples` and the score, None for R² where all of its quantities are the same."""
        outputs, targets = self._answers(held_out["rows"]), held_out["targets"]
        found = {}
        for value, part in by_column(held_out["rows"], self.description.facts["columns"], column).items():
            if self.names:
                score = float((outputs[part].argmax(axis=1) == targets[part]).mean())
            else:
                varies = len(np.unique(targets[part])) > 1
                score = quantities.scores(targets[part], outputs[part, 0])["r2"] if varies else None
            found[value] = {"samples": int(part.sum()), self.score: score if score is None else round(score, 6)}
        return found

    def _answers(self, rows: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return np.concatenate([self(some).numpy() for some in torch.from_numpy(rows).split(BATCH_SIZE)])

    @staticmethod
    def pictures(evaluation: dict[str, Any]) -> dict[str, bytes]:
        if "classes" not in evaluation:
            return {}
        return probabilities.pictures(evaluation)

    @staticmethod
    def table(evaluation: dict[str, Any]) -> str:
        return (probabilities if "classes" in evaluation else quantities).table(evaluation)
