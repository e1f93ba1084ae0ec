"""The model architectures, one small file each, by the name under which a model directory records them."""

from __future__ import annotations

from torch import nn

from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.models.cnn import Cnn

ARCHITECTURES: dict[str, type[nn.Module]] = {"cnn": Cnn}


def build(architecture: str, shape: tuple[int, int, int], classes: int) -> nn.Module:
    """The named architecture for pictures of `shape` (channels, height, width) and that many classes.

    Raises:
        WorkloadError: the architecture is unknown, or the pictures are too small for it.
    """
    if architecture not in ARCHITECTURES:
        raise WorkloadError(f"architecture: {architecture!r} is not known; use one of {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[architecture](shape, classes)
