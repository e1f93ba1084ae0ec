"""Installs checkov into `.tools`, apart from `.venv`: its packages and this project's exclude each other.

`checkov.txt` beside this file names every package with its hash. A newer checkov:

    echo checkov | uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header -o tools/checkov.txt
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

from packages import ROOT, find_uv

LOCK = Path(__file__).with_suffix(".txt")
HOME = ROOT / ".tools" / "checkov"


def installed() -> Path:
    """The command's path; it is installed first where it is not, or where the lock has changed since.

    Raises:
        SystemExit: the packages cannot be installed; the message says which command failed.
    """
    done = HOME / LOCK.name
    if not done.exists() or done.read_bytes() != LOCK.read_bytes():
        uv = find_uv()
        for command in (
            [uv, "venv", "--quiet", "--clear", "--python", sys.executable, HOME],
            [uv, "pip", "sync", "--quiet", "--require-hashes", "--python", HOME / "bin" / "python", LOCK],
        ):
            result = subprocess.run(command, stdout=sys.stderr, check=False)
            if result.returncode:
                shown = " ".join(map(str, command))
                raise SystemExit(
                    f"checkov: {shown} failed with exit code {result.returncode}; it needs a package registry"
                )
        shutil.copy(LOCK, done)
    return HOME / "bin" / "checkov"
