"""A model version's files, brought to where a server reads them and checked against the version's digest."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from accelstack_workloads import model_store
from accelstack_workloads.atomic import new_folder
from accelstack_workloads.errors import NotVerifiedError, WorkloadError
from accelstack_workloads.model_files import folder_digest, identifying
from accelstack_workloads.signing import SIGNATURE, verify

ARRIVING = ".fetched"
"""Folder in a mounted `--out` that files arrive in, since a mount itself cannot be renamed."""


def fetch(uri: str, digest: str, out: Path, public_key: str = "") -> bool:
    """Copies the directory at a URI to `out`, where it appears once its digest is what it must be.

    Args:
        uri: path or fsspec URI of a model directory, or of any other that a server reads.
        digest: `sha256:<hex>` as `model_files.folder_digest` gives it.
        out: where the directory shall be; one with this digest, and signed where a key is given, is left as it is.
        public_key: that must have signed it, as `signing.public_key` gives it; none if empty.

    Returns:
        Whether anything was copied.

    Raises:
        WorkloadError: the digest is none, there is nothing at the URI, it cannot be read, or `out` cannot be written.
        NotVerifiedError: the files at the URI have another digest, or are not signed by the key.
    """
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        raise WorkloadError(f"digest: {digest!r} is not sha256: and 64 hexadecimal digits; give the registered one")
    if out.is_dir() and folder_digest(out) == digest and (not public_key or (out / SIGNATURE).exists()):
        if public_key:
            verify(out, public_key)
        return False
    source = model_store.files_at(uri)
    if not source.sizes:
        raise WorkloadError(f"uri: there is no file below {uri!r}; give the URI of a registered version's directory")
    names = [*identifying(source.sizes), *([SIGNATURE] if public_key else [])]
    if not {*names} <= {*source.sizes}:
        raise NotVerifiedError(f"the model at {uri} is not signed; register it with --signing-key")
    _refuse_too_large(out, sum(source.sizes[name] for name in names))
    with _arriving(out, names[0].partition("/")[0]) as folder:
        source.copy(names, folder)
        found = folder_digest(folder)
        if found != digest:
            raise NotVerifiedError(
                f"the files at {uri} have digest {found}, not {digest}: they were changed or copied in part; "
                "register the version again, or give the digest of what is there"
            )
        if public_key:
            verify(folder, public_key)
    return True


@contextmanager
def _arriving(out: Path, marker: str) -> Iterator[Path]:
    """A folder to fill that becomes `out`, or what a mounted `out` holds, when the block ends well."""
    if not os.path.ismount(out):
        with new_folder(out, marker) as folder:
            yield folder
        return
    arrived = out / ARRIVING
    with new_folder(arrived, marker) as folder:
        yield folder
    for entry in arrived.iterdir():
        older = out / entry.name
        if older.is_dir():
            shutil.rmtree(older)
        entry.replace(older)
    arrived.rmdir()


def _refuse_too_large(out: Path, size: int) -> None:
    there = next(folder for folder in (out, *out.absolute().parents) if folder.is_dir())
    free = shutil.disk_usage(there).free
    if size > free:
        raise WorkloadError(
            f"out: {there} has {free / 1e9:.1f} GB free, and the version takes {size / 1e9:.1f}; give it more space"
        )
