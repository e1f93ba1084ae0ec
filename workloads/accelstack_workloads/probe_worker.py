"""One of the processes that measure an all-reduce together, under torchrun: `… -m accelstack_workloads.probe_worker`.

The figures are those of NCCL's own tests (https://github.com/NVIDIA/nccl-tests/blob/master/doc/PERFORMANCE.md):
algorithm bandwidth is the tensor's bytes by the seconds of an all-reduce; bus bandwidth is that times 2(n-1)/n for n
processes, and can be held against the hardware's whatever n is.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

from accelstack_workloads.lifeline import watch_parent

MEASURED_VARIABLE = "ACCELSTACK_PROBE_MEASURED"
"""Path at which a machine's first worker leaves what was measured."""
MEBIBYTE = 2**20
USUAL_MEGABYTES = {"nccl": 1024, "gloo": 64}
GROWTH = 4
WARM_UPS, FEWEST, MOST = 2, 3, 20
"""All-reduces of each size: first unmeasured ones, then as many as fit in its seconds."""
SECONDS_PER_SIZE = 10.0
EXCHANGE_TIMEOUT = timedelta(minutes=5)


def sizes(megabytes: int) -> list[int]:
    """Bytes of each tensor: from 1 MiB on, four times the one before, up to the largest."""
    found, largest = [MEBIBYTE], megabytes * MEBIBYTE
    while found[-1] < largest:
        found.append(min(found[-1] * GROWTH, largest))
    return found


def bandwidths(size: int, seconds: float, ranks: int) -> tuple[float, float]:
    """Algorithm and bus bandwidth of an all-reduce of so many bytes, in GB/s (1e9 bytes a second)."""
    algorithm = size / seconds / 1e9
    return algorithm, algorithm * 2 * (ranks - 1) / ranks


def measure(megabytes: int | None) -> dict[str, Any]:
    """Measures every size together with the other workers; gives the figures of the fastest.

    Args:
        megabytes: largest tensor, in MiB; what the backend usually takes if None.

    Raises:
        RuntimeError: a worker is lost, or the sum of an all-reduce is wrong.
    """
    import torch
    from torch import distributed

    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    backend = "nccl" if cuda else "gloo"
    distributed.init_process_group(backend, timeout=EXCHANGE_TIMEOUT, device_id=device if cuda else None)
    ranks, first = distributed.get_world_size(), os.environ["LOCAL_RANK"] == "0"
    proof = torch.tensor([distributed.get_rank() + 1.0], device=device)
    distributed.all_reduce(proof)
    if proof.item() != ranks * (ranks + 1) / 2:
        raise RuntimeError(f"all-reduce of 1 to {ranks} gave {proof.item():g}; the fabric or a device is broken")

    def seconds(tensor: Any) -> float:
        """Of one all-reduce."""
        begun = time.perf_counter()
        distributed.all_reduce(tensor)
        if cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - begun

    def slowest(value: float) -> float:
        """The largest of all workers' values, so that they decide alike."""
        values = torch.tensor([value], dtype=torch.float64, device=device)
        distributed.all_reduce(values, op=distributed.ReduceOp.MAX)
        return values.item()

    best: dict[str, Any] = {"bus_gbs": -1.0}
    for size in sizes(megabytes or USUAL_MEGABYTES[backend]):
        tensor = torch.zeros(size // 4, dtype=torch.float32, device=device)
        warm = slowest(min(seconds(tensor) for _ in range(WARM_UPS)))
        count = max(FEWEST, min(MOST, int(SECONDS_PER_SIZE / warm)))
        median = slowest(statistics.median(seconds(tensor) for _ in range(count)))
        algorithm, bus = bandwidths(size, median, ranks)
        if first:
            told = f"{size / MEBIBYTE:g} MiB in {median * 1e3:.2f} ms, {algorithm:.2f} GB/s, bus {bus:.2f} GB/s"
            print(f"probe: {told} ({backend}, {ranks} processes)", flush=True)
        if bus > best["bus_gbs"]:
            best = {"bus_gbs": bus, "algorithm_gbs": algorithm, "bytes": size, "ranks": ranks, "backend": backend}
    distributed.barrier()
    distributed.destroy_process_group()
    return best


def main() -> None:
    """Measures up to the MiB in the first argument, and leaves the figures where the machine's launcher looks."""
    watch_parent(lambda: os._exit(1))
    measured = measure(int(sys.argv[1]) if len(sys.argv) > 1 else None)
    if os.environ["LOCAL_RANK"] == "0":
        Path(os.environ[MEASURED_VARIABLE]).write_text(json.dumps(measured))


if __name__ == "__main__":
    main()
