"""The registry: one version per content, quiet output, files that are checked, first use by several at once."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import fsspec
import pytest
from accelstack_workloads import model_format, registry
from accelstack_workloads.errors import WorkloadError

from tests.workloads.steps import command, run, run_json


def changed(model: Path, folder: Path) -> Path:
    """A copy of a model directory with another description, and so another digest."""
    shutil.copytree(model, folder)
    description = json.loads((folder / "model.json").read_text())
    description["training"]["note"] = folder.name
    (folder / "model.json").write_text(json.dumps(description))
    return folder


def test_a_model_is_registered_verified_and_found_again(digits_data: Path, digits_run: Path, tmp_path: Path) -> None:
    model, database = digits_run / "model", f"sqlite:///{tmp_path}/registry/models.db"
    run("evaluate", "--model", model, "--data", digits_data, "--out", tmp_path / "evaluation")
    arguments = (
        "register",
        "--model",
        model,
        "--name",
        "digits",
        "--registry",
        database,
        "--store",
        tmp_path / "store",
    )
    first = run_json(*arguments, "--evaluation", tmp_path / "evaluation" / "evaluation.json")
    digest = model_format.digest(model)
    copy = tmp_path / "store" / "digits" / digest.removeprefix("sha256:")[:12]
    assert first == {"name": "digits", "version": "1", "digest": digest, "uri": f"file://{copy}"}
    assert model_format.digest(copy) == digest
    assert run_json("registry", "verify", "--registry", database, "--name", "digits", "--version", "1") == first

    assert registry.register(model, "digits", database, str(tmp_path / "store")) == first
    second = registry.register(changed(model, tmp_path / "second"), "digits", database, str(tmp_path / "store"))
    assert second["version"] == "2"
    assert registry.register(model, "digits", database, str(tmp_path / "store"))["version"] == "1"

    from mlflow import MlflowClient

    version = MlflowClient(tracking_uri=database, registry_uri=database).get_model_version("digits", "1")
    assert version.source == f"file://{copy}"
    assert version.tags["digest"] == digest
    assert float(version.tags["accuracy"]) > 0.9


def test_a_changed_or_missing_version_is_not_verified(digits_run: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/models.db"
    missing = run("registry", "verify", "--registry", database, "--name", "digits", "--version", "1")
    assert (missing.returncode, missing.stdout) == (4, "")
    assert "does not exist" in missing.stderr
    assert not (tmp_path / "models.db").exists()

    version = registry.register(digits_run / "model", "digits", database, str(tmp_path / "store"))
    with pytest.raises(registry.NotVerifiedError, match="version '2' of model 'digits' is not registered"):
        registry.verify(database, "digits", "2")
    weights = Path(version["uri"].removeprefix("file://")) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(registry.NotVerifiedError, match="registered was sha256:"):
        registry.verify(database, "digits", "1")

    registry.register(digits_run / "model", "digits", database, str(tmp_path / "store"))  # mends the copy
    assert registry.verify(database, "digits", "1") == version
    weights.unlink()
    with pytest.raises(registry.NotVerifiedError, match="there is no model at file://"):
        registry.verify(database, "digits", "1")


def test_several_first_uses_at_once_make_one_version(digits_run: Path, tmp_path: Path) -> None:
    arguments = (
        *("register", "--model", digits_run / "model", "--name", "digits", "--json"),
        *("--registry", f"sqlite:///{tmp_path}/new/models.db", "--store", tmp_path / "store"),
    )
    processes = [
        subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    results = [process.communicate(timeout=90) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], results
    assert {json.loads(output)["version"] for output, _ in results} == {"1"}
    assert {errors for _, errors in results} == {""}
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [".models.db.lock", "models.db"]
    assert len(list((tmp_path / "store" / "digits").iterdir())) == 1


def test_object_storage_holds_the_copy(digits_run: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/models.db"
    try:
        version = registry.register(digits_run / "model", "digits", database, "memory://models")
        assert version["uri"].startswith("memory://")
        assert registry.verify(database, "digits", "1") == version
    finally:
        fsspec.filesystem("memory").rm("/models", recursive=True)


def test_an_evaluation_of_another_model_is_refused(digits_run: Path, tmp_path: Path) -> None:
    (tmp_path / "evaluation.json").write_text(
        json.dumps({"score": "accuracy", "accuracy": 1.0, "model": {"digest": "sha256:00"}, "data": {"uri": "digits"}})
    )
    database = f"sqlite:///{tmp_path}/models.db"
    with pytest.raises(WorkloadError, match="is of sha256:00, the model is sha256:"):
        registry.register(digits_run / "model", "digits", database, str(tmp_path), tmp_path / "evaluation.json")
    assert not (tmp_path / "models.db").exists()


@pytest.mark.parametrize("name", ["", "two words", "../up", "a'b", "x" * 101])
def test_a_name_that_is_none_is_refused(digits_run: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(WorkloadError, match="is not a model name; give"):
        registry.register(digits_run / "model", name, f"sqlite:///{tmp_path}/models.db", str(tmp_path))


@pytest.mark.parametrize("uri", ["models.db", "floppy://models", "sqlite:////proc/models.db"])
def test_a_database_that_cannot_be_used_is_refused(uri: str) -> None:
    with pytest.raises(WorkloadError, match="registry: "):
        registry.init(uri)


def test_what_is_no_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "models.db").write_text("something else, of some length, so that it is read as a header" * 20)
    with pytest.raises(WorkloadError, match="cannot be used"):
        registry.init(f"sqlite:///{tmp_path}/models.db")
