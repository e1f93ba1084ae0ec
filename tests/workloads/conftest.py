"""Prepared digits and a model trained on them, made once for all tests by the command line itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.workloads.steps import run


@pytest.fixture(scope="session")
def digits_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the prepared digits."""
    folder = tmp_path_factory.mktemp("digits") / "data"
    done = run("prepare", "--dataset", "digits", "--out", folder)
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture(scope="session")
def digits_run(digits_data: Path) -> Path:
    """The folder of a training run on the digits with the default settings."""
    folder = digits_data.parent / "run"
    done = run("train", "--data", digits_data, "--out", folder)
    assert done.returncode == 0, done.stderr
    (folder / "stdout").write_text(done.stdout)
    return folder
