"""What is said of one sample, whatever its workload."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from accelstack_workloads.explanation.attribution import Attribution


@dataclass(frozen=True)
class Explained:
    """A sample's answer, and what it rests on.

    Attributes:
        index: of the sample among the held-out ones, from 0.
        answer: of the model, as people read it.
        meant: what would have been right.
        parts: name of each part, in their order; empty where they are pixels, which their place names.
        values: attribution to each part: [parts], or [height, width] of pixels.
        attribution: the whole of it, as fine as it was computed.
        shown: what a picture shows beside the attributions: the pixels, columns' values, or log-mel features.
    """

    index: int
    answer: str
    meant: str
    parts: list[str]
    values: np.ndarray
    attribution: Attribution
    shown: np.ndarray | list[str]

    def about(self) -> dict[str, Any]:
        """It as JSON: `attributions` are a list of name and value each, or, of pixels, rows of values."""
        values = self.values.tolist()
        if self.parts:
            values = [{"name": name, "value": value} for name, value in zip(self.parts, values, strict=True)]
        return {
            "sample": self.index,
            "answer": self.answer,
            "meant": self.meant,
            "score": self.attribution.score,
            "baseline_score": self.attribution.baseline,
            "convergence_delta": self.attribution.delta,
            "complete": self.attribution.complete,
            "steps": self.attribution.steps,
            "attributions": values,
        }
