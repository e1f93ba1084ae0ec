"""Fetching a version's files for a server: whole and checked, or not at all; from a folder and from S3."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import boto3
import pytest
from accelstack_workloads import model_files
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.fetch import fetch
from moto.server import ThreadedMotoServer

from tests.workloads.steps import END_SECONDS

NATIVE = {"model.json": b"{}", "model.safetensors": b"weights"}
TRITON = {"config.pbtxt": b'name: "digits"', "1/model.onnx": b"one", "2/model.onnx": b"two"}


def directory(folder: Path, files: dict[str, bytes]) -> Path:
    for name, content in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def run(uri: object, digest: str, out: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    options = ("--uri", str(uri), "--digest", digest, "--out", str(out))
    return subprocess.run(
        [sys.executable, "-m", "accelstack_workloads", "fetch", *options],
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
        env=os.environ | environment,
    )


@pytest.fixture(params=[NATIVE, TRITON], ids=["native", "triton"])
def files(request: pytest.FixtureRequest) -> dict[str, bytes]:
    return request.param


def test_a_version_is_copied_once(tmp_path: Path, files: dict[str, bytes]) -> None:
    stored = directory(tmp_path / "store", files)
    digest, out = model_files.folder_digest(stored), tmp_path / "pod/model"
    first = run(stored, digest, out)
    assert (first.returncode, first.stdout) == (0, f"fetched: {digest} into {out}\n"), first.stderr
    assert contents(out) == files
    again = run(stored, digest, out)
    assert (again.returncode, again.stdout) == (0, f"unchanged: {digest} in {out}\n")
    assert [path.name for path in out.parent.iterdir()] == ["model"]


def test_a_model_with_other_files_beside_it_keeps_its_own_digest(tmp_path: Path) -> None:
    stored = directory(tmp_path / "store", {**NATIVE, "training.json": b"{}"})
    assert fetch(str(stored), model_files.digest(stored), tmp_path / "out")
    assert contents(tmp_path / "out") == NATIVE


def test_changed_files_are_not_handed_to_a_server(tmp_path: Path, files: dict[str, bytes]) -> None:
    stored = directory(tmp_path / "store", files)
    digest, out = model_files.folder_digest(stored), tmp_path / "pod/model"
    directory(stored, {list(files)[-1]: b"changed"})
    done = run(stored, digest, out)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1
    assert digest in done.stderr
    assert model_files.folder_digest(stored) in done.stderr
    assert "register the version again" in done.stderr
    assert not list(out.parent.glob("*"))


def test_a_damaged_copy_is_mended_and_foreign_files_are_kept(tmp_path: Path, files: dict[str, bytes]) -> None:
    stored = directory(tmp_path / "store", files)
    digest, out = model_files.folder_digest(stored), tmp_path / "model"
    assert fetch(str(stored), digest, out)
    next(path for path in out.rglob("*") if path.is_file()).write_bytes(b"damaged")
    assert fetch(str(stored), digest, out)
    assert contents(out) == files
    foreign = directory(tmp_path / "foreign", {"notes.txt": b"mine"})
    with pytest.raises(WorkloadError, match="holds something else"):
        fetch(str(stored), digest, foreign)
    assert contents(foreign) == {"notes.txt": b"mine"}


def test_a_mounted_folder_is_filled_in_place(
    tmp_path: Path, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    stored, out = directory(tmp_path / "store", files), tmp_path / "model"
    out.mkdir()
    mounted = out.stat().st_ino
    monkeypatch.setattr(os.path, "ismount", lambda path: Path(path) == out)
    digest = model_files.folder_digest(stored)
    assert fetch(str(stored), digest, out)
    directory(out, {list(files)[-1]: b"damaged"})
    assert fetch(str(stored), digest, out)
    assert contents(out) == files
    assert out.stat().st_ino == mounted


@pytest.mark.parametrize("uri", ["{folder}/nothing", "nosuchstore://bucket/model"])
def test_what_is_not_there_is_bad_input(tmp_path: Path, uri: str) -> None:
    done = run(uri.format(folder=tmp_path), "sha256:" + "0" * 64, tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1
    assert uri.format(folder=tmp_path) in done.stderr


@pytest.mark.parametrize("digest", ["", "0" * 64, "sha256:0", "sha256:" + "G" * 64])
def test_what_is_no_digest_is_bad_input(tmp_path: Path, digest: str) -> None:
    done = run(directory(tmp_path / "store", NATIVE), digest, tmp_path / "out")
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: digest: {digest!r} is not sha256:")
    assert not (tmp_path / "out").exists()


@pytest.fixture
def bucket(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket that every client finds by itself."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
    name = f"models-{uuid.uuid4()}"  # the servers of one process share what they hold
    boto3.client("s3").create_bucket(Bucket=name)
    yield name
    server.stop()


def test_a_version_comes_from_s3(bucket: str, tmp_path: Path, files: dict[str, bytes]) -> None:
    objects, digest = boto3.client("s3"), model_files.folder_digest(directory(tmp_path / "same", files))
    objects.put_object(Bucket=bucket, Key="digits/1/", Body=b"")  # as consoles make folders
    for name, content in files.items():
        objects.put_object(Bucket=bucket, Key=f"digits/1/{name}", Body=content)
    done = run(f"s3://{bucket}/digits/1", digest, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert contents(tmp_path / "out") == files
    objects.put_object(Bucket=bucket, Key=f"digits/1/{next(iter(files))}", Body=b"changed")
    assert run(f"s3://{bucket}/digits/1", digest, tmp_path / "other").returncode == 4
    missing = run(f"s3://{bucket}/digits/2", digest, tmp_path / "other")
    assert (missing.returncode, missing.stderr.count("\n")) == (2, 1)
    assert not (tmp_path / "other").exists()
