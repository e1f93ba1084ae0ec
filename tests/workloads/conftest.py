"""Prepared digits and a model trained on them, made once for all tests by the command line itself."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tests.workloads.steps import run


@pytest.fixture(scope="session", autouse=True)
def compiled_once(pytestconfig: pytest.Config) -> None:
    """Where Python may not keep compiled modules beside their sources, each process would compile torch."""
    if sys.dont_write_bytecode and pytestconfig.cache:
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        os.environ["PYTHONPYCACHEPREFIX"] = str(pytestconfig.cache.mkdir("bytecode"))


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
