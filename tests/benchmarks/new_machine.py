"""`make up` and `make test` as on a new machine: a clean clone, an empty home, no caches."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Figure, timed
from tests.engine.checkout import PROJECT

LIMIT = 15.0  # minutes


def figures() -> Iterator[Figure]:
    """Minutes of each command; measured only if asked for by name, since it takes that long."""
    if "new_machine" not in os.environ.get("ONLY", ""):
        print("a new machine: not measured; it takes long, so ask for it: make bench ONLY=new_machine")
        return
    folder = Path(tempfile.mkdtemp())
    try:
        clone, home = folder / "clone", folder / "home"
        subprocess.run(["git", "clone", "--quiet", str(PROJECT), str(clone)], check=True)
        home.mkdir()
        kept = {"PATH", "LANG", "SSL_CERT_FILE", "PIP_CERT", "REQUESTS_CA_BUNDLE"}
        environment = {name: os.environ[name] for name in kept & os.environ.keys()} | {"HOME": str(home)}
        own = {str(PROJECT / ".tools" / "bin"), str(PROJECT / ".venv" / "bin")}
        environment["PATH"] = os.pathsep.join(p for p in environment["PATH"].split(os.pathsep) if p not in own)
        for target in ("up", "down", "test"):
            run = timed(["make", target], clone, environment)
            limit = None if target == "down" else LIMIT
            yield Figure(f"new machine: make {target}", run.seconds / 60, limit, unit="min")
    finally:
        subprocess.run(["chmod", "-R", "u+w", str(folder)], check=False)
        shutil.rmtree(folder, ignore_errors=True)
