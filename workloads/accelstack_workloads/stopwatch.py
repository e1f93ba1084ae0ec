"""How long a process's own work takes, apart from what it waits for others."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import torch


class Stopwatch:
    """Measures parts of the work of a device, and never makes it wait.

    Args:
        device: what computes. Times of an accelerator are taken by events in its own order of work.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._seconds, self._parts = 0.0, 0
        self._pairs: list[tuple[torch.Event, torch.Event]] = []

    @contextmanager
    def part(self) -> Iterator[None]:
        """Measures a block."""
        self._parts += 1
        if self._device.type == "cpu":
            began = time.perf_counter()
            yield
            self._seconds += time.perf_counter() - began
            return
        pair = torch.Event(self._device, enable_timing=True), torch.Event(self._device, enable_timing=True)
        pair[0].record()
        yield
        pair[1].record()
        self._pairs.append(pair)

    def read(self) -> float:
        """Mean seconds of the parts since it was read before; 0 where there were none. Waits for the device."""
        for first, last in self._pairs:
            last.synchronize()
            self._seconds += first.elapsed_time(last) / 1000
        mean = self._seconds / max(self._parts, 1)
        self._seconds, self._parts, self._pairs = 0.0, 0, []
        return mean
