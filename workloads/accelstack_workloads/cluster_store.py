"""A run's place in the object store: its checkpoints while it trains, its model and result when it is done."""

from __future__ import annotations

import json
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from accelstack_workloads import checkpoint
from accelstack_workloads.atomic import write_file
from accelstack_workloads.errors import WorkloadError

RESULT = "result.json"
"""Written last: a run that has it is done."""
CHECKPOINTS = "checkpoints"
EVERY_SECONDS = 2.0
"""Between two looks for checkpoints; what is lost with a machine is this and the time between two checkpoints."""


class RunStore:
    """The folder of one run in a store.

    Args:
        store: fsspec URI of the store's root.
        run_id: identity of the run.

    Raises:
        WorkloadError: the store cannot be used.
    """

    def __init__(self, store: str, run_id: str) -> None:
        self.uri = f"{store.rstrip('/')}/runs/{run_id}"
        try:
            self._files, self._root = fsspec.core.url_to_fs(self.uri)
        except Exception as error:  # each storage library raises its own kinds
            raise self._unusable(error) from error

    def result(self) -> dict[str, Any] | None:
        """The result of a run that is done; else None."""
        content = self._read(RESULT)
        return json.loads(content) if content else None

    def write(self, name: str, content: bytes) -> None:
        """Writes a file, whole or not at all."""
        path = f"{self._root}/{name}"
        try:
            if isinstance(self._files, LocalFileSystem):
                write_file(Path(path), content)
            else:
                self._files.pipe_file(path, content)  # an object appears when all of it is there
        except WorkloadError:
            raise
        except Exception as error:
            raise self._unusable(error) from error

    def checkpoints(self) -> list[str]:
        """Names of the checkpoints that are there whole, newest first."""
        return [name for name, files in self._folders().items() if checkpoint.MARKER in files]

    def restore(self, folder: Path) -> None:
        """Copies what the folder lacks of the checkpoints; the marker of each last."""
        for name in self.checkpoints():
            marker = self._read(f"{CHECKPOINTS}/{name}/{checkpoint.MARKER}") or b""
            try:
                shards = checkpoint.parse(marker)["shards"]
            except ValueError as error:
                print(f"warning: checkpoint {name} in the store is passed over ({error})", flush=True)
                continue
            for shard in shards:
                if not (folder / name / shard).exists() and (content := self._read(f"{CHECKPOINTS}/{name}/{shard}")):
                    write_file(folder / name / shard, content)
            if not (folder / name / checkpoint.MARKER).exists():
                write_file(folder / name / checkpoint.MARKER, marker)

    def save(self, folder: Path) -> None:
        """Copies what the store lacks of the checkpoints, and drops all but the newest there.

        Machines without a shared disk have a part of the shards each, and one of them has the marker: it follows when
        all shards that it names are there.
        """
        there, whole = self._folders(), self.checkpoints()
        oldest = whole[-1] if len(whole) >= checkpoint.KEPT else ""
        for path in sorted(folder.glob("*/*")):
            name = path.parent.name
            if checkpoint.NAME.fullmatch(name) and checkpoint.SHARD.fullmatch(path.name) and name > oldest:
                self._copy(path, there)
        there = self._folders()
        for path in checkpoint.find(folder):
            if path.name > oldest and {*checkpoint.read(path)["shards"]} <= there.get(path.name, set()):
                self._copy(path / checkpoint.MARKER, there)
        kept = self.checkpoints()[: checkpoint.KEPT]
        for name, files in self._folders().items():
            if len(kept) == checkpoint.KEPT and name < kept[-1]:  # newer ones may be on their way from another machine
                self._drop(name, files)

    def _copy(self, path: Path, there: dict[str, set[str]]) -> None:
        if path.name not in there.get(path.parent.name, set()):
            self.write(f"{CHECKPOINTS}/{path.parent.name}/{path.name}", path.read_bytes())

    def _drop(self, name: str, files: set[str]) -> None:
        """Removes a checkpoint, its marker first: what is left of it then is none."""
        for file in sorted(files, key=lambda file: file != checkpoint.MARKER):
            with suppress(FileNotFoundError):  # another machine was faster
                self._files.rm_file(f"{self._root}/{CHECKPOINTS}/{name}/{file}")

    def _folders(self) -> dict[str, set[str]]:
        """Names of the files of each checkpoint that is there, whole or not, newest first; none half-written."""
        try:
            self._files.invalidate_cache()
            found = self._files.find(f"{self._root}/{CHECKPOINTS}")
        except FileNotFoundError:
            return {}
        except Exception as error:
            raise self._unusable(error) from error
        folders: dict[str, set[str]] = {}
        for path in sorted(map(str, found), reverse=True):
            name, file = path.split("/")[-2:]
            if checkpoint.NAME.fullmatch(name) and (file == checkpoint.MARKER or checkpoint.SHARD.fullmatch(file)):
                folders.setdefault(name, set()).add(file)
        return folders

    def _read(self, name: str) -> bytes | None:
        try:
            return self._files.cat_file(f"{self._root}/{name}")
        except FileNotFoundError:
            return None
        except Exception as error:
            raise self._unusable(error) from error

    def _unusable(self, error: Exception) -> WorkloadError:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return WorkloadError(
            f"store: {self.uri!r} cannot be used ({reason}); check the URI, its credentials, "
            "and that the fsspec library for it is installed"
        )


class Mirror:
    """Keeps a run's checkpoints in step with the store while a block runs, and once more at its end.

    A checkpoint that another machine saved comes here too: after a machine is lost, this one may have to lead.
    """

    def __init__(self, store: RunStore, folder: Path) -> None:
        self._store, self._folder = store, folder
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run, name="mirror", daemon=True)

    def __enter__(self) -> Mirror:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        self._store.save(self._folder)

    def _run(self) -> None:
        while not self._done.wait(EVERY_SECONDS):
            try:
                self._store.save(self._folder)
                self._store.restore(self._folder)
            except (OSError, ValueError) as error:  # tried again: the store may be out of reach for a while
                print(f"warning: checkpoints are not copied to the store yet: {error}", flush=True)
