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
DESCRIPTION = "model.json"
FORMAT = 1


@dataclass(frozen=True)
class ModelDescription:
    """What `model.json` holds.

    Attributes:
        workload: the bundled workload that made it, such as `vision`.
        architecture: a name in `models.ARCHITECTURES`.
        classes: the class names, in the order of the outputs.
        shape: channels, height and width of a picture, in pixels.
        mean: mean of each channel over the training pictures, of values in 0..1.
        std: standard deviation of each channel, likewise.
        training: settings and results of the run that made it, for people.
        format: version of this layout.
    """

    workload: str
    architecture: str
    classes: list[str]
    shape: tuple[int, int, int]
    mean: list[float]
    std: list[float]
    training: dict[str, Any] = field(default_factory=dict)
    format: int = FORMAT


def describe(folder: Path) -> ModelDescription:
    """The description of a model directory, without its weights.

    Raises:
        WorkloadError: it is missing, damaged or of another format.
    """
    path = folder / DESCRIPTION
    try:
        content = json.loads(path.read_text())
        description = ModelDescription(**{**content, "shape": tuple(content["shape"])})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise WorkloadError(f"model: {path} is not a model description ({error}); give a model directory") from error
    if description.format != FORMAT:
        raise WorkloadError(f"model: {path} has format {description.format}; this version reads format {FORMAT}")
    return description


def digest(folder: Path) -> str:
    """`sha256:<hex>` over the names and contents of the model's files: the identity of a model version.

    Raises:
        WorkloadError: a file is missing or cannot be read.
    """
    return _total(folder, (DESCRIPTION, WEIGHTS))


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
    return [DESCRIPTION, WEIGHTS] if {DESCRIPTION, WEIGHTS} <= {*found} else found


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
