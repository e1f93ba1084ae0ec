"""What the Open Inference Protocol says about the served model, free of any transport: REST and gRPC share it.

https://github.com/kserve/open-inference-protocol
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from importlib.metadata import version

import numpy as np

INPUT = "image"
OUTPUT = "probabilities"
DATATYPE = "FP32"
PLATFORM = "accelstack_pytorch"
SERVER = {"name": "accelstack", "version": version("accelstack"), "extensions": ["binary_tensor_data"]}
MAX_BATCH = 1024
MAX_BODY_BYTES = 64 * 2**20

_WIRE_DTYPE = np.dtype("<f4")


class RequestError(Exception):
    """A request that is refused: the message names the property, its value, the rule and the fix.

    Attributes:
        status: the HTTP status; gRPC maps it to a code of its own.
    """

    def __init__(self, message: str, status: HTTPStatus = HTTPStatus.BAD_REQUEST) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class TensorHeader:
    """How a request describes one input, before its values are read."""

    name: str
    datatype: str
    shape: Sequence[int]


@dataclass(frozen=True)
class ModelInterface:
    """The served model as clients see it.

    Attributes:
        name: the model's name in addresses and requests.
        version: the one version that is served.
        shape: channels, height and width of a picture.
        classes: the class names, in the order of the output.
    """

    name: str
    version: str
    shape: tuple[int, int, int]
    classes: tuple[str, ...]

    @property
    def input_shape(self) -> list[int]:
        """Shape of the input; -1 is the batch."""
        return [-1, *self.shape]

    @property
    def output_shape(self) -> list[int]:
        """Shape of the output; -1 is the batch."""
        return [-1, len(self.classes)]

    def check_model(self, name: str, version: str = "") -> None:
        """Refuses another model or version; an empty version means whichever is served."""
        if name != self.name:
            raise RequestError(f"model: {name!r} is not served here; ask for {self.name!r}", HTTPStatus.NOT_FOUND)
        if version and version != self.version:
            raise RequestError(
                f"version: {version!r} of model {self.name!r} is not served here; "
                f"ask for {self.version!r} or leave it out",
                HTTPStatus.NOT_FOUND,
            )

    def check_inputs(self, inputs: Sequence[TensorHeader]) -> tuple[int, ...]:
        """The full shape of the one input, or a refusal."""
        if not inputs:
            raise RequestError(f"inputs: is empty; give one tensor named {INPUT!r}")
        for index, tensor in enumerate(inputs):
            if tensor.name != INPUT:
                raise RequestError(f"inputs[{index}].name: {tensor.name!r} is not an input; the model takes {INPUT!r}")
        if len(inputs) > 1:
            raise RequestError(
                f"inputs: {INPUT!r} is given {len(inputs)} times; give it once, with all pictures in a batch"
            )
        tensor = inputs[0]
        if tensor.datatype != DATATYPE:
            raise RequestError(
                f"inputs[0].datatype: {tensor.datatype!r} is not {DATATYPE}; send {DATATYPE} pixel values in 0..1"
            )
        shape = tuple(tensor.shape)
        if len(shape) != 4 or shape[1:] != self.shape:
            wanted = ", ".join(map(str, self.shape))
            raise RequestError(f"inputs[0].shape: {_brief(list(shape))} is not [batch, {wanted}]; reshape the pictures")
        if shape[0] < 1:
            raise RequestError(f"inputs[0].shape: a batch of {shape[0]} pictures; send at least 1")
        if shape[0] > MAX_BATCH:
            raise RequestError(
                f"inputs[0].shape: a batch of {shape[0]} pictures is above the limit of {MAX_BATCH}; "
                "send several requests"
            )
        return shape

    def check_outputs(self, names: Sequence[str]) -> None:
        """Refuses requested outputs that the model does not give; none requested means all."""
        for index, name in enumerate(names):
            if name != OUTPUT:
                raise RequestError(f"outputs[{index}].name: {name!r} is not an output; the model gives {OUTPUT!r}")
        if len(names) > 1:
            raise RequestError(f"outputs: {OUTPUT!r} is requested {len(names)} times; request it once")


def check_extensions(parameters: Iterable[str], path: str) -> None:
    """Refuses a tensor's parameters that ask for extensions which this server lacks, rather than ignore them."""
    for name in parameters:
        if name == "classification" or name.startswith("shared_memory"):
            raise RequestError(f"{path}.{name}: this server lacks that extension; leave it out")


def from_bytes(content: bytes | memoryview, shape: tuple[int, ...]) -> np.ndarray:
    """Pictures of `shape` from little-endian FP32 values in row-major order."""
    wanted = math.prod(shape) * _WIRE_DTYPE.itemsize
    if len(content) != wanted:
        raise RequestError(
            f"inputs[0]: has {len(content)} binary bytes, but shape {list(shape)} of {DATATYPE} takes {wanted}; "
            "send as many values as the shape says"
        )
    return check_pixels(np.frombuffer(content, _WIRE_DTYPE).reshape(shape))


def from_values(values: Sequence[float], shape: tuple[int, ...]) -> np.ndarray:
    """Pictures of `shape` from numbers in row-major order."""
    wanted = math.prod(shape)
    if len(values) != wanted:
        raise RequestError(
            f"inputs[0].data: has {len(values)} values, but shape {list(shape)} takes {wanted}; "
            "send as many values as the shape says"
        )
    with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused by name below
        return check_pixels(np.asarray(values, np.float32).reshape(shape))


def to_bytes(probabilities: np.ndarray) -> bytes:
    """The output's values as little-endian FP32 in row-major order."""
    return probabilities.astype(_WIRE_DTYPE, copy=False).tobytes()


def check_pixels(images: np.ndarray) -> np.ndarray:
    """The pictures, if every value is a number in 0..1."""
    low, high = float(images.min()), float(images.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        raise RequestError("inputs[0].data: holds NaN or Infinity; send finite pixel values in 0..1")
    if low < 0 or high > 1:
        fix = "divide by 255" if low >= 0 and high <= 255 else "scale the pixels to 0..1"
        raise RequestError(
            f"inputs[0].data: values reach from {low:g} to {high:g}, but pixels are in 0..1; {fix} "
            "(the model normalises by itself)"
        )
    return images


def _brief(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
