"""Measures a model on held-out pictures: accuracy, each class's precision and recall, and the confusion matrix."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from accelstack_workloads import model_format
from accelstack_workloads.atomic import write_file
from accelstack_workloads.confusion_picture import draw
from accelstack_workloads.datasets import prepared
from accelstack_workloads.errors import WorkloadError

BATCH_SIZE = 500


def evaluate(model_folder: Path, data_folder: Path, out: Path) -> dict[str, Any]:
    """Writes `evaluation.json` and `confusion.png` into `out`, and gives the former's content.

    Raises:
        WorkloadError: model or data cannot be read, do not belong together, or `out` cannot be written.
    """
    model, data = model_format.load(model_folder), prepared.load(data_folder)
    for name, ours, theirs in (
        ("classes", model.description.classes, data.classes),
        ("shape", tuple(model.description.shape), data.shape),
    ):
        if ours != theirs:
            raise WorkloadError(
                f"data: {data_folder} has {name} {_short(theirs)}, the model was trained on {_short(ours)}; "
                "give data prepared from the same dataset"
            )
    evaluation = {
        "model": {"path": str(model_folder), "digest": model_format.digest(model_folder)},
        "data": {"uri": data.uri, "digest": data.digest},
        **scores(confusion(model, data.test_images, data.test_labels), data.classes),
    }
    picture = io.BytesIO()
    draw(np.array(evaluation["confusion"]), data.classes).save(picture, "PNG")
    write_file(out / "evaluation.json", (json.dumps(evaluation, indent=2) + "\n").encode())
    write_file(out / "confusion.png", picture.getvalue())
    return evaluation


def confusion(model: model_format.Classifier, images: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """[classes, classes]: how many pictures of a class (row) the model took for each class (column)."""
    count = len(model.description.classes)
    matrix = np.zeros((count, count), dtype=np.int64)
    with torch.inference_mode():
        for start in range(0, len(images), BATCH_SIZE):
            some = slice(start, start + BATCH_SIZE)
            predicted = model.logits(torch.from_numpy(images[some]).float() / 255).argmax(1).numpy()
            np.add.at(matrix, (labels[some], predicted), 1)
    return matrix


def scores(matrix: np.ndarray, classes: list[str]) -> dict[str, Any]:
    """Accuracy, and precision, recall, F1 and support per class, in 0..1; 0 where a class was never predicted."""
    right, support, predicted = matrix.diagonal(), matrix.sum(axis=1), matrix.sum(axis=0)
    precision = right / np.maximum(predicted, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2 * right / np.maximum(support + predicted, 1)
    return {
        "accuracy": round(float(right.sum() / matrix.sum()), 6),
        "pictures": int(matrix.sum()),
        "classes": {
            name: {
                "precision": round(float(precision[index]), 6),
                "recall": round(float(recall[index]), 6),
                "f1": round(float(f1[index]), 6),
                "support": int(support[index]),
            }
            for index, name in enumerate(classes)
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
    return "\n".join([*lines, f"accuracy {evaluation['accuracy']:.4f} on {evaluation['pictures']} held-out pictures"])


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
