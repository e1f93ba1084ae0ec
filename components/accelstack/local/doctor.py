"""What is in the way of a stack on this machine."""

import shutil
from importlib.util import find_spec
from pathlib import Path

from accelstack.checks import Check, State
from accelstack.local import machine

NEEDED_GIB = 8
"""Disk that PyTorch and a trained model take."""
PACKAGES = ("mlflow", "pynvml", "supervisor", "torch", "uvicorn")


def checks() -> list[Check]:
    """The engine, the packages, the machine and its disk."""
    cli = shutil.which("pulumi")
    missing = [name for name in PACKAGES if find_spec(name) is None]
    free = shutil.disk_usage(Path.cwd()).free / 2**30
    found = [
        Check("Pulumi CLI", State.OK, cli)
        if cli
        else Check("Pulumi CLI", State.FAILED, "is not on PATH", 'make setup && eval "$(make env)"'),
        Check("packages", State.FAILED, f"missing: {', '.join(missing)}", "pip install 'accelstack[local]'")
        if missing
        else Check("packages", State.OK, ", ".join(PACKAGES)),
        Check("disk", State.OK, f"{free:.0f} GiB free")
        if free >= NEEDED_GIB
        else Check("disk", State.FAILED, f"{free:.1f} GiB free here, {NEEDED_GIB} are needed", "free some"),
    ]
    if "pynvml" not in missing:
        here = machine.find()
        gpus = ", ".join(here["gpus"]) or "no GPU: training runs on the processor"
        found.append(Check("machine", State.OK, f"{here['cores']} cores, {here['memory_gib']} GiB, {gpus}"))
    return found
