"""A run's checkpoints as its processes write and read them together, by `torch.distributed.checkpoint`.

Each process writes its own shard while training goes on, and reads from all shards what it needs: so another number of
processes, or another way of sharding, can go on from them.
"""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Iterator, Mapping
from concurrent import futures
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystem
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import AsyncSaveResponse, async_save
from torch.distributed.checkpoint.storage import WriteResult
from torch.futures import Future

from accelstack_workloads import checkpoint
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.group import Group
from accelstack_workloads.progress import say

warnings.filterwarnings("ignore", "torch.distributed is disabled", UserWarning)  # one process alone is no mistake
MOST_NAMES = 3  # of tensors, in a message


@dataclass(frozen=True)
class Found:
    """A checkpoint to go on from.

    Attributes:
        path: of its folder.
        state: all that is no tensor, as it was saved.
    """

    path: Path
    state: dict[str, Any]


class Checkpoints:
    """Saves and loads the checkpoints of one run; all processes of the group call the same methods in the same order.

    Args:
        folder: of the checkpoints; on a disk that all share, or on one of each machine.
        group: the processes that train together.
    """

    def __init__(self, folder: Path, group: Group) -> None:
        self.folder, self.group = folder, group
        self._under_way: futures.Future[Any] | AsyncSaveResponse | None = None
        self._path = folder

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        """Waits for what is being written; why a run failed matters more than that a checkpoint did, too."""
        try:
            self.wait()
        except (WorkloadError, RuntimeError):
            if kind is None:
                raise

    def save(self, step: int, tensors: Mapping[str, torch.Tensor], state: dict[str, Any]) -> None:
        """Begins to write a checkpoint, and returns once the tensors are copied; waits for the former one before.

        Args:
            step: steps done since the run began.
            tensors: by name; those that are the same in all processes are written once.
            state: all that is no tensor; JSON alone. The first process's is kept.

        Raises:
            WorkloadError: the former one could not be written.
        """
        self.wait()
        self._path = self.folder / checkpoint.folder_name(step)
        try:
            self._under_way = async_save(
                dict(tensors),
                storage_writer=_Writer(self._path, deepcopy(state)),  # it changes while this one is written
                planner=DefaultSavePlanner(dedup_save_to_lowest_rank=True),
                process_group=self.group.background,
                no_dist=self.group.size == 1,
            )
        except OSError as error:
            raise self._cannot_write(error) from error

    def wait(self) -> None:
        """Waits for the checkpoint that is being written, if one is.

        Raises:
            WorkloadError: it could not be written; what there is of it is dropped, and older ones are as they were.
        """
        if self._under_way is None:
            return
        try:
            response = self._under_way
            (response.upload_completion if isinstance(response, AsyncSaveResponse) else response).result()
        except CheckpointException as error:
            if self.group.leads_machine and not (self._path / checkpoint.MARKER).exists():
                shutil.rmtree(self._path, ignore_errors=True)
            raise self._cannot_write(error) from error
        finally:
            self._under_way = None
        if self.group.leads_machine:
            checkpoint.tidy(self.folder)

    def newest(self) -> Found | None:
        """The newest checkpoint that is whole, on all machines; others are warned of. None where there is none."""
        while True:
            found = self.group.from_leader(self._candidate)
            if found is None:
                return None
            path = self.folder / found[0]
            whole = checkpoint.is_whole(path, [*islice(found[1]["shards"], *self.group.share_of_machine)])
            if not self.group.total([float(not whole)])[0]:
                return Found(path, found[1])
            if not whole:
                say(f"warning: checkpoint {path} is passed over (damaged or incomplete)")
            if self.group.leads_machine:
                checkpoint.set_aside(path)

    def load(self, found: Found, tensors: Mapping[str, torch.Tensor]) -> None:
        """Fills the tensors from a checkpoint.

        Raises:
            WorkloadError: they have other names or shapes there.
        """
        reader = _Reader(found.path, found.state["shards"])
        there = {
            name: tuple(entry.size)
            for name, entry in reader.read_metadata().state_dict_metadata.items()
            if isinstance(entry, TensorStorageMetadata)
        }
        other = [*differing(there, {name: tuple(tensor.shape) for name, tensor in tensors.items()})]
        if other:
            named = "; ".join(other[:MOST_NAMES]) + (
                f"; and {len(other) - MOST_NAMES} more" * (len(other) > MOST_NAMES)
            )
            raise WorkloadError(
                f"out: {found.path} is of another model ({named}); give the same settings, another --out, "
                "or delete that run"
            )
        load(
            dict(tensors),
            storage_reader=reader,
            process_group=self.group.background,
            no_dist=self.group.size == 1,
        )

    def _candidate(self) -> tuple[str, dict[str, Any]] | None:
        for path in checkpoint.find(self.folder):
            try:
                return path.name, checkpoint.read(path)
            except ValueError as error:
                say(f"warning: checkpoint {path} is passed over ({error})")
                checkpoint.set_aside(path)
        return None

    def _cannot_write(self, error: BaseException) -> WorkloadError:
        reason = error
        if isinstance(error, CheckpointException):
            reason = next((cause for cause, _ in error.failures.values()), error)
        if isinstance(reason, WorkloadError):
            return reason
        text = getattr(reason, "strerror", None) or str(reason).splitlines()[0]
        return WorkloadError(
            f"out: {self._path} cannot be written ({text}); free space, or give a folder you may write to"
        )


def differing(there: Mapping[str, tuple[int, ...]], here: Mapping[str, tuple[int, ...]]) -> Iterator[str]:
    """How the tensors of a checkpoint differ from those of a model, by name, in words."""
    for name in sorted({*there, *here}):
        if name not in there:
            yield f"{name} is missing"
        elif name not in here:
            yield f"{name} is not known"
        elif there[name] != here[name]:
            yield f"{name} is {list(there[name])}, not {list(here[name])}"


class _Writer(HuggingFaceStorageWriter):
    """Writes shards of safetensors, names them by their content, and the marker when all processes' are there."""

    def __init__(self, path: Path, state: dict[str, Any]) -> None:
        super().__init__(str(path), save_distributed=True)
        self._folder, self._state = path, state

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        results = super().write_data(plan, planner).wait()
        names = dict[str, str]()
        for name in {result.storage_data.relative_path for result in results}:
            written = self._folder / name
            names[name] = f"{checkpoint.digest(written)}.safetensors"
            written.replace(self._folder / names[name])
        renamed: Future[list[WriteResult]] = Future()
        renamed.set_result(
            [
                replace(
                    result,
                    storage_data=replace(result.storage_data, relative_path=names[result.storage_data.relative_path]),
                )
                for result in results
            ]
        )
        return renamed

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        shards = {result.storage_data.relative_path for each in results for result in each}
        checkpoint.mark(self._folder, [*shards], self._state)


class _Reader(HuggingFaceStorageReader):
    """Reads the named shards of a folder alone."""

    def __init__(self, path: Path, shards: list[str]) -> None:
        super().__init__(str(path))
        self.fs = _Named(shards)


class _Named(FileSystem):
    """A folder as if it held the named files alone."""

    def __init__(self, names: list[str]) -> None:
        self._names = names

    def ls(self, path: Any) -> list[str]:
        return [str(Path(path, name)) for name in self._names]
