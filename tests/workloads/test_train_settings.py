"""What training can be told beside epochs and batches, and that runs which cannot succeed say so early."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from accelstack_workloads import model_format
from accelstack_workloads.datasets import prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.group import Group
from accelstack_workloads.precision import computing
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.sampling import validation
from accelstack_workloads.schedule import learning_rate
from accelstack_workloads.settings import SCHEDULES, Execution, Settings
from accelstack_workloads.train import Position, Trainer, out_of_patience
from safetensors.torch import load_file

from tests.workloads.steps import run


def trainer(data: Path, folder: Path, epochs: int = 1, batch_size: int = 64, **settings: object) -> Trainer:
    loaded = prepared.load(data)
    made = Settings(loaded.digest, epochs, batch_size, 0.005, 1, "cnn", **settings)
    return Trainer(loaded, RunFolder(folder), made, Group(0, 1, torch.device("cpu")), Execution())


def trained(each: Trainer) -> dict[str, torch.Tensor]:
    """The weights that a trainer ends with."""
    start = each.resume()
    assert each.fit(start, stop=False).epoch == each.settings.epochs
    each.finish(start)
    return load_file(each.run.model / "model.safetensors")


class TestSchedule:
    @pytest.mark.parametrize(("schedule", "lowest"), [("one-cycle", 0.0), ("cosine", 0.1), ("constant", 1.0)])
    def test_rates_rise_and_fall_as_named(self, schedule: str, lowest: float) -> None:
        rates = [learning_rate(schedule, step, 1000, 0.01) for step in range(1000)]
        peak = int(np.argmax(rates))
        assert max(rates) == pytest.approx(0.01, rel=1e-2)
        assert rates[: peak + 1] == sorted(rates[: peak + 1])
        assert rates[peak:] == sorted(rates[peak:], reverse=True)
        assert rates[-1] == pytest.approx(0.01 * lowest, abs=1e-6)

    @pytest.mark.parametrize("schedule", SCHEDULES)
    def test_a_run_of_one_step_learns_something(self, schedule: str) -> None:
        assert learning_rate(schedule, 0, 1, 0.01) > 0


def test_a_batch_in_parts_has_the_gradients_of_the_whole_one(digits_data: Path, tmp_path: Path) -> None:
    gradients = []
    for accumulate in (1, 4):
        each = trainer(digits_data, tmp_path / str(accumulate), accumulate=accumulate)
        each.train_step(each.model.network.train(), torch.arange(64), 0, 0)
        gradients.append([weight.grad for weight in each.model.network.parameters()])
        assert each.totals[2] == 64
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(whole, parts, atol=1e-6, rtol=1e-4)


def test_processes_with_parts_learn_what_one_process_learns(digits_data: Path, tmp_path: Path) -> None:
    quick = ("--epochs", 1, "--batch-size", 48, "--seed", 3)
    for name, more, processes in (("one", (), 1), ("two", ("--accumulate", 4), 2)):
        done = run("train", "--data", digits_data, "--out", tmp_path / name, *quick, *more, processes=processes)
        assert done.returncode == 0, done.stderr
    one, two = (load_file(tmp_path / name / "model/model.safetensors") for name in ("one", "two"))
    for name, weight in one.items():
        torch.testing.assert_close(weight, two[name], atol=2e-3, rtol=1e-2)


def test_gradients_are_limited(digits_data: Path, tmp_path: Path) -> None:
    each = trainer(digits_data, tmp_path, clip=0.01)
    each.train_step(each.model.network.train(), torch.arange(64), 0, 0)
    norm = torch.linalg.vector_norm(torch.stack([weight.grad.norm() for weight in each.model.network.parameters()]))
    assert float(norm) == pytest.approx(0.01, rel=1e-3)


class TestPatience:
    def test_epochs_without_a_lower_loss_are_counted(self) -> None:
        assert not out_of_patience([], 2)
        assert not out_of_patience([3, 2, 2.5], 2)
        assert out_of_patience([3, 2, 2.5, 2.1], 2)
        assert not out_of_patience([3, 2, 2.5, 2.1], 0)

    def test_a_tenth_is_kept_apart_and_never_trained_on(self) -> None:
        chosen, apart = validation(3, 1000, True)
        assert (len(chosen), len(apart)) == (900, 100)
        assert sorted([*chosen.tolist(), *apart.tolist()]) == [*range(1000)]
        assert torch.equal(validation(3, 1000, True)[1], apart)
        assert not torch.equal(validation(4, 1000, True)[1], apart)

    def test_a_run_that_gets_no_better_ends_with_its_best_weights(self, digits_data: Path, tmp_path: Path) -> None:
        each = trainer(digits_data, tmp_path, epochs=60, patience=1, schedule="constant")
        weights = trained(each)
        lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
        apart = [line["apart"] for line in lines]
        assert len(lines) < 60
        assert apart[-2] == min(apart) < apart[-1]
        assert all(torch.equal(weight, each.best[name]) for name, weight in weights.items())
        assert json.loads((tmp_path / "training.json").read_text())["metrics"]["loss"] == lines[-2]["loss"]

    def test_a_resumed_run_ends_where_the_uninterrupted_one_does(self, digits_data: Path, tmp_path: Path) -> None:
        settings = {"epochs": 12, "patience": 2, "schedule": "constant"}
        whole = trained(trainer(digits_data, tmp_path / "whole", **settings))

        class Later:
            asked = 0

            def __bool__(self) -> bool:
                self.asked += 1
                return self.asked > 5

        first = trainer(digits_data, tmp_path / "parts", **settings)
        assert first.fit(first.resume(), Later()) == Position(1, 16)
        parts = trained(trainer(digits_data, tmp_path / "parts", **settings))
        assert all(torch.equal(weight, parts[name]) for name, weight in whole.items())


class TestPrecision:
    def test_bfloat16_learns_as_well_where_there_is_any(self, digits_data: Path, tmp_path: Path) -> None:
        device = torch.device("cpu")
        with computing("auto", device):
            product = torch.ones(2, 2) @ torch.ones(2, 2)
        if product.dtype is torch.float32:  # this machine has none: that must be said
            with pytest.raises(WorkloadError, match="--precision: bfloat16 is asked for"):
                computing("bfloat16", device)
            return
        trained(trainer(digits_data, tmp_path, epochs=6, precision="bfloat16"))
        model, data = model_format.load(tmp_path / "model"), prepared.load(digits_data)
        assert {weight.dtype for weight in model.parameters()} == {torch.float32}
        assert model.evaluate(data.test)["accuracy"] > 0.95


class TestRefusals:
    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            (("--schedule", "linear"), "--schedule: 'linear' is not known; use one of: one-cycle, cosine, constant"),
            (("--precision", "float8"), "--precision: 'float8' is not known"),
            (("--clip", "-1"), "--clip: -1.0"),
            (("--checkpoint-minutes", "-1"), "--checkpoint-minutes: -1.0 is not a finite number from 0"),
            (("--sharding", "half"), "--sharding: 'half' is not known; use one of: none, full"),
            (("--timeout-minutes", "0"), "--timeout-minutes: 0.0 is not above 0"),
            (("--patience", "-1"), "--patience: -1"),
            (("--accumulate", "0"), "--accumulate: 0"),
            (("--accumulate", "3"), "--accumulate: 3 parts of the 64 samples"),
            (("--batch-size", "5000"), "--batch-size: 5000 is larger than the 1438 training images"),
        ],
    )
    def test_a_wrong_setting_is_named_before_anything_is_written(
        self, digits_data: Path, tmp_path: Path, options: tuple[str, ...], reason: str
    ) -> None:
        done = run("train", "--data", digits_data, "--out", tmp_path / "run", *options)
        assert (done.returncode, done.stdout) == (2, "")
        assert reason in done.stderr
        assert not (tmp_path / "run" / "model").exists()

    def test_a_loss_that_is_no_number_ends_the_run(self, digits_data: Path, tmp_path: Path) -> None:
        done = run("train", "--data", digits_data, "--out", tmp_path / "run", "--learning-rate", "1e30", "--epochs", 3)
        assert done.returncode == 2, done.stdout
        assert "the loss is no finite number any more, by epoch 1 step" in done.stderr
        assert "lower --learning-rate" in done.stderr
        assert not (tmp_path / "run" / "training.json").exists()
