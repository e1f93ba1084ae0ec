"""The learning rate at each step of a run."""

from __future__ import annotations

import math
from dataclasses import dataclass

RISE = {"one-cycle": 0.2, "cosine": 0.05, "constant": 0.0}  # share of the steps in which the rate rises
LOWEST = {"one-cycle": 0.0, "cosine": 0.1, "constant": 1.0}  # share of the highest rate at the end


def learning_rate(schedule: str, step: int, steps: int, highest: float) -> float:
    """The rate of a step, counted from 0: a linear rise, then half a cosine.

    `one-cycle` falls to 0 (https://arxiv.org/abs/1708.07120), `cosine` rises fast and falls to a tenth
    (https://arxiv.org/abs/1608.03983, without restarts), `constant` stays as it is.
    """
    rise = max(RISE[schedule] * steps, 1)
    if step < rise and RISE[schedule]:
        return highest * (step + 1) / (rise + 1)
    fallen = (1 - math.cos(math.pi * (step - rise) / max(steps - rise, 1))) / 2
    return highest * (1 - (1 - LOWEST[schedule]) * fallen)


@dataclass(frozen=True)
class Position:
    """A point between two steps: epochs done, and steps done in the epoch after them."""

    epoch: int
    step: int

    def __str__(self) -> str:
        return f"epoch {self.epoch + 1} step {self.step}"


def out_of_patience(losses: list[float], patience: int) -> bool:
    """Whether so many epochs have passed since the lowest of the losses; never without patience."""
    return bool(patience and losses) and len(losses) - 1 - losses.index(min(losses)) >= patience
