"""Bad requests get a reason that helps, and leave the server answering."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable, Iterator
from typing import Any

import grpc
import httpx
import numpy as np
import pytest
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.workloads.serving import NAME, Served, digits, eventually, half_sent, infer_body, metric, model, served

__all__ = ["model", "served"]

IMAGE = digits()[0][:1]
INFER = f"/v2/models/{NAME}/infer"
LIMIT = 64 * 2**20
HEADER_LENGTH = "Inference-Header-Content-Length"


@pytest.fixture(autouse=True)
def still_answers(served: Served) -> Iterator[None]:
    """After each refusal, a good request is answered."""
    yield
    assert httpx.post(served.rest + INFER, json=infer_body(IMAGE)).status_code == 200


def tensor(**changes: Any) -> bytes:
    body = infer_body(IMAGE)
    body["inputs"][0] |= changes
    return json.dumps(body).encode()


def values(first: Any) -> bytes:
    return tensor(data=[first, *IMAGE.ravel().tolist()[1:]])


def binary(size: int = 256, sent: int = 256, pixel: float = 0.5, length: str | None = None) -> tuple[bytes, dict]:
    body = infer_body(IMAGE)
    del body["inputs"][0]["data"]
    body["inputs"][0]["parameters"] = {"binary_data_size": size}
    head = json.dumps(body).encode()
    content = np.full(64, pixel, "<f4").tobytes()[:sent]
    return head + content, {HEADER_LENGTH: length or str(len(head))}


REFUSED: dict[str, tuple[bytes | tuple[bytes, dict[str, str]], int, str]] = {
    "wrong shape": (tensor(shape=[1, 1, 9, 8]), 400, "[batch, 1, 8, 8]"),
    "shape without batch": (tensor(shape=[1, 8, 8]), 400, "inputs[0].shape"),
    "shape of fractions": (tensor(shape=[1.0, 1, 8, 8]), 400, "whole numbers"),
    "negative batch": (tensor(shape=[-1, 1, 8, 8]), 400, "at least 1"),
    "empty batch": (tensor(shape=[0, 1, 8, 8], data=[]), 400, "at least 1"),
    "batch too big": (tensor(shape=[1025, 1, 8, 8]), 400, "1024"),
    "wrong datatype": (tensor(datatype="INT64"), 400, "FP32"),
    "bytes as datatype": (tensor(datatype="UINT8"), 400, "0..1"),
    "wrong name": (tensor(name="picture"), 400, "takes 'image'"),
    "no name": (tensor(name=None), 400, "inputs[0].name"),
    "no input": (json.dumps({"inputs": []}).encode(), 400, "inputs: is empty"),
    "no inputs": (b"{}", 400, "inputs: must be an array"),
    "input no object": (b'{"inputs": [1]}', 400, "inputs[0]: must be an object"),
    "duplicate input": (json.dumps({"inputs": infer_body(IMAGE)["inputs"] * 2}).encode(), 400, "2 times"),
    "too few values": (tensor(data=[0.5] * 63), 400, "63 values"),
    "ragged data": (tensor(data=[[0.1, 0.2], [0.3]]), 400, "ragged"),
    "mixed nesting": (tensor(data=[0.1, [0.2]]), 400, "an array"),
    "text among values": (values("0.5"), 400, "a string"),
    "null among values": (values(None), 400, "null"),
    "boolean among values": (values(True), 400, "a boolean"),
    "NaN in JSON": (values(float("nan")), 400, "not JSON"),
    "Infinity in JSON": (values(float("inf")), 400, "not JSON"),
    "overflow": (values(1e300), 400, "Infinity"),
    "byte pixels": (values(255), 400, "divide by 255"),
    "normalised pixels": (values(-0.4), 400, "0..1"),
    "invalid JSON": (b'{"inputs": [', 400, "not JSON"),
    "no UTF-8": (b'{"id": "\xff\xfe"}', 400, "not JSON"),
    "empty body": (b"", 400, "not JSON"),
    "JSON array": (b"[]", 400, "must be an object"),
    "deep JSON": (b"[" * 100_000, 400, "not JSON"),
    "deep data": (tensor(data=0).replace(b'"data": 0', b'"data": ' + b"[" * 900 + b"]" * 900), 400, "0 values"),
    "number as id": (json.dumps(infer_body(IMAGE, id=5)).encode(), 400, "id: must be a string"),
    "unknown output": (json.dumps(infer_body(IMAGE, outputs=[{"name": "logits"}])).encode(), 400, "'probabilities'"),
    "output twice": (json.dumps(infer_body(IMAGE, outputs=[{"name": "probabilities"}] * 2)).encode(), 400, "2 times"),
    "shared memory": (tensor(parameters={"shared_memory_region": "a"}), 400, "shared_memory_region"),
    "truncated binary": (binary(sent=200), 400, "200 bytes follow"),
    "binary beyond its size": (binary(size=128), 400, "256 bytes follow"),
    "binary short of its shape": (binary(size=128, sent=128), 400, "takes 256"),
    "NaN in binary": (binary(pixel=float("nan")), 400, "NaN"),
    "Infinity in binary": (binary(pixel=float("inf")), 400, "Infinity"),
    "byte pixels in binary": (binary(pixel=200.0), 400, "divide by 255"),
    "header length too long": (binary(length="99999"), 400, "99999"),
    "header length too short": (binary(length="9"), 400, "not JSON"),
    "header length negative": (binary(length="-1"), 400, "-1"),
    "header length no number": (binary(length="ten"), 400, "ten"),
    "header length huge": (binary(length="9" * 5000), 400, HEADER_LENGTH),
    "binary without its size": ((tensor() + b"abcd", {HEADER_LENGTH: str(len(tensor()))}), 400, "binary_data_size"),
    "wrong gzip": ((b"not packed", {"Content-Encoding": "gzip"}), 400, "is not gzip data"),
    "truncated gzip": ((gzip.compress(tensor())[:-9], {"Content-Encoding": "gzip"}), 400, "send it whole"),
    "unknown encoding": ((tensor(), {"Content-Encoding": "br"}), 415, "gzip, deflate"),
    "gzip bomb": ((gzip.compress(bytes(LIMIT + 1)), {"Content-Encoding": "gzip"}), 413, "limit"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "status", "reason"), REFUSED.values(), ids=REFUSED)
def test_rest_refuses_with_a_reason(served: Served, body: Any, status: int, reason: str) -> None:
    content, headers = body if isinstance(body, tuple) else (body, {})
    answer = httpx.post(served.rest + INFER, content=content, headers=headers)
    assert (answer.status_code, list(answer.json())) == (status, ["error"])
    assert reason in answer.json()["error"]
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/v2/models/other/infer", 404),
        ("POST", f"/v2/models/{NAME}/versions/99/infer", 404),
        ("GET", "/v2/models/other", 404),
        ("GET", "/v2/models/other/ready", 404),
        ("GET", f"/v2/models/{NAME}/versions/99/ready", 404),
        ("GET", INFER, 405),
        ("GET", "/v3", 404),
        ("GET", "/page/../server.py", 404),
    ],
)
def test_rest_refuses_unknown_addresses(served: Served, method: str, path: str, status: int) -> None:
    answer = httpx.request(method, served.rest + path)
    assert answer.status_code == status
    assert answer.json()["error"]


def test_rest_refuses_a_declared_size_without_reading(served: Served) -> None:
    host, _, port = served.rest.removeprefix("http://").rpartition(":")
    with socket.create_connection((host, int(port)), timeout=5) as connection:
        head = f"POST {INFER} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {10**12}\r\n\r\n"
        connection.sendall(head.encode())
        assert connection.recv(100).startswith(b"HTTP/1.1 413")


def test_rest_refuses_an_endless_body(served: Served) -> None:
    answer = httpx.post(served.rest + INFER, content=(bytes(2**20) for _ in range(66)))
    assert answer.status_code == 413
    assert str(LIMIT) in answer.json()["error"]


def grpc_request(**changes: Any) -> service_pb2.ModelInferRequest:
    request = service_pb2.ModelInferRequest(**{"model_name": NAME} | changes)
    if "inputs" not in changes:
        request.inputs.add(name="image", datatype="FP32", shape=[1, 1, 8, 8])
    return request


def raw(content: bytes) -> Callable[[], service_pb2.ModelInferRequest]:
    return lambda: grpc_request(raw_input_contents=[content])


def shaped(*shape: int, datatype: str = "FP32", name: str = "image") -> Callable[[], service_pb2.ModelInferRequest]:
    inputs = [{"name": name, "datatype": datatype, "shape": shape}]
    return lambda: grpc_request(inputs=inputs, raw_input_contents=[IMAGE.tobytes()])


def contents(**fields: Any) -> Callable[[], service_pb2.ModelInferRequest]:
    inputs = [{"name": "image", "datatype": "FP32", "shape": [1, 1, 8, 8], "contents": fields}]
    return lambda: grpc_request(inputs=inputs)


BAD, MISSING, FULL = (getattr(grpc.StatusCode, n) for n in ("INVALID_ARGUMENT", "NOT_FOUND", "RESOURCE_EXHAUSTED"))
GRPC_REFUSED = {
    "unknown model": (lambda: grpc_request(model_name="other"), MISSING, "'other'"),
    "unknown version": (lambda: grpc_request(model_version="99"), MISSING, "'99'"),
    "no input": (lambda: grpc_request(inputs=[]), BAD, "inputs: is empty"),
    "wrong name": (shaped(1, 1, 8, 8, name="x"), BAD, "'image'"),
    "wrong shape": (shaped(1, 1, 8, 9), BAD, "[batch, 1, 8, 8]"),
    "wrong datatype": (shaped(1, 1, 8, 8, datatype="FP64"), BAD, "FP32"),
    "empty batch": (shaped(0, 1, 8, 8), BAD, "at least 1"),
    "batch too big": (shaped(1025, 1, 8, 8), BAD, "1024"),
    "no values": (grpc_request, BAD, "0 values"),
    "truncated": (raw(IMAGE.tobytes()[:-1]), BAD, "255 binary bytes"),
    "NaN": (raw(np.full(64, np.nan, "<f4").tobytes()), BAD, "NaN"),
    "byte pixels": (raw(np.full(64, 255, "<f4").tobytes()), BAD, "divide by 255"),
    "raw twice": (lambda: grpc_request(raw_input_contents=[IMAGE.tobytes()] * 2), BAD, "2 entries"),
    "other contents": (contents(int_contents=[1] * 64), BAD, "int_contents"),
    "unknown output": (lambda: grpc_request(outputs=[{"name": "logits"}]), BAD, "'probabilities'"),
    "oversized": (raw(bytes(LIMIT + 2**20)), FULL, "larger than max"),
}


@pytest.mark.parametrize(("request_", "code", "reason"), GRPC_REFUSED.values(), ids=GRPC_REFUSED)
def test_grpc_refuses_with_a_reason(served: Served, request_: Any, code: grpc.StatusCode, reason: str) -> None:
    with grpc.insecure_channel(served.grpc) as channel, pytest.raises(grpc.RpcError) as error:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(request_())
    assert error.value.code() == code
    assert reason in error.value.details()


def test_grpc_names_the_calls_that_it_lacks(served: Served) -> None:
    with grpc.insecure_channel(served.grpc) as channel, pytest.raises(grpc.RpcError) as error:
        service_pb2_grpc.GRPCInferenceServiceStub(channel).RepositoryIndex(service_pb2.RepositoryIndexRequest())
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert "RepositoryIndex" in error.value.details()


def test_too_many_waiting_requests_are_sent_away(served: Served) -> None:
    waiting = [half_sent(served, IMAGE)[0] for _ in range(256)]
    try:
        eventually(lambda: metric(served, "accelstack_inference_waiting") == 256)
        answer = httpx.post(served.rest + INFER, json=infer_body(IMAGE))
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "1")
        with grpc.insecure_channel(served.grpc) as channel, pytest.raises(grpc.RpcError) as error:
            service_pb2_grpc.GRPCInferenceServiceStub(channel).ModelInfer(raw(IMAGE.tobytes())())
        assert error.value.code() == FULL
        assert httpx.get(f"{served.rest}/v2/health/live").status_code == 200
    finally:
        for connection in waiting:
            connection.close()
    eventually(lambda: metric(served, "accelstack_inference_waiting") == 0)
