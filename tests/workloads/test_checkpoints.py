"""Checkpoints: whole or not there, the last two kept, damage passed over, nothing executed on loading."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
import torch
from accelstack_workloads.checkpointing import Checkpoints, differing
from accelstack_workloads.cluster_store import RunStore
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.group import Group

from tests.workloads.soak import rounds

ALONE = Group(0, 1, torch.device("cpu"))


def tensors(value: float) -> dict[str, torch.Tensor]:
    return {"network.weight": torch.full((5, 10), value), "optimizer.weight.step": torch.tensor(value)}


def save(folder: Path, step: int, value: float | None = None) -> Path:
    checkpoints = Checkpoints(folder, ALONE)
    checkpoints.save(step, tensors(step if value is None else value), {"epoch": 1, "history": [{"loss": 0.5}]})
    checkpoints.wait()
    return folder / f"step-{step:09d}"


def loaded(folder: Path) -> float:
    """The value that fills the newest checkpoint's tensors."""
    checkpoints, filled = Checkpoints(folder, ALONE), tensors(-1)
    found = checkpoints.newest()
    assert found is not None
    assert found.state["history"] == [{"loss": 0.5}]
    checkpoints.load(found, filled)
    assert len({float(value) for tensor in filled.values() for value in tensor.flatten()}) == 1
    return float(filled["optimizer.weight.step"])


def shard(path: Path) -> Path:
    return next(path.glob("*.safetensors"))


def test_the_newest_is_loaded_and_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 900, 10_000, 20_000):
        save(tmp_path, step)
    assert loaded(tmp_path) == 20_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000010000", "step-000020000"]


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "checkpoints", ALONE).newest() is None


def test_tensors_that_change_while_one_is_written_are_saved_as_they_were(tmp_path: Path) -> None:
    checkpoints, changing = Checkpoints(tmp_path, ALONE), {"weight": torch.ones(1_000_000)}
    state = {"history": [1]}
    checkpoints.save(1, changing, state)
    changing["weight"].zero_()
    state["history"].append(2)
    checkpoints.wait()
    found = checkpoints.newest()
    assert found is not None
    assert found.state["history"] == [1]
    checkpoints.load(found, changing)
    assert torch.equal(changing["weight"], torch.ones(1_000_000))


@pytest.mark.parametrize("damage", [lambda c: c[:-200], lambda c: c[:300] + b"x" + c[301:], lambda _: b""])
@pytest.mark.parametrize("file", ["shard", "marker"])
def test_a_damaged_newest_one_is_warned_of_and_the_older_one_taken(
    tmp_path: Path, damage: object, file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save(tmp_path, 1)
    newest = save(tmp_path, 2)
    path = shard(newest) if file == "shard" else newest / "state.json"
    path.write_bytes(damage(path.read_bytes()) if file == "shard" else path.read_bytes()[:-9])
    assert loaded(tmp_path) == 1
    assert capsys.readouterr().out == f"warning: checkpoint {newest} is passed over (damaged or incomplete)\n"
    assert loaded(tmp_path) == 1
    assert capsys.readouterr().out == ""


def test_one_without_a_shard_or_a_marker_is_none(tmp_path: Path) -> None:
    save(tmp_path, 1)
    second = save(tmp_path, 2)
    shutil.copytree(second, tmp_path / "step-000000003", ignore=lambda *_: ["state.json"])
    shard(second).unlink()
    assert loaded(tmp_path) == 1


def test_what_is_left_of_a_killed_save_does_not_mix_with_the_next(tmp_path: Path) -> None:
    stale = save(tmp_path, 2, value=7)
    (stale / "state.json").unlink()
    save(tmp_path, 2)
    assert loaded(tmp_path) == 2
    assert len([*stale.iterdir()]) == 2


def test_a_full_disk_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save(tmp_path, 1)

    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        WorkloadError, match=r"step-000000002 cannot be written \(No space left on device\); free space"
    ):
        save(tmp_path, 2)
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001"]
    assert loaded(tmp_path) == 1


def test_that_of_another_model_is_refused_by_the_names_of_its_tensors(tmp_path: Path) -> None:
    save(tmp_path, 1)
    checkpoints = Checkpoints(tmp_path, ALONE)
    found = checkpoints.newest()
    assert found is not None
    other = {"network.weight": torch.zeros(3), "network.bias": torch.zeros(3)}
    told = r"another model \(network.bias is missing; network.weight is \[5, 10\], not \[3\]; optimizer.weight.step is"
    with pytest.raises(WorkloadError, match=told):
        checkpoints.load(found, other)
    assert [*differing({"a": (1,)}, {"a": (1,)})] == []


def test_one_of_a_later_version_is_passed_over_by_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(tmp_path, 1)
    marker = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**marker, "format": 9}))
    assert Checkpoints(tmp_path, ALONE).newest() is None
    assert "of format 9; this version reads format 1" in capsys.readouterr().out


def test_a_marker_reaches_no_file_outside_its_checkpoint(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    marker = json.loads((path / "state.json").read_text())
    (path / "state.json").write_text(json.dumps({**marker, "shards": ["../../passwd"]}))
    assert Checkpoints(tmp_path, ALONE).newest() is None


def test_killed_trainings_lose_one_epoch_at_most(digits_data: Path, tmp_path: Path) -> None:
    killed = [*rounds(digits_data, tmp_path, count=4, seed=5)]
    assert killed[-1].began > killed[0].reached - 2
    assert [each.began < each.reached for each in killed] == [True] * 4


class TestStore:
    def test_a_machine_without_the_others_shards_uploads_no_marker(self, tmp_path: Path) -> None:
        here, there = tmp_path / "here", tmp_path / "there"
        path = save(here, 1)
        (there / path.name).mkdir(parents=True)
        shard(path).rename(there / path.name / shard(path).name)  # as the other machine wrote it
        store = RunStore((tmp_path / "store").as_uri(), "run")
        store.save(here)
        assert store.checkpoints() == []
        store.save(there)
        store.save(here)
        assert store.checkpoints() == ["step-000000001"]
        store.restore(here)
        store.restore(there)
        assert loaded(here) == loaded(there) == 1

    def test_the_newest_two_are_kept_and_leftovers_dropped(self, tmp_path: Path) -> None:
        store, folder = RunStore((tmp_path / "store").as_uri(), "run"), tmp_path / "run"
        (save(folder, 1) / "state.json").unlink()
        store.save(folder)
        for step in (2, 3, 4):
            save(folder, step)
            store.save(folder)
        assert store.checkpoints() == ["step-000000004", "step-000000003"]
        files = [path for path in (tmp_path / "store").rglob("*") if path.is_file()]
        assert len(files) == 4
        store.restore(tmp_path / "other")
        assert loaded(tmp_path / "other") == 4

    def test_what_another_machine_is_copying_is_left_alone(self, tmp_path: Path) -> None:
        store, folder = RunStore((tmp_path / "store").as_uri(), "run"), tmp_path / "run"
        for step in (1, 2, 3):
            save(folder, step)
            store.save(folder)
        under_way = tmp_path / "store" / "runs" / "run" / "checkpoints" / "step-000000002"
        (under_way / "state.json").rename(under_way / ".state.json.partial-7")
        store.save(tmp_path / "other")
        assert store.checkpoints() == ["step-000000003"]
        assert (under_way / ".state.json.partial-7").exists()
        assert list(under_way.glob("*.safetensors"))

    def test_damage_in_the_store_is_passed_over(self, tmp_path: Path) -> None:
        store, folder = RunStore((tmp_path / "store").as_uri(), "run"), tmp_path / "run"
        for step in (1, 2):
            save(folder, step)
        store.save(folder)
        found = next((tmp_path / "store").rglob("step-000000002/*.safetensors"))
        content = bytearray(found.read_bytes())
        content[-1] ^= 1
        found.write_bytes(content)
        store.restore(tmp_path / "other")
        assert loaded(tmp_path / "other") == 1
