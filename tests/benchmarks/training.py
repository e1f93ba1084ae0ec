"""Samples per second of the trainer beside peers, on the same data, threads and precision: `make bench ONLY=training`.

Pictures are those of CIFAR10=/path/to/it, recordings those of FSDD=/path/to/recordings; without them made-up ones stand
in, of the same size.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

import numpy as np
from PIL import Image
from scipy.io import wavfile

from tests.benchmarks.measure import Figure

ROUNDS = 5
MODULE = [sys.executable, "-m", "accelstack_workloads"]
PEERS = [sys.executable, "-m", "tests.benchmarks.peers"]
PICTURES, CLASSES, RECORDINGS = 10_000, 10, 400
Contestant = Callable[[], float]


def figures() -> Iterator[Figure]:
    """Ratios of medians of interleaved runs, in separate processes, each with as many threads as the machine has."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        pictures = _prepared(place, "vision", os.environ.get("CIFAR10") or _made_up_pictures(place / "pictures"))
        for size, loop, lightning in ((64, 1.9, 2.1), (256, 1.8, None)):
            rates = _rates(
                ours=_trainer(place, pictures, size, 1),
                plain=_peer("plain", pictures, size, 1),
                lightning=_peer("lightning", pictures, size, 1),
            )
            yield _ratio(f"vision, batch {size} / DataLoader loop", rates, "plain", loop)
            yield _ratio(f"vision, batch {size} / Lightning", rates, "lightning", lightning)
        rates = _rates(
            two=_trainer(place, pictures, 64, 1, processes=2, threads=1),
            one=_trainer(place, pictures, 64, 1, threads=2),
        )
        yield _ratio("vision, 2 processes x 1 thread / 1 x 2", rates, "one", 1.3)
        with _busy_core():
            usual = {"OMP_WAIT_POLICY": "", "MALLOC_MMAP_THRESHOLD_": "131072", "MALLOC_TRIM_THRESHOLD_": "131072"}
            rates = _rates(
                ours=_trainer(place, pictures, 64, 1), usual=_trainer(place, pictures, 64, 1, environment=usual)
            )
        yield _ratio("vision beside a busy process / usual OpenMP", rates, "usual", 1.8)

        rows = _prepared(place, "tabular", "breast-cancer")
        rates = _rates(
            ours=_trainer(place, rows, 32, 60),
            plain=_peer("plain", rows, 32, 60),
            sklearn=_peer("sklearn", rows, 32, 60),
        )
        yield _ratio("tabular, batch 32 / DataLoader loop", rates, "plain", 1.5)
        yield _ratio("tabular, batch 32 / scikit-learn", rates, "sklearn", 1.2)

        windows = _prepared(place, "text", "python-topics")
        rates = _rates(ours=_trainer(place, windows, 16, 1), fused=_peer("fused", windows, 16, 1))
        yield _ratio("text / fused eager", rates, "fused", 1.1)

        sounds = os.environ.get("FSDD") or _made_up_recordings(place / "sounds")
        recordings = _prepared(place, "speech", sounds)
        rates = _rates(ours=_trainer(place, recordings, 32, 1), plain=_peer("plain", recordings, 32, 1))
        ratio = _ratio("", rates, "plain", None)
        yield Figure("speech, epoch time / DataLoader loop", 1 / ratio.value, 0.7, note=ratio.note)


def _rates(**contestants: Contestant) -> dict[str, float]:
    """Samples per second of each: the medians of runs in turn."""
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(ROUNDS):
        for name, run in contestants.items():
            rates[name].append(run())
    return {name: median(found) for name, found in rates.items()}


def _ratio(name: str, rates: dict[str, float], peer: str, limit: float | None) -> Figure:
    first = next(iter(rates))
    note = f"{rates[first]:,.0f} and {rates[peer]:,.0f} samples/s"
    return Figure(name, rates[first] / rates[peer], limit, at_least=True, note=note)


def _trainer(
    place: Path,
    data: Path,
    batch_size: int,
    epochs: int,
    *,
    processes: int = 1,
    threads: int | None = None,
    environment: dict[str, str] | None = None,
) -> Contestant:
    """The project's own training, as its command line starts it."""
    variables = {**os.environ, "OMP_NUM_THREADS": str(threads or os.cpu_count() or 1), **(environment or {})}

    def run() -> float:
        with tempfile.TemporaryDirectory(dir=place) as out:
            launcher = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]
            launcher = [*launcher, "--log-dir", f"{out}/launcher"] if processes > 1 else []
            settings = ("--epochs", str(epochs), "--batch-size", str(batch_size))
            step = ("train", "--data", str(data), "--out", f"{out}/run", *settings)
            command = [sys.executable, *launcher, "-m", "accelstack_workloads", *step]
            subprocess.run(command, check=True, capture_output=True, env=variables)
            return json.loads(Path(out, "run", "training.json").read_text())["samples_per_second"]

    return run


def _peer(peer: str, data: Path, batch_size: int, epochs: int) -> Contestant:
    command = [*PEERS, peer, str(data), str(batch_size), str(epochs)]
    variables = {**os.environ, "OMP_NUM_THREADS": str(os.cpu_count() or 1)}

    def run() -> float:
        return float(subprocess.run(command, check=True, capture_output=True, env=variables).stdout)

    return run


def _prepared(place: Path, workload: str, dataset: str) -> Path:
    out = place / f"prepared-{workload}"
    step = ("prepare", "--workload", workload, "--dataset", dataset, "--out", str(out))
    subprocess.run([*MODULE, *step], check=True, capture_output=True)
    return out


@contextmanager
def _busy_core() -> Iterator[None]:
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as busy:
        try:
            yield
        finally:
            busy.kill()


def _made_up_pictures(folder: Path) -> str:
    generator = np.random.default_rng(0)
    for number in range(PICTURES):
        path = folder / str(number % CLASSES) / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(generator.integers(0, 256, (32, 32, 3), np.uint8)).save(path)
    return str(folder)


def _made_up_recordings(folder: Path) -> str:
    folder.mkdir()
    generator = np.random.default_rng(0)
    for number in range(RECORDINGS):
        sound = generator.normal(0, 1000, int(generator.uniform(0.3, 0.6) * 8000)).astype(np.int16)
        wavfile.write(folder / f"{number % CLASSES}_made_{number}.wav", 8000, sound)
    return str(folder)
