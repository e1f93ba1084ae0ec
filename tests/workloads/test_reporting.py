"""What a run reports to Prometheus and MLflow, and that neither can end it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from accelstack_workloads.progress import Progress
from accelstack_workloads.reporting import Measures, Reports, exposition
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.settings import Settings
from accelstack_workloads.tracking import Tracking, without_password
from prometheus_client.parser import text_string_to_metric_families

SETTINGS = Settings("sha256:0", 2, 10, 0.1, 0, "cnn")


def values(text: str) -> dict[str, float]:
    return {sample.name: sample.value for family in text_string_to_metric_families(text) for sample in family.samples}


def reports(folder: Path, tracking: str = "") -> Reports:
    return Reports(RunFolder(folder), Progress(2, 20, "images", "accuracy", True), SETTINGS, tracking)


def test_prometheus_reads_the_measures_of_a_run(digits_run: Path) -> None:
    found = values((digits_run / "metrics.prom").read_text())
    assert found["accelstack_training_epoch"] == 20
    assert found["accelstack_training_step"] == 20 * 23
    assert 0.9 < found["accelstack_training_score"] <= 1
    assert found["accelstack_training_loss"] > 0
    assert found["accelstack_training_samples_per_second"] > 0
    assert 0 <= found["accelstack_training_checkpoint_age_seconds"] < 600


def test_without_a_checkpoint_there_is_no_age_of_one() -> None:
    found = values(exposition(Measures(1, 2, 0.5, 0.25, 100), 0, now=50).decode())
    assert "accelstack_training_checkpoint_age_seconds" not in found
    assert found["accelstack_training_loss"] == 0.5
    found = values(exposition(Measures(1, 2, 0.5, 0.25, 100), 20, now=50).decode())
    assert found["accelstack_training_checkpoint_age_seconds"] == 30


def test_a_text_file_that_cannot_be_written_is_warned_of_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "metrics.prom").mkdir()
    each = reports(tmp_path)
    each.show(0, 1, 0.5, 0.5)
    each.epoch(0, 2, 0.5, 0.5)
    assert capsys.readouterr().out.count("warning: metrics.prom is not up to date") == 1


def test_mlflow_has_parameters_and_measures_and_a_run_that_goes_on_is_the_same(tmp_path: Path) -> None:
    from mlflow import MlflowClient

    uri = f"sqlite:///{tmp_path}/runs.db"
    for epoch, done in ((0, False), (1, True)):
        tracking = Tracking(uri, tmp_path / "digits", {"epochs": 2, "seed": 3})
        tracking.log({"loss": 1.0 - epoch / 2, "accuracy": 0.5}, epoch + 1)
        tracking.close(done, seconds=60)
    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("accelstack")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.data.params == {"epochs": "2", "seed": "3"}
    assert run.data.metrics == {"loss": 0.5, "accuracy": 0.5}
    assert [point.step for point in client.get_metric_history(run.info.run_id, "loss")] == [1, 2]
    assert (run.info.run_name, run.info.status) == ("digits", "FINISHED")


def test_a_server_that_is_not_there_is_warned_of_once_and_holds_nothing_up(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    each = reports(tmp_path, "http://127.0.0.1:9")
    for epoch in range(2):
        each.epoch(epoch, epoch + 1, 0.5, 0.5)
    each.close(done=True)
    out = capsys.readouterr().out
    assert (
        len(re.findall(r"warning: --tracking: 'http://127.0.0.1:9' cannot be used \(.+\); training goes on", out)) == 1
    )
    assert out.count("warning") == 1


def test_who_signs_in_is_not_printed() -> None:
    assert without_password("at http://me:secret@host:5000/x: no") == "at http://host:5000/x: no"
    assert without_password("sqlite:////srv/runs.db") == "sqlite:////srv/runs.db"
