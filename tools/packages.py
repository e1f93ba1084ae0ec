"""Installs the project's packages into `.venv`, with uv from PATH or from PyPI. Needs Python 3.11 and nothing else."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
UV_HOME = ROOT / ".tools" / "uv"
UV_VERSION = "0.13.9"


def find_uv() -> str:
    """uv from PATH, else from the checkout, installed there from PyPI if need be.

    Raises:
        SystemExit: there is no uv and it cannot be installed; the message says what to install.
    """
    found = shutil.which("uv") or shutil.which("uv", path=UV_HOME / "bin")
    if found:
        return found
    print(f"setup: installing uv {UV_VERSION} into {UV_HOME.relative_to(ROOT)}", file=sys.stderr)
    for command in (
        [sys.executable, "-m", "venv", UV_HOME],
        [UV_HOME / "bin" / "pip", "install", "--quiet", f"uv=={UV_VERSION}"],
    ):
        result = subprocess.run(command, stdout=sys.stderr, check=False)
        if result.returncode:
            shutil.rmtree(UV_HOME, ignore_errors=True)
            raise SystemExit(
                f"setup: no uv on PATH, and {' '.join(map(str, command))} failed with exit code {result.returncode}; "
                "install uv (https://docs.astral.sh/uv) or your system's python3-venv package, then run this again"
            )
    return str(UV_HOME / "bin" / "uv")


def main() -> None:
    if sys.version_info < (3, 11):  # noqa: UP036 - an older Python can start this file, and should say what is wrong
        raise SystemExit(f"setup: python3 is {sys.version.split()[0]}; accelstack needs 3.11 or newer on PATH")
    command = [find_uv(), "sync", "--frozen", "--extra", "local", "--project", str(ROOT)]
    raise SystemExit(subprocess.run(command, stdout=sys.stderr, check=False).returncode)


if __name__ == "__main__":
    main()
