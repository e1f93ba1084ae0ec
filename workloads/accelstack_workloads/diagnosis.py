"""Which process of a group is lost or slow: names in place of what gloo and NCCL say."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median

from torch.distributed import DistError
from torch.distributed.distributed_c10d import Store

GRACE_SECONDS = 10.0
"""For the others to notice, too, that one is lost."""
SLOW = 1.3
"""Times the median of all processes; from there on a process holds up the others noticeably."""
WORTH_SECONDS = 0.01
"""In a step; smaller differences come and go."""


@dataclass(frozen=True)
class Slow:
    """A process that holds up the others.

    Attributes:
        rank: its number.
        seconds: of its own work in a step.
        usual: the median of all processes.
    """

    rank: int
    seconds: float
    usual: float


def slow(seconds: Sequence[float]) -> list[Slow]:
    """The processes whose own work takes long, by the seconds in a step of each."""
    usual = median(seconds)
    return [
        Slow(rank, each, usual)
        for rank, each in enumerate(seconds)
        if each > SLOW * usual and each - usual > WORTH_SECONDS
    ]


class RollCall:
    """Notes of all processes of a group in the store that they met at; torchrun keeps it when they end.

    Args:
        store: of the group.
        rank: this process's number.
        size: how many there are.
    """

    def __init__(self, store: Store, rank: int, size: int) -> None:
        self._store, self._rank, self._size = store, rank, size
        store.set(f"host/{rank}", socket.gethostname())

    def note(self, place: str) -> None:
        """Says how far this process came."""
        with suppress(DistError, RuntimeError):  # training needs no store: torchrun may have been killed
            self._store.set(f"place/{self._rank}", place)

    def host(self, rank: int) -> str:
        """Where a process runs."""
        return self._read(f"host/{rank}", "an unknown host")

    def missing(self) -> list[str]:
        """The processes that do not answer any more, in words; none where the store itself is lost."""
        try:
            self._store.set(f"here/{self._rank}", "")
            return [
                f"process {rank} on {self.host(rank)}, last heard of at {self._read(f'place/{rank}', 'the start')}"
                for rank in self._silent()
            ]
        except (DistError, RuntimeError):
            return []

    def _silent(self) -> list[int]:
        end = time.monotonic() + GRACE_SECONDS
        while True:
            silent = [rank for rank in range(self._size) if not self._store.check([f"here/{rank}"])]
            if len(silent) <= 1 or time.monotonic() > end:
                return silent
            time.sleep(0.1)

    def _read(self, key: str, otherwise: str) -> str:
        return self._store.get(key).decode() if self._store.check([key]) else otherwise
