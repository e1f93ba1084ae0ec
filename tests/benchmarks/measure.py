"""Times commands and watches their memory; the figures that come of it."""

from __future__ import annotations

import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil


@dataclass(frozen=True)
class Figure:
    """One measured value beside its limit.

    Attributes:
        name: what was measured.
        value: the figure, in `unit`.
        limit: the value that it must keep; None where nothing is promised.
        unit: such as `s` or `x` (a ratio).
        at_least: whether the limit is a lower one.
        note: how it came about.
    """

    name: str
    value: float
    limit: float | None = None
    unit: str = "x"
    at_least: bool = False
    note: str = ""

    @property
    def holds(self) -> bool:
        """Whether the limit, if there is one, is kept."""
        if self.limit is None:
            return True
        return self.value >= self.limit if self.at_least else self.value <= self.limit

    def __str__(self) -> str:
        limit = "" if self.limit is None else f"{'>=' if self.at_least else '<='} {self.limit:g} {self.unit}"
        verdict = "" if self.limit is None else ("ok" if self.holds else "MISSED")
        return f"{self.name:<52} {self.value:>9.3f} {self.unit:<2} {limit:>11}  {verdict:<6} {self.note}".rstrip()


@dataclass(frozen=True)
class Run:
    """One run of a command: wall seconds, and peak resident memory of it and all that it started, in MiB."""

    seconds: float
    memory_mib: float


def timed(command: Sequence[str], cwd: Path | None = None, env: Mapping[str, str] | None = None) -> Run:
    """Runs a command to its end.

    Raises:
        subprocess.CalledProcessError: it failed.
    """
    began = time.perf_counter()
    with subprocess.Popen(command, cwd=cwd, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        peak = 0.0
        over = threading.Event()

        def watch() -> None:
            nonlocal peak
            while not over.wait(0.1):
                peak = max(peak, resident_mib(process.pid))

        watcher = threading.Thread(target=watch)
        watcher.start()
        output, _ = process.communicate()
        seconds = time.perf_counter() - began
        over.set()
        watcher.join()
    if process.returncode:
        raise subprocess.CalledProcessError(process.returncode, command, output)
    return Run(seconds, peak)


def resident_mib(pid: int) -> float:
    """Resident memory of a process and all that it started, in MiB."""
    total = 0
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0.0
    for process in family:
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total / 2**20


def medians(runs: Sequence[Run]) -> Run:
    """The median of each measure."""
    return Run(median(run.seconds for run in runs), median(run.memory_mib for run in runs))
