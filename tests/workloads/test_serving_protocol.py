"""Any client of the Open Inference Protocol v2 gets the right answers."""

from __future__ import annotations

import gzip
import json
import zlib

import grpc
import httpx
import numpy as np
import pytest
import tritonclient.grpc as grpc_client
import tritonclient.http as http_client
from tritonclient.grpc import service_pb2, service_pb2_grpc

from tests.workloads.serving import NAME, VERSION, Served, digits, infer_body, metric, model, served

__all__ = ["model", "served"]

IMAGES, LABELS = (part[1500:] for part in digits())
INFER = f"/v2/models/{NAME}/infer"


def clients(served: Served):
    return (
        (http_client, http_client.InferenceServerClient(served.rest.removeprefix("http://"))),
        (grpc_client, grpc_client.InferenceServerClient(served.grpc)),
    )


def test_both_clients_see_the_model(served: Served) -> None:
    for _, client in clients(served):
        with client:
            assert client.is_server_live()
            assert client.is_server_ready()
            assert client.is_model_ready(NAME)
            assert client.is_model_ready(NAME, VERSION)
    http, grpc_ = (client for _, client in clients(served))
    with http, grpc_:
        described = http.get_model_metadata(NAME)
        assert described == {
            "name": NAME,
            "versions": [VERSION],
            "platform": "accelstack_pytorch",
            "inputs": [{"name": "image", "datatype": "FP32", "shape": [-1, 1, 8, 8]}],
            "outputs": [{"name": "probabilities", "datatype": "FP32", "shape": [-1, 10]}],
        }
        same = grpc_.get_model_metadata(NAME, as_json=True)
        assert [int(size) for size in same["inputs"][0]["shape"]] == [-1, 1, 8, 8]
        assert same["versions"] == [VERSION]
        assert http.get_server_metadata() == grpc_.get_server_metadata(as_json=True)


@pytest.mark.parametrize("binary", [True, False])
def test_both_clients_get_the_same_right_answers(served: Served, binary: bool) -> None:
    answers = []
    for kind, client in clients(served):
        with client:
            tensor = kind.InferInput("image", list(IMAGES.shape), "FP32")
            if kind is http_client:
                tensor.set_data_from_numpy(IMAGES, binary_data=binary)
                wanted = kind.InferRequestedOutput("probabilities", binary_data=binary)
            else:
                tensor.set_data_from_numpy(IMAGES)
                wanted = kind.InferRequestedOutput("probabilities")
            result = client.infer(NAME, [tensor], model_version=VERSION, request_id="a-1", outputs=[wanted])
            answers.append(result.as_numpy("probabilities"))
            response = result.get_response()
            assert (response["id"] if kind is http_client else response.id) == "a-1"
    np.testing.assert_array_equal(*answers)
    assert answers[0].shape == (len(IMAGES), 10)
    np.testing.assert_allclose(answers[0].sum(axis=1), 1, atol=1e-5)
    assert (answers[0].argmax(axis=1) == LABELS).mean() > 0.9


@pytest.mark.parametrize("algorithm", ["gzip", "deflate"])
def test_the_client_may_compress(served: Served, algorithm: str) -> None:
    with http_client.InferenceServerClient(served.rest.removeprefix("http://")) as client:
        tensor = http_client.InferInput("image", list(IMAGES.shape), "FP32")
        tensor.set_data_from_numpy(IMAGES)
        plain = client.infer(NAME, [tensor]).as_numpy("probabilities")
        packed = client.infer(NAME, [tensor], request_compression_algorithm=algorithm).as_numpy("probabilities")
    np.testing.assert_array_equal(plain, packed)


def test_json_answers_name_model_version_and_id(served: Served) -> None:
    answer = httpx.post(served.rest + INFER, json=infer_body(IMAGES[:2], id="x")).json()
    (output,) = answer.pop("outputs")
    assert answer == {"model_name": NAME, "model_version": VERSION, "id": "x"}
    assert output["shape"] == [2, 10]
    assert len(output["data"]) == 20


def test_nested_data_means_the_same_as_flat(served: Served) -> None:
    flat, nested = infer_body(IMAGES[:3]), infer_body(IMAGES[:3])
    nested["inputs"][0]["data"] = IMAGES[:3].tolist()
    first, second = (httpx.post(served.rest + INFER, json=body).json()["outputs"] for body in (flat, nested))
    assert first == second


def test_binary_output_by_request_parameter(served: Served) -> None:
    body = infer_body(IMAGES[:1], parameters={"binary_data_output": True})
    answer = httpx.post(served.rest + INFER, json=body)
    length = int(answer.headers["Inference-Header-Content-Length"])
    described = json.loads(answer.content[:length])["outputs"][0]
    assert described["parameters"] == {"binary_data_size": 40}
    values = np.frombuffer(answer.content[length:], "<f4")
    plain = httpx.post(served.rest + INFER, json=infer_body(IMAGES[:1])).json()["outputs"][0]["data"]
    np.testing.assert_array_equal(values, np.float32(plain))


def test_an_output_may_be_json_where_the_rest_is_binary(served: Served) -> None:
    wanted = [{"name": "probabilities", "parameters": {"binary_data": False}}]
    body = infer_body(IMAGES[:1], parameters={"binary_data_output": True}, outputs=wanted)
    assert len(httpx.post(served.rest + INFER, json=body).json()["outputs"][0]["data"]) == 10


def test_grpc_answers_in_the_form_of_the_question(served: Served) -> None:
    with grpc.insecure_channel(served.grpc) as channel:
        stub = service_pb2_grpc.GRPCInferenceServiceStub(channel)
        request = service_pb2.ModelInferRequest(model_name=NAME, id="q")
        tensor = request.inputs.add(name="image", datatype="FP32", shape=[1, 1, 8, 8])
        tensor.contents.fp32_contents.extend(IMAGES[0].ravel().tolist())
        typed = stub.ModelInfer(request)
        tensor.contents.Clear()
        request.raw_input_contents.append(IMAGES[0].tobytes())
        raw = stub.ModelInfer(request)
    assert not typed.raw_output_contents
    np.testing.assert_array_equal(
        np.float32(typed.outputs[0].contents.fp32_contents), np.frombuffer(raw.raw_output_contents[0], "<f4")
    )
    assert (typed.model_name, typed.model_version, typed.id) == (NAME, VERSION, "q")


@pytest.mark.parametrize("pack", [gzip.compress, zlib.compress])
def test_compressed_json(served: Served, pack) -> None:
    encoding = {gzip.compress: "gzip", zlib.compress: "deflate"}[pack]
    body = pack(json.dumps(infer_body(IMAGES[:1])).encode())
    assert httpx.post(served.rest + INFER, content=body, headers={"Content-Encoding": encoding}).status_code == 200


def test_rest_paths_with_and_without_version(served: Served) -> None:
    for path in ("/v2", "/v2/health/live", "/v2/health/ready", f"/v2/models/{NAME}", f"/v2/models/{NAME}/ready"):
        assert httpx.get(served.rest + path).status_code == 200
    versioned = f"{served.rest}/v2/models/{NAME}/versions/{VERSION}"
    assert httpx.get(f"{versioned}/ready").status_code == 200
    assert httpx.post(f"{versioned}/infer", json=infer_body(IMAGES[:1])).status_code == 200


def test_metrics_count_requests_by_protocol_and_code(served: Served) -> None:
    httpx.post(served.rest + INFER, json=infer_body(IMAGES[:4]))
    httpx.post(served.rest + INFER, content=b"no json")
    text = httpx.get(f"{served.rest}/metrics").text
    for code in ("200", "400"):
        assert f'requests_total{{code="{code}",model="{NAME}",protocol="rest",' in text
    assert f'replica="{served.process.pid}",version="{VERSION}"' in text
    before = metric(served, "accelstack_inference_samples_total")
    httpx.post(served.rest + INFER, json=infer_body(IMAGES[:4]))
    assert metric(served, "accelstack_inference_samples_total") == before + 4
