"""The UCI handwritten digits that scikit-learn ships: 1,797 grey pictures of 8x8 pixels, ten classes."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from accelstack_workloads.datasets import held_out
from accelstack_workloads.datasets.pictures import DIGITS, prepared
from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.errors import WorkloadError


def read() -> Prepared:
    """All pictures, a fifth of each class held out; the values 0..16 are scaled to 0..255.

    Raises:
        WorkloadError: scikit-learn is not installed.
    """
    table = _table()
    labels = table[:, -1].astype(np.int64)
    images = np.rint(table[:, :-1] * (255 / 16)).astype(np.uint8).reshape(-1, 1, 8, 8)
    test = np.zeros(len(labels), dtype=bool)
    for label in range(10):
        test[[int(name) for name in held_out(map(str, np.flatnonzero(labels == label)))]] = True
    classes = [str(label) for label in range(10)]
    parts = [{"images": images[part], "labels": labels[part]} for part in (~test, test)]
    return prepared(DIGITS, DIGITS, classes, *parts)


def _table() -> np.ndarray:
    """[1797, 65]: the 64 values of a picture, then its label."""
    package = find_spec("sklearn")
    if package is None or package.origin is None:
        raise WorkloadError("dataset: 'digits' needs scikit-learn; install accelstack[workloads], or give a folder")
    file = Path(package.origin).parent / "datasets" / "data" / "digits.csv.gz"
    if file.exists():  # importing scikit-learn to read one file takes longer than everything else here together
        return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    digits: Any = load_digits()
    return np.column_stack([digits.data, digits.target])
