"""The settings of a training run, checked before torch is imported."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from accelstack_workloads.errors import WorkloadError

SCHEDULES = ("one-cycle", "cosine", "constant")
PRECISIONS = ("float32", "bfloat16", "auto")
SHARDINGS = ("none", "full")
LARGEST_SEED = 2**63 - 1
LONGEST_TIMEOUT = 24 * 60  # minutes


@dataclass(frozen=True)
class Settings:
    """What decides the weights that a run ends with; a run is resumed only with the same ones.

    Attributes:
        data: digest of the prepared dataset.
        epochs: passes over the training samples.
        batch_size: samples per step, over all processes together.
        learning_rate: the highest value of the schedule.
        seed: of the first weights, the order of the samples and how they are altered.
        architecture: one of the workload's networks.
        schedule: of the learning rate: one of `SCHEDULES`.
        precision: that the network computes in: one of `PRECISIONS`.
        accumulate: parts that each process's share of a batch is computed in, one after the other.
        clip: greatest norm of the gradients of all weights together; 0 leaves them as they are.
        patience: epochs that may pass without a lower loss on a tenth of the training samples, which is then kept
            apart; 0 trains on all of them, and to the end.
        sizes: widths and depths of the network that are not its usual ones, by name.

    Raises:
        WorkloadError: a value breaks its rule.
    """

    data: str
    epochs: int
    batch_size: int
    learning_rate: float
    seed: int
    architecture: str
    schedule: str = "one-cycle"
    precision: str = "float32"
    accumulate: int = 1
    clip: float = 0.0
    patience: int = 0
    sizes: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for option in ("epochs", "batch_size", "accumulate"):
            if getattr(self, option) < 1:
                raise WorkloadError(f"{flag(option)}: {getattr(self, option)} is not above 0; give 1 or more")
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise WorkloadError(
                f"--learning-rate: {self.learning_rate} is not a finite number above 0; give one such as 0.002"
            )
        if not 0 <= self.seed <= LARGEST_SEED:
            raise WorkloadError(f"--seed: {self.seed} is not within 0..2^63-1; give a whole number from 0")

        for option, known in (("schedule", SCHEDULES), ("precision", PRECISIONS)):
            if getattr(self, option) not in known:
                raise WorkloadError(
                    f"{flag(option)}: {getattr(self, option)!r} is not known; use one of: {', '.join(known)}"
                )
        if not (math.isfinite(self.clip) and self.clip >= 0):
            raise WorkloadError(f"--clip: {self.clip} is not a finite number from 0; give one such as 1, or 0 for none")
        if self.patience < 0:
            raise WorkloadError(f"--patience: {self.patience} is below 0; give epochs, or 0 to train to the end")

    def check_shares(self, processes: int) -> None:
        """Refuses a batch that the processes cannot share evenly.

        Raises:
            WorkloadError: it does not divide by them, or their shares by the parts.
        """
        if self.batch_size % processes:
            raise WorkloadError(
                f"--batch-size: {self.batch_size} is shared by {processes} processes and must be a multiple of "
                f"{processes}; give {math.ceil(self.batch_size / processes) * processes}"
            )
        if self.batch_size % (processes * self.accumulate):
            raise WorkloadError(
                f"--accumulate: {self.accumulate} parts of the {self.batch_size // processes} samples that a "
                "process has of each batch are not even; give a number that divides them"
            )

    def check_count(self, samples: int, unit: str) -> None:
        """Refuses a batch of more than all samples; `unit` is what they are called.

        Raises:
            WorkloadError: it is one.
        """
        if self.batch_size > samples:
            raise WorkloadError(
                f"--batch-size: {self.batch_size} is larger than the {samples} training {unit}; give {samples} or less"
            )

    def check_same(self, other: dict[str, Any], what: Path) -> None:
        """Refuses to go on from `what`, which was made with the settings `other`, where they differ."""
        differing = [
            f"{flag(name)} is {value!r} and was {other.get(name)!r}"
            for name, value in asdict(self).items()
            if other.get(name) != value
        ]
        if differing:
            raise WorkloadError(
                f"out: {what} was made with other settings ({'; '.join(differing)}); "
                "give the same settings, another --out, or delete that run"
            )


@dataclass(frozen=True)
class Execution:
    """How a run computes, and what it reports; a run may be gone on with other ones.

    Attributes:
        checkpoint_minutes: most that may pass between two checkpoints; 0 saves at the end of each epoch alone.
        sharding: one of `SHARDINGS`: whether each process has the whole model, or all have a part of it each.
        compile: whether the network is compiled.
        timeout_minutes: that a process waits for another one before it gives up.
        tracking: URI of an MLflow server or folder that measures go to; empty for none.

    Raises:
        WorkloadError: a value breaks its rule.
    """

    checkpoint_minutes: float = 10.0
    sharding: str = SHARDINGS[0]
    compile: bool = False
    timeout_minutes: float = 10.0
    tracking: str = ""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.checkpoint_minutes) and self.checkpoint_minutes >= 0):
            raise WorkloadError(
                f"--checkpoint-minutes: {self.checkpoint_minutes} is not a finite number from 0; "
                "give minutes such as 10, or 0 for the end of each epoch alone"
            )
        if self.sharding not in SHARDINGS:
            raise WorkloadError(f"--sharding: {self.sharding!r} is not known; use one of: {', '.join(SHARDINGS)}")
        if not 0 < self.timeout_minutes <= LONGEST_TIMEOUT:
            raise WorkloadError(
                f"--timeout-minutes: {self.timeout_minutes} is not above 0 and at most {LONGEST_TIMEOUT}, a day; "
                "give minutes such as 10"
            )


def flag(name: str) -> str:
    """The command-line option that sets `name`."""
    return "--" + name.replace("_", "-")
