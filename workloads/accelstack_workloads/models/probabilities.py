"""Measures of class probabilities, beyond whether the likeliest class is the right one."""

from __future__ import annotations

from typing import Any

import numpy as np

from accelstack_workloads.models import classes

BINS = 15  # of the calibration error, as in https://arxiv.org/abs/1706.04599


def scores(labels: np.ndarray, probabilities: np.ndarray, names: list[str]) -> dict[str, Any]:
    """The scores of `classes.scores`; `f1`, the mean over the classes; `roc_auc`, of the second class where there are
    two, else the mean of each class against the others; and `calibration_error`. All in 0..1.

    Args:
        labels: int64 [samples]; every class is among them.
        probabilities: [samples, classes].
        names: of the classes.
    """
    from sklearn.metrics import roc_auc_score

    found = classes.scores(classes.confusion(labels, probabilities.argmax(axis=1), len(names)), names)
    certain = probabilities[:, 1] if len(names) == 2 else probabilities.astype(np.float64)
    means = {
        "f1": float(np.mean([of["f1"] for of in found["classes"].values()])),
        "roc_auc": float(roc_auc_score(labels, certain, multi_class="ovr")),
        "calibration_error": calibration_error(labels, probabilities),
    }
    return {"accuracy": found.pop("accuracy"), **{name: round(mean, 6) for name, mean in means.items()}, **found}


def calibration_error(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Expected calibration error: how far the likeliest class's probability is from how often it is right, as a mean
    over 15 bins of that probability, of equal width, weighted by their samples (https://arxiv.org/abs/1706.04599)."""
    sure, right = probabilities.max(axis=1), probabilities.argmax(axis=1) == labels
    bins = np.ceil(sure * BINS).astype(np.int64).clip(1, BINS)
    gaps = np.bincount(bins, weights=right - sure.astype(np.float64))
    return float(np.abs(gaps).sum() / len(labels))


def table(evaluation: dict[str, Any]) -> str:
    """The scores as lines for people."""
    means = (f"{label} {evaluation[name]:.4f}" for label, name in _LABELS.items())
    return f"{classes.table(evaluation)}\n{', '.join(means)}"


_LABELS = {"F1": "f1", "ROC-AUC": "roc_auc", "calibration error": "calibration_error"}
