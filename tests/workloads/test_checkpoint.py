"""Checkpoints: whole or not there, the last two kept, damage passed over, nothing executed on loading."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from accelstack_workloads import checkpoint
from accelstack_workloads.errors import WorkloadError


def state(value: float) -> dict[str, object]:
    return {"weights": torch.full((50,), value), "epoch": 1, "history": [{"loss": 0.5}]}


def no_warning(text: str) -> None:
    raise AssertionError(text)


def value_of(folder: Path) -> float:
    found = checkpoint.load_newest(folder, warn=no_warning)
    assert found is not None
    return float(found[1]["weights"][0])


def test_the_newest_is_loaded_and_the_last_two_are_kept(tmp_path: Path) -> None:
    for step in (5, 900, 10_000):
        checkpoint.save(tmp_path, step, state(step))
    assert value_of(tmp_path) == 10_000
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000000900.pt", "step-000010000.pt"]


def test_there_is_none_at_first(tmp_path: Path) -> None:
    assert checkpoint.load_newest(tmp_path / "checkpoints", warn=no_warning) is None


@pytest.mark.parametrize("damage", [lambda c: c[:-200], lambda c: c[:300] + b"x" + c[301:], lambda _: b""])
def test_a_damaged_newest_one_is_warned_of_and_the_older_one_taken(tmp_path: Path, damage: object) -> None:
    checkpoint.save(tmp_path, 1, state(1))
    newest = checkpoint.save(tmp_path, 2, state(2))
    newest.write_bytes(damage(newest.read_bytes()))
    warnings: list[str] = []
    found = checkpoint.load_newest(tmp_path, warn=warnings.append)
    assert found is not None
    assert found[0].name == "step-000000001.pt"
    assert warnings == [f"checkpoint {newest} is passed over (damaged or incomplete)"]


def test_an_interrupted_write_leaves_the_older_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint.save(tmp_path, 1, state(1))

    def full(_descriptor: int) -> None:
        raise OSError(28, os.strerror(28))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(
        WorkloadError, match=r"step-000000002\.pt cannot be written \(No space left on device\); free space"
    ):
        checkpoint.save(tmp_path, 2, state(2))
    assert [path.name for path in tmp_path.iterdir()] == ["step-000000001.pt"]
    assert value_of(tmp_path) == 1


def test_other_files_in_the_folder_are_no_checkpoints(tmp_path: Path) -> None:
    checkpoint.save(tmp_path, 1, state(1))
    (tmp_path / ".step-000000009.pt.partial-77").write_bytes(b"half")
    assert value_of(tmp_path) == 1


def test_loading_one_executes_nothing(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, (f"touch {tmp_path}/sprung",)

    checkpoint.save(tmp_path, 1, state(1))
    checkpoint.save(tmp_path, 2, {"weights": Trap()})
    warnings: list[str] = []
    found = checkpoint.load_newest(tmp_path, warn=warnings.append)
    assert found is not None
    assert found[0].name == "step-000000001.pt"
    assert "is passed over" in warnings[0]
    assert not (tmp_path / "sprung").exists()
