"""ResNet-18 for small pictures (https://arxiv.org/abs/1512.03385): no early pooling, so 32x32 pixels are enough."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from accelstack_workloads.errors import WorkloadError

STAGES = 4
BLOCKS = 2  # per stage


class Block(nn.Module):
    """Two 3x3 convolutions with batch norms, added to what they began with.

    Args:
        channels: that it takes.
        width: that it gives.
        stride: of the first convolution.
    """

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        nn.init.zeros_(self.norm2.weight)  # a block begins as what it is added to (https://arxiv.org/abs/1706.02677)
        self.shortcut = nn.Sequential()
        if stride > 1 or channels != width:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """[batch, width, height / stride, width / stride] of [batch, channels, height, width]."""
        inner = functional.relu(self.norm1(self.conv1(x)))
        return functional.relu(self.norm2(self.conv2(inner)) + self.shortcut(x))


class ResNet18(nn.Module):
    """A convolution, four stages of two blocks, and the mean over the picture.

    Under several processes each batch norm sees its process's share of a batch; the first one's statistics are kept.

    Args:
        facts: of the data: `shape`, channels, height and width of a picture, in pixels, 8x8 at least; `classes`.
        width: channels of the first stage; each later one has twice as many, at half the height and width.
    """

    def __init__(self, facts: Mapping[str, Any], width: int = 64) -> None:
        super().__init__()
        channels, height, across = facts["shape"]
        if min(height, across) < 8:
            raise WorkloadError(
                f"dataset: pictures of {height}x{across} pixels are too small; resnet18 needs 8x8 or more, or use cnn"
            )
        self.first = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(width)
        blocks, taken = [], width
        for stage in range(STAGES):
            for number in range(BLOCKS):
                given = width * 2**stage
                blocks.append(Block(taken, given, stride=2 if stage and not number else 1))
                taken = given
        self.blocks = nn.Sequential(*blocks)
        self.output = nn.Linear(taken, len(facts["classes"]))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits [batch, classes] of normalised pictures [batch, channels, height, width]."""
        x = self.blocks(functional.relu(self.norm(self.first(images))))
        return self.output(x.mean((2, 3)))
