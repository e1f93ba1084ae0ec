"""What compressing brings and costs on CIFAR-10, where its pictures are at hand: `make bench CIFAR10=/path/to/it`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.measure import Figure

MODULE = [sys.executable, "-m", "accelstack_workloads"]
EPOCHS = {"prune": "3", "quantize": "1", "distill": "6"}


def figures() -> Iterator[Figure]:
    """Size, speed and accuracy of each method beside the original, in their fastest forms on one thread."""
    data = os.environ.get("CIFAR10")
    if not data:
        print("compression: not measured; give CIFAR-10's folder of train/CLASS and test/CLASS as CIFAR10=/path/to/it")
        return
    with tempfile.TemporaryDirectory() as folder:
        prepared, run = f"{folder}/data", f"{folder}/run"
        _step("prepare", "--dataset", data, "--out", prepared)
        _step("train", "--data", prepared, "--out", run, "--epochs", "6")
        reports = {method: _compressed(method, prepared, run, f"{folder}/{method}") for method in EPOCHS}
    for method, report in reports.items():
        bound = method == "quantize"
        lost = -100 * report["changes"]["accuracy"]
        yield Figure(f"{method}, times smaller", report["smaller"], 3.8 if bound else None, at_least=True)
        for batch, faster in report["faster"].items():
            yield Figure(f"{method}, times faster at batch {batch}", faster, 1.7 if bound else None, at_least=True)
        yield Figure(f"{method}, points of accuracy lost", lost, 0.5 if bound else None, unit="")


def _compressed(method: str, data: str, run: str, out: str) -> dict[str, Any]:
    options = ("--data", data, "--out", out, "--method", method, "--epochs", EPOCHS[method])
    _step("compress", "--model", f"{run}/model", *options)
    return json.loads(Path(out, "compression.json").read_text())


def _step(*arguments: str) -> None:
    subprocess.run([*MODULE, *arguments], check=True, capture_output=True)
