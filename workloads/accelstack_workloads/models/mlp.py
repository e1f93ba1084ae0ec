"""A multilayer perceptron for tables: two hidden layers, then outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional


class Mlp(nn.Module):
    """Two hidden layers; the rest is sized from the data.

    Args:
        facts: of the data: `columns`, of which a category takes one input for each of its `categories` and others one;
            `classes`, of which two take one output and more take one each. Without them there is one output, a value.
        hidden1: units of the first hidden layer.
        hidden2: units of the second one.
    """

    readers: ClassVar[Mapping[str, tuple[str, ...]]] = {"hidden1": ("hidden2",), "hidden2": ("output",)}
    """Layers that can be narrowed, each with those that take its units."""

    def __init__(self, facts: Mapping[str, Any], hidden1: int = 128, hidden2: int = 128) -> None:
        super().__init__()
        inputs = sum(len(column.get("categories", [None])) for column in facts["columns"])
        classes = len(facts.get("classes", []))
        self.hidden1 = nn.Linear(inputs, hidden1)
        self.hidden2 = nn.Linear(hidden1, hidden2)
        self.output = nn.Linear(hidden2, classes if classes > 2 else 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[batch, outputs] of standardised features [batch, inputs]."""
        x = functional.relu(self.hidden1(features))
        x = functional.relu(self.hidden2(x))
        return self.output(x)
