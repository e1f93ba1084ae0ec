"""Makes a trained model smaller or faster, and says by how much and at what cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from accelstack_workloads import model_format
from accelstack_workloads.atomic import write_file
from accelstack_workloads.compression.choice import Choice
from accelstack_workloads.compression.fit import Course, fit
from accelstack_workloads.compression.int8 import quantized
from accelstack_workloads.compression.measure import Measured, measured
from accelstack_workloads.compression.narrow import narrowed, sizes
from accelstack_workloads.datasets import prepared
from accelstack_workloads.datasets.prepared import Prepared
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.evaluate import refuse_others
from accelstack_workloads.models.model import Model
from accelstack_workloads.onnx_model import OnnxNetwork
from accelstack_workloads.workloads import workload

REPORT = "compression.json"
RECOVERY = 0.4  # of the usual epochs and of the usual learning rate, after pruning


def compress(model_folder: Path, data_folder: Path, out: Path, choice: Choice, *, shows: bool = True) -> dict[str, Any]:
    """Writes the compressed model directory `model/` and `compression.json` into `out`, and gives the latter's content.

    Args:
        model_folder: a model directory with weights.
        data_folder: prepared samples: the training part for fine-tuning and scales, the held-out one for the measures.
        out: where results go.
        choice: how.
        shows: whether progress is printed.

    Raises:
        WorkloadError: model or data cannot be read or do not belong together, the architecture does not take the
            method, or `out` cannot be written.
    """
    original, data = model_format.load(model_folder), prepared.load(data_folder)
    refuse_others(original, data, data_folder)
    if isinstance(original.network, OnnxNetwork):
        raise WorkloadError(f"model: {model_folder} is compressed already; give the model that it was made from")
    smaller = METHODS[choice.method](original, data, choice, shows)
    about = {**asdict(choice), "of": model_format.digest(model_folder)}
    smaller.description = replace(smaller.description, training={**original.description.training, "compression": about})
    model_format.save(smaller, out / "model")
    torch.set_num_threads(1)  # as serving has it
    both = {
        "original": (original, model_folder, original.evaluate(data.test)),
        "compressed": (served := model_format.load(out / "model"), out / "model", served.evaluate(data.test)),
    }
    report = {
        **asdict(choice),
        "model": {"path": str(out / "model"), "digest": model_format.digest(out / "model")},
        "data": {"uri": data.uri, "digest": data.digest},
        **_comparison(**measured(both)),
        "original_digest": about["of"],
        "threads": torch.get_num_threads(),
        "versions": {name: version(name) for name in ("torch", "onnxruntime")},
    }
    write_file(out / REPORT, (json.dumps(report, indent=2) + "\n").encode())
    return report


def prune(model: Model, data: Prepared, choice: Choice, shows: bool) -> Model:
    """Without its least channels and units, and trained on."""
    usual = workload(data.workload)
    smaller = narrowed(model, choice.ratio)
    epochs = choice.epochs or max(1, round(usual.epochs * RECOVERY))
    fit(smaller, data, Course(epochs, usual.batch_size, usual.learning_rate * RECOVERY, choice.seed, shows))
    return smaller


def distill(model: Model, data: Prepared, choice: Choice, shows: bool) -> Model:
    """A student of fewer channels and units, trained from the beginning to answer as the model does."""
    usual = workload(data.workload)
    torch.manual_seed(choice.seed)
    kept = {**model.description.sizes, **sizes(model, choice.ratio)}
    student = model_format.build(replace(model.description, sizes=kept))
    course = Course(choice.epochs or usual.epochs, usual.batch_size, usual.learning_rate, choice.seed, shows)
    fit(student, data, course, teacher=model)
    return student


def quantize(model: Model, data: Prepared, choice: Choice, _shows: bool) -> Model:
    """In int8."""
    return quantized(model, data, choice.seed)


METHODS: dict[str, Callable[[Model, Prepared, Choice, bool], Model]] = {
    "prune": prune,
    "quantize": quantize,
    "distill": distill,
}


def table(report: dict[str, Any]) -> str:
    """A report as lines for people."""
    sides = [report["original"], report["compressed"]]
    rows = [["", "original", "compressed", ""]]
    rows += [["size on disk, bytes", *(f"{of['size']:,}" for of in sides), f"{report['smaller']:.2f} x smaller"]]
    for form in dict.fromkeys(form for of in sides for form in of["milliseconds"]):
        for batch in report["faster"]:
            times = [f"{of['milliseconds'][form][batch]:.3f}" if form in of["milliseconds"] else "-" for of in sides]
            rows.append([f"{form}, batch {batch}, ms", *times, ""])
    for batch, faster in report["faster"].items():
        fastest = [f"{min(times[batch] for times in of['milliseconds'].values()):.3f}" for of in sides]
        verdict = f"{faster:.2f} x faster" if faster >= 1 else f"{1 / faster:.2f} x SLOWER"
        rows.append([f"fastest, batch {batch}, ms", *fastest, verdict])
    for name, change in report["changes"].items():
        rows.append([name, *(f"{of['measures'][name]:.4f}" for of in sides), f"{change:+.4f}"])
    widths = [max(len(row[place]) for row in rows) for place in range(3)]
    return "\n".join(
        f"{row[0]:<{widths[0]}}  {row[1]:>{widths[1]}}  {row[2]:>{widths[2]}}  {row[3]}".rstrip() for row in rows
    )


def _comparison(original: Measured, compressed: Measured) -> dict[str, Any]:
    """Both, and how many times smaller and faster the compressed one is, in each one's fastest form."""
    batches = next(iter(original.milliseconds.values()))
    return {
        "original": asdict(original),
        "compressed": asdict(compressed),
        "smaller": round(original.size / compressed.size, 3),
        "faster": {batch: round(original.fastest(batch) / compressed.fastest(batch), 3) for batch in batches},
        "changes": {name: round(value - original.measures[name], 6) for name, value in compressed.measures.items()},
    }
