"""Writes a model in forms that other programs run, each tried beside the model before it is kept."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelstack_workloads import model_format
from accelstack_workloads.atomic import new_folder, write_file
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.exports import FORMATS, trial

REPORT = "export.json"


def export(model_folder: Path, out: Path, formats: Sequence[str]) -> dict[str, Any]:
    """Writes the forms and `export.json` into `out`, and gives the latter's content.

    `out` appears whole, or not at all.

    Args:
        model_folder: a model directory.
        out: where the forms go, each under a name of its own.
        formats: which of `FORMATS`.

    Raises:
        WorkloadError: a format is not known or needs what is not installed, a form differs from the model, the model
            cannot be read, or `out` cannot be written.
    """
    unknown = [name for name in formats if name not in FORMATS]
    if unknown:
        raise WorkloadError(f"--format: {unknown[0]!r} is not known; use some of: {', '.join(FORMATS)}")
    model = model_format.load(model_folder)
    with new_folder(out, marker=REPORT) as folder:
        found = {name: _writer(name, model, model_folder)(folder) for name in dict.fromkeys(formats)}
        report = {
            "model": {"path": str(model_folder), "digest": model_format.digest(model_folder)},
            "formats": {name: {"largest_difference": largest} for name, largest in found.items()},
            "tolerance": trial.TOLERANCE,
            "batches": [*trial.BATCHES],
            "torch": version("torch"),
        }
        write_file(folder / REPORT, (json.dumps(report, indent=2) + "\n").encode())
    return report


def table(report: dict[str, Any]) -> str:
    """A report as lines for people."""
    lines = [f"{'format':<10}  largest difference, of {report['tolerance']:g} that are taken"]
    lines += [f"{name:<10}  {of['largest_difference']:.2g}" for name, of in report["formats"].items()]
    return "\n".join(lines)


def _writer(name: str, model: model_format.Model, model_folder: Path) -> Callable[[Path], float]:
    """What writes a form into a folder, and gives its largest difference from the model."""
    module = import_module(f"accelstack_workloads.{FORMATS[name]}")
    return partial(module.write, model_folder if name == "tensorflow" else model)
