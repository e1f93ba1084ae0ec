"""Integrated gradients, with as many steps as it takes for the attributions to add up."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients, LayerIntegratedGradients
from torch import nn

STEPS = (64, 128, 256, 512, 1024)
"""Points on the way from the baseline to the sample; the next number is taken where the error is too large."""
TOLERANCE = 0.01
"""Largest error that is taken, as a share of the sum of the attributions' absolute values."""
AT_ONCE = 64  # points that the network computes at once


@dataclass(frozen=True)
class Attribution:
    """How much each part of a sample adds to the score of what was answered.

    Attributes:
        values: of the parts, in their shape; their sum is `score - baseline`, but for `delta`.
        score: of the sample.
        baseline: score of the baseline.
        delta: error of that sum.
        steps: points on the way that were computed.
    """

    values: np.ndarray
    score: float
    baseline: float
    delta: float
    steps: int

    @property
    def complete(self) -> bool:
        """Whether the error is within `TOLERANCE`."""
        return abs(self.delta) <= TOLERANCE * float(np.abs(self.values).sum())


def attribute(
    score: Callable[[torch.Tensor], torch.Tensor],
    sample: torch.Tensor,
    baseline: torch.Tensor,
    layer: nn.Module | None = None,
) -> Attribution:
    """Attributions of one sample by integrated gradients (Sundararajan 2017, https://arxiv.org/abs/1703.01365).

    Args:
        score: gives [batch] of [batch, ...].
        sample: [1, ...].
        baseline: likewise: what says nothing.
        layer: part of the network whose outputs get the attributions; without it the sample itself does.
    """
    method: Any = LayerIntegratedGradients(score, layer) if layer else IntegratedGradients(score)
    with torch.no_grad():
        of_sample, of_baseline = float(score(sample)), float(score(baseline))

    def found(steps: int) -> Attribution:
        values = method.attribute(sample, baseline, n_steps=steps, internal_batch_size=min(AT_ONCE, steps))
        values = values.detach()[0].double().numpy()
        return Attribution(values, of_sample, of_baseline, float(values.sum()) - (of_sample - of_baseline), steps)

    tried = (found(steps) for steps in STEPS[:-1])
    return next((each for each in tried if each.complete), None) or found(STEPS[-1])
