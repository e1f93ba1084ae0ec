"""What `pulumi up` with nothing to change costs over the same for an empty program."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from tests.benchmarks.measure import Figure, medians, timed
from tests.engine import checkout as checkouts

RUNS = 9
ONE_DYNAMIC = """\
from pulumi.dynamic import CreateResult, Resource, ResourceProvider

class Nothing(ResourceProvider):
    def create(self, props):
        return CreateResult("nothing", props)

class One(Resource, name="One"):
    pass

One(Nothing(), "nothing", {})
"""
EMPTY = """\
name: empty
runtime:
  name: python
  options: {toolchain: pip, virtualenv: .venv}
main: program
"""


def program(path: Path, source: str) -> checkouts.Checkout:
    """A project of that one program, brought up once."""
    made = checkouts.make(path)
    (made.path / "Pulumi.yaml").write_text(EMPTY)
    (made.path / "program").mkdir()
    (made.path / "program" / "__main__.py").write_text(source)
    for command in (["stack", "init", "local"], ["up", "--stack", "local", "--yes"]):
        result = made.pulumi(*command)
        assert result.returncode == 0, result.stdout + result.stderr
    return made


def figures() -> Iterator[Figure]:
    """Ratios of time and of peak memory over the whole process tree, the programs in turn.

    A program with one dynamic resource that does nothing is the floor for any stack of dynamic resources: each phase
    starts a second Python process for their host.
    """
    with tempfile.TemporaryDirectory() as folder:
        ours = checkouts.make(Path(folder) / "ours")
        empty = program(Path(folder) / "empty", "import pulumi\n")
        one = program(Path(folder) / "one", ONE_DYNAMIC)
        try:
            ours.set(**checkouts.QUICK)
            assert ours.tool("up").returncode == 0
            command = ["pulumi", "up", "--stack", "local", "--yes"]
            runs = [[timed(command, c.path, c.engine_environment) for c in (empty, one, ours)] for _ in range(RUNS + 1)]
        finally:
            ours.tool("down")
    base, floor, full = (medians(column) for column in zip(*runs[1:], strict=True))
    note = f"{full.seconds:.2f} s against {base.seconds:.2f} s"
    yield Figure("no-op pulumi up / empty program, time", full.seconds / base.seconds, 1.5, note=note)
    note = f"{floor.seconds:.2f} s: a program with one dynamic resource that does nothing"
    yield Figure("  its floor / empty program, time", floor.seconds / base.seconds, note=note)
    note = f"{full.memory_mib:.0f} MiB against {base.memory_mib:.0f} MiB, whole process tree"
    yield Figure("no-op pulumi up / empty program, memory", full.memory_mib / base.memory_mib, 1.5, note=note)
