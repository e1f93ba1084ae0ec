"""Searches for settings: trials in processes of their own, which share a study; the best are written for `train`."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import IO, Any

import optuna
from optuna.trial import TrialState

from accelstack_workloads.atomic import write_file
from accelstack_workloads.datasets.prepared import read_manifest
from accelstack_workloads.errors import EXIT_BAD_INPUT, EXIT_STOPPED, WorkloadError
from accelstack_workloads.folder_lock import alone
from accelstack_workloads.lifeline import PARENT_VARIABLE, StopRequest
from accelstack_workloads.progress import say
from accelstack_workloads.tuning import plots, studies
from accelstack_workloads.tuning.effort import Effort
from accelstack_workloads.tuning.search import Search
from accelstack_workloads.tuning.space import Space, space
from accelstack_workloads.tuning.worker import REASON, line

BEST = "best.json"
POLL_SECONDS = 0.3
END_SECONDS = 10  # that a trial's process has to end when it is asked to
TOLD = ("epochs", "batch_size", "learning_rate", "seed", "architecture", "schedule", "sizes")
"""Settings that `train` takes from a search."""


def tune(search: Search, out: Path, effort: Effort) -> tuple[int, dict[str, Any]]:
    """Runs what is left of a study; writes `best.json` and pictures into `out`.

    Asked to stop, or out of time, it ends its trials, which the next run tries again.

    Returns:
        0 done or out of time, 3 stopped on request; and the content of `best.json`, empty where no trial has ended.

    Raises:
        WorkloadError: data, study or folder cannot be used, or no trial could be trained.
    """
    bounds = space(search, read_manifest(search.data)["counts"]["train"])
    with alone(out), studies.quiet():
        study = studies.join(search, bounds)
        again = studies.recover(study)
        say(f"study {search.name}: {len(studies.spent(study))} of {effort.trials} trials have ended")
        if again:
            say(f"tried again, as their processes are gone: trials {', '.join(map(str, again))}")
        stop = StopRequest()
        Runs(search, out, effort, study).run(stop)
        report = _report(search, study, bounds)
        if report:
            write_file(out / BEST, (json.dumps(report, indent=2) + "\n").encode())
            for name, content in plots.draw(study).items():
                write_file(out / name, content)
    return EXIT_STOPPED if stop else 0, report


class Runs:
    """The processes of a search on this machine, a trial each.

    Args:
        search: what is searched.
        out: folder for what they write.
        effort: how much is tried.
        study: that they share.
    """

    def __init__(self, search: Search, out: Path, effort: Effort, study: optuna.Study) -> None:
        self.search, self.effort, self.study = search, effort, study
        self.trials = out / "trials"
        self.running: list[tuple[subprocess.Popen[bytes], IO[bytes]]] = []
        self.shown = {trial.number for trial in studies.spent(study)}
        self.killed = 0

    def run(self, stop: StopRequest) -> None:
        """Has trials run until enough have ended, time is up, or somebody asks to stop.

        Raises:
            WorkloadError: a process refused its input, or processes are killed again and again.
        """
        end = time.monotonic() + (self.effort.timeout or float("inf"))
        try:
            while not stop and time.monotonic() < end:
                self._reap()
                wanted = self.effort.trials - self._show() - len(self.running)
                if wanted <= 0 and not self.running:
                    return
                for _ in range(min(wanted, self.effort.jobs - len(self.running))):
                    self._launch()
                threading.Event().wait(POLL_SECONDS)
        finally:
            self._end()
            self._show()

    def _launch(self) -> None:
        """Starts a trial's process; together they have as many threads as this machine has processors."""
        search = self.search
        words = ["--data", search.data, "--out", self.trials, "--trials", self.effort.trials]
        words += ["--architecture", search.architecture, "--epochs", search.epochs, "--seed", search.seed]
        words += ["--study", search.storage] if "://" in search.storage else ["--journal", search.storage]
        threads = max(1, (os.cpu_count() or 1) // self.effort.jobs)
        said = tempfile.TemporaryFile()  # noqa: SIM115 - closed when the process has ended
        process = subprocess.Popen(
            [sys.executable, "-m", "accelstack_workloads", "tune", "worker", *map(str, words)],
            stdout=said,
            stderr=subprocess.STDOUT,
            env={"OMP_NUM_THREADS": str(threads), **os.environ, PARENT_VARIABLE: str(os.getpid())},
        )
        self.running.append((process, said))

    def _reap(self) -> None:
        ended = [each for each in self.running if each[0].poll() is not None]
        self.running = [each for each in self.running if each not in ended]
        for process, said in ended:
            said.seek(0)
            text = said.read().decode(errors="replace").strip()
            said.close()
            if process.returncode == EXIT_BAD_INPUT:
                raise WorkloadError(text.rpartition("error: ")[2])
            if process.returncode > 0:
                raise RuntimeError(f"a trial's process ended with status {process.returncode}:\n{text}")
            self.killed += process.returncode < 0
        if self.killed > self.effort.trials * (studies.MOST_RETRIES + 1):
            raise WorkloadError(
                f"--jobs: {self.killed} processes of trials were killed, perhaps for want of memory; give fewer jobs"
            )
        if ended:
            studies.recover(self.study)

    def _show(self) -> int:
        """Prints a line on each trial that has ended since; gives how many have ended."""
        ended = studies.spent(self.study)
        for trial in ended:
            if trial.number not in self.shown:
                say(line(trial))
                self.shown.add(trial.number)
        return len(ended)

    def _end(self) -> None:
        """Ends what still runs; its trials are tried again by the next run."""
        for process, _ in self.running:
            process.terminate()
        for process, said in self.running:
            try:
                process.wait(END_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            said.close()
        self.running = []
        shutil.rmtree(self.trials, ignore_errors=True)  # what killed ones left
        studies.recover(self.study)


def table(report: dict[str, Any]) -> str:
    """A report as lines for people."""
    counts = ", ".join(f"{count} {state}" for state, count in report["trials"].items())
    settings = ", ".join(f"{name.replace('_', '-')} {value}" for name, value in report["settings"].items() if value)
    return f"best of {counts}: trial {report['trial']}, loss {report['loss']:.4f} on what was kept apart\n{settings}"


def _report(search: Search, study: optuna.Study, bounds: Space) -> dict[str, Any]:
    """What `best.json` holds; nothing where no trial has ended.

    Raises:
        WorkloadError: trials have ended, and none of them well.
    """
    ended = studies.spent(study)
    complete = [trial for trial in ended if trial.state == TrialState.COMPLETE and trial.value is not None]
    if not complete:
        if ended:
            reasons = [trial.user_attrs[REASON] for trial in ended if REASON in trial.user_attrs]
            why = reasons[-1] if reasons else "they failed or were pruned"
            raise WorkloadError(
                f"tune: none of {len(ended)} trials could be trained to its end ({why}); give more --trials"
            )
        return {}
    best = min(complete, key=lambda trial: trial.value or 0.0)
    settings = asdict(bounds.settings(best.params, search))
    return {
        "settings": {name: settings[name] for name in TOLD},
        "loss": best.value,
        "trial": best.number,
        "study": search.name,
        "data": search.digest,
        "trials": dict(Counter(trial.state.name.lower() for trial in ended)),
    }
