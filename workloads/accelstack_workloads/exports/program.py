"""A model as a program of torch.export, from which other forms are made.

https://docs.pytorch.org/docs/stable/export.html
"""

from __future__ import annotations

import io
from pathlib import Path

import torch
from torch.export import Dim, ExportedProgram

from accelstack_workloads.atomic import write_file
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.exports import trial
from accelstack_workloads.models.model import Model
from accelstack_workloads.onnx_model import OnnxNetwork
from accelstack_workloads.tensors import Arrays

FILE = "model.pt2"


def program(model: Model) -> ExportedProgram:
    """The model's graph, for any batch size, and any length where one varies.

    Raises:
        WorkloadError: the model cannot be traced at every length (seen of recurrent layers with torch 2.13), or is an
            ONNX form already.
    """
    if isinstance(model.network, OnnxNetwork):
        raise WorkloadError(
            "model: it is an ONNX form already; export it as onnx or triton, or give the one it was made from"
        )
    if recurrent(model):
        raise WorkloadError(
            "--format: torch.export fixes the length that recurrent layers, as those of architecture "
            f"{model.description.architecture}, run over; leave torch and tensorflow out, and take onnx or triton"
        )
    tensors = tuple(map(torch.from_numpy, trial.inputs(model.inputs, batch=2).values()))
    batch = Dim("batch")
    free = tuple(
        {0: batch, **{axis: Dim.AUTO for axis, size in enumerate(spec.shape, 1) if size < 0}} for spec in model.inputs
    )
    try:
        with torch.no_grad():
            return torch.export.export(model, tensors, dynamic_shapes=free)
    except (RuntimeError, ValueError, TypeError) as error:
        reason = str(error).strip().splitlines()[0]
        raise WorkloadError(
            f"model: architecture {model.description.architecture} cannot be traced ({reason}); export another one"
        ) from error


def recurrent(model: Model) -> bool:
    """Whether it has layers that run over a sequence step by step."""
    return any(isinstance(module, torch.nn.RNNBase) for module in model.modules())


def write(model: Model, folder: Path) -> float:
    """Writes `model.pt2`, and gives its largest difference from the model.

    `torch.export.load` unpickles what a file asks it to: load only files whose origin is certain. It is given here what
    was made here, from memory.

    Raises:
        WorkloadError: the model cannot be exported, the result differs from it, or cannot be written.
    """
    buffer = io.BytesIO()
    torch.export.save(program(model), buffer)
    content = buffer.getvalue()
    again = torch.export.load(io.BytesIO(content)).module()

    @torch.inference_mode()
    def form(inputs: Arrays) -> Arrays:
        outputs = again(*map(torch.from_numpy, inputs.values()))
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        return {spec.name: output.numpy() for spec, output in zip(model.outputs, outputs, strict=True)}

    largest = trial.differences(model, form, "torch")
    write_file(folder / FILE, content)
    return largest
