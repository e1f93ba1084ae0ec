"""Training: what it reaches, and that interruptions of every kind cost nothing but time."""

from __future__ import annotations

import json
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
import torch
from accelstack_workloads import model_format
from accelstack_workloads.datasets import prepared
from accelstack_workloads.group import Group
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.sampling import Augmentation, batch, order
from accelstack_workloads.settings import Execution, Settings
from accelstack_workloads.train import Position, Trainer
from safetensors.torch import load_file

from tests.workloads.steps import Running, run

QUICK = ("--epochs", 5, "--batch-size", 12, "--seed", 3)
PROCESSES = 3  # with two, a + b is the same in any order, and a change of order would not show
LONG = ("--epochs", 2000, "--batch-size", 16)
STOPPED = re.compile(r"stopped after checkpoint at epoch (\d+) step (\d+); run again to go on")


class StopAfter:
    """A stop request that arrives when it was asked about so many times."""

    def __init__(self, questions: int) -> None:
        self.questions = questions

    def __bool__(self) -> bool:
        self.questions -= 1
        return self.questions < 0


@pytest.fixture
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def trainer(data: Path, folder: Path, epochs: int = 2) -> Trainer:
    loaded = prepared.load(data)
    return Trainer(
        loaded,
        RunFolder(folder),
        Settings(loaded.digest, epochs, 64, 0.005, 1, "cnn"),
        Group(0, 1, torch.device("cpu")),
        Execution(),
    )


def weights(run_folder: Path) -> dict[str, torch.Tensor]:
    return load_file(run_folder / "model" / "model.safetensors")


def same(ones: dict[str, torch.Tensor], others: dict[str, torch.Tensor]) -> bool:
    return ones.keys() == others.keys() and all(torch.equal(ones[name], others[name]) for name in ones)


@pytest.fixture(scope="module")
def uninterrupted(digits_data: Path) -> Path:
    """A run of several processes from beginning to end."""
    folder = digits_data.parent / "uninterrupted"
    done = run("train", "--data", digits_data, "--out", folder, *QUICK, processes=PROCESSES)
    assert done.returncode == 0, done.stderr
    return folder


def test_the_default_settings_learn_the_digits(digits_run: Path) -> None:
    output = (digits_run / "stdout").read_text()
    assert re.search(
        r"^epoch 20/20  loss 0\.\d{4}  accuracy 0\.9\d\d  rate [\d,]+ images/s  left 0 s$", output, re.MULTILINE
    )
    lines = [json.loads(line) for line in (digits_run / "metrics.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == list(range(1, 21))
    assert lines[-1]["loss"] < lines[0]["loss"]
    result = json.loads((digits_run / "training.json").read_text())
    assert result["resumed_from"] is None
    assert result["world_size"] == 1
    assert result["settings"]["batch_size"] == 64
    assert result["versions"]["torch"] == torch.__version__
    assert result["model"]["digest"] == model_format.digest(digits_run / "model")


def test_a_finished_run_is_not_repeated(digits_data: Path, digits_run: Path) -> None:
    before = (digits_run / "training.json").stat().st_mtime_ns
    again = run("train", "--data", digits_data, "--out", digits_run)
    assert again.returncode == 0
    assert again.stdout.startswith("already trained: ")
    assert (digits_run / "training.json").stat().st_mtime_ns == before


def test_a_finished_run_is_not_overwritten_with_other_settings(digits_data: Path, digits_run: Path) -> None:
    other = run("train", "--data", digits_data, "--out", digits_run, "--epochs", 7)
    assert other.returncode == 2
    assert "--epochs is 7 and was 20" in other.stderr


def test_a_run_stopped_in_mid_epoch_ends_with_exactly_the_same_weights(
    digits_data: Path, tmp_path: Path, one_thread: None
) -> None:
    whole = trainer(digits_data, tmp_path / "whole")
    assert whole.fit(whole.resume(), StopAfter(99)) == Position(2, 0)
    whole.finish(Position(0, 0))

    stopped = trainer(digits_data, tmp_path / "parts")
    assert stopped.fit(stopped.resume(), StopAfter(4)) == Position(1, 8)  # asked at steps 0, 8 and 16 of an epoch
    resumed = trainer(digits_data, tmp_path / "parts")
    start = resumed.resume()
    assert start == Position(1, 8)
    assert resumed.fit(start, StopAfter(99)) == Position(2, 0)
    resumed.finish(start)

    assert same(weights(tmp_path / "parts"), weights(tmp_path / "whole"))
    assert model_format.digest(tmp_path / "parts" / "model") == model_format.digest(tmp_path / "whole" / "model")
    metrics = [json.loads(line) for line in (tmp_path / "parts" / "metrics.jsonl").read_text().splitlines()]
    expected = [json.loads(line) for line in (tmp_path / "whole" / "metrics.jsonl").read_text().splitlines()]
    assert [line["loss"] for line in metrics] == [line["loss"] for line in expected]
    result = json.loads((tmp_path / "parts" / "training.json").read_text())
    assert result["resumed_from"] == {"epoch": 2, "step": 8}


def test_processes_stopped_by_sigterm_go_on_to_exactly_the_same_weights(
    digits_data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    arguments = ("train", "--data", digits_data, "--out", tmp_path / "run", *QUICK)
    running = Running(*arguments, processes=PROCESSES)
    running.wait_for("epoch 2/5")
    processes = running.processes()
    running.process.send_signal(signal.SIGTERM)
    status, output, errors = running.end()
    assert status != 0
    assert STOPPED.search(output), output + errors
    assert not psutil.wait_procs(processes, timeout=10)[1]
    assert not (tmp_path / "run" / "training.json").exists()

    again = run(*arguments, processes=PROCESSES)
    assert again.returncode == 0, again.stderr
    assert "going on from" in again.stdout
    assert same(weights(tmp_path / "run"), weights(uninterrupted))


def test_a_killed_worker_leaves_no_process_and_the_next_run_goes_on(
    digits_data: Path, tmp_path: Path, uninterrupted: Path
) -> None:
    arguments = ("train", "--data", digits_data, "--out", tmp_path / "run", *QUICK)
    running = Running(*arguments, processes=PROCESSES)
    running.wait_for("epoch 2/5")
    processes, workers = running.processes(), running.workers
    assert len(workers) == PROCESSES
    workers[1].kill()
    status, _, _ = running.end()
    assert status != 0
    assert not psutil.wait_procs(processes, timeout=10)[1]

    again = run(*arguments, processes=PROCESSES)
    assert again.returncode == 0, again.stderr
    assert "going on from" in again.stdout
    assert same(weights(tmp_path / "run"), weights(uninterrupted))


def test_workers_do_not_outlive_a_killed_torchrun(digits_data: Path, tmp_path: Path) -> None:
    running = Running("train", "--data", digits_data, "--out", tmp_path / "run", *LONG, processes=2)
    running.wait_for("epoch 2/2000")
    processes = running.processes()
    running.process.kill()
    _, output, _ = running.end()
    assert not psutil.wait_procs(processes, timeout=20)[1]
    assert STOPPED.search(output)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_repeated_signals_stop_it_once_after_a_checkpoint(digits_data: Path, tmp_path: Path, number: int) -> None:
    running = Running("train", "--data", digits_data, "--out", tmp_path, *LONG)
    running.wait_for("epoch 1/2000")
    for _ in range(20):
        running.process.send_signal(number)
    status, output, errors = running.end()
    assert (status, errors) == (3, "")
    assert len(STOPPED.findall(output)) == 1
    assert list((tmp_path / "checkpoints").glob("step-*/state.json"))


def test_it_stops_when_its_parent_has_ended(digits_data: Path, tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as parent:
        running = Running(
            "train", "--data", digits_data, "--out", tmp_path, *LONG, ACCELSTACK_PARENT_PID=str(parent.pid)
        )
        running.wait_for("epoch 1/2000")
        parent.kill()  # and not waited for: a zombie counts as gone
        status, output, _ = running.end()
    assert status == 3
    assert STOPPED.search(output)


def test_a_full_disk_ends_training_and_keeps_the_older_checkpoint(digits_data: Path, tmp_path: Path) -> None:
    arguments = ("train", "--data", digits_data, "--out", tmp_path, "--epochs", 30, "--batch-size", 16)
    running = Running(*arguments)
    running.wait_for("epoch 2/30")
    psutil.Process(running.process.pid).rlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
    status, output, errors = running.end()
    assert status == 2, output
    assert re.fullmatch(
        rf"error: out: {tmp_path}/checkpoints/step-\d+ cannot be written \(File too large\);.*\n", errors
    )
    left = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert left
    assert all(re.fullmatch(r"step-\d{9}", name) for name in left)

    resumed = Running(*arguments)
    resumed.wait_for(f"going on from {left[-1]}")
    resumed.process.send_signal(signal.SIGTERM)
    assert resumed.end()[0] == 3


def test_a_checkpoint_of_other_settings_is_refused(digits_data: Path, tmp_path: Path) -> None:
    stopped = trainer(digits_data, tmp_path, epochs=2)
    stopped.fit(stopped.resume(), StopAfter(1))
    with pytest.raises(ValueError, match=r"step-\d+ was made with other settings \(--epochs is 9 and was 2\); give"):
        trainer(digits_data, tmp_path, epochs=9).resume()


def test_a_batch_must_divide_by_the_processes(digits_data: Path, tmp_path: Path) -> None:
    loaded = prepared.load(digits_data)
    settings = Settings(loaded.digest, 1, 64, 0.005, 1, "cnn")
    with pytest.raises(
        ValueError, match="--batch-size: 64 is shared by 3 processes and must be a multiple of 3; give 66"
    ):
        Trainer(loaded, RunFolder(tmp_path), settings, Group(0, 3, torch.device("cpu")), Execution())


def test_two_trainings_do_not_share_a_folder(
    digits_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("accelstack_workloads.run_folder.LOCK_SECONDS", 0)
    with RunFolder(tmp_path).lock(), pytest.raises(ValueError, match="is in use by another training"):
        RunFolder(tmp_path).lock().__enter__()
    with RunFolder(tmp_path).lock():
        pass


def test_every_picture_is_seen_in_every_epoch_in_another_order() -> None:
    first, second = order(0, 0, 100), order(0, 1, 100)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(100))
    assert not torch.equal(first, second)
    seen = torch.cat([batch(first, step, 32) for step in range(4)])
    assert sorted(set(seen.tolist())) == list(range(100))
    assert len(seen) == 128


def test_augmentation_moves_pictures_and_mirrors_only_coloured_ones() -> None:
    image = torch.arange(3 * 32 * 32, dtype=torch.float32).reshape(1, 3, 32, 32)
    colour = Augmentation((3, 32, 32), seed=0)
    choices = colour.draw(0, 0, 1000)
    assert choices.min(0).values.tolist() == [0, 0, 0]
    assert choices.max(0).values.tolist() == [1, 4, 4]
    assert torch.equal(choices, colour.draw(0, 0, 1000))
    assert not torch.equal(choices, colour.draw(0, 1, 1000))
    unmoved = torch.tensor([[0, 2, 2]])
    assert torch.equal(colour.apply(image, unmoved), image)
    assert torch.equal(colour.apply(image, torch.tensor([[1, 2, 2]])), image.flip(3))
    assert torch.equal(colour.apply(image, torch.tensor([[0, 3, 2]]))[:, :, :31], image[:, :, 1:])
    assert Augmentation((1, 8, 8), seed=0).draw(0, 0, 1000)[:, 0].max() == 0
