"""From `make up`, with tools and packages in place, to the first right answer of the service."""

from __future__ import annotations

import json
import re
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Figure
from tests.engine import checkout as checkouts
from tests.engine.test_lifecycle import answer, handwritten_zero


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
        finally:
            checkout.tool("down")
    metrics = outputs["training"]["metrics"]
    steps = metrics["step_seconds"]
    yield Figure("make up to the first right answer", seconds, 60, unit="s", note=json.dumps(steps))
    yield Figure("  of which without training", seconds - steps["train"], 10, unit="s")
    yield Figure("digits, held-out accuracy", metrics["accuracy"], 0.98, unit="", at_least=True)
