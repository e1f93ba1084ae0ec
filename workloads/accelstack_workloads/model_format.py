"""A model on disk: a directory with `model.safetensors` (weights) and `model.json` (what it takes, gives and is).

Nothing in it is executable, so loading one cannot run foreign code.
"""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from accelstack_workloads import models
from accelstack_workloads.atomic import new_folder
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.model_files import DESCRIPTION, FORMAT, WEIGHTS, ModelDescription, describe, digest

__all__ = [
    "DESCRIPTION",
    "FORMAT",
    "WEIGHTS",
    "Classifier",
    "ModelDescription",
    "build",
    "describe",
    "digest",
    "load",
    "save",
]


class Classifier(nn.Module):
    """The network with its preprocessing inside: pixel values in 0..1 in, class probabilities out."""

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, network: nn.Module, description: ModelDescription) -> None:
        super().__init__()
        self.network = network
        self.description = description
        self.register_buffer("mean", torch.tensor(description.mean).view(-1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(description.std).view(-1, 1, 1), persistent=False)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [batch, classes] of pictures [batch, channels, height, width] with values in 0..1."""
        return self.network((images - self.mean) / self.std)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Probabilities [batch, classes] of pictures [batch, channels, height, width] with values in 0..1."""
        return self.logits(images).softmax(dim=1)


def build(description: ModelDescription) -> Classifier:
    """A classifier with fresh weights."""
    network = models.build(description.architecture, description.shape, len(description.classes))
    return Classifier(network, description)


def save(model: Classifier, folder: Path) -> None:
    """Writes the model directory; it appears whole or not at all.

    Raises:
        WorkloadError: `folder` holds something else, or cannot be written.
    """
    weights = {name: value.detach().cpu().contiguous() for name, value in model.network.state_dict().items()}
    with new_folder(folder, marker=DESCRIPTION) as partial:
        save_file(weights, partial / WEIGHTS)
        (partial / DESCRIPTION).write_text(json.dumps(asdict(model.description), indent=2, sort_keys=True) + "\n")


def load(folder: Path) -> Classifier:
    """The classifier of a model directory, in evaluation mode, on the CPU.

    Raises:
        WorkloadError: the directory is missing, incomplete, damaged or of another format.
    """
    model = build(describe(folder))
    try:
        model.network.load_state_dict(load_file(folder / WEIGHTS))
    except (OSError, RuntimeError, SafetensorError) as error:
        reason = str(error).splitlines()[0]
        raise WorkloadError(
            f"model: {folder / WEIGHTS} cannot be loaded ({reason}); train or fetch it again"
        ) from error
    return model.eval()
