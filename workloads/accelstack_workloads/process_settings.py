"""What the C library and OpenMP read as a process starts, and never again."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping

LARGE = str(2**32)  # bytes
USUAL = {
    # Tensors of a step are given back and asked for again in the next: the memory stays, instead of being cleared anew
    # by the kernel each time (mallopt(3)).
    "MALLOC_MMAP_THRESHOLD_": LARGE,
    "MALLOC_TRIM_THRESHOLD_": LARGE,
    # Threads that wait for others sleep, instead of taking the cores that these need (OpenMP 5.2, 21.7).
    "OMP_WAIT_POLICY": "PASSIVE",
}


def missing(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings that the environment does not decide itself."""
    return {name: value for name, value in USUAL.items() if name not in environment}


def start_again() -> None:
    """Begins the running command anew, as the same process, where it was started without the settings."""
    if sys.platform == "linux" and (settings := missing(os.environ)):
        command = [sys.executable, *sys.orig_argv[1:]]
        os.execve(sys.executable, command, {**os.environ, **settings})  # noqa: S606 - the very command that runs
