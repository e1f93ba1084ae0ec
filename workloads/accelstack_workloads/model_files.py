"""The files of a model directory, without torch: the description, and the digest that identifies a model version."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from accelstack_workloads.errors import WorkloadError

WEIGHTS = "model.safetensors"
ONNX = "model.onnx"
DESCRIPTION = "model.json"
FORMAT = 2


@dataclass(frozen=True)
class ModelDescription:
    """What `model.json` holds.

    Attributes:
        workload: the bundled workload that it is of, such as `vision`.
        architecture: one of the workload's networks.
        facts: of the data that it was trained on, as its manifest has them: what it takes and gives.
        training: settings and results of the run that made it, for people.
        sizes: widths of the network's layers that are not its usual ones, by the layers' names.
        format: version of this layout.
    """

    workload: str
    architecture: str
    facts: dict[str, Any]
    training: dict[str, Any] = field(default_factory=dict)
    sizes: dict[str, int] = field(default_factory=dict)
    format: int = FORMAT


def describe(folder: Path) -> ModelDescription:
    """The description of a model directory, without its weights.

    Raises:
        WorkloadError: it is missing, damaged or of another format.
    """
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text())
        description = ModelDescription(**content)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WorkloadError(f"model: {path} is not a model description ({error}); give a model directory") from error
    if description.format != FORMAT:
        raise WorkloadError(f"model: {path} has format {description.format}; this version reads format {FORMAT}")
    return description


def digest(folder: Path) -> str:
    """`sha256:<hex>` over the names and contents of the model's files: the identity of a model version. They are the
    description and what is there of ONNX and weights.

    Raises:
        WorkloadError: a file is missing or cannot be read.
    """
    here = [name for name in (DESCRIPTION, ONNX, WEIGHTS) if (folder / name).exists()]
    return _total(folder, identifying(here) if is_model(here) else (DESCRIPTION, WEIGHTS))


def folder_digest(folder: Path) -> str:
    """The digest of a directory: of a model's files where it has them, else of all files in it, in the same way.

    Raises:
        WorkloadError: a file cannot be read.
    """
    files = (path for path in folder.rglob("*") if path.is_file())
    return _total(folder, identifying(path.relative_to(folder).as_posix() for path in files))


def identifying(names: Iterable[str]) -> list[str]:
    """Which of a directory's files, by their paths in it, its digest is over, in that order."""
    found = sorted(names)
    return [name for name in (DESCRIPTION, ONNX, WEIGHTS) if name in found] if is_model(found) else found


def is_model(names: Iterable[str]) -> bool:
    """Whether a directory with these files is a model directory: a description, and weights or ONNX or both."""
    found = {*names}
    return DESCRIPTION in found and bool({ONNX, WEIGHTS} & found)


def _total(folder: Path, names: Iterable[str]) -> str:
    total = hashlib.sha256()
    for name in names:
        try:
            with (folder / name).open("rb") as file:
                total.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
        except OSError as error:
            raise WorkloadError(
                f"model: {folder / name} cannot be read ({error.strerror}); give a whole model directory"
            ) from error
    return f"sha256:{total.hexdigest()}"


def check_digest(folder: Path, expected: str) -> None:
    """Refuses a model directory whose digest is not the expected one.

    Raises:
        WorkloadError: it is another one, or a file cannot be read.
    """
    found = digest(folder)
    if found != expected:
        raise WorkloadError(
            f"model: {folder} has digest {found}, not {expected}: its files were changed; register it again"
        )
