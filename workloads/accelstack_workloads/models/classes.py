"""Measures that models of classes share."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from accelstack_workloads.models.model import Outcome


def outcome(loss: torch.Tensor, logits: torch.Tensor, labels: torch.Tensor) -> Outcome:
    """The outcome of logits [samples, classes] for labels [samples]."""
    with torch.no_grad():
        right = (logits.argmax(1) == labels).sum()
    return Outcome(loss, right, torch.tensor(len(labels), device=labels.device))


def confusion(labels: np.ndarray, predicted: np.ndarray, count: int) -> np.ndarray:
    """[classes, classes]: how many samples of a class (row) were taken for each class (column)."""
    return np.bincount(labels * count + predicted, minlength=count * count).reshape(count, count)


def scores(matrix: np.ndarray, names: list[str]) -> dict[str, Any]:
    """Accuracy, and precision, recall, F1 and support per class, in 0..1; 0 where a class was never predicted."""
    right, support, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    precision = right / np.maximum(predicted, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + predicted, 1)
    return {
        "accuracy": round(float(right.sum() / matrix.sum()), 6),
        "samples": int(matrix.sum()),
        "classes": {
            name: {
                "precision": round(float(precision[index]), 6),
                "recall": round(float(recall[index]), 6),
                "f1": round(float(f1[index]), 6),
                "support": int(support[index]),
            }
            for index, name in enumerate(names)
        },
        "confusion": matrix.tolist(),
    }


def table(evaluation: dict[str, Any]) -> str:
    """The scores as lines for people."""
    width = max(5, *(len(name) for name in evaluation["classes"]))
    lines = [f"{'class':<{width}}  precision  recall     f1  support"]
    lines += [
        f"{name:<{width}}  {of['precision']:9.3f}  {of['recall']:6.3f}  {of['f1']:5.3f}  {of['support']:7d}"
        for name, of in evaluation["classes"].items()
    ]
    return "\n".join([*lines, f"accuracy {evaluation['accuracy']:.4f} on {evaluation['samples']} held-out samples"])
