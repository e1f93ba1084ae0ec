"""Where the programs of the control plane are, and the manifests of their modules; built at first use."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import cache
from pathlib import Path

BUILDER = Path(__file__).resolve().parents[2] / "tools" / "control_plane.py"
UNAVAILABLE = 3
"""The builder's exit code where there is no Go, or no way to the modules."""


class UnavailableError(Exception):
    """The programs cannot be had here: the message says why."""


@cache
def folder(name: str) -> Path:
    """The folder of a module's programs and manifests, such as `kueue`.

    Raises:
        UnavailableError: it is not there and cannot be made.
    """
    done = subprocess.run([sys.executable, BUILDER, name], capture_output=True, text=True, check=False)
    if done.returncode == UNAVAILABLE:
        raise UnavailableError(done.stderr.strip())
    if done.returncode:
        raise RuntimeError(done.stderr)
    return Path(json.loads(done.stdout)[name])
