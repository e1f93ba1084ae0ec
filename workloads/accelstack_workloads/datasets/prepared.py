"""A prepared dataset: `data.safetensors` (pictures and labels as arrays) and `manifest.json` (what they are)."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from accelstack_workloads.atomic import new_folder
from accelstack_workloads.errors import WorkloadError

DATA = "data.safetensors"
MANIFEST = "manifest.json"
FORMAT = 1


@dataclass(frozen=True)
class Prepared:
    """Pictures and labels, split for training and evaluation.

    Attributes:
        uri: where the pictures came from.
        kind: `digits` or `picture-folder`.
        classes: the class names; a label is an index into them.
        train_images: uint8 [pictures, channels, height, width].
        train_labels: int64 [pictures].
        test_images: the held-out pictures, likewise.
        test_labels: their labels.
    """

    uri: str
    kind: str
    classes: list[str]
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray

    @property
    def shape(self) -> tuple[int, int, int]:
        """Channels, height and width of every picture, in pixels."""
        return self.train_images.shape[1:]

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        names = ("train_images", "train_labels", "test_images", "test_labels")
        return {name: getattr(self, name) for name in names}

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` over classes, pictures and labels."""
        total = hashlib.sha256(json.dumps(self.classes).encode())
        for name, array in self.arrays.items():
            total.update(f"{name} {array.dtype} {array.shape}\n".encode())
            total.update(np.ascontiguousarray(array).data)
        return f"sha256:{total.hexdigest()}"

    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` holds; mean and std are per channel over the training pictures, of values in 0..1."""
        mean, std = _channel_statistics(self.train_images)
        splits = {"train": self.train_labels, "test": self.test_labels}
        counts = {split: np.bincount(labels, minlength=len(self.classes)).tolist() for split, labels in splits.items()}
        return {
            "format": FORMAT,
            "uri": self.uri,
            "kind": self.kind,
            "classes": self.classes,
            "counts": {split: dict(zip(self.classes, numbers, strict=True)) for split, numbers in counts.items()},
            "shape": list(self.shape),
            "mean": mean,
            "std": std,
            "digest": self.digest,
        }


def save(data: Prepared, folder: Path) -> bool:
    """Writes the prepared dataset; it appears whole or not at all. False: the folder held the same already.

    Raises:
        WorkloadError: the folder holds something else, or cannot be written.
    """
    try:
        if load(folder).digest == data.digest:
            return False
    except WorkloadError:
        pass  # nothing there, or nothing worth keeping
    with new_folder(folder, marker=MANIFEST) as partial:
        save_file({name: np.ascontiguousarray(array) for name, array in data.arrays.items()}, partial / DATA)
        (partial / MANIFEST).write_text(json.dumps(data.manifest(), indent=2) + "\n")
    return True


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a prepared dataset, without its pictures.

    Raises:
        WorkloadError: it is missing, damaged or of another format.
    """
    path = folder / MANIFEST
    try:
        content = json.loads(path.read_text())
        found = content["format"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WorkloadError(f"data: {path} is not a manifest ({error}); give a folder that `prepare` wrote") from error
    if found != FORMAT:
        raise WorkloadError(f"data: {path} has format {found}; this version reads format {FORMAT}: prepare it again")
    return content


def load(folder: Path) -> Prepared:
    """The prepared dataset of a folder, checked against the digest in its manifest.

    Raises:
        WorkloadError: the folder is missing, incomplete or damaged.
    """
    manifest = read_manifest(folder)
    try:
        data = Prepared(manifest["uri"], manifest["kind"], manifest["classes"], **load_file(folder / DATA))
        intact = data.digest == manifest["digest"]
    except (OSError, SafetensorError, TypeError, KeyError) as error:
        raise WorkloadError(f"data: {folder / DATA} cannot be read ({error}); prepare it again") from error
    if not intact:
        raise WorkloadError(f"data: {folder / DATA} does not match the digest in {MANIFEST}; prepare it again")
    return data


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
