"""Files and folders that appear whole or not at all, also when the disk fills up or the process is killed."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from accelstack_workloads.errors import WorkloadError


def write_file(path: Path, content: bytes) -> None:
    """Writes and syncs `path`; its folder is made where missing. An older file stays until the new one is complete.

    Raises:
        WorkloadError: it cannot be written.
    """
    partial = _partial(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with partial.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError as error:
        partial.unlink(missing_ok=True)
        raise _cannot_write(path, error) from error


@contextmanager
def new_folder(target: Path, marker: str) -> Iterator[Path]:
    """A folder to fill. It takes the place of `target` when the block ends well, and vanishes when it fails.

    Args:
        target: where the folder shall appear.
        marker: a file that every folder of this kind has; a `target` that has other files, but not this one, is kept.

    Raises:
        WorkloadError: `target` holds something else, or cannot be written.
    """
    target = target.resolve()
    if target.exists() and not (target / marker).exists() and (not target.is_dir() or any(target.iterdir())):
        raise WorkloadError(
            f"out: {target} holds something else (no {marker} in it) and is not replaced; give a new folder"
        )
    partial, replaced = _partial(target), target.with_name(f".{target.name}.replaced-{os.getpid()}")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(parents=True)
        yield partial
        for path in partial.rglob("*"):
            if path.is_file():
                _sync(path)
        if target.exists():
            target.rename(replaced)
        try:
            partial.rename(target)
        except OSError:
            if replaced.exists():
                replaced.rename(target)
            raise
    except (OSError, SafetensorError) as error:
        raise _cannot_write(target, error) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
        shutil.rmtree(replaced, ignore_errors=True)


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial-{os.getpid()}")


def _sync(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())


def _cannot_write(path: Path, error: Exception) -> WorkloadError:
    reason = getattr(error, "strerror", None) or str(error)
    return WorkloadError(f"out: {path} cannot be written ({reason}); free space, or give a folder you may write to")
