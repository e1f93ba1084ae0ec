"""From `make up`, with tools and packages in place, to the first right answer of the service."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Figure
from tests.engine import checkout as checkouts
from tests.engine.test_lifecycle import answer, handwritten_zero


def training_seconds(path: Path, outputs: dict[str, Any]) -> float:
    """From the end of the data's preparation to the end of training and evaluation, by the times of their files."""
    (prepared,) = path.glob(".accelstack/stacks/local/store/datasets/*/manifest.json")
    return Path(outputs["training"]["metrics"]["evaluation"]).stat().st_mtime - prepared.stat().st_mtime


def figures() -> Iterator[Figure]:
    """Seconds in all, and without the training step itself; accuracy of the default settings."""
    with tempfile.TemporaryDirectory() as folder:
        checkout = checkouts.make(Path(folder) / "checkout")
        picture = handwritten_zero()
        try:
            began = time.perf_counter()
            result = checkout.tool("up")
            assert result.returncode == 0, result.stdout + result.stderr
            address = re.search(r"Try it: (\S+)/ ", result.stdout)
            assert address
            assert answer(address[1], picture) == 0
            seconds = time.perf_counter() - began
            outputs = checkout.outputs()
            train = training_seconds(checkout.path, outputs)
        finally:
            checkout.tool("down")
    yield Figure("make up to the first right answer", seconds, 60, unit="s")
    yield Figure("  of which without training", seconds - train, 10, unit="s", note=f"training {train:.2f} s")
    accuracy = outputs["training"]["metrics"]["accuracy"]
    yield Figure("digits, held-out accuracy", accuracy, 0.98, unit="", at_least=True)
