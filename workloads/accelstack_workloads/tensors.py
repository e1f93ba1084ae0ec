"""What a model takes and gives, as its clients see it. Nothing here loads torch."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

# Datatypes of the Open Inference Protocol that models here use, as numpy writes them on the wire.
WIRE_DTYPES = {"FP32": np.dtype("<f4"), "INT64": np.dtype("<i8")}

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class TensorSpec:
    """One tensor of a model's input or output.

    Attributes:
        name: by which clients give or ask for it.
        datatype: of the Open Inference Protocol: `FP32` or `INT64`.
        shape: of one sample; -1 where it varies.
        least: lowest value that is taken, if there is one.
        most: highest value that is taken.
        longest: most that a size which varies may be.
        missing: whether a value may be missing: NaN, or null in JSON.
        wanted: which values to send, in words, such as `pixel values in 0..1`.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    least: float | None = None
    most: float | None = None
    longest: int = 0
    missing: bool = False
    wanted: str = "values"

    @property
    def dtype(self) -> np.dtype:
        """Of its arrays."""
        return WIRE_DTYPES[self.datatype]

    def sample(self) -> np.ndarray:
        """A batch of one, for trying a model out: lowest values, and the longest that it may be."""
        shape = [self.longest if size < 0 else size for size in self.shape]
        return np.full((1, *shape), self.least or 0, self.dtype)
