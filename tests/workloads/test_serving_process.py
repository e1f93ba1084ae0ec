"""A replica starts when it is ready, shares its ports, bears load, and ends when it is told to."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import time
from pathlib import Path

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.grpc.aio as grpc_aio
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.serve.server import run
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.workloads.serving import (
    NAME,
    Served,
    digits,
    end,
    eventually,
    half_sent,
    infer_body,
    metric,
    model,
    served,
    serving,
    start,
)

__all__ = ["model", "served"]

IMAGES = digits()[0]
INFER = f"/v2/models/{NAME}/infer"


def port(address: str) -> int:
    return int(address.rpartition(":")[2])


def test_hundreds_of_requests_at_once(served: Served) -> None:
    async def over_rest(client: httpx.AsyncClient, index: int) -> int:
        answer = await client.post(served.rest + INFER, json=infer_body(IMAGES[index : index + 1]))
        assert answer.status_code == 200, answer.text
        return int(np.argmax(answer.json()["outputs"][0]["data"]))

    async def over_grpc(client: grpc_aio.InferenceServerClient, index: int) -> int:
        tensor = grpc_client.InferInput("image", [1, 1, 8, 8], "FP32")
        tensor.set_data_from_numpy(IMAGES[index : index + 1])
        return int((await client.infer(NAME, [tensor])).as_numpy("probabilities").argmax())

    async def all_at_once() -> list[int]:
        limits = httpx.Limits(max_connections=64)
        async with (
            httpx.AsyncClient(limits=limits, timeout=30) as rest,
            grpc_aio.InferenceServerClient(served.grpc) as grpc_,
        ):
            calls = [over_rest(rest, i) for i in range(300)] + [over_grpc(grpc_, i) for i in range(200)]
            return await asyncio.gather(*calls)

    answers = asyncio.run(all_at_once())
    together = httpx.post(served.rest + INFER, json=infer_body(IMAGES[:300])).json()["outputs"][0]
    expected = np.reshape(together["data"], together["shape"]).argmax(axis=1).tolist()
    assert answers == expected + expected[:200]


def test_the_server_stays_responsive_under_heavy_batches(served: Served) -> None:
    request = service_pb2.ModelInferRequest(model_name=NAME, raw_input_contents=[IMAGES[:1024].tobytes()])
    request.inputs.add(name="image", datatype="FP32", shape=[1024, 1, 8, 8])
    with grpc.insecure_channel(served.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        calls = [stub.ModelInfer.future(request) for _ in range(10)]
        begin = time.monotonic()
        assert httpx.get(f"{served.rest}/v2/health/ready").status_code == 200
        assert time.monotonic() - begin < 2
        for call in calls:
            assert call.result().outputs[0].shape == [1024, 10]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_signal_lets_requests_finish(model: Path, number: signal.Signals) -> None:
    with serving(model) as served:
        connection, rest = half_sent(served, IMAGES[:1])
        with connection:
            eventually(lambda: metric(served, "accelstack_inference_waiting") == 1)
            begin = time.monotonic()
            served.process.send_signal(number)
            host, _, rest_port = served.rest.removeprefix("http://").rpartition(":")
            eventually(lambda: refuses(host, int(rest_port)))
            connection.sendall(rest)
            answer = b"".join(iter(lambda: connection.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 200")
            assert b'"outputs"' in answer
        assert served.process.wait(6) == 0
        assert time.monotonic() - begin < 5
        assert served.process.stderr.read() == ""


def refuses(host: str, port: int) -> bool:
    try:
        socket.create_connection((host, port), timeout=1).close()
    except ConnectionRefusedError:
        return True
    return False


def test_a_stop_signal_lets_grpc_calls_finish(model: Path) -> None:
    request = service_pb2.ModelInferRequest(model_name=NAME, raw_input_contents=[IMAGES[:1024].tobytes()])
    request.inputs.add(name="image", datatype="FP32", shape=[1024, 1, 8, 8])
    with serving(model) as served, grpc.insecure_channel(served.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        calls = [stub.ModelInfer.future(request) for _ in range(30)]
        inside = 0.0

        def some_are_inside() -> bool:
            nonlocal inside
            inside = metric(served, "accelstack_inference_waiting")
            return inside > 0

        eventually(some_are_inside)
        served.process.terminate()
        assert served.process.wait(6) == 0
        codes = [call.code() for call in calls]
    assert codes.count(grpc.StatusCode.OK) >= inside
    # gRPC itself sends away what was still on the wire when it stopped; such calls never began.
    assert set(codes) <= {grpc.StatusCode.OK, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.CANCELLED}


def test_a_request_that_never_ends_does_not_hold_up_the_stop(model: Path) -> None:
    with serving(model) as served:
        connection, _ = half_sent(served, IMAGES[:1])
        with connection:
            eventually(lambda: metric(served, "accelstack_inference_waiting") == 1)
            begin = time.monotonic()
            served.process.terminate()
            assert served.process.wait(6) == 0
            assert time.monotonic() - begin < 5


def test_a_taken_port_is_one_clear_line(model: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        number = other.getsockname()[1]
        process = start(model, grpc_port=number)
        try:
            assert process.wait(30) != 0
            (line,) = process.stderr.read().splitlines()
        finally:
            end(process)
    assert line.startswith(f"error: grpc_port: {number} on host '127.0.0.1' cannot be bound")


def test_what_cannot_be_served_is_refused_by_name(model: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        with pytest.raises(WorkloadError, match=f"rest_port: {taken} .* cannot be bound"):
            run(model, NAME, "1", "127.0.0.1", taken, 0)
    with pytest.raises(WorkloadError, match="rest_port: 0 on host 'no such host'"):
        run(model, NAME, "1", "no such host", 0, 0)
    with pytest.raises(WorkloadError, match="rest_port: 99999"):
        run(model, NAME, "1", "127.0.0.1", 99999, 0)
    with pytest.raises(WorkloadError, match="grpc_port: 45678 is rest_port too"):
        run(model, NAME, "1", "127.0.0.1", 45678, 45678)
    with pytest.raises(WorkloadError, match="model: "):
        run(tmp_path / "none", NAME, "1", "127.0.0.1", 0, 0)


def test_the_server_ends_with_its_parent(model: Path) -> None:
    parent = subprocess.Popen(["sleep", "300"])
    try:
        with serving(model, ACCELSTACK_PARENT_PID=str(parent.pid)) as served:
            parent.kill()
            parent.wait()
            assert served.process.wait(6) == 0
    finally:
        parent.kill()
        parent.wait()


def test_a_server_of_its_own_does_not_join_the_ports_of_another(model: Path, served: Served) -> None:
    stranger = start(model, rest_port=port(served.rest))
    _, errors = stranger.communicate(timeout=60)
    assert stranger.returncode != 0
    assert f"rest_port: {port(served.rest)}" in errors
    assert "cannot be bound" in errors


def test_replicas_share_their_ports(model: Path, served: Served) -> None:
    with serving(model, rest_port=port(served.rest), grpc_port=port(served.grpc), shares=True) as second:
        both = {str(served.process.pid), str(second.process.pid)}
        seen: set[str] = set()

        def both_answer() -> bool:
            seen.update(re.findall(r'replica="(\d+)"', httpx.get(f"{served.rest}/metrics").text))
            return seen == both

        eventually(both_answer)
    for _ in range(20):
        assert httpx.post(served.rest + INFER, json=infer_body(IMAGES[:1])).status_code == 200
