"""Says what a model's answers rest on: how much pixels, columns, frames or tokens add to their scores."""

from __future__ import annotations

import json
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from accelstack_workloads import model_format
from accelstack_workloads.atomic import write_file
from accelstack_workloads.datasets import prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.evaluate import refuse_others
from accelstack_workloads.onnx_model import OnnxNetwork

REPORT = "explanation.json"
MODULES = {"vision": "images", "tabular": "rows", "speech": "sounds", "text": "prompts"}
NAMED = 10  # columns that a table for people lists


def explain(model_folder: Path, data_folder: Path, out: Path, samples: int) -> dict[str, Any]:
    """Writes `explanation.json` and a picture of each sample into `out`, and gives the former's content.

    Args:
        model_folder: a model directory with weights.
        data_folder: prepared samples; of the held-out ones, some at even distances are explained.
        out: where results go.
        samples: how many.

    Raises:
        WorkloadError: captum or matplotlib is not installed, the model has no weights, there are not so many samples,
            model or data cannot be read or do not belong together, or `out` cannot be written.
    """
    if samples < 1:
        raise WorkloadError(f"--samples: {samples} is not above 0; give 1 or more")
    model, data = model_format.load(model_folder), prepared.load(data_folder)
    refuse_others(model, data, data_folder)
    if isinstance(model.network, OnnxNetwork):
        raise WorkloadError(
            f"model: {model_folder} is an ONNX form without weights of torch, and has no gradients; "
            "give the model that it was made from"
        )
    try:
        method = import_module(f"accelstack_workloads.explanation.{MODULES[data.workload]}")
        from accelstack_workloads.explanation import attribution, drawing
    except ModuleNotFoundError as error:
        raise WorkloadError(f"explain: {error.name} is not installed; install accelstack[explain]") from error
    count = method.count(data)
    if samples > count:
        raise WorkloadError(f"--samples: {samples} is more than the {count} held-out samples; give {count} or less")
    explained = method.explain(model, data, [number * count // samples for number in range(samples)])
    pictures = {f"sample-{each.index:05d}.png": drawing.draw(data.workload, each) for each in explained}
    report = {
        "workload": data.workload,
        "model": {"path": str(model_folder), "digest": model_format.digest(model_folder)},
        "data": {"uri": data.uri, "digest": data.digest},
        "method": "integrated gradients",
        "score": method.SCORE,
        "baseline": method.BASELINE,
        "tolerance": attribution.TOLERANCE,
        "samples": [each.about() | {"picture": name} for each, name in zip(explained, pictures, strict=True)],
        "captum": version("captum"),
    }
    if data.workload == "tabular":
        report["importance"] = method.importance(explained)
        pictures["importance.png"] = drawing.draw_importance(report["importance"])
    write_file(out / REPORT, (json.dumps(report, indent=2) + "\n").encode())
    for name, content in pictures.items():
        write_file(out / name, content)
    return report


def table(report: dict[str, Any]) -> str:
    """A report as lines for people."""
    lines = [f"{'sample':>6}  {'answer':<16}  {'meant':<16}  {'score':>9}  {'baseline':>9}  {'error':>9}"]
    for of in report["samples"]:
        answer, meant = (repr(of[name])[1:-1][:16] for name in ("answer", "meant"))
        note = "" if of["complete"] else f"  more than {report['tolerance']:.0%}: take it with care"
        lines.append(
            f"{of['sample']:>6}  {answer:<16}  {meant:<16}  {of['score']:9.3f}  {of['baseline_score']:9.3f}  "
            f"{of['convergence_delta']:9.1e}{note}"
        )
    if "importance" in report:
        lines += [f"{'column':<32}  mean absolute attribution"]
        lines += [f"{name[:32]:<32}  {value:.4g}" for name, value in [*report["importance"].items()][:NAMED]]
    return "\n".join(lines)
