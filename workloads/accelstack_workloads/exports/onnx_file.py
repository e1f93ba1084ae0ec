"""A model as ONNX (https://onnx.ai), with the names of its inputs and outputs."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from accelstack_workloads.atomic import write_file
from accelstack_workloads.exports import trial
from accelstack_workloads.exports.program import program, recurrent
from accelstack_workloads.model_files import ONNX
from accelstack_workloads.models.model import Model
from accelstack_workloads.onnx_model import OnnxNetwork, session
from accelstack_workloads.tensors import Arrays

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET = 18


def onnx(model: Model) -> bytes:
    """The content of the model's `model.onnx`, for any batch size, and any length where one varies; the same model
    gives the same bytes.

    Raises:
        WorkloadError: the model cannot be exported.
    """
    if isinstance(model.network, OnnxNetwork):
        return model.network.content
    with _quiet():
        content = _by_tracing(model) if recurrent(model) else _by_program(model)
    return tidy(content, model).SerializeToString(deterministic=True)


def _by_program(model: Model) -> ModelProto:
    exported: Any = torch.onnx.export(program(model), **_names(model), verbose=False)
    return exported.model_proto


def _by_tracing(model: Model) -> ModelProto:
    """The former exporter makes of recurrent layers ONNX's own, which run at any length."""
    from onnx import load_model_from_string

    free = {
        spec.name: [0, *(axis for axis, size in enumerate(spec.shape, 1) if size < 0)]
        for spec in (*model.inputs, *model.outputs)
    }
    tensors = tuple(map(torch.from_numpy, trial.inputs(model.inputs, batch=2).values()))
    content: Any = BytesIO()
    torch.onnx.export(model, tensors, content, **_names(model), dynamic_axes=free, opset_version=OPSET, dynamo=False)
    return load_model_from_string(content.getvalue())


def _names(model: Model) -> dict[str, Any]:
    return {
        "input_names": [spec.name for spec in model.inputs],
        "output_names": [spec.name for spec in model.outputs],
    }


@contextmanager
def _quiet() -> Iterator[None]:
    """Without torch's warnings of packages that it does not need, and of its former exporter."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def tidy(content: ModelProto, model: Model) -> ModelProto:
    """ONNX with readable axes, and without the notes on where each node came from, which name files of this machine."""
    from onnx_ir import from_proto, to_proto
    from onnx_ir.passes.common import ClearMetadataAndDocStringPass

    content = to_proto(ClearMetadataAndDocStringPass()(from_proto(content)).model)
    graph = content.graph
    del graph.value_info[:]  # shapes in between, which readers infer again
    axes: dict[str, str] = {}
    for spec, value in zip((*model.inputs, *model.outputs), (*graph.input, *graph.output), strict=True):
        for axis, size in enumerate(value.type.tensor_type.shape.dim):
            if size.dim_param:
                usual = f"{spec.name}_{axis}" if axis else "batch"
                size.dim_param = axes.setdefault(size.dim_param, usual)
    return content


def run(content: bytes, model: Model) -> float:
    """The largest difference between ONNX Runtime's outputs and the model's.

    Raises:
        WorkloadError: it is above the tolerance.
    """
    runtime: Any = session(content)
    names = [spec.name for spec in model.outputs]

    def form(inputs: Arrays) -> Arrays:
        return dict(zip(names, runtime.run(names, inputs), strict=True))

    return trial.differences(model, form, "onnx")


def write(model: Model, folder: Path) -> float:
    """Writes `model.onnx`, and gives its largest difference from the model.

    Raises:
        WorkloadError: the model cannot be exported, the result differs from it, or cannot be written.
    """
    content = onnx(model)
    largest = run(content, model)
    write_file(folder / ONNX, content)
    return largest
