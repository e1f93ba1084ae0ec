"""Size, latency and measures of a model, beside those of another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import torch

from accelstack_workloads.exports import trial
from accelstack_workloads.exports.onnx_file import onnx
from accelstack_workloads.model_files import ONNX, WEIGHTS
from accelstack_workloads.models.model import Model
from accelstack_workloads.onnx_model import OnnxNetwork, session
from accelstack_workloads.serve.predictor import run
from accelstack_workloads.tensors import Arrays

Form = Callable[[Arrays], object]
BATCHES = (1, 32)
ROUNDS = 60
WARM_UP = 10  # rounds that are not counted
LONGEST = 20.0  # seconds that the rounds of a batch size may take, warm-up aside


@dataclass(frozen=True)
class Measured:
    """What a model takes and gives.

    Attributes:
        size: bytes of its weights' file.
        parameters: numbers in its network; None of an ONNX form.
        measures: of the held-out samples: the numbers at the top of its evaluation.
        milliseconds: median of a call by form, and by batch size.
    """

    size: int
    parameters: int | None
    measures: dict[str, float]
    milliseconds: dict[str, dict[str, float]]

    def fastest(self, batch: str) -> float:
        """Milliseconds of its fastest form."""
        return min(of[batch] for of in self.milliseconds.values())


def forms(model: Model) -> dict[str, Form]:
    """Ways to run a model, by name."""
    if isinstance(model.network, OnnxNetwork):
        return {"onnxruntime int8": _by_onnx(model.network.content)}
    ways: dict[str, Form] = {"eager": lambda inputs: run(model, inputs)}
    if any(parameter.dim() == 4 for parameter in model.parameters()):
        last = deepcopy(model).to(memory_format=torch.channels_last)
        ways["eager, channels last"] = lambda inputs: run(last, inputs)
    ways["onnxruntime"] = _by_onnx(onnx(model))
    return ways


def measured(models: Mapping[str, tuple[Model, Path, dict[str, Any]]]) -> dict[str, Measured]:
    """Each model with its folder and evaluation, measured; their forms run in turn, so that what else the machine does
    meets them all.
    """
    ways = {(name, form): way for name, (model, *_) in models.items() for form, way in forms(model).items()}
    specs = next(iter(models.values()))[0].inputs
    times = {str(batch): latencies(ways, trial.inputs(specs, batch)) for batch in BATCHES}
    return {
        name: Measured(
            size=_weights(folder).stat().st_size,
            parameters=sum(parameter.numel() for parameter in model.network.parameters()) or None,
            measures={key: value for key, value in evaluation.items() if isinstance(value, float)},
            milliseconds={
                form: {batch: round(found[name, form], 4) for batch, found in times.items()}
                for owner, form in ways
                if owner == name
            },
        )
        for name, (model, folder, evaluation) in models.items()
    }


def latencies(ways: Mapping[tuple[str, str], Form], inputs: Arrays) -> dict[tuple[str, str], float]:
    """Median milliseconds of a call, of each way to run a model."""
    seconds: dict[tuple[str, str], list[float]] = {name: [] for name in ways}
    give_up = float("inf")
    for count in range(WARM_UP + ROUNDS):
        if count == WARM_UP:
            seconds = {name: [] for name in ways}
            give_up = time.perf_counter() + LONGEST
        for name, way in ways.items():
            began = time.perf_counter()
            way(inputs)
            seconds[name].append(time.perf_counter() - began)
        if time.perf_counter() > give_up:
            break
    return {name: median(taken) * 1e3 for name, taken in seconds.items()}


def _by_onnx(content: bytes) -> Form:
    runtime = session(content)
    return lambda inputs: runtime.run(None, inputs)


def _weights(folder: Path) -> Path:
    return folder / WEIGHTS if (folder / WEIGHTS).exists() else folder / ONNX
