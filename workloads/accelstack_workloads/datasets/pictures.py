"""Labelled pictures: the arrays and facts of workload `vision`."""

from __future__ import annotations

import numpy as np

from accelstack_workloads.datasets.prepared import Arrays, Prepared
from accelstack_workloads.errors import WorkloadError

WORKLOAD = "vision"
DIGITS = "digits"


def read(dataset: str) -> Prepared:
    """The dataset `digits`, or the pictures in the folder at a path or fsspec URI, split and decoded.

    Raises:
        WorkloadError: it is missing, empty, broken, or laid out in another way.
    """
    if dataset == DIGITS:
        from accelstack_workloads.datasets import digits

        return digits.read()
    if not dataset:
        raise WorkloadError(f"dataset: '' is empty; give {DIGITS!r} or the path or URI of a picture folder")
    from accelstack_workloads.datasets import picture_folder

    return picture_folder.read(dataset)


def prepared(uri: str, kind: str, classes: list[str], train: Arrays, test: Arrays) -> Prepared:
    """Pictures as a prepared dataset.

    Args:
        uri: where the pictures came from.
        kind: `digits` or `picture-folder`.
        classes: the class names; a label is an index into them.
        train: `images` uint8 [pictures, channels, height, width] and `labels` int64 [pictures].
        test: the held-out pictures, likewise.

    Returns:
        Its facts: `classes`; `shape`, channels, height and width; `mean` and `std` of each channel over the training
        pictures, of values in 0..1.
    """
    mean, std = _channel_statistics(train["images"])
    facts = {"classes": classes, "shape": list(train["images"].shape[1:]), "mean": mean, "std": std}
    counts = {split: class_counts(arrays["labels"], classes) for split, arrays in (("train", train), ("test", test))}
    return Prepared(WORKLOAD, uri, kind, facts, train, test, counts)


def class_counts(labels: np.ndarray, classes: list[str]) -> dict[str, int]:
    """Samples of each class."""
    return dict(zip(classes, np.bincount(labels, minlength=len(classes)).tolist(), strict=True))


def _channel_statistics(images: np.ndarray) -> tuple[list[float], list[float]]:
    """Mean and standard deviation per channel, in 0..1, from exact histograms: no float copy of the pictures."""
    values = np.arange(256) / 255
    means, stds = [], []
    for channel in range(images.shape[1]):
        weights = sum(np.bincount(part[:, channel].ravel(), minlength=256) for part in np.array_split(images, 64))
        mean = float(np.average(values, weights=weights))
        variance = float(np.average((values - mean) ** 2, weights=weights))
        means.append(round(mean, 6))
        stds.append(round(max(variance**0.5, 1 / 255), 6))  # a channel of one value must not divide by zero
    return means, stds
