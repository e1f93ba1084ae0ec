"""Checkpoints of a training run: written whole, the last two kept, a damaged newest one passed over."""

from __future__ import annotations

import hashlib
import io
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from accelstack_workloads.atomic import write_file

KEPT = 2
NAME = re.compile(r"step-(\d{9})\.pt")
DIGEST_BYTES = hashlib.sha256().digest_size


def save(folder: Path, step: int, state: dict[str, Any]) -> Path:
    """Writes the state after `step` steps of the run, then drops all but the last two checkpoints.

    The file ends with the sha256 of what comes before, so that damage shows; torch reads it all the same.

    Args:
        folder: of the checkpoints.
        step: steps done since the run began.
        state: tensors, numbers, strings, lists and dicts.

    Raises:
        WorkloadError: it cannot be written; older checkpoints are as they were.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    content = buffer.getvalue()
    path = folder / f"step-{step:09d}.pt"
    write_file(path, content + hashlib.sha256(content).digest())
    for old in find(folder)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def find(folder: Path) -> list[Path]:
    """The checkpoints in a folder, newest first."""
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name)), reverse=True)


def load_newest(folder: Path, warn: Callable[[str], None]) -> tuple[Path, dict[str, Any]] | None:
    """The newest checkpoint that is whole, and its state; None where there is none. Others are warned of."""
    for path in find(folder):
        try:
            return path, _load(path)
        except (OSError, ValueError, RuntimeError, pickle.UnpicklingError) as error:
            warn(f"checkpoint {path} is passed over ({str(error).splitlines()[0]})")
            path.rename(path.with_suffix(".damaged"))  # it must not count among those that are kept
    return None


def _load(path: Path) -> dict[str, Any]:
    content = path.read_bytes()
    body, digest = content[:-DIGEST_BYTES], content[-DIGEST_BYTES:]
    if hashlib.sha256(body).digest() != digest:
        raise ValueError("damaged or incomplete")
    return torch.load(io.BytesIO(body), map_location="cpu", weights_only=True)
