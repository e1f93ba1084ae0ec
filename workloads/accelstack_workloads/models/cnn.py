"""A small convolutional network for pictures: Conv-Pool-Conv-Pool-Dense-classes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import nn
from torch.nn import functional

from accelstack_workloads.errors import WorkloadError


class Cnn(nn.Module):
    """Two 3x3 convolutions, each followed by a 2x2 pooling, then one hidden layer; the rest is sized from the data.

    Args:
        facts: of the data: `shape`, channels, height and width of a picture, in pixels, 4x4 at least; `classes`.
        conv1: channels of the first convolution.
        conv2: channels of the second one.
        hidden: units of the hidden layer.
    """

    readers: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "conv1": ("conv2",),
        "conv2": ("hidden",),
        "hidden": ("output",),
    }
    """Layers that can be narrowed, each with those that take its channels or units."""

    def __init__(self, facts: Mapping[str, Any], conv1: int = 32, conv2: int = 64, hidden: int = 64) -> None:
        super().__init__()
        channels, height, width = facts["shape"]
        if min(height, width) < 4:
            raise WorkloadError(
                f"dataset: pictures of {height}x{width} pixels are too small; the cnn needs 4x4 or more"
            )
        self.conv1 = nn.Conv2d(channels, conv1, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(conv1, conv2, kernel_size=3, padding=1)
        self.hidden = nn.Linear(conv2 * (height // 4) * (width // 4), hidden)
        self.output = nn.Linear(hidden, len(facts["classes"]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [batch, classes] of normalised pictures [batch, channels, height, width]."""
        x = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.hidden(x.flatten(1)))
        return self.output(x)
