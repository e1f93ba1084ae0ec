"""The gate: a model that is worse than the one that serves is told, by exit status and in its evaluation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from accelstack_workloads import gate
from accelstack_workloads.errors import WorkloadError

from tests.workloads.steps import run

SERVES: dict[str, Any] = {
    "score": "accuracy",
    "accuracy": 0.9,
    "data": {"digest": "sha256:1"},
    "model": {"digest": "sha256:2"},
}


@pytest.mark.parametrize(("new", "margin", "passed"), [(0.9, 0, True), (0.89, 0, False), (0.89, 0.02, True)])
def test_as_much_as_the_margin_may_be_lost(new: float, margin: float, passed: bool) -> None:
    decided = gate.decide({**SERVES, "accuracy": new}, SERVES, margin)
    assert (decided["passed"], decided["against"]) == (passed, "sha256:2")
    assert ("WORSE" in gate.line(decided)) is not passed


@pytest.mark.parametrize(
    ("former", "margin", "reason"),
    [
        ({"data": {"digest": "sha256:9"}}, 0.0, "evaluate the model that serves on the same data first"),
        ({"score": "r2", "r2": 0.5}, 0.0, "it measures r2, this evaluation accuracy"),
        ({}, -0.1, "--margin: -0.1 is not 0 or more"),
        ({}, float("nan"), "--margin: nan is not 0 or more"),
    ],
)
def test_what_cannot_be_compared_is_refused(former: dict[str, Any], margin: float, reason: str) -> None:
    with pytest.raises(WorkloadError, match=reason):
        gate.decide(SERVES, {**SERVES, **former}, margin)


def test_a_worse_model_ends_with_its_own_status_after_it_was_measured(
    digits_data: Path, digits_run: Path, tmp_path: Path
) -> None:
    step = ("evaluate", "--model", digits_run / "model", "--data", digits_data, "--out", tmp_path / "new")
    assert run(*step).returncode == 0
    serving = json.loads((tmp_path / "new" / "evaluation.json").read_text())
    (tmp_path / "better.json").write_text(json.dumps({**serving, "accuracy": 1.01}))

    (tmp_path / "serves.json").write_text(json.dumps(serving))
    same = run(*step, "--against", tmp_path / "serves.json")
    assert same.returncode == 0
    assert "gate: not worse" in same.stdout
    worse = run(*step, "--against", tmp_path / "better.json", "--margin", 0.001)
    assert worse.returncode == 5
    assert "gate: WORSE" in worse.stdout
    written = json.loads((tmp_path / "new" / "evaluation.json").read_text())
    assert written["gate"]["passed"] is False
    assert written["accuracy"] == serving["accuracy"]


def test_what_is_no_evaluation_is_refused_before_anything_is_measured(
    digits_data: Path, digits_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "wrong.json").write_text("{}")
    step = ("evaluate", "--model", digits_run / "model", "--data", digits_data, "--out", tmp_path / "new")
    done = run(*step, "--against", tmp_path / "wrong.json")
    assert (done.returncode, done.stdout) == (2, "")
    assert "wrong.json is not an evaluation" in done.stderr
    assert not (tmp_path / "new").exists()
