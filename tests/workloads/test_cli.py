"""The command line: help that helps, input checked before torch is imported, errors of one line."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import typer
from accelstack_workloads import lifeline
from accelstack_workloads.cli import app
from accelstack_workloads.errors import WorkloadError
from typer.testing import CliRunner

from tests.workloads.steps import run

STEPS = (
    "prepare",
    "train",
    "evaluate",
    "explain",
    "compress",
    "export",
    "register",
    "registry init",
    "registry verify",
    "pipeline run",
    "pipeline compile",
    "pipeline step",
    "tune",
    "tune worker",
    "tune learning-rate",
    "tune manifest",
    "predict",
    "serve",
)


@pytest.mark.parametrize("step", STEPS)
def test_the_help_of_each_step_describes_its_options_and_shows_an_example(step: str) -> None:
    found = typer.main.get_command(app)
    for word in step.split():
        found = found.commands[word]
    assert [option.name for option in found.params if not getattr(option, "help", None)] == []
    done = CliRunner().invoke(app, [*step.split(), "--help"])
    assert done.exit_code == 0
    assert f"Example: {step} " in done.output or f" -m accelstack_workloads {step} " in " ".join(done.output.split())


def test_help_does_not_import_torch() -> None:
    program = (
        "import sys\nfrom accelstack_workloads import cli\nsys.argv = ['', '--help']\n"
        "try:\n    cli.main()\nfinally:\n    assert not {'torch', 'mlflow', 'numpy'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Exit status: 0 done" in done.stdout


@pytest.mark.parametrize(
    ("option", "value", "rule"),
    [
        ("--epochs", "0", "is not above 0"),
        ("--epochs", "-1", "is not above 0"),
        ("--batch-size", "0", "is not above 0"),
        ("--learning-rate", "0", "is not a finite number above 0"),
        ("--learning-rate", "nan", "is not a finite number above 0"),
        ("--learning-rate", "inf", "is not a finite number above 0"),
        ("--seed", "-5", "is not within 0"),
    ],
)
def test_a_number_out_of_range_is_refused_by_the_option_s_name(
    digits_data: Path, tmp_path: Path, option: str, value: str, rule: str
) -> None:
    done = CliRunner().invoke(app, ["train", "--data", str(digits_data), "--out", str(tmp_path), option, value])
    assert isinstance(done.exception, WorkloadError)
    assert str(done.exception).startswith(f"{option}: ")
    assert rule in str(done.exception)
    assert not list(tmp_path.iterdir())


def test_bad_input_is_one_line_on_stderr_and_status_2(tmp_path: Path) -> None:
    done = run("prepare", "--dataset", tmp_path / "nowhere", "--out", tmp_path / "data")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"error: dataset: '.*nowhere' does not exist; give .*\n", done.stderr)


def test_training_without_prepared_data_says_what_to_do(tmp_path: Path) -> None:
    done = run("train", "--data", tmp_path, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "give a folder that `prepare` wrote" in done.stderr


@pytest.mark.parametrize("value", ["abc", "-3", "0", "1.5"])
def test_a_malformed_parent_is_refused(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("ACCELSTACK_PARENT_PID", value)
    with pytest.raises(WorkloadError, match=f"ACCELSTACK_PARENT_PID: '{value}' is not a process id"):
        lifeline.watch_parent(lambda: None)
