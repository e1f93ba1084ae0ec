"""What deciding costs: a plan of one pool and of a thousand, its memory, and the command's start."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from accelstack.plan.plan import plan

from tests.benchmarks.measure import Figure, medians, timed

RUNS = 15
POOL = {"accelerator": "H100:8", "nodes": 4, "capacity": "spot"}
STACK = {"target": "aws", "region": "us-east-1"}
MEMORY = "print(int(next(line for line in open('/proc/self/status') if line.startswith('VmHWM')).split()[1]) / 1024)"
PLAN = f"from accelstack.plan.plan import plan; plan({ {**STACK, **POOL}!r}); {MEMORY}"


def figures() -> Iterator[Figure]:
    """The times of plans in a process that has read its tables, the memory of one that plans, a command's start."""
    one = {**STACK, **POOL}
    first = seconds(lambda: plan(one))
    yield Figure("plan of 1 pool", 1e3 * repeated(one), 5, unit="ms", note=f"the first one {1e3 * first:.0f} ms")
    many = {**STACK, "pools": {f"pool-{number}": POOL for number in range(1000)}}
    yield Figure("plan of 1,000 pools", repeated(many), 1, unit="s")
    bare = [measured(MEMORY) for _ in range(RUNS)]
    planning = [measured(PLAN) for _ in range(RUNS)]
    yield Figure("memory of a plan over bare Python", median(planning) - median(bare), 50, unit="MB")
    gpus, python = [str(Path(sys.executable).with_name("accelstack")), "gpus"], [sys.executable, "-c", "pass"]
    pairs = [(timed(gpus), timed(python)) for _ in range(RUNS)]
    ours, theirs = medians([a for a, _ in pairs]), medians([b for _, b in pairs])
    yield Figure("accelstack gpus", ours.seconds, 0.3, unit="s", note=f"bare Python {theirs.seconds:.3f} s")


def repeated(given: dict[str, Any]) -> float:
    """Median seconds of a plan."""
    return median(seconds(lambda: plan(given)) for _ in range(RUNS))


def seconds(action: Callable[[], object]) -> float:
    """Seconds that an action takes."""
    began = time.perf_counter()
    action()
    return time.perf_counter() - began


def measured(program: str) -> float:
    """The number that a program prints in an interpreter of its own."""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return float(done.stdout)
