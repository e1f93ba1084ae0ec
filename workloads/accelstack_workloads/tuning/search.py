"""What a study is of. Nothing here loads torch or optuna."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from accelstack_workloads.datasets.prepared import read_manifest
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.settings import Settings
from accelstack_workloads.workloads import Workload, workload

JOURNAL = "study.journal"


@dataclass(frozen=True)
class Search:
    """A study of one workload's settings on one dataset; the same in each of its processes.

    Attributes:
        data: folder of the prepared samples.
        digest: of them.
        usual: the workload.
        architecture: one of its networks.
        epochs: of each trial.
        seed: of each training, and of what is tried.
        storage: file of a journal, or SQLAlchemy URI of a database, that the processes share.
    """

    data: Path
    digest: str
    usual: Workload
    architecture: str
    epochs: int
    seed: int
    storage: str

    @property
    def name(self) -> str:
        """Of the study: another one where the data, the epochs or the seed differ, as their losses do not compare."""
        identity = json.dumps([self.digest, self.architecture, self.epochs, self.seed])
        return f"{self.usual.name}-{self.architecture}-{hashlib.sha256(identity.encode()).hexdigest()[:12]}"

    def settings(self, learning_rate: float, batch_size: int, schedule: str, sizes: dict[str, int]) -> Settings:
        """Of a trial. A tenth of the training samples is kept apart, and no patience ends it early."""
        return Settings(
            self.digest,
            self.epochs,
            batch_size,
            learning_rate,
            self.seed,
            self.architecture,
            schedule,
            patience=self.epochs,
            sizes=sizes,
        )


def search(data: Path, out: Path, architecture: str, epochs: int | None, seed: int, study: str) -> Search:
    """What is left out is what is usual for the data's workload; the storage is a journal in `out`.

    Raises:
        WorkloadError: the data cannot be read, or a value breaks its rule.
    """
    manifest = read_manifest(data)
    usual = workload(manifest["workload"])
    architecture = architecture or usual.architectures[0]
    if architecture not in usual.architectures:
        raise WorkloadError(
            f"--architecture: {architecture!r} is none of workload {usual.name}; "
            f"use one of: {', '.join(usual.architectures)}"
        )
    if study and "://" not in study:
        raise WorkloadError(
            f"--study: {study!r} is not a database URI; give one such as postgresql://host/tune, or leave it out"
        )
    storage = study or str(out / JOURNAL)
    found = Search(
        data, manifest["digest"], usual, architecture, usual.epochs if epochs is None else epochs, seed, storage
    )
    found.settings(usual.learning_rate, usual.batch_size, "one-cycle", {})  # refuses what training would
    return found
