"""Infer requests and responses over REST: JSON, the binary tensor extension and compressed bodies.

https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_binary_data.md
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from itertools import chain
from typing import Any

import numpy as np
import orjson

from accelstack_workloads.serve.protocol import (
    MAX_BODY_BYTES,
    ModelInterface,
    Place,
    RequestError,
    TensorHeader,
    check_extensions,
    from_bytes,
    from_values,
    to_bytes,
)
from accelstack_workloads.tensors import Arrays, TensorSpec

HEADER_LENGTH = "Inference-Header-Content-Length"
# What SageMaker passes through instead of that header
# (https://github.com/triton-inference-server/server/blob/main/docs/customization_guide/inference_protocols.md).
_SAGEMAKER_BINARY = "application/vnd.sagemaker-triton.binary+json;json-header-size="

# Window bits as zlib wants them; HTTP's "deflate" is the zlib format (RFC 9110, 8.4.1.2).
_WINDOW_BITS = {"gzip": 31, "deflate": 15}


@dataclass(frozen=True)
class InferRequest:
    """A request that passed every check.

    Attributes:
        inputs: what the model takes, by name.
        id: to be echoed, or None.
        outputs: what is asked for, and whether its values are to be binary.
    """

    inputs: Arrays
    id: str | None
    outputs: list[tuple[TensorSpec, bool]]


def decompress(body: bytes, encoding: str) -> bytes:
    """The body without its Content-Encoding, refused where it grows above the limit and could fill the memory."""
    encoding = encoding.strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in _WINDOW_BITS:
        raise RequestError(
            f"Content-Encoding: {encoding!r} is not known; use gzip, deflate or none", HTTPStatus.UNSUPPORTED_MEDIA_TYPE
        )
    stream = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        content = stream.decompress(body, MAX_BODY_BYTES + 1)
    except zlib.error as error:
        raise RequestError(f"body: is not {encoding} data ({error}); compress it again or drop the header") from error
    if len(content) > MAX_BODY_BYTES:
        raise too_large("body (decompressed)", MAX_BODY_BYTES)
    if not stream.eof or stream.unused_data:
        raise RequestError(f"body: does not end where its {encoding} data ends; send it whole and nothing after it")
    return content


def too_large(what: str, limit: int) -> RequestError:
    """The refusal of a body above the limit, in bytes."""
    return RequestError(
        f"{what}: is larger than the limit of {limit} bytes; send less in one request",
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    )


def header_length(headers: Mapping[str, str]) -> str | None:
    """The length of the JSON part as a request states it, unchecked: in its own header or in SageMaker's type."""
    kind = headers.get("content-type", "").replace(" ", "")
    in_type = kind.removeprefix(_SAGEMAKER_BINARY) if kind.startswith(_SAGEMAKER_BINARY) else None
    return headers.get(HEADER_LENGTH, in_type)


def sagemaker_type(length: str) -> str:
    """The type of a binary answer that SageMaker passes on, with the length of its JSON part."""
    return f"{_SAGEMAKER_BINARY}{length}"


def decode(body: bytes, length: str | None, model: ModelInterface) -> InferRequest:
    """Reads the body of an infer request.

    Args:
        body: the decompressed body.
        length: what `header_length` found.
        model: what is served.
    """
    view = memoryview(body)
    end = _header_length(length, len(body))
    request = _object(_parse(view[:end]), "body")
    binary = view[end:]

    request_id = request.get("id")
    if request_id is not None and not isinstance(request_id, str):
        raise RequestError(f"id: must be a string, not {_kind(request_id)}; quote it or leave it out")
    inputs = [_object(item, f"inputs[{i}]") for i, item in enumerate(_list(request.get("inputs"), "inputs"))]
    headers = [_tensor_header(item, f"inputs[{i}]") for i, item in enumerate(inputs)]
    places = model.check_inputs(headers)
    outputs = _outputs(request, model)
    parts = _binary_parts(inputs, binary)
    arrays = {place.spec.name: _values(inputs[place.index], parts[place.index], place) for place in places}
    return InferRequest(arrays, request_id, outputs)


def encode(arrays: Arrays, request: InferRequest, model: ModelInterface) -> tuple[bytes, dict[str, str]]:
    """Body and headers of the answer."""
    answer: dict[str, Any] = {"model_name": model.name, "model_version": model.version}
    if request.id is not None:
        answer["id"] = request.id
    answer["outputs"] = []
    tail = b""
    for spec, binary in request.outputs:
        array = arrays[spec.name]
        output: dict[str, Any] = {"name": spec.name, "datatype": spec.datatype, "shape": list(array.shape)}
        if binary:
            values = to_bytes(array, spec)
            output["parameters"] = {"binary_data_size": len(values)}
            tail += values
        else:
            output["data"] = array.ravel()
        answer["outputs"].append(output)
    head = orjson.dumps(answer, option=orjson.OPT_SERIALIZE_NUMPY)
    if not any(binary for _, binary in request.outputs):
        return head, {"Content-Type": "application/json"}
    return head + tail, {"Content-Type": "application/octet-stream", HEADER_LENGTH: str(len(head))}


def _header_length(value: str | None, size: int) -> int:
    if value is None:
        return size
    if not (value.isascii() and value.isdecimal() and int(value[:20]) <= size):
        raise RequestError(
            f"{HEADER_LENGTH}: {value[:40]!r} is not a length within the body of {size} bytes; "
            "send the length of the JSON part, in bytes"
        )
    return int(value)


def _parse(content: memoryview) -> Any:
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError as error:
        raise RequestError(f"body: is not JSON ({error}); NaN and Infinity are no JSON either") from error


def _outputs(request: dict[str, Any], model: ModelInterface) -> list[tuple[TensorSpec, bool]]:
    parameters = _object(request.get("parameters", {}), "parameters")
    usual = _flag(parameters, "binary_data_output", "parameters", default=False)
    wanted = [_object(item, f"outputs[{i}]") for i, item in enumerate(_list(request.get("outputs", []), "outputs"))]
    specs = model.check_outputs([_text(item, "name", f"outputs[{i}]") for i, item in enumerate(wanted)])
    if not wanted:
        return [(spec, usual) for spec in specs]
    binary = []
    for index, item in enumerate(wanted):
        path = f"outputs[{index}].parameters"
        own = _object(item.get("parameters", {}), path)
        check_extensions(own, path)
        binary.append(_flag(own, "binary_data", path, default=usual))
    return [*zip(specs, binary, strict=True)]


def _binary_parts(inputs: list[dict[str, Any]], binary: memoryview) -> list[memoryview | None]:
    """What follows the JSON part, shared out to the inputs that have their values there, in their order."""
    parts: list[memoryview | None] = []
    start, sized = 0, False
    for index, item in enumerate(inputs):
        path = f"inputs[{index}].parameters"
        parameters = _object(item.get("parameters", {}), path)
        check_extensions(parameters, path)
        size = parameters.get("binary_data_size")
        if size is None:
            parts.append(None)
            continue
        if type(size) is not int or not 0 <= size <= len(binary) - start:
            raise _unequal(path, size, len(binary) - start)
        parts.append(binary[start : start + size])
        start, sized = start + size, True
    if start < len(binary):
        if sized:
            raise _unequal(f"inputs[{len(inputs) - 1}].parameters", start, len(binary))
        raise RequestError(
            f"body: {len(binary)} bytes follow the JSON part, but inputs[0].parameters has no binary_data_size; "
            "add it or send data as JSON"
        )
    return parts


def _unequal(path: str, size: object, left: int) -> RequestError:
    return RequestError(
        f"{path}.binary_data_size: is {size!r:.40}, but {left} bytes follow the JSON part; "
        "what the inputs have together must be what follows"
    )


def _tensor_header(item: dict[str, Any], path: str) -> TensorHeader:
    shape = _list(item.get("shape"), f"{path}.shape")
    if not all(type(size) is int for size in shape):
        raise RequestError(f"{path}.shape: must hold whole numbers; the batch first")
    return TensorHeader(_text(item, "name", path), _text(item, "datatype", path), shape)


def _values(item: dict[str, Any], binary: memoryview | None, place: Place) -> np.ndarray:
    if binary is None:
        data = _flatten(_list(item.get("data"), f"{place.path}.data"), place)
        return from_values(data, place)
    if "data" in item:
        raise RequestError(f"{place.path}: has both data and binary_data_size; send one of them")
    return from_bytes(binary, place)


def _flatten(data: list[Any], place: Place) -> list[float | None]:
    """The numbers of an array that may be nested as its shape is, in row-major order."""
    while (kinds := set(map(type, data))) == {list}:
        if len(set(map(len, data))) > 1:
            raise RequestError(f"{place.path}.data: is ragged; arrays of one level must have one length")
        data = list(chain.from_iterable(data))
    numbers = {int} if place.spec.dtype.kind == "i" else {int, float}
    taken = numbers | ({type(None)} if place.spec.missing else set())
    if not kinds <= taken:
        names = ", ".join(sorted(_NAMES.get(kind, "a fraction") for kind in kinds - taken))
        kind = "whole numbers" if numbers == {int} else "numbers"
        raise RequestError(
            f"{place.path}.data: holds {names} among its values; send {kind} only, evenly nested or flat"
        )
    return data


_NAMES = {dict: "an object", list: "an array", str: "a string", bool: "a boolean", type(None): "null"}


def _kind(value: object) -> str:
    return _NAMES.get(type(value), "a number")


def _object(value: Any, path: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RequestError(f"{path}: must be an object, not {_kind(value)}; see the Open Inference Protocol v2")
    return value


def _list(value: Any, path: str) -> list[Any]:
    if not isinstance(value, list):
        raise RequestError(f"{path}: must be an array, not {_kind(value)}; see the Open Inference Protocol v2")
    return value


def _text(item: dict[str, Any], name: str, path: str) -> str:
    value = item.get(name)
    if not isinstance(value, str):
        raise RequestError(f"{path}.{name}: must be a string, not {_kind(value)}; see the Open Inference Protocol v2")
    return value


def _flag(item: dict[str, Any], name: str, path: str, *, default: bool) -> bool:
    value = item.get(name, default)
    if not isinstance(value, bool):
        raise RequestError(f"{path}.{name}: must be true or false, not {_kind(value)}")
    return value
