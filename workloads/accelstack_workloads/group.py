"""The processes that train together, under torchrun; a process alone is a group of one."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import numpy as np
import torch
from torch import distributed
from torch.distributed.distributed_c10d import PrefixStore
from torch.distributed.rendezvous import rendezvous

from accelstack_workloads.diagnosis import RollCall
from accelstack_workloads.errors import WorkloadError

Result = TypeVar("Result")
MOST_OF_DEVICE = 0.5
"""Of a device's free memory that samples may take; more of them stay in the machine's, or on its disk."""
MEET_TIMEOUT = timedelta(minutes=5)  # for all to be there


@dataclass(frozen=True)
class Group:
    """This process among those that train together.

    Attributes:
        rank: its number, from 0.
        size: how many there are.
        device: where it computes.
        place: its number among those on its machine, from 0, and how many they are.
        background: what carries the exchanges of checkpoints, which go on beside those of training; None for one alone.
        roll: who is there and how far each came; None for one alone.
    """

    rank: int
    size: int
    device: torch.device
    place: tuple[int, int] = (0, 1)
    background: distributed.ProcessGroup | None = None
    roll: RollCall | None = None

    @property
    def leads(self) -> bool:
        """Whether this process is the one that prints and writes."""
        return self.rank == 0

    @property
    def leads_machine(self) -> bool:
        """Whether it is the first of those on its machine."""
        return self.place[0] == 0

    @property
    def share_of_machine(self) -> tuple[int, None, int]:
        """Start, end and step of this process's share of work that each machine does once."""
        return self.place[0], None, self.place[1]

    def near(self, arrays: Mapping[str, np.ndarray]) -> dict[str, torch.Tensor]:
        """The samples as tensors: on the device, if they take at most half of what is free there; else as they are."""
        tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
        size = sum(tensor.nbytes for tensor in tensors.values())
        if self.device.type == "cpu" or size > torch.cuda.mem_get_info(self.device)[0] * MOST_OF_DEVICE:
            return tensors
        return {name: tensor.to(self.device) for name, tensor in tensors.items()}

    def bring(self, batch: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        """A batch on the device, wherever its samples are."""
        return tuple(part.to(self.device, non_blocking=True) for part in batch)

    def total(self, values: list[float]) -> list[float]:
        """Each value summed over the processes."""
        sums = torch.tensor(values, dtype=torch.float64)
        if self.size > 1:
            distributed.all_reduce(sums)
        return sums.tolist()

    def of_each(self, value: float) -> list[float]:
        """The value of each process, by their numbers."""
        return self.total([value if rank == self.rank else 0.0 for rank in range(self.size)])

    def note(self, place: object) -> None:
        """Leaves word how far this process came, for when it is lost."""
        if self.roll:
            self.roll.note(str(place))

    def host(self, rank: int) -> str:
        """The machine of a process."""
        return self.roll.host(rank) if self.roll else socket.gethostname()

    def from_leader(self, work: Callable[[], Result]) -> Result:
        """What `work` gives, or the WorkloadError it raises, in the leading process, for all of them."""
        outcome: list[Any] = [None, None]
        if self.leads:
            try:
                outcome[0] = work()
            except WorkloadError as error:
                outcome[1] = str(error)
        if self.size > 1:
            distributed.broadcast_object_list(outcome, src=0, device=torch.device("cpu"))
        if outcome[1] is not None:
            raise WorkloadError(outcome[1])
        return outcome[0]


@contextmanager
def join(timeout_minutes: float) -> Iterator[Group]:
    """The group that torchrun's environment names, for the length of the block.

    Args:
        timeout_minutes: of any one exchange between the processes.

    Raises:
        WorkloadError: another process of the group ended meanwhile, or does not answer.
    """
    rank, size = int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1"))
    device = _device()
    if size == 1:
        yield Group(rank, size, device)
        return
    if os.environ.get("LOCAL_WORLD_SIZE") == str(size) and "lo" in [name for _, name in socket.if_nameindex()]:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")  # all on this machine: listen on no other interface
    timeout, roll = timedelta(minutes=timeout_minutes), None
    try:
        store, rank, size = next(rendezvous("env://", timeout=MEET_TIMEOUT))
        roll = RollCall(PrefixStore("roll", store), rank, size)
        backends = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        distributed.init_process_group(
            backends, store=PrefixStore("group", store), rank=rank, world_size=size, timeout=timeout
        )
        place = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
        background = distributed.new_group(backend="gloo", timeout=timeout)
        assert isinstance(background, distributed.ProcessGroup)  # noqa: S101 - all are in it
        yield Group(rank, size, device, place, background, roll)
    except (distributed.DistError, RuntimeError) as error:
        late = _is_late(error)
        if not (late or _has_ended(error)):
            raise
        named = "; ".join(roll.missing()) if roll else ""
        how = f", which gave no answer for {timeout_minutes:g} minutes" if late else ""
        raise WorkloadError(
            f"training: process {rank} of {size} lost another one of its group{named and f': {named}'}{how}; "
            "run again to go on from the last checkpoint"
        ) from error
    finally:
        if distributed.is_initialized():
            distributed.destroy_process_group()


def _device() -> torch.device:
    """The one place that chooses where to compute."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))
    torch.cuda.set_device(device)
    return device


def _is_late(error: Exception) -> bool:
    return any(sign in str(error).lower() for sign in ("timed out", "timeout"))


def _has_ended(error: Exception) -> bool:
    signs = ("connection closed by peer", "connection reset", "broken pipe", "connection was closed", "socket closed")
    return isinstance(error, distributed.DistError) or any(sign in str(error).lower() for sign in signs)
