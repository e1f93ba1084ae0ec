"""Measures of class probabilities, beyond whether the likeliest class is the right one."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from accelstack_workloads import confusion_picture, reliability_picture
from accelstack_workloads.models import classes

BINS = 15  # of the calibration error, as in https://arxiv.org/abs/1706.04599


def scores(labels: np.ndarray, probabilities: np.ndarray, names: list[str]) -> dict[str, Any]:
    """The scores of `classes.scores`; `f1`, the mean over the classes; `roc_auc`, of the second class where there are
    two, else the mean of each class against the others; `calibration_error`, and what it is of, `reliability`. All in
    0..1.

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
        "calibration_error": calibration_error(bins := reliability(labels, probabilities)),
    }
    rounded = {name: round(mean, 6) for name, mean in means.items()}
    return {"accuracy": found.pop("accuracy"), **rounded, **found, "reliability": bins}


def reliability(labels: np.ndarray, probabilities: np.ndarray) -> list[dict[str, Any]]:
    """How sure the model was, and how often right, by 15 bins of the likeliest class's probability, of equal width.

    Returns:
        Of each bin that has samples: its bounds `from` and `to`, `samples`, their mean probability `sure`, and the
        share that was `right`.
    """
    sure, right = probabilities.max(axis=1).astype(np.float64), probabilities.argmax(axis=1) == labels
    bins = np.ceil(sure * BINS).astype(np.int64).clip(1, BINS)
    return [
        {
            "from": round((number - 1) / BINS, 6),
            "to": round(number / BINS, 6),
            "samples": int((bins == number).sum()),
            "sure": round(float(sure[bins == number].mean()), 6),
            "right": round(float(right[bins == number].mean()), 6),
        }
        for number in np.unique(bins).tolist()
    ]


def calibration_error(bins: list[dict[str, Any]]) -> float:
    """Expected calibration error: how far probabilities are from how often the answer is right, as a mean over the bins
    of `reliability`, weighted by their samples (https://arxiv.org/abs/1706.04599)."""
    samples = sum(of["samples"] for of in bins)
    return sum(of["samples"] * abs(of["right"] - of["sure"]) for of in bins) / samples


def pictures(evaluation: dict[str, Any]) -> dict[str, bytes]:
    """The confusion matrix, and how far the probabilities are to be trusted, as PNG files by their names."""
    drawn = {
        "confusion.png": confusion_picture.draw(np.array(evaluation["confusion"]), [*evaluation["classes"]]),
        "reliability.png": reliability_picture.draw(evaluation["reliability"], evaluation["calibration_error"]),
    }
    contents = {}
    for name, picture in drawn.items():
        content = io.BytesIO()
        picture.save(content, "PNG")
        contents[name] = content.getvalue()
    return contents


def table(evaluation: dict[str, Any]) -> str:
    """The scores as lines for people."""
    means = (f"{label} {evaluation[name]:.4f}" for label, name in _LABELS.items())
    return f"{classes.table(evaluation)}\n{', '.join(means)}"


_LABELS = {"F1": "f1", "ROC-AUC": "roc_auc", "calibration error": "calibration_error"}
