"""What a workload's model brings to the steps that all workloads share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from inspect import signature
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn

from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.model_files import ModelDescription
from accelstack_workloads.tensors import TensorSpec

Tensors = Mapping[str, torch.Tensor]
Arrays = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Outcome:
    """What a network made of a part of a batch."""

    loss: torch.Tensor
    """Mean over what is counted, with its graph."""
    right: torch.Tensor
    """How many were right; over `count`, it is the score."""
    count: torch.Tensor
    """Of how many: samples, or tokens of them."""


class Feed(ABC):
    """The samples of a training run, on its device.

    Args:
        samples: the prepared arrays, as tensors.
        facts: of the data.
        seed: of the run.
    """

    def __init__(self, samples: Tensors, facts: Mapping[str, Any], seed: int) -> None:
        self.samples, self.facts, self.seed = samples, facts, seed

    @property
    @abstractmethod
    def count(self) -> int:
        """How many samples there are."""

    @abstractmethod
    def batch(self, indices: torch.Tensor, mine: slice, epoch: int, step: int) -> tuple[torch.Tensor, ...]:
        """This process's share of a batch, as the model's `outcome` takes it. Where samples are altered, it depends on
        the seed and the position alone.

        Args:
            indices: of the whole batch's samples.
            mine: which of them are this process's.
            epoch: from 0.
            step: in the epoch, from 0.
        """


class Model(nn.Module, ABC):
    """A network with its workload's preprocessing inside: `forward` takes `inputs` and gives `outputs`, a tensor where
    there is one, else a tuple.

    Args:
        description: says which network, and what data it is for.

    Raises:
        WorkloadError: the architecture is not known, or does not fit the data.
    """

    networks: ClassVar[Mapping[str, Callable[..., nn.Module]]]
    """Networks by their architecture's name; each is made from the facts of the data, and takes `sizes` by name."""
    feed: ClassVar[type[Feed]]
    """What brings it samples."""
    unit: ClassVar[str]
    """What samples are called, such as `images`."""
    same_facts: ClassVar[tuple[str, ...]]
    """Facts that data must share with those that it was trained on."""

    def __init__(self, description: ModelDescription) -> None:
        super().__init__()
        name = description.architecture
        if name not in self.networks:
            raise WorkloadError(
                f"--architecture: {name!r} is none of workload {description.workload}; "
                f"use one of: {', '.join(self.networks)}"
            )
        self._check_sizes(description)
        self.network = self.networks[name](description.facts, **description.sizes)
        self.description = description

    def _check_sizes(self, description: ModelDescription) -> None:
        known = [*signature(self.networks[description.architecture]).parameters][1:]
        for name, size in description.sizes.items():
            if name not in known:
                raise WorkloadError(
                    f"sizes: {name!r} is none of {description.architecture}; use one of: {', '.join(known)}"
                )
            if type(size) is not int or size < 1:
                raise WorkloadError(f"sizes: {name} is {size!r}, not a whole number above 0; give 1 or more")

    @property
    @abstractmethod
    def inputs(self) -> tuple[TensorSpec, ...]:
        """What `forward` takes, in its order, each with the batch first."""

    @property
    @abstractmethod
    def outputs(self) -> tuple[TensorSpec, ...]:
        """What `forward` gives, likewise."""

    @property
    def score(self) -> str:
        """Name of the main measure, in evaluations and while training; the higher, the better."""
        return "accuracy"

    @abstractmethod
    def outcome(self, network: nn.Module, *batch: torch.Tensor) -> Outcome:
        """What a batch of its feed comes to.

        Args:
            network: its own, or that with others' of the group around it.
        """

    @abstractmethod
    def evaluate(self, held_out: Arrays) -> dict[str, Any]:
        """Measures of held-out samples, the one that `score` names among them; JSON alone. The model is called whole,
        never its network alone, so that a compressed form without one is measured too.
        """

    def slices(self, held_out: Arrays, column: str) -> dict[str, dict[str, Any]]:
        """Samples and score of the held-out samples' parts, by the values of a column.

        Raises:
            WorkloadError: there is no such column.
        """
        raise WorkloadError(f"--slice: {self.unit} have no column {column!r}; leave it out, for it is for tables")

    @staticmethod
    def pictures(evaluation: dict[str, Any]) -> dict[str, bytes]:
        """Pictures of an evaluation for people, as files' contents by their names."""
        return {}

    @staticmethod
    @abstractmethod
    def table(evaluation: dict[str, Any]) -> str:
        """An evaluation as lines for people."""
