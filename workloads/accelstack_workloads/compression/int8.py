"""Int8 by ONNX Runtime: weights and activations of 8 bits, their scales set by training samples.

https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
"""

from __future__ import annotations

import logging
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from copy import copy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import load_model
from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from accelstack_workloads import model_format
from accelstack_workloads.datasets.prepared import Arrays, Prepared
from accelstack_workloads.exports.onnx_file import onnx, tidy
from accelstack_workloads.model_files import ONNX
from accelstack_workloads.models.model import Model
from accelstack_workloads.onnx_model import run_by_onnx

CALIBRATION = 512
"""Training samples that the scales of the activations are set by."""
LAYERS = ("Conv", "Gemm", "MatMul")
BETWEEN = ("MaxPool", "Relu", "Reshape", "Add", "GlobalAveragePool")
"""What passes int8 on from one layer to the next. Preprocessing and probabilities stay fp32."""


def quantized(model: Model, data: Prepared, seed: int) -> Model:
    """The model with its layers in int8, run by ONNX Runtime.

    Activations are unsigned and weights signed, with a scale for each channel: what the int8 instructions of CPUs take.

    Args:
        model: of fp32.
        data: the prepared samples, of which some of the training part are used.
        seed: which.

    Raises:
        WorkloadError: the model cannot be exported.
    """
    with tempfile.TemporaryDirectory() as folder:
        exported, ready, done = (Path(folder, name) for name in ("exported.onnx", "ready.onnx", ONNX))
        exported.write_bytes(onnx(model))
        quant_pre_process(exported, ready, skip_symbolic_shape=True)
        root = logging.getLogger()
        level = root.level
        root.setLevel(logging.ERROR)  # it advises on the root logger what has been done
        try:
            quantize_static(
                ready,
                done,
                Calibration(calibration_inputs(model, data.train, seed)),
                op_types_to_quantize=[*LAYERS, *BETWEEN],
                per_channel=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
        finally:
            root.setLevel(level)
        content = tidy(load_model(done), model).SerializeToString(deterministic=True)
    return run_by_onnx(model_format.build(model.description), content)


class Calibration(CalibrationDataReader):
    """Hands inputs to ONNX Runtime, batch by batch.

    Args:
        batches: inputs by name.
    """

    def __init__(self, batches: list[Arrays]) -> None:
        self._batches: Iterator[Arrays] = iter(batches)

    def get_next(self) -> Arrays | None:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The next batch; None after the last."""
        return next(self._batches, None)


def calibration_inputs(model: Model, train: Arrays, seed: int) -> list[Arrays]:
    """Inputs of the model for some training samples, in batches.

    They are those that it takes when it evaluates these samples, so that preprocessing outside of the model is theirs.
    """
    taken: list[Arrays] = []
    counted = copy(model)  # shares its network

    def listen(*inputs: torch.Tensor) -> Any:
        taken.append({spec.name: tensor.numpy() for spec, tensor in zip(model.inputs, inputs, strict=True)})
        if sum(len(next(iter(batch.values()))) for batch in taken) >= CALIBRATION:
            raise _EnoughError
        return model(*inputs)

    counted.forward = listen
    with suppress(_EnoughError):
        counted.evaluate(_some(train, seed))
    return taken


class _EnoughError(Exception):
    """Ends an evaluation whose inputs alone were wanted."""


def _some(train: Arrays, seed: int) -> Arrays:
    """Random samples; all of them where the arrays are not one row each, as with recordings one after the other."""
    count = len(next(iter(train.values())))
    if any(len(array) != count for array in train.values()):
        return train
    chosen = np.random.default_rng(seed).permutation(count)[:CALIBRATION]
    return {name: array[chosen] for name, array in train.items()}
