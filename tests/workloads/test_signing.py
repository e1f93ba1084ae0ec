"""Signed models: what the key has not signed, as it is, is neither fetched, verified nor served."""

from __future__ import annotations

import json
import shutil
import stat
from pathlib import Path

import fsspec
import pytest
from accelstack_workloads import fetch, registry, signing
from accelstack_workloads.errors import NotVerifiedError, WorkloadError

from tests.workloads.steps import run, run_json


@pytest.fixture(scope="module")
def signed(digits_run: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A registered, signed version, in a place of its own."""
    place = tmp_path_factory.mktemp("signed")
    version = run_json(
        *("register", "--model", digits_run / "model", "--name", "digits", "--store", place / "store"),
        *("--registry", f"sqlite:///{place}/models.db", "--signing-key", place / "keys" / "key.pem"),
    )
    return {**version, "place": str(place), "registry": f"sqlite:///{place}/models.db"}


@pytest.fixture
def copy(signed: dict[str, str], tmp_path: Path) -> Path:
    return Path(shutil.copytree(signed["uri"].removeprefix("file://"), tmp_path / "model"))


def test_the_key_is_made_for_its_owner_alone_and_kept(signed: dict[str, str]) -> None:
    key = Path(signed["place"]) / "keys" / "key.pem"
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    assert [path.name for path in key.parent.iterdir()] == ["key.pem"]
    assert signing.public_key(key) == signed["public_key"]


def test_a_signed_version_is_verified_and_fetched(signed: dict[str, str], tmp_path: Path) -> None:
    known = ("--name", "digits", "--version", "1", "--public-key", signed["public_key"])
    assert run_json("registry", "verify", "--registry", signed["registry"], *known)["digest"] == signed["digest"]
    assert fetch.fetch(signed["uri"], signed["digest"], tmp_path / "model", signed["public_key"])
    assert not fetch.fetch(signed["uri"], signed["digest"], tmp_path / "model", signed["public_key"])
    signing.verify(tmp_path / "model", signed["public_key"])


def test_the_digest_is_the_same_with_and_without_a_signature(signed: dict[str, str], digits_run: Path) -> None:
    place = Path(signed["place"])
    again = registry.register(digits_run / "model", "digits", signed["registry"], str(place / "store"))
    assert (again["version"], again["digest"]) == ("1", signed["digest"])
    assert "public_key" not in again


@pytest.mark.parametrize("change", ["changed", "added", "gone", "signature damaged", "unsigned"])
def test_what_was_not_signed_as_it_is_is_not_served(signed: dict[str, str], copy: Path, change: str) -> None:
    signature = copy / signing.SIGNATURE
    match change:
        case "changed":
            weights = copy / "model.safetensors"
            weights.write_bytes(weights.read_bytes()[:-1] + b"\x01")
        case "added":
            (copy / "model.pkl").write_bytes(b"\x80\x04")
        case "gone":
            (copy / "model.json").unlink()
        case "signature damaged":
            signature.write_bytes(signature.read_bytes()[:-20])
        case "unsigned":
            signature.unlink()
    done = run("serve", "--model", copy, "--name", "digits", "--public-key", signed["public_key"])
    assert (done.returncode, done.stdout) == (4, "")
    assert done.stderr.startswith("not verified: the model in")
    assert len(done.stderr.splitlines()) == 1


def test_another_key_s_signature_is_refused_everywhere(signed: dict[str, str], copy: Path, tmp_path: Path) -> None:
    other = signing.public_key(tmp_path / "other.pem")
    with pytest.raises(NotVerifiedError, match="is not what the key signed"):
        signing.verify(copy, other)
    with pytest.raises(NotVerifiedError, match="is not what the key signed"):
        registry.verify(signed["registry"], "digits", "1", other)
    with pytest.raises(NotVerifiedError, match="is not what the key signed"):
        fetch.fetch(signed["uri"], signed["digest"], tmp_path / "fetched", other)
    assert not (tmp_path / "fetched").exists()


def test_object_stores_keep_signatures_too(digits_run: Path, tmp_path: Path) -> None:
    database, store = f"sqlite:///{tmp_path}/models.db", "memory://signed-models"
    version = registry.register(digits_run / "model", "digits", database, store, signing_key=tmp_path / "key.pem")
    assert registry.verify(database, "digits", "1", version["public_key"])["uri"] == version["uri"]
    fs, root = fsspec.core.url_to_fs(version["uri"])
    signature = fs.cat_file(f"{root}/{signing.SIGNATURE}")
    registry.register(digits_run / "model", "digits", database, store, signing_key=tmp_path / "key.pem")
    assert fs.cat_file(f"{root}/{signing.SIGNATURE}") == signature
    fs.pipe_file(f"{root}/run.py", b"print('not ours')")
    with pytest.raises(NotVerifiedError, match=r"Extra files found in model .*run\.py"):
        registry.verify(database, "digits", "1", version["public_key"])
    with pytest.raises(WorkloadError, match=r"'run\.py' at memory://.* is no part of a model; remove it"):
        registry.register(digits_run / "model", "digits", database, store, signing_key=tmp_path / "other.pem")


def test_keys_that_cannot_be_used_are_named(copy: Path, tmp_path: Path) -> None:
    key = tmp_path / "key.pem"
    signing.public_key(key)
    key.chmod(0o644)
    with pytest.raises(WorkloadError, match=r"may be read by others; run `chmod 600"):
        signing.public_key(key)
    key.chmod(0o600)
    key.write_text("no key")
    with pytest.raises(WorkloadError, match="is no private key in PEM without a password"):
        signing.public_key(key)
    with pytest.raises(WorkloadError, match="'MFkw' is no public key; give the one that `register` printed"):
        signing.verify(copy, "MFkw")


def test_lineage_says_where_a_version_comes_from(digits_data: Path, digits_run: Path, tmp_path: Path) -> None:
    database = f"sqlite:///{tmp_path}/models.db"
    run("evaluate", "--model", digits_run / "model", "--data", digits_data, "--out", tmp_path)
    registry.register(digits_run / "model", "digits", database, str(tmp_path / "store"), tmp_path / "evaluation.json")
    about = run_json("registry", "show", "--registry", database, "--name", "digits", "--version", "1")
    manifest = json.loads((digits_data / "manifest.json").read_text())
    assert (about["workload"], about["architecture"], about["data"]) == ("vision", "cnn", manifest["digest"])
    assert about["data_uri"] == "digits"
    assert json.loads(about["settings"])["batch_size"] == 64
    assert about["code"].startswith("sha256:")
    assert float(about["accuracy"]) > 0.9
    shown = run("registry", "show", "--registry", database, "--name", "digits", "--version", "1")
    assert "architecture" in shown.stdout


def test_a_stage_is_one_version_s_at_a_time(digits_run: Path, tmp_path: Path) -> None:
    database, store = f"sqlite:///{tmp_path}/models.db", str(tmp_path / "store")
    registry.register(digits_run / "model", "digits", database, store)
    other = tmp_path / "other"
    shutil.copytree(digits_run / "model", other)
    about = json.loads((other / "model.json").read_text())
    (other / "model.json").write_text(json.dumps({**about, "training": {"note": "another"}}))
    registry.register(other, "digits", database, store)

    stage = ("--registry", database, "--name", "digits", "--alias", "production")
    assert run_json("registry", "alias", *stage, "--version", "1")["before"] == ""
    assert registry.verify(database, "digits", "production")["version"] == "1"
    assert run_json("registry", "alias", *stage, "--version", "2")["before"] == "1"
    assert registry.verify(database, "digits", "production")["version"] == "2"
    assert [of["aliases"] for of in registry.versions(database, "digits")] == [[], ["production"]]
    assert registry.show(database, "digits", "2")["aliases"] == ["production"]
    for wrong in ("7", "latest", "../up"):
        with pytest.raises(WorkloadError, match="is no alias"):
            registry.set_alias(database, "digits", "1", wrong)
    unknown = run("registry", "show", "--registry", database, "--name", "digits", "--version", "staging")
    assert (unknown.returncode, unknown.stdout) == (4, "")
    assert "version 'staging' of model 'digits' is not registered" in unknown.stderr
