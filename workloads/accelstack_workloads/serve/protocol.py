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

from accelstack_workloads.tensors import TensorSpec

PLATFORM = "accelstack_pytorch"
SERVER = {"name": "accelstack", "version": version("accelstack"), "extensions": ["binary_tensor_data"]}
MAX_BATCH = 1024
MAX_BODY_BYTES = 64 * 2**20


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
class Place:
    """Where a request has a model's input, and how large that is: its shape, batch first."""

    index: int
    spec: TensorSpec
    shape: tuple[int, ...]

    @property
    def path(self) -> str:
        """What messages call it."""
        return f"inputs[{self.index}]"


@dataclass(frozen=True)
class ModelInterface:
    """The served model as clients see it.

    Attributes:
        name: the model's name in addresses and requests.
        version: the one version that is served.
        inputs: what it takes; every request gives all of them.
        outputs: what it gives.
        unit: what samples are called, such as `images`.
    """

    name: str
    version: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    unit: str

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

    def check_inputs(self, inputs: Sequence[TensorHeader]) -> list[Place]:
        """Where each of the model's inputs is in a request, in the model's order, or a refusal."""
        wanted = {spec.name: spec for spec in self.inputs}
        if not inputs:
            raise RequestError(f"inputs: is empty; give {_tensors([*wanted])}")
        for index, tensor in enumerate(inputs):
            if tensor.name not in wanted:
                raise RequestError(
                    f"inputs[{index}].name: {tensor.name!r} is not an input; the model takes {_listed(wanted)}"
                )
        names = [tensor.name for tensor in inputs]
        for name in wanted:
            if names.count(name) > 1:
                raise RequestError(
                    f"inputs: {name!r} is given {names.count(name)} times; give it once, with all {self.unit} in it"
                )
            if name not in names:
                raise RequestError(f"inputs: {name!r} is missing; give {_tensors([*wanted])}")
        places = [self._place(names.index(name), inputs[names.index(name)], spec) for name, spec in wanted.items()]
        for place in places:
            if place.shape[0] != places[0].shape[0]:
                raise RequestError(
                    f"{place.path}.shape: a batch of {place.shape[0]}, and {places[0].spec.name!r} has "
                    f"{places[0].shape[0]}; give every input the same batch"
                )
        return places

    def _place(self, index: int, tensor: TensorHeader, spec: TensorSpec) -> Place:
        path = f"inputs[{index}]"
        if tensor.datatype != spec.datatype:
            raise RequestError(
                f"{path}.datatype: {tensor.datatype!r} is not {spec.datatype}; send {spec.datatype} {spec.wanted}"
            )
        shape = tuple(tensor.shape)
        fits = len(shape) == len(spec.shape) + 1 and all(
            size == found or (size < 0 and 1 <= found <= spec.longest)
            for size, found in zip(spec.shape, shape[1:], strict=True)
        )
        if not fits:
            wanted = ["batch", *(f"1..{spec.longest}" if size < 0 else str(size) for size in spec.shape)]
            raise RequestError(
                f"{path}.shape: {_brief(list(shape))} is not [{', '.join(wanted)}]; reshape the {self.unit}"
            )
        if shape[0] < 1:
            raise RequestError(f"{path}.shape: a batch of {shape[0]} {self.unit}; send at least 1")
        if shape[0] > MAX_BATCH:
            raise RequestError(
                f"{path}.shape: a batch of {shape[0]} {self.unit} is above the limit of {MAX_BATCH}; "
                "send several requests"
            )
        return Place(index, spec, shape)

    def check_outputs(self, names: Sequence[str]) -> list[TensorSpec]:
        """The requested outputs, all if none is named, or a refusal of what the model does not give."""
        given = {spec.name: spec for spec in self.outputs}
        for index, name in enumerate(names):
            if name not in given:
                raise RequestError(
                    f"outputs[{index}].name: {name!r} is not an output; the model gives {_listed(given)}"
                )
            if names.count(name) > 1:
                raise RequestError(f"outputs: {name!r} is requested {names.count(name)} times; request it once")
        return [given[name] for name in names or given]


def check_extensions(parameters: Iterable[str], path: str) -> None:
    """Refuses a tensor's parameters that ask for extensions which this server lacks, rather than ignore them."""
    for name in parameters:
        if name == "classification" or name.startswith("shared_memory"):
            raise RequestError(f"{path}.{name}: this server lacks that extension; leave it out")


def from_bytes(content: bytes | memoryview, place: Place) -> np.ndarray:
    """An input from little-endian values in row-major order."""
    wanted = math.prod(place.shape) * place.spec.dtype.itemsize
    if len(content) != wanted:
        raise RequestError(
            f"{place.path}: has {len(content)} binary bytes, but shape {list(place.shape)} of {place.spec.datatype} "
            f"takes {wanted}; send as many values as the shape says"
        )
    return check_values(np.frombuffer(content, place.spec.dtype).reshape(place.shape), place)


def from_values(values: Sequence[float | None], place: Place) -> np.ndarray:
    """An input from numbers in row-major order; None where one is missing."""
    wanted = math.prod(place.shape)
    if len(values) != wanted:
        raise RequestError(
            f"{place.path}.data: has {len(values)} values, but shape {list(place.shape)} takes {wanted}; "
            "send as many values as the shape says"
        )
    try:
        with np.errstate(over="ignore"):  # what overflows becomes infinite and is refused by name below
            array = np.asarray(values, place.spec.dtype).reshape(place.shape)
    except OverflowError as error:
        raise RequestError(
            f"{place.path}.data: holds a number that {place.spec.datatype} cannot have; send {place.spec.wanted}"
        ) from error
    return check_values(array, place)


def to_bytes(values: np.ndarray, spec: TensorSpec) -> bytes:
    """An output's values, little-endian, in row-major order."""
    return values.astype(spec.dtype, copy=False).tobytes()


def check_values(values: np.ndarray, place: Place) -> np.ndarray:
    """The values, if every one is a number within what the input takes."""
    spec = place.spec
    if spec.missing:
        known = values[~np.isnan(values)]
        low, high = (float(known.min()), float(known.max())) if known.size else (0.0, 0.0)
    else:
        low, high = float(values.min()), float(values.max())
    if not (math.isfinite(low) and math.isfinite(high)):
        what = "Infinity" if spec.missing else "NaN or Infinity"
        raise RequestError(f"{place.path}.data: holds {what}; send finite {spec.wanted}")
    if (spec.least is not None and low < spec.least) or (spec.most is not None and high > spec.most):
        raise RequestError(
            f"{place.path}.data: values reach from {low:g} to {high:g}, but {spec.name!r} takes "
            f"{_bounds(spec)}; send {spec.wanted}"
        )
    return values


def _bounds(spec: TensorSpec) -> str:
    if spec.most is None:
        return f"{spec.least:g} and above"
    return f"up to {spec.most:g}" if spec.least is None else f"{spec.least:g}..{spec.most:g}"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, names))


def _tensors(names: Sequence[str]) -> str:
    return f"{'one tensor' if len(names) == 1 else 'tensors'} named {_listed(names)}"


def _brief(value: object, limit: int = 80) -> str:
    text = repr(value)
    return text if len(text) <= limit else f"{text[:limit]}…"
