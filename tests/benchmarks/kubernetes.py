"""What the components cost over the same Kubernetes objects written bare, on a real API server."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from tests.benchmarks.measure import Figure, timed
from tests.cluster.control_plane import ControlPlane, running
from tests.engine import programs
from tests.engine.double import sdk
from tests.engine.programs import Entry, Program

RUNS = 3
NAMESPACES = 38
"""Each with seven objects in it."""
FIRST = "first"
"""What names begin with in the run that tells which objects there are; others have a beginning of their own."""
HEADER = """\
import os
import pulumi
import pulumi_kubernetes as kubernetes
turn = os.environ["TURN"]
cluster = kubernetes.Provider("cluster", kubeconfig={kubeconfig!r})
"""
OURS = """\
from accelstack.k8s import Namespace
for number in range({count}):
    args = {{"quota": {{"pods": "10"}}, "defaults": {{"cpu": "1"}}, "internal": True, "egress": True}}
    Namespace(f"{{turn}}-{{number}}", args, pulumi.ResourceOptions(providers=[cluster]))
"""


def figures() -> Iterator[Figure]:
    """The ratio of `pulumi up` of new stacks, the programs in turn, each under names of its own."""
    with tempfile.TemporaryDirectory() as folder, running(Path(folder)) as plane:
        yield _against_bare(Path(folder), plane)


def _against_bare(folder: Path, plane: ControlPlane) -> Figure:
    attached = {name: programs.attached(folder / name, ("kubernetes",), kubernetes=plane.kubeconfig) for name in "ab"}
    with attached["a"] as ours, attached["b"] as bare:
        header = HEADER.format(kubeconfig=str(plane.kubeconfig))
        ours.write(OURS.format(count=NAMESPACES), header)
        _up(ours, FIRST)
        objects = [each for each in ours.state() if each.type.startswith("kubernetes:")]
        bare.write(_written_bare(objects), header)
        runs = [(_anew(ours, f"ours-{run}"), _anew(bare, f"bare-{run}")) for run in range(RUNS + 1)][1:]
    full, base = (median(column) for column in zip(*runs, strict=True))
    note = f"{full:.2f} s against {base:.2f} s, {len(objects)} resources"
    return Figure("up of Kubernetes resources / written bare", full / base, 1.1, note=note)


def _anew(program: Program, turn: str) -> float:
    """Seconds of a new stack's first update. What the one before made stays until the cluster goes."""
    for command in (["stack", "rm", "--force", "--yes", "test"], ["stack", "init", "test"]):
        result = program.pulumi(*command)
        assert result.returncode == 0, result.stderr
    return _up(program, turn)


def _up(program: Program, turn: str) -> float:
    command = ["pulumi", "--non-interactive", "up", "--yes", "--skip-preview", "--stack", "test"]
    return timed(command, program.path, {**program.environment, "TURN": turn}).seconds


def _written_bare(objects: list[Entry]) -> str:
    """A program that registers the same objects by the SDK's own classes, one line each, after their namespace."""
    lines = ["inside = pulumi.ResourceOptions(provider=cluster)"]
    spaces: dict[str, str] = {}
    for number, each in enumerate(objects):
        _, module, kind = each.type.split(":")
        inputs = {key: value for key, value in each.inputs.items() if key not in ("apiVersion", "kind")}
        given = "".join(f", {sdk.snake(key)}={value!r}" for key, value in inputs.items())
        space = spaces.get(inputs["metadata"].get("namespace", ""))
        if space:
            given = given.replace(f"'namespace': {inputs['metadata']['namespace']!r}", f"'namespace': {space}", 1)
        path = ".".join(part.removesuffix(".k8s.io") for part in module.split("/"))
        lines.append(f"r{number} = kubernetes.{path}.{kind}({each.name!r}{given}, opts=inside)")
        if kind == "Namespace":
            spaces[inputs["metadata"]["name"]] = f"r{number}.metadata.name"
    return "\n".join(lines).replace(f"'{FIRST}-", "f'{turn}-")
