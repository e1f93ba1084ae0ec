"""A multilayer perceptron for tables: two hidden layers, then outputs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional


class Mlp(nn.Module):
    """Two hidden layers of one width; the rest is sized from the data.

    Args:
        facts: of the data: `columns`, of which a category takes one input for each of its `categories` and others one;
            `classes`, of which two take one output and more take one each. Without them there is one output, a value.
        width: units of each hidden layer.
    """

    def __init__(self, facts: Mapping[str, Any], width: int = 128) -> None:
        super().__init__()
        inputs = sum(len(column.get("categories", [None])) for column in facts["columns"])
        classes = len(facts.get("classes", []))
        self.hidden1 = nn.Linear(inputs, width)
        self.hidden2 = nn.Linear(width, width)
        self.output = nn.Linear(width, classes if classes > 2 else 1)

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        """[batch, outputs] of standardised features [batch, inputs]."""
        x = functional.relu(self.hidden1(features))
        x = functional.relu(self.hidden2(x))
        return self.output(x)
