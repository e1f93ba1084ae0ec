"""Measures what the README promises and prints each figure beside its limit: `make bench [ONLY=name,name]`.

Figures are ratios or times of one run of this program; compared commands run in turn, and medians are taken.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable

from tests.benchmarks import (
    accuracy,
    aws,
    compression,
    engine,
    first_answer,
    imports,
    kubernetes,
    new_machine,
    plan,
    training,
)
from tests.benchmarks.measure import Figure

BENCHMARKS: dict[str, Callable[[], Iterable[Figure]]] = {
    "imports": imports.figures,
    "plan": plan.figures,
    "engine": engine.figures,
    "aws": aws.figures,
    "kubernetes": kubernetes.figures,
    "first_answer": first_answer.figures,
    "accuracy": accuracy.figures,
    "compression": compression.figures,
    "training": training.figures,
    "new_machine": new_machine.figures,
}


def main() -> int:
    """Runs the chosen benchmarks; the exit code says whether every limit held."""
    chosen = [name for name in os.environ.get("ONLY", "").split(",") if name] or [*BENCHMARKS]
    unknown = set(chosen) - BENCHMARKS.keys()
    if unknown:
        print(f"error: ONLY: no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
        return 2
    missed = 0
    for name in chosen:
        for figure in BENCHMARKS[name]():
            missed += not figure.holds
            print(figure, flush=True)
    return min(missed, 1)


if __name__ == "__main__":
    sys.exit(main())
