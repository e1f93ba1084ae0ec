"""What this machine has: cores, memory, GPUs; and which accelerator a request makes of it."""

import importlib
import math
import os
import platform
import re
from typing import Any, TypedDict

import psutil

from accelstack.plan import accelerators


class Machine(TypedDict):
    """What one machine has."""

    cores: int
    """Processor cores that this process may use."""
    memory_gib: float
    """Main memory, in GiB."""
    architecture: str
    """`x86_64` or `arm64`."""
    gpus: list[str]
    """Product name of each GPU."""


def find() -> Machine:
    """This machine, as it is now."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return Machine(
        cores=cores,
        memory_gib=round(psutil.virtual_memory().total / 2**30, 1),
        architecture={"aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        gpus=_gpus(),
    )


def _gpus() -> list[str]:
    pynvml: Any = importlib.import_module("pynvml")  # only here, so that a stack of another target does without

    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:  # no driver, no GPU: that is an answer
        return []
    handles = [pynvml.nvmlDeviceGetHandleByIndex(i) for i in range(pynvml.nvmlDeviceGetCount())]
    return [str(pynvml.nvmlDeviceGetName(handle)) for handle in handles]


def resolve(request: str, machine: Machine) -> accelerators.Accelerator:
    """The accelerator and count that a request gets here.

    `auto` is every GPU, or `cpu` with two processes where there are two cores. A count says how many processes train.

    Raises:
        ValueError: the machine has no such accelerator, or not as many; the message says what it has.
    """
    gpus = machine["gpus"]
    most = min(2, machine["cores"])
    if request == "auto":
        if not gpus:
            return accelerators.Accelerator("cpu", most)
        return accelerators.Accelerator(neutral_name(gpus[0]), len(gpus))
    wanted = accelerators.parse(request)
    if wanted.name == "cpu":
        count = wanted.per_node or most
        if count > machine["cores"]:
            raise ValueError(f"{request!r} asks for {count} processes; this machine has {machine['cores']} cores")
        return accelerators.Accelerator("cpu", count)
    matching = [gpu for gpu in gpus if neutral_name(gpu).split("-")[0] == wanted.name.split("-")[0]]
    count = wanted.per_node or len(matching)
    if not matching or count > len(matching):
        has = ", ".join(gpus) if gpus else "no GPU"
        raise ValueError(f"{request!r} is not here: this machine has {has}; use auto, or cpu:N with N processes")
    return accelerators.Accelerator(wanted.name, count)


def neutral_name(product: str) -> str:
    """The neutral name in a GPU's product name (`NVIDIA H100 80GB HBM3` is `H100`), else the product name."""
    words = set(re.split(r"[\s-]+", product))
    known = [name for name in accelerators.NAMES if name in words]
    return known[0] if known else product


def threads(machine_cores: int, processes: int) -> int:
    """Threads for each of so many processes, so that together they fill the cores."""
    return max(1, math.floor(machine_cores / processes))
