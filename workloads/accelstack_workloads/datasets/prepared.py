"""A prepared dataset: `<split>_<name>.npy` (samples as arrays) and `manifest.json` (what they are).

Arrays are mapped into memory, not read: a dataset may be larger than memory, processes of one machine share what they
have read, and each reads its own samples alone.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from accelstack_workloads.atomic import new_folder
from accelstack_workloads.errors import WorkloadError

ARRAY = ".npy"
MANIFEST = "manifest.json"
FORMAT = 3
SPLITS = ("train", "test")

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Prepared:
    """Samples, split for training and evaluation.

    Attributes:
        workload: the bundled workload that they are for.
        uri: where they came from.
        kind: how they lay there, such as `picture-folder`.
        facts: what a model of them takes and gives: classes, sizes, statistics of the training part. JSON alone.
        train: arrays by name; the workload's dataset module says which, and of what shape.
        test: the held-out samples, likewise.
        counts: samples by split, and of each class where there are classes.
    """

    workload: str
    uri: str
    kind: str
    facts: dict[str, Any]
    train: Arrays
    test: Arrays
    counts: dict[str, Any]

    @property
    def arrays(self) -> Arrays:
        """All arrays, by the names that their files have."""
        splits = {"train": self.train, "test": self.test}
        return {f"{split}_{name}": array for split, arrays in splits.items() for name, array in arrays.items()}

    @cached_property
    def digest(self) -> str:
        """`sha256:<hex>` over the workload, the facts and the samples."""
        total = hashlib.sha256(json.dumps([self.workload, self.facts], sort_keys=True).encode())
        for name, array in sorted(self.arrays.items()):
            total.update(f"{name} {array.dtype} {array.shape}\n".encode())
            total.update(np.ascontiguousarray(array).data)
        return f"sha256:{total.hexdigest()}"

    @property
    def summary(self) -> str:
        """How much there is, for people."""
        train, test = (sum(of.values()) if isinstance(of, dict) else of for of in map(self.counts.get, SPLITS))
        parts = [f"{train} samples to train on", f"{test} held out"]
        parts += [f"{len(self.facts['classes'])} classes"] if "classes" in self.facts else []
        parts += [f"{len(self.facts['columns'])} columns"] if "columns" in self.facts else []
        parts += ["x".join(map(str, self.facts["shape"]))] if "shape" in self.facts else []
        return ", ".join(parts)

    def manifest(self) -> dict[str, Any]:
        """What `manifest.json` holds."""
        return {
            "format": FORMAT,
            "workload": self.workload,
            "uri": self.uri,
            "kind": self.kind,
            "facts": self.facts,
            "counts": self.counts,
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
        for name, array in data.arrays.items():
            np.save(partial / f"{name}{ARRAY}", np.ascontiguousarray(array), allow_pickle=False)
        (partial / MANIFEST).write_text(json.dumps(data.manifest(), indent=2) + "\n")
    return True


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a prepared dataset, without its samples.

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
        split = {
            split: {
                path.name.removeprefix(f"{split}_").removesuffix(ARRAY): np.load(path, "c", allow_pickle=False)
                for path in sorted(folder.glob(f"{split}_*{ARRAY}"))
            }
            for split in SPLITS
        }
        about = {name: manifest[name] for name in ("workload", "uri", "kind", "facts", "counts")}
        data = Prepared(**about, train=split["train"], test=split["test"])
        intact = data.digest == manifest["digest"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WorkloadError(f"data: the arrays in {folder} cannot be read ({error}); prepare it again") from error
    if not intact:
        raise WorkloadError(f"data: the arrays in {folder} do not match the digest in {MANIFEST}; prepare it again")
    return data
