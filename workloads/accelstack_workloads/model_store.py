"""Where registered models' files are kept: a folder per content, at a path or fsspec URI."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from accelstack_workloads import signing
from accelstack_workloads.atomic import new_folder
from accelstack_workloads.errors import NotVerifiedError, WorkloadError
from accelstack_workloads.model_files import DESCRIPTION, digest, identifying, is_model


def copy(model: Path, identity: str, store: str, name: str) -> str:
    """The URI of the model's copy in the store, made where it is missing or damaged.

    Args:
        model: the model directory.
        identity: its digest.
        store: path or fsspec URI; the copy lies below it at `<name>/<first 12 hex digits of the digest>`.
        name: of the registered model.

    Raises:
        WorkloadError: the store cannot be used, or the copy is not what was copied.
    """
    fs, root = _filesystem(store)
    uri = fs.unstrip_protocol(f"{root.rstrip('/')}/{name}/{identity.removeprefix('sha256:')[:12]}")
    put(model, identity, uri)
    return uri


def put(model: Path, identity: str, uri: str) -> None:
    """Copies a model directory to a URI, where it is missing or damaged there.

    Args:
        model: the model directory.
        identity: its digest.
        uri: path or fsspec URI of the copy.

    Raises:
        WorkloadError: the store cannot be used, or the copy is not what was copied.
    """
    fs, target = _filesystem(uri)
    if digest_at(uri) == identity:
        return
    # the description last: without it a copy is not a model
    files = [*reversed(identifying(path.name for path in model.iterdir()))]
    if isinstance(fs, LocalFileSystem):
        with new_folder(Path(target), marker=DESCRIPTION) as partial:
            for file in files:
                (partial / file).write_bytes((model / file).read_bytes())
    else:
        with _storage(uri):
            for file in files:
                fs.pipe_file(f"{target.rstrip('/')}/{file}", (model / file).read_bytes())
    copied = digest_at(uri)
    if copied != identity:
        raise WorkloadError(f"store: the copy at {uri} has digest {copied}, not {identity}; copy it again")


def sign(uri: str, key: Path) -> None:
    """Leaves a signature beside the files of the model at a URI; the one that is there stays where it is the key's.

    Raises:
        WorkloadError: the key or the store cannot be used.
    """
    public = signing.public_key(key)
    names = files_at(uri).sizes
    if others := {*names} - {*identifying(names), signing.SIGNATURE}:
        raise WorkloadError(f"store: {min(others)!r} at {uri} is no part of a model; remove it and register again")
    fs, root = _filesystem(uri)
    with _here(uri) as folder:
        try:
            signing.verify(folder, public)
        except NotVerifiedError:
            signature = signing.sign(folder, key)
            with _storage(uri):
                fs.pipe_file(f"{root.rstrip('/')}/{signing.SIGNATURE}", signature)


def verify(uri: str, public: str) -> None:
    """Refuses a model at a URI that is not signed by the key, or not as a whole.

    Raises:
        NotVerifiedError: it is not.
        WorkloadError: the key is none, or the store cannot be read.
    """
    with _here(uri) as folder:
        signing.verify(folder, public)


@contextmanager
def _here(uri: str) -> Iterator[Path]:
    """The directory at a URI, on this machine; a copy of it where it is elsewhere."""
    fs, root = _filesystem(uri)
    if isinstance(fs, LocalFileSystem):
        yield Path(root)
        return
    with tempfile.TemporaryDirectory() as folder:
        found = files_at(uri)
        found.copy([*found.sizes], Path(folder))
        yield Path(folder)


def digest_at(uri: str) -> str | None:
    """The digest of the model at a URI; None where there is none.

    Raises:
        WorkloadError: the store cannot be read.
    """
    if not is_model(files_at(uri).sizes):
        return None
    with _here(uri) as folder:
        return digest(folder)


@dataclass(frozen=True)
class Files:
    """The files below a URI.

    Attributes:
        uri: of the directory.
        sizes: in bytes, by the file's path in the directory.
    """

    uri: str
    sizes: dict[str, int]

    def copy(self, names: Sequence[str], folder: Path) -> None:
        """Copies some of them into a local folder, in which they keep their paths.

        Raises:
            WorkloadError: a file would lie outside of the folder, or the store cannot be read.
        """
        for name in names:
            if ".." in PurePosixPath(name).parts or name.startswith("/"):
                raise WorkloadError(
                    f"uri: {self.uri!r} has a file {name!r}, which lies outside of it; register it again"
                )
        fs, root = _filesystem(self.uri)
        targets = [folder / name for name in names]
        for target in targets:
            target.parent.mkdir(parents=True, exist_ok=True)
        with _storage(self.uri):
            fs.get([f"{root.rstrip('/')}/{name}" for name in names], [str(target) for target in targets])


def files_at(uri: str) -> Files:
    """The files below a URI, however deep; none where there is no such directory.

    Raises:
        WorkloadError: the store cannot be read.
    """
    fs, root = _filesystem(uri)
    start = root.rstrip("/") + "/"
    with _storage(uri):
        try:
            found = fs.find(root, detail=True)
        except FileNotFoundError:
            found = {}
    sizes = {path.removeprefix(start): int(about["size"] or 0) for path, about in found.items()}
    # object stores may hold empty objects in place of folders
    return Files(uri, {path: size for path, size in sizes.items() if path and not path.endswith("/") and path != root})


def _filesystem(uri: str) -> tuple[Any, str]:
    with _storage(uri):
        return fsspec.core.url_to_fs(uri)


@contextmanager
def _storage(uri: str) -> Iterator[None]:
    try:
        yield
    except (WorkloadError, FileNotFoundError):
        raise
    except Exception as error:  # each storage library raises its own kinds
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise WorkloadError(
            f"store: {uri!r} cannot be used ({reason}); check the URI, its credentials, "
            "and that the fsspec library for it is installed"
        ) from error
