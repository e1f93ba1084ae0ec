"""Processes that share a model: what they learn is the same however they share it, and each goes on from any other."""

from __future__ import annotations

import json
import os
import shutil
import socket
from pathlib import Path

import pytest
import torch
from accelstack_workloads import model_format
from accelstack_workloads.cluster_store import RunStore
from accelstack_workloads.datasets import prepared
from accelstack_workloads.group import Group
from accelstack_workloads.parallel import blocks
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.settings import Execution, Settings
from accelstack_workloads.train import Position, Trainer
from safetensors.torch import load_file
from torch import nn

from tests.workloads.steps import Running, run

QUICK = ("--epochs", 2, "--batch-size", 48, "--seed", 3, "--accumulate", 2, "--clip", 1, "--patience", 5)
STEPS = 27  # in an epoch
FULL = ("--sharding", "full")


class StopAfter:
    """A stop request that arrives when it was asked about so many times."""

    def __init__(self, questions: int) -> None:
        self.questions = questions

    def __bool__(self) -> bool:
        self.questions -= 1
        return self.questions < 0


def trainer(data: Path, folder: Path, epochs: int = 2, **execution: object) -> Trainer:
    loaded = prepared.load(data)
    settings = Settings(loaded.digest, epochs, 48, 0.005, 3, "cnn", accumulate=2, clip=1, patience=5)
    return Trainer(loaded, RunFolder(folder), settings, Group(0, 1, torch.device("cpu")), Execution(**execution))


def losses(folder: Path) -> list[float]:
    return [json.loads(line)["loss"] for line in (folder / "metrics.jsonl").read_text().splitlines()]


@pytest.fixture(scope="module")
def sharded(digits_data: Path) -> Path:
    """A run of two processes that have a part of the model each."""
    folder = digits_data.parent / "sharded"
    done = run("train", "--data", digits_data, "--out", folder, *QUICK, *FULL, processes=2)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="module")
def replicated(digits_data: Path) -> Path:
    """The same run of two processes that have the whole model each."""
    folder = digits_data.parent / "replicated"
    done = run("train", "--data", digits_data, "--out", folder, *QUICK, processes=2)
    assert done.returncode == 0, done.stderr
    return folder


def first_epoch(whole: Path, folder: Path) -> Path:
    """A run that was cut off after the first epoch of another one."""
    newest, older = sorted((whole / "checkpoints").glob("step-*"), reverse=True)
    assert newest != older
    shutil.copytree(older, folder / "checkpoints" / older.name)
    return folder


def test_sharded_processes_learn_what_replicas_learn(sharded: Path, replicated: Path) -> None:
    assert losses(sharded) == pytest.approx(losses(replicated), rel=2e-3)
    ones, others = (load_file(folder / "model/model.safetensors") for folder in (sharded, replicated))
    assert {name: value.shape for name, value in ones.items()} == {name: v.shape for name, v in others.items()}
    for name, weight in ones.items():
        torch.testing.assert_close(weight, others[name], atol=5e-3, rtol=2e-2)
    assert model_format.load(sharded / "model").network is not None


def test_each_process_writes_its_part_of_a_sharded_checkpoint(sharded: Path, replicated: Path) -> None:
    for folder, shards in ((sharded, 2), (replicated, 1)):
        for checkpoint in (folder / "checkpoints").iterdir():
            assert len([*checkpoint.glob("*.safetensors")]) == shards


@pytest.mark.parametrize(("options", "processes"), [((), 2), ((), 1), (FULL, 2)])
def test_a_sharded_run_is_gone_on_with_by_others(
    digits_data: Path, tmp_path: Path, sharded: Path, options: tuple[str, ...], processes: int
) -> None:
    folder = first_epoch(sharded, tmp_path)
    done = run("train", "--data", digits_data, "--out", folder, *QUICK, *options, processes=processes)
    assert done.returncode == 0, done.stderr
    assert "going on from" in done.stdout
    assert losses(folder) == pytest.approx(losses(sharded), rel=2e-3)
    if options:
        assert (folder / "model/model.safetensors").read_bytes() == (sharded / "model/model.safetensors").read_bytes()


def test_one_process_then_two_then_one(digits_data: Path, tmp_path: Path, replicated: Path) -> None:
    alone = trainer(digits_data, tmp_path)
    stopped = alone.fit(alone.resume(), StopAfter(1))
    assert stopped == Position(0, 8)
    first = run("train", "--data", digits_data, "--out", tmp_path, *QUICK, processes=2)
    assert first.returncode == 0, first.stderr
    assert "going on from step-000000008: epoch 1 step 8" in first.stdout
    assert losses(tmp_path) == pytest.approx(losses(replicated), rel=2e-3)

    (tmp_path / "training.json").unlink()
    shutil.rmtree(max((tmp_path / "checkpoints").iterdir()))
    last = run("train", "--data", digits_data, "--out", tmp_path, *QUICK)
    assert last.returncode == 0, last.stderr
    assert f"going on from step-{STEPS:09d}: epoch 2 step 0" in last.stdout
    assert losses(tmp_path) == pytest.approx(losses(replicated), rel=2e-3)


def test_machines_without_a_shared_disk_save_and_go_on_together(digits_data: Path, tmp_path: Path) -> None:
    machines, store = [tmp_path / "here", tmp_path / "there"], RunStore((tmp_path / "store").as_uri(), "run")
    apart(digits_data, machines)
    newest, older = sorted((path.name for path in (machines[1] / "checkpoints").iterdir()), reverse=True)
    for folder in reversed(machines):  # as each one's mirror does
        assert len([*(folder / "checkpoints" / older).glob("*.safetensors")]) == 1
        store.save(folder / "checkpoints")
    assert not (machines[1] / "checkpoints" / older / "state.json").exists()
    assert store.checkpoints() == [newest, older]

    (machines[0] / "training.json").unlink()
    before = model_format.digest(machines[0] / "model")
    for folder in machines:
        shutil.rmtree(folder / "checkpoints")
        store.restore(folder / "checkpoints")
        shutil.rmtree(folder / "checkpoints" / newest)
    assert f"going on from {older}" in apart(digits_data, machines)
    assert model_format.digest(machines[0] / "model") == before


def apart(data: Path, folders: list[Path]) -> str:
    """Trains with one process on each of some machines; gives what the first says."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    place = {"LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1", "WORLD_SIZE": str(len(folders))}
    running = [
        Running(
            *("train", "--data", data, "--out", folder, *QUICK, *FULL),
            **{**place, "RANK": str(rank), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port},
        )
        for rank, folder in enumerate(folders)
    ]
    ended = [each.end() for each in running]
    assert [status for status, _, _ in ended] == [0, 0], ended
    return ended[0][1]


def test_blocks_are_the_members_of_the_outermost_lists() -> None:
    inner = nn.Sequential(nn.Linear(2, 2), nn.ReLU())
    network = nn.Module()
    network.first, network.layers = nn.Linear(2, 2), nn.ModuleList([inner, nn.Linear(2, 2), nn.ReLU()])
    assert [*blocks(network)] == [inner, network.layers[1]]


class TestInterval:
    def test_checkpoints_come_between_epochs_where_they_are_due(self, digits_data: Path, tmp_path: Path) -> None:
        often = trainer(digits_data, tmp_path / "often", epochs=1, checkpoint_minutes=1e-9)
        assert often.fit(often.resume(), stop=False) == Position(1, 0)
        names = sorted(path.name for path in (tmp_path / "often/checkpoints").iterdir())
        assert names == ["step-000000024", f"step-{STEPS:09d}"]
        often.finish(Position(0, 0))

        seldom = trainer(digits_data, tmp_path / "seldom", epochs=1, checkpoint_minutes=0)
        seldom.fit(seldom.resume(), stop=False)
        seldom.finish(Position(0, 0))
        assert [path.name for path in (tmp_path / "seldom/checkpoints").iterdir()] == [f"step-{STEPS:09d}"]
        assert losses(tmp_path / "often") == losses(tmp_path / "seldom")
        assert len({model_format.digest(tmp_path / name / "model") for name in ("often", "seldom")}) == 1

    def test_one_within_an_epoch_is_gone_on_from_to_the_same_weights(self, digits_data: Path, tmp_path: Path) -> None:
        whole = trainer(digits_data, tmp_path, epochs=1, checkpoint_minutes=1e-9)
        whole.fit(whole.resume(), stop=False)
        whole.finish(Position(0, 0))
        before = model_format.digest(tmp_path / "model")
        shutil.rmtree(max((tmp_path / "checkpoints").iterdir()))
        again = trainer(digits_data, tmp_path, epochs=1)
        assert again.resume() == Position(0, 24)
        again.fit(Position(0, 24), stop=False)
        again.finish(Position(0, 24))
        assert model_format.digest(tmp_path / "model") == before


class TestCompile:
    @pytest.fixture(autouse=True)
    def _cache(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
        monkeypatch.setenv("TORCHINDUCTOR_COMPILE_THREADS", "1")  # more are processes, each of which imports torch

    def test_a_compiled_network_learns_the_same(self, digits_data: Path, tmp_path: Path) -> None:
        if not (shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")):
            pytest.skip("no C++ compiler here")
        for name in ("eager", "compiled"):
            each = trainer(digits_data, tmp_path / name, epochs=1, compile=name == "compiled")
            each.fit(each.resume(), stop=False)
            each.finish(Position(0, 0))
        torch._dynamo.reset()
        assert losses(tmp_path / "compiled") == pytest.approx(losses(tmp_path / "eager"), rel=2e-3)
        names = [[*load_file(tmp_path / name / "model/model.safetensors")] for name in ("eager", "compiled")]
        assert names[0] == names[1]

    def test_without_a_compiler_the_way_out_is_named(
        self, digits_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("CXX", str(tmp_path / "none"))
        done = run("train", "--data", digits_data, "--out", tmp_path / "run", *QUICK, "--compile")
        assert done.returncode == 2, done.stderr
        assert done.stderr.startswith("error: --compile: the network cannot be compiled (")
        assert "install a C++ compiler" in done.stderr
        assert done.stderr.count("\n") == 1
