"""Datasets of labelled pictures. Nothing here imports torch, so that preparing one starts at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.errors import WorkloadError

DIGITS = "digits"
HELD_OUT = 5  # one picture in so many is held out, per class


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


def held_out(names: Iterable[str]) -> set[str]:
    """The names to hold out: a fifth, at least one, in the order of their hashes, so that every machine picks alike."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())
    return set(ordered[: max(1, round(len(ordered) / HELD_OUT))])
