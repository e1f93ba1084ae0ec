"""One step of a compiled pipeline: it runs on the pod's own disk, and its results are then copied to where the pipeline
wants them. That may be a mounted bucket, where a folder cannot be renamed and files cannot be locked.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

from accelstack_workloads.errors import EXIT_BAD_INPUT, WorkloadError
from accelstack_workloads.lifeline import PARENT_VARIABLE
from accelstack_workloads.steps import Steps

LEFT = ("checkpoints", ".lock")
"""What nothing after a training takes."""


def run(out: Path, arguments: list[str]) -> int:
    """Runs a step's command line; gives its exit status.

    Raises:
        WorkloadError: the step refused its input, or `out` cannot be written.
    """
    os.environ[PARENT_VARIABLE] = str(os.getpid())
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch, "out")
        status, said = Steps().run([[sys.executable, "-m", "accelstack_workloads", *arguments, "--out", str(made)]])
        if status == EXIT_BAD_INPUT:
            raise WorkloadError(said.partition(": ")[2] or said)
        if status:
            return status
        try:
            shutil.copytree(
                made, out, ignore=shutil.ignore_patterns(*LEFT), copy_function=shutil.copyfile, dirs_exist_ok=True
            )
        except OSError as error:
            raise WorkloadError(
                f"--out: {out} cannot be written ({error.strerror}); give a folder you may write to"
            ) from error
    return 0
