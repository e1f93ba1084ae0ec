"""Checkpoints on disk: a folder each, of shards of tensors named by their content, and a marker that is written last.

Nothing here loads torch, and nothing in a checkpoint is executable: shards are safetensors, the marker is JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelstack_workloads.atomic import write_file

KEPT = 2
NAME = re.compile(r"step-\d{9}")
SHARD = re.compile(r"[0-9a-f]{64}\.safetensors")
"""A shard's name is the SHA-256 of its content, so that one that was cut off never has the name of a whole one."""
MARKER = "state.json"
FORMAT = 1


def folder_name(step: int) -> str:
    """Name of the checkpoint after `step` steps of the run."""
    return f"step-{step:09d}"


def find(folder: Path) -> list[Path]:
    """The checkpoints in a folder that have a marker, newest first."""
    return [path for path in _all(folder) if (path / MARKER).exists()]


def mark(path: Path, shards: Sequence[str], state: dict[str, Any]) -> None:
    """Makes a checkpoint of shards that are there: writes the marker, and drops what it does not name.

    Args:
        path: of the checkpoint.
        shards: their names.
        state: JSON alone: all that is no tensor.

    Raises:
        WorkloadError: it cannot be written.
    """
    marker = {"format": FORMAT, "shards": sorted(shards), **state}
    write_file(path / MARKER, (json.dumps(marker, indent=1) + "\n").encode())
    for other in path.iterdir():
        if other.name not in (MARKER, *shards):
            other.unlink(missing_ok=True)


def read(path: Path) -> dict[str, Any]:
    """What the marker says.

    Raises:
        ValueError: it is missing, damaged or of another format.
    """
    try:
        return parse((path / MARKER).read_bytes())
    except OSError as error:
        raise ValueError("damaged or incomplete") from error


def parse(content: bytes) -> dict[str, Any]:
    """The content of a marker.

    Raises:
        ValueError: it is damaged or of another format.
    """
    try:
        state = json.loads(content)
        known, shards = state["format"], state["shards"]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError("damaged or incomplete") from error
    if known != FORMAT:
        raise ValueError(f"of format {known}; this version reads format {FORMAT}")
    if not all(isinstance(shard, str) and SHARD.fullmatch(shard) for shard in shards):
        raise ValueError("damaged or incomplete")
    return state


def is_whole(path: Path, shards: Sequence[str]) -> bool:
    """Whether these shards are there and have the content that their names say."""
    try:
        return all(f"{digest(path / shard)}.safetensors" == shard for shard in shards)
    except OSError:
        return False


def digest(path: Path) -> str:
    """SHA-256 of a file, in hex.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def set_aside(path: Path) -> None:
    """Renames a checkpoint that cannot be used, so that it does not count among those that are kept."""
    damaged = path.with_name(f"{path.name}.damaged")
    shutil.rmtree(damaged, ignore_errors=True)
    try:
        path.rename(damaged)
    except FileNotFoundError:
        return  # on a shared disk another machine did it


def tidy(folder: Path) -> None:
    """Drops all but the newest checkpoints, and what is left of older ones that were never done."""
    kept = find(folder)[:KEPT]
    for path in _all(folder):
        if kept and path.name < kept[0].name and path not in kept:
            shutil.rmtree(path, ignore_errors=True)


def _all(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    return sorted((path for path in folder.iterdir() if NAME.fullmatch(path.name) and path.is_dir()), reverse=True)
