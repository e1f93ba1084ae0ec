"""A small convolutional network for pictures: Conv32-Pool-Conv64-Pool-Dense64-classes."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional

from accelstack_workloads.errors import WorkloadError


class Cnn(nn.Module):
    """Two 3x3 convolutions, each followed by a 2x2 pooling, then one hidden layer of 64; sized from the data.

    Args:
        shape: channels, height and width of a picture, in pixels; height and width are at least 4.
        classes: number of classes.
    """

    def __init__(self, shape: tuple[int, int, int], classes: int) -> None:
        super().__init__()
        channels, height, width = shape
        if min(height, width) < 4:
            raise WorkloadError(
                f"dataset: pictures of {height}x{width} pixels are too small; the cnn needs 4x4 or more"
            )
        self.conv1 = nn.Conv2d(channels, 32, kernel_size=3, padding=1)
        self.conv2 = nn.Conv2d(32, 64, kernel_size=3, padding=1)
        self.hidden = nn.Linear(64 * (height // 4) * (width // 4), 64)
        self.output = nn.Linear(64, classes)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [batch, classes] of normalised pictures [batch, channels, height, width]."""
        x = functional.max_pool2d(functional.relu(self.conv1(images)), 2)
        x = functional.max_pool2d(functional.relu(self.conv2(x)), 2)
        x = functional.relu(self.hidden(x.flatten(1)))
        return self.output(x)
