"""What `pulumi up` with nothing to change costs over the same for an empty program."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Figure, medians, timed
from tests.engine import checkout as checkouts

RUNS = 9
EMPTY = """\
name: empty
runtime:
  name: python
  options: {toolchain: pip, virtualenv: .venv}
main: program
"""


def figures() -> Iterator[Figure]:
    """Ratios of time and of peak memory over the whole process tree, both programs in turn."""
    with tempfile.TemporaryDirectory() as folder:
        ours = checkouts.make(Path(folder) / "ours")
        empty = checkouts.make(Path(folder) / "empty")
        (empty.path / "Pulumi.yaml").write_text(EMPTY)
        (empty.path / "program").mkdir()
        (empty.path / "program" / "__main__.py").write_text("import pulumi\n")
        try:
            ours.set(**checkouts.QUICK)
            assert ours.tool("up").returncode == 0
            assert empty.pulumi("stack", "init", "local").returncode == 0
            command = ["pulumi", "up", "--stack", "local", "--yes"]
            runs = [
                [timed(command, one.path, one.engine_environment) for one in (empty, ours)] for _ in range(RUNS + 1)
            ][1:]
        finally:
            ours.tool("down")
    base, full = medians([a for a, _ in runs]), medians([b for _, b in runs])
    note = f"{full.seconds:.2f} s against {base.seconds:.2f} s"
    yield Figure("no-op pulumi up / empty program, time", full.seconds / base.seconds, 1.5, note=note)
    note = f"{full.memory_mib:.0f} MiB against {base.memory_mib:.0f} MiB, whole process tree"
    yield Figure("no-op pulumi up / empty program, memory", full.memory_mib / base.memory_mib, 1.5, note=note)
