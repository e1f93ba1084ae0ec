"""The folder of a training run: `model/`, `checkpoints/`, `metrics.jsonl` and, once it is done, `training.json`."""

from __future__ import annotations

import fcntl
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from accelstack_workloads.atomic import write_file
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.model_files import DESCRIPTION
from accelstack_workloads.settings import Settings

LOCK_SECONDS = 15  # a killed launcher's processes end within this


class RunFolder:
    """Where one training run keeps what it makes.

    Args:
        path: of the folder; it need not exist.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.model = path / "model"
        self.checkpoints = path / "checkpoints"

    def result(self, settings: Settings) -> dict[str, Any] | None:
        """The content of `training.json` where the run is done, else None.

        Raises:
            WorkloadError: it was done with other settings.
        """
        path = self.path / "training.json"
        if not path.exists() or not (self.model / DESCRIPTION).exists():
            return None
        try:
            result = json.loads(path.read_text())
            made_with = result["settings"]
        except (OSError, ValueError, TypeError, KeyError) as error:
            raise WorkloadError(f"out: {path} cannot be read ({error}); delete it, or give another --out") from error
        settings.check_same(made_with, path)
        return result

    def write_result(self, result: dict[str, Any]) -> None:
        """Writes `training.json`, which marks the run as done."""
        write_file(self.path / "training.json", (json.dumps(result, indent=2) + "\n").encode())

    def write_metrics(self, history: list[dict[str, Any]]) -> None:
        """Writes `metrics.jsonl`, one line per finished epoch."""
        write_file(self.path / "metrics.jsonl", "".join(json.dumps(line) + "\n" for line in history).encode())

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Keeps other trainings out of the folder for the length of the block.

        Raises:
            WorkloadError: another one is at work there, or the folder cannot be written.
        """
        path = self.path / ".lock"
        if not path.exists():
            write_file(path, b"")
        with path.open("rb") as file:
            give_up = time.monotonic() + LOCK_SECONDS
            while True:
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except OSError as error:
                    if time.monotonic() > give_up:
                        raise WorkloadError(
                            f"out: {self.path} is in use by another training; wait for it, or give another --out"
                        ) from error
                    time.sleep(0.2)
            yield
