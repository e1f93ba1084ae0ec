"""What decides how a model is compressed, checked before torch is imported."""

from __future__ import annotations

from dataclasses import dataclass

from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.settings import LARGEST_SEED

METHODS = ("prune", "quantize", "distill")


@dataclass(frozen=True)
class Choice:
    """How a model is compressed.

    Attributes:
        method: one of `METHODS`.
        ratio: share of the channels and hidden units that go; quantising keeps them all.
        epochs: passes over the training samples after that; None for what is usual.
        seed: of the order of the samples, and of those that int8's scales are set by.

    Raises:
        WorkloadError: a value breaks its rule.
    """

    method: str
    ratio: float = 0.5
    epochs: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise WorkloadError(f"--method: {self.method!r} is not known; use one of: {', '.join(METHODS)}")
        if not 0 < self.ratio < 1:
            raise WorkloadError(f"--ratio: {self.ratio} is not between 0 and 1; give one such as 0.5, for half")
        if self.epochs is not None and self.epochs < 1:
            raise WorkloadError(f"--epochs: {self.epochs} is not above 0; give 1 or more")
        if not 0 <= self.seed <= LARGEST_SEED:
            raise WorkloadError(f"--seed: {self.seed} is not within 0..2^63-1; give a whole number from 0")
