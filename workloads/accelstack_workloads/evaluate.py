"""Measures a model on held-out samples, with what fits its workload."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from accelstack_workloads import gate, model_format
from accelstack_workloads.atomic import write_file
from accelstack_workloads.datasets import prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.models import slices
from accelstack_workloads.workloads import workload


def evaluate(
    model_folder: Path,
    data_folder: Path,
    out: Path,
    against: Path | None = None,
    margin: float = 0.0,
    slice_by: str = "",
) -> dict[str, Any]:
    """Writes `evaluation.json` and the workload's pictures into `out`, and gives the former's content.

    Args:
        model_folder: a model directory.
        data_folder: prepared samples, of which the held-out ones are used.
        out: where results go.
        against: the evaluation of the model that serves, on the same samples; the new one says in `gate` whether it is
            not worse.
        margin: by how much its score may be lower.
        slice_by: column of a table by whose values the score is given too; none if empty.

    Raises:
        WorkloadError: model or data cannot be read, do not belong together, or `out` cannot be written.
    """
    former = gate.read(against) if against else None
    model, data = model_format.load(model_folder), prepared.load(data_folder)
    refuse_others(model, data, data_folder)
    evaluation = {
        "workload": data.workload,
        "model": {"path": str(model_folder), "digest": model_format.digest(model_folder)},
        "data": {"uri": data.uri, "digest": data.digest},
        "score": model.score,
        **model.evaluate(data.test),
    }
    if slice_by:
        evaluation["slices"] = {"by": slice_by, "parts": model.slices(data.test, slice_by)}
    if former:
        evaluation["gate"] = gate.decide(evaluation, former, margin)
    pictures = model.pictures(evaluation)
    evaluation["pictures"] = [*pictures]
    write_file(out / "evaluation.json", (json.dumps(evaluation, indent=2) + "\n").encode())
    for name, content in pictures.items():
        write_file(out / name, content)
    return evaluation


def table(evaluation: dict[str, Any]) -> str:
    """An evaluation as lines for people."""
    lines = workload(evaluation["workload"]).model_class().table(evaluation)
    parts = [lines]
    if "slices" in evaluation:
        parts.append(slices.table(evaluation["slices"], evaluation["score"]))
    if "gate" in evaluation:
        parts.append(gate.line(evaluation["gate"]))
    return "\n".join(parts)


def refuse_others(model: model_format.Model, data: prepared.Prepared, folder: Path) -> None:
    """Refuses data that the model is not for. Statistics may differ: the model has its own.

    Raises:
        WorkloadError: it is of another workload, or differs in what the model takes or gives.
    """
    ours, theirs = model.description, data
    if ours.workload != theirs.workload:
        raise WorkloadError(
            f"data: {folder} is for workload {theirs.workload}, the model is of {ours.workload}; "
            "give data that was prepared for it"
        )
    for name in model.same_facts:
        if ours.facts.get(name) != theirs.facts.get(name):
            raise WorkloadError(
                f"data: {folder} has {name} {_short(theirs.facts.get(name))}, the model was trained on "
                f"{_short(ours.facts.get(name))}; give data prepared from the same dataset"
            )


def _short(value: object) -> str:
    text = str(value)
    return text if len(text) <= 80 else text[:77] + "..."
