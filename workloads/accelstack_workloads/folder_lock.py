"""A folder that one run at a time works in."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelstack_workloads.atomic import write_file
from accelstack_workloads.errors import WorkloadError


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Keeps other runs out of the folder for the length of the block.

    Raises:
        WorkloadError: another one is at work there, or the folder cannot be written.
    """
    path = folder / ".lock"
    if not path.exists():
        write_file(path, b"")
    with path.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise WorkloadError(
                f"out: {folder} is in use by another run; wait for it, or give another --out"
            ) from error
        yield
