"""What the components cost over the same resources written bare in one file, and how it grows with the pools."""

from __future__ import annotations

import json
import math
import tempfile
from collections.abc import Iterator
from pathlib import Path
from statistics import linear_regression, median

from tests.benchmarks.measure import Figure, timed
from tests.engine import programs
from tests.engine.double import sdk
from tests.engine.programs import DOUBLES, Entry, Program

RUNS = 7
IMAGE = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/workload@sha256:{'a' * 64}"
TRAIN = {"accelerator": "H100:8", "nodes": 4, "zones": ["use1-az1"]}
SERVE = {"accelerator": "L4:1", "nodes": 6, "min_nodes": 0, "capacity": "spot", "fabric": "none"}
ZONES = ("use1-az1", "use1-az2", "use1-az4")
SIZES = (1, 8, 24, 64)
"""Pools of a growing stack: the largest has about a thousand resources."""
HELM = "helm.sh/v3"


def figures() -> Iterator[Figure]:
    """The ratio of previews of new stacks, the programs in turn against doubles of the same kind, and the slope of the
    logarithms of time over resources."""
    with tempfile.TemporaryDirectory() as folder:
        yield _against_bare(Path(folder))
    with tempfile.TemporaryDirectory() as folder:
        yield _growth(Path(folder))


def _against_bare(folder: Path) -> Figure:
    with (
        programs.attached(folder / "ours", DOUBLES, stacks=True) as ours,
        programs.attached(folder / "bare", DOUBLES) as bare,
    ):
        _configure(ours, {"train": TRAIN, "serve": SERVE})
        made = ours.up()
        assert made.ok, made.output
        resources = [each for each in ours.state() if each.type.partition(":")[0] in ("aws", "kubernetes")]
        bare.configure(aws__region="us-east-1", kubernetes__kubeconfig="{}")
        bare.write(_written_bare(resources))
        removed = ours.destroy()
        assert removed.ok, removed.output
        runs = [(_preview(ours), _preview(bare)) for _ in range(RUNS + 1)][1:]
    full, base = (median(column) for column in zip(*runs, strict=True))
    note = f"{full:.2f} s against {base:.2f} s, {len(resources)} resources"
    return Figure("preview of a 3-pool stack / written bare", full / base, 1.1, note=note)


def _growth(folder: Path) -> Figure:
    points: list[tuple[int, float]] = []
    for count in SIZES:
        with programs.attached(folder / str(count), DOUBLES, stacks=True) as program:
            each = {**SERVE, "nodes": 1}
            _configure(program, {f"serve-{n}": {**each, "zones": [ZONES[n % len(ZONES)]]} for n in range(count)})
            planned = program.preview()
            assert planned.ok, planned.output
            resources = planned.changes["create"]
            points.append((resources, median(_preview(program) for _ in range(3))))
    sizes, times = zip(*points, strict=True)
    slope = linear_regression([*map(math.log, sizes)], [*map(math.log, times)]).slope
    note = ", ".join(f"{size} resources {seconds:.1f} s" for size, seconds in points)
    return Figure("growth of previews with resources, log-log slope", slope, 1.1, unit="", note=note)


def _configure(program: Program, pools: dict[str, dict[str, object]]) -> None:
    program.configure(target="aws", region="us-east-1", image=IMAGE, cidr="10.0.0.0/16", pools=json.dumps(pools))


def _preview(program: Program) -> float:
    return timed(
        ["pulumi", "--non-interactive", "preview", "--stack", "test"], program.path, program.environment
    ).seconds


def _written_bare(resources: list[Entry]) -> str:
    """A program that registers the same resources, one line each: what is another's id, ARN or name refers to it, and
    the rest are the values that the engine saw. Kinds that the SDK has no class for are registered by their type."""
    lines: list[str] = ["import pulumi_kubernetes as kubernetes"]
    known: dict[str, str] = {}
    for number, each in enumerate(resources):
        package, module, name = each.type.split(":")
        if package == "kubernetes" and module != HELM:
            arguments = _written(each.inputs, known)
            lines.append(f"r{number} = pulumi.CustomResource('{each.type}', '{each.name}-{number}', {arguments})")
        else:
            path = "kubernetes.helm.v3" if module == HELM else f"aws.{module.split('/')[0]}"
            inputs = {key: each.inputs[key] for key in each.inputs if key in sdk.signature(each.type).inputs}
            arguments = "".join(f", {sdk.snake(key)}={_written(value, known)}" for key, value in inputs.items())
            lines.append(f"r{number} = {path}.{name}('{each.name}-{number}'{arguments})")
        for output in ("name", "arn", "id"):
            value = each.id if output == "id" else each.outputs.get(output)
            if isinstance(value, str) and value not in each.inputs.values():
                known[value] = f"r{number}.{output}"
    return "\n".join(lines)


def _written(value: object, known: dict[str, str]) -> str:
    """A value as Python writes it, without the engine's marks of secrets."""
    if isinstance(value, dict):
        if "ciphertext" in value:
            return "'secret'"
        return "{" + ", ".join(f"{key!r}: {_written(each, known)}" for key, each in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_written(each, known) for each in value) + "]"
    return known.get(value, repr(value)) if isinstance(value, str) else repr(value)
