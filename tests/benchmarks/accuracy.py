"""Accuracy on held-out CIFAR-10, where its pictures are at hand: `make bench CIFAR10=/path/to/cifar10`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Figure, timed

MODULE = ["-m", "accelstack_workloads"]


def figures() -> Iterator[Figure]:
    """Accuracy after 10 epochs on two processes."""
    data = os.environ.get("CIFAR10")
    if not data:
        print("CIFAR-10 accuracy: not measured; give its folder of train/CLASS and test/CLASS as CIFAR10=/path/to/it")
        return
    with tempfile.TemporaryDirectory() as folder:
        prepared, run = Path(folder, "data"), Path(folder, "run")
        prepare = timed([sys.executable, *MODULE, "prepare", "--dataset", data, "--out", str(prepared)])
        torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "--log-dir", folder]
        train = timed(
            [
                *(sys.executable, *torchrun, *MODULE, "train", "--data", str(prepared), "--out", str(run)),
                *("--epochs", "10", "--batch-size", "64", "--learning-rate", "0.005", "--seed", "0"),
            ],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        evaluate = [sys.executable, *MODULE, "evaluate", "--model", str(run / "model"), "--data", str(prepared)]
        subprocess.run([*evaluate, "--out", str(run)], check=True, capture_output=True)
        accuracy = json.loads((run / "evaluation.json").read_text())["accuracy"]
    note = f"prepared in {prepare.seconds:.0f} s, trained in {train.seconds:.0f} s"
    yield Figure("CIFAR-10, held-out accuracy after 10 epochs", accuracy, 0.70, unit="", at_least=True, note=note)
