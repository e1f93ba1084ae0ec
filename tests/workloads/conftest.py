"""Prepared digits and a model trained on them, made once for all tests by the command line itself."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.workloads.steps import run


@pytest.fixture(scope="session", autouse=True)
def _launchers_notes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """torchrun leaves no folder behind in the temporary one: `PET_` and an option's name is how it takes defaults."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PET_LOG_DIR", str(tmp_path_factory.mktemp("launcher")))
        yield


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
