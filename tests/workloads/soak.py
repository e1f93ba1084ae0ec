"""A hundred trainings killed at random moments: `make soak`. Minutes on 2 cores.

Each goes on from what the one before left. An epoch is one step, so that most of the time passes in writing
checkpoints. Every tenth is one of two processes with a part of the model each, killed together.
"""

from __future__ import annotations

import random
import re
import sys
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import psutil

from tests.workloads.steps import Running, run

ROUNDS = 100
LONGEST_SECONDS = 0.5
"""Between an epoch's line and the kill: several epochs, each with a checkpoint."""
OPTIONS = ("--epochs", 100_000, "--batch-size", 1438, "--checkpoint-minutes", 0)
SHARDED = ("--sharding", "full")
EPOCH = re.compile(r"^epoch (\d+)/", re.MULTILINE)
GOING_ON = re.compile(r"^going on from step-\d+: epoch (\d+) step 0$", re.MULTILINE)


@dataclass(frozen=True)
class Killed:
    """A training that was killed.

    Attributes:
        began: epochs that were done when it began, by the checkpoint that it went on from.
        reached: epochs that it said it had done when it was killed.
        half_written: whether the kill left a checkpoint without a marker.
    """

    began: int
    reached: int
    half_written: bool


def kill_one(data: Path, out: Path, after: float, processes: int = 1) -> Killed:
    """Trains, or goes on, until some seconds after the first epoch's line, and kills all its processes."""
    sharded = SHARDED if processes > 1 else ()
    running = Running("train", "--data", data, "--out", out, *OPTIONS, *sharded, processes=processes)
    running.wait_for("/100000  loss")
    threading.Event().wait(after)
    processes_of_it = running.processes()
    for process in processes_of_it:
        process.kill()
    _, printed, errors = running.end()
    psutil.wait_procs(processes_of_it, timeout=10)
    assert "passed over" not in printed, printed
    assert "Traceback" not in errors, errors
    epochs = [int(number) for number in EPOCH.findall(printed)]
    found = GOING_ON.search(printed)
    left = any(not (folder / "state.json").exists() for folder in (out / "checkpoints").glob("step-*"))
    return Killed(int(found[1]) - 1 if found else 0, epochs[-1], left)


def rounds(data: Path, out: Path, count: int, seed: int, sharded_every: int = 0) -> Iterator[Killed]:
    """Kills so many trainings, each of which goes on from what the one before left.

    Raises:
        AssertionError: one lost more than the epoch in which it was killed and the one whose checkpoint was written.
    """
    chance, former = random.Random(seed), Killed(0, 0, False)  # noqa: S311 - the same moments each time
    for number in range(count):
        processes = 2 if sharded_every and number % sharded_every == sharded_every - 1 else 1
        each = kill_one(data, out, chance.uniform(0, LONGEST_SECONDS), processes)
        lost = former.reached - each.began
        assert lost <= 1, f"round {number}: {lost} epochs were lost, {former} and {each}"
        yield each
        former = each


def main() -> int:
    """Kills a hundred trainings, and prints what they lost."""
    with tempfile.TemporaryDirectory() as scratch:
        data, out = Path(scratch, "data"), Path(scratch, "run")
        done = run("prepare", "--dataset", "digits", "--out", data)
        assert done.returncode == 0, done.stderr
        killed = list[Killed]()
        for each in rounds(data, out, ROUNDS, seed=1, sharded_every=10):
            killed.append(each)
            if len(killed) % 10 == 0:
                print(f"{len(killed)} of {ROUNDS} killed, the last one in epoch {each.reached + 1}", flush=True)
        losses = [former.reached - later.began for former, later in pairwise(killed)]
        print(
            f"{len(killed)} trainings killed, each went on from a whole checkpoint; "
            f"{sum(each.half_written for each in killed)} of the kills cut one off that was being written; "
            f"lost: at most {max(losses)} epoch beyond the one under way, in {sum(loss > 0 for loss in losses)} of them"
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
