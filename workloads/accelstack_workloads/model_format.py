"""A model on disk: a directory with `model.json` (what it takes, gives and is) and `model.safetensors` (weights), or in
place of those `model.onnx`, a form of it that ONNX Runtime runs. Where both are there, the weights are used.

Nothing in it is executable, so loading one cannot run foreign code.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from accelstack_workloads.atomic import new_folder
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.model_files import DESCRIPTION, FORMAT, ONNX, WEIGHTS, ModelDescription, describe, digest
from accelstack_workloads.models.model import Model
from accelstack_workloads.onnx_model import OnnxNetwork, run_by_onnx
from accelstack_workloads.workloads import workload

__all__ = [
    "DESCRIPTION",
    "FORMAT",
    "ONNX",
    "WEIGHTS",
    "Model",
    "ModelDescription",
    "build",
    "describe",
    "digest",
    "load",
    "save",
]


def build(description: ModelDescription) -> Model:
    """A model with fresh weights.

    Raises:
        WorkloadError: the workload or the architecture is not known, or does not fit the data.
    """
    return workload(description.workload).model_class()(description)


def save(model: Model, folder: Path) -> None:
    """Writes the model directory; it appears whole or not at all.

    Raises:
        WorkloadError: `folder` holds something else, or cannot be written.
    """
    with new_folder(folder, marker=DESCRIPTION) as partial:
        if isinstance(model.network, OnnxNetwork):
            (partial / ONNX).write_bytes(model.network.content)
        else:
            weights = {name: value.detach().cpu().contiguous() for name, value in model.network.state_dict().items()}
            save_file(weights, partial / WEIGHTS)
        (partial / DESCRIPTION).write_text(json.dumps(asdict(model.description), indent=2, sort_keys=True) + "\n")


def load(folder: Path) -> Model:
    """The model of a model directory, in evaluation mode, on the CPU.

    Raises:
        WorkloadError: the directory is missing, incomplete, damaged or of another format.
    """
    model = build(describe(folder))
    if (folder / ONNX).exists() and not (folder / WEIGHTS).exists():
        return run_by_onnx(model, (folder / ONNX).read_bytes())
    try:
        model.network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise WorkloadError(
            f"model: {folder / WEIGHTS} cannot be loaded ({reason}); train or fetch it again"
        ) from error
    return model.eval()
