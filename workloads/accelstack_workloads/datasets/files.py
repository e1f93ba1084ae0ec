"""Files of a dataset at any path or fsspec URI."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import fsspec

from accelstack_workloads.errors import WorkloadError

Listing = dict[tuple[str, ...], str]  # the parts of a path below a folder -> the path


def open_place(uri: str) -> tuple[Any, str, str]:
    """The file system of a path or URI, the path there, and whether that is a `file` or a `directory`.

    Raises:
        WorkloadError: it does not exist or cannot be opened.
    """
    try:
        fs, root = fsspec.core.url_to_fs(uri)
        kind = fs.info(root)["type"]
    except FileNotFoundError as error:
        raise WorkloadError(f"dataset: {uri!r} does not exist; give the path or URI of your data") from error
    except Exception as error:  # each storage library raises its own kinds
        raise WorkloadError(
            f"dataset: {uri!r} cannot be opened ({reason(error)}); check the URI, its credentials, "
            "and that the fsspec library for it is installed"
        ) from error
    return fs, root, kind


def open_folder(uri: str) -> tuple[Any, str]:
    """The file system of a folder's path or URI, and the path there.

    Raises:
        WorkloadError: it is no folder, does not exist or cannot be opened.
    """
    fs, root, kind = open_place(uri)
    if kind != "directory":
        raise WorkloadError(f"dataset: {uri!r} is not a folder; give the folder that holds the data")
    return fs, root


def listing(fs: Any, root: str, uri: str) -> Listing:
    """Every file below the root, but hidden ones; a folder without anything in it shows as an empty last part.

    Raises:
        WorkloadError: a folder is a link, or cannot be listed.
    """

    def walk(folder: str, parts: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
        empty = True
        for entry in fs.ls(folder, detail=True):
            path: str = entry["name"].rstrip("/")
            name = path.rsplit("/", 1)[-1]
            if name.startswith(".") or path == folder.rstrip("/"):
                continue
            empty = False
            if entry["type"] == "directory":
                yield from walk(path, (*parts, name))
            elif entry.get("islink") and fs.isdir(path):
                raise WorkloadError(
                    f"dataset: {path} is a link to a folder, which is not followed; put the folder there"
                )
            elif entry["type"] == "file" or entry.get("islink"):
                yield (*parts, name), path
        if empty:
            yield (*parts, ""), folder

    try:
        return dict(walk(root, ()))
    except WorkloadError:
        raise
    except Exception as error:  # each storage library raises its own kinds
        raise WorkloadError(f"dataset: {uri!r} cannot be listed ({reason(error)}); check its permissions") from error


def reason(error: Exception) -> str:
    """The first line of what an error says."""
    return str(error).splitlines()[0] if str(error) else type(error).__name__
