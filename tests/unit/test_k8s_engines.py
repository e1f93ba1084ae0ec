"""The servers: what each is started with, and what it would ignore."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from accelstack.k8s.engines import ENGINES
from accelstack.plan import inside

from tests.unit.k8s_serving import ENGINE_IMAGE, IMAGE, Made, pool, refused, serve, version

PODS = "digits-aaaaaaaa-pods"


def of(engine: str, accelerator: str = "H100:8", **more: Any) -> Made:
    return serve(engine=engine, engine_image=ENGINE_IMAGE, pool=pool(accelerator), **more)


def test_settings_name_the_same_engines() -> None:
    assert {*ENGINES} == {*inside.ENGINES}


@pytest.mark.parametrize(
    ("engine", "command", "files", "ports"),
    [
        (
            "triton",
            "tritonserver --model-repository=/model --exit-timeout-secs=30 --http-port=8000 --grpc-port=8001 "
            "--metrics-port=8002",
            "/model/digits",
            {"rest": 8000, "grpc": 8001, "metrics": 8002},
        ),
        (
            "tensorflow_serving",
            "tensorflow_model_server --model_name=digits --model_base_path=/model --port=8500 --rest_api_port=8501 "
            "--file_system_poll_wait_seconds=0",
            "/model/1",
            {"rest": 8501, "grpc": 8500},
        ),
        (
            "vllm",
            "vllm serve /model --served-model-name=digits --host=0.0.0.0 --port=8000 --tensor-parallel-size=1",
            "/model",
            {"rest": 8000},
        ),
    ],
)
def test_each_finds_the_model_where_it_looks(engine: str, command: str, files: str, ports: dict[str, int]) -> None:
    made = of(engine)
    server, fetch = made.server(PODS), made.pod(PODS)["initContainers"][0]
    assert " ".join(server["command"]) == command
    assert (server["image"], fetch["image"]) == (ENGINE_IMAGE, IMAGE)
    assert fetch["command"][-1] == files
    assert {each["name"]: each["containerPort"] for each in server["ports"]} == ports
    service = {each["name"]: each["port"] for each in made.spec("digits-service")["ports"]}
    assert service == {name: port for name, port in ports.items() if name != "metrics"}


@pytest.mark.parametrize("engine", ["tensorflow_serving", "vllm"])
def test_one_that_drops_its_requests_at_the_end_is_told_of_it_late(engine: str) -> None:
    made = of(engine, timeout_seconds=120)
    assert made.server(PODS)["lifecycle"]["preStop"]["sleep"]["seconds"] >= 120 + 10


def test_tensorflow_serving_is_ready_with_its_model_and_alive_with_its_port() -> None:
    server = of("tensorflow_serving").server(PODS)
    assert server["readinessProbe"]["httpGet"]["path"] == "/v1/models/digits/versions/1"
    assert server["livenessProbe"]["tcpSocket"] == {"port": "rest"}


def test_its_clients_have_no_page_and_vllm_s_no_grpc() -> None:
    made = of("vllm")
    assert made.outputs["console"] == made.outputs["rest"] == "http://digits.models.svc:8000"
    assert made.outputs["grpc"] is None


def test_vllm_has_memory_that_its_processes_share() -> None:
    volumes = {each["name"]: each for each in of("vllm", accelerators=8).pod(PODS)["volumes"]}
    assert volumes["shm"]["emptyDir"]["medium"] == "Memory"
    assert "shm" not in {each["name"] for each in of("vllm", accelerators=1).pod(PODS)["volumes"]}


def test_vllm_shares_a_model_between_nodes() -> None:
    made = of("vllm", nodes=2, replicas=2)
    spec = made.spec(PODS)
    template = spec["leaderWorkerTemplate"]
    leader, worker = (template[f"{each}Template"]["spec"]["containers"][0] for each in ("leader", "worker"))
    parts = ["--tensor-parallel-size=8", "--pipeline-parallel-size=2", "--nnodes=2", "--node-rank=$(LWS_WORKER_INDEX)"]
    assert (template["size"], spec["replicas"]) == (2, 2)
    assert {*parts} <= {*leader["command"]}
    assert [each for each in worker["command"] if each not in leader["command"]] == ["--headless"]
    assert leader["resources"]["limits"]["nvidia.com/gpu"] == "8"
    assert "vpc.amazonaws.com/efa" in leader["resources"]["limits"]
    assert "readinessProbe" in leader
    assert "readinessProbe" not in worker
    for name in ("digits-aaaaaaaa-service", "digits-service"):
        assert made.spec(name)["selector"]["leaderworkerset.sigs.k8s.io/worker-index"] == "0"
    (each_other,) = made.spec("digits-network")["ingress"]
    assert each_other["from"][0]["podSelector"]["matchLabels"]["app.kubernetes.io/instance"] == "digits"


@pytest.mark.parametrize(
    ("engine", "option", "flag"),
    [
        ("vllm", ("max_model_len", "8192"), "--max-model-len=8192"),
        ("triton", ("cache_bytes", "1048576"), "--cache-config=local,size=1048576"),
        ("tensorflow_serving", ("batching", "true"), "--enable_batching=true"),
    ],
)
def test_options_become_flags(engine: str, option: tuple[str, str], flag: str) -> None:
    assert of(engine, options=dict([option])).server(PODS)["command"][-1] == flag


@pytest.mark.parametrize(
    ("change", "path", "told"),
    [
        ({"options": {"batching": "true"}}, "options.batching", "ignored by native; tensorflow_serving honours it"),
        (
            {"engine": "triton", "engine_image": ENGINE_IMAGE, "options": {"max_modellen": "1"}},
            "options.max_modellen",
            "it honours: rate_limit, cache_bytes",
        ),
        ({"engine": "triton"}, "engine_image", "triton's image by digest"),
        ({"engine": "triton", "engine_image": "nvcr.io/nvidia/tritonserver:26.05"}, "engine_image", "by digest"),
        (
            {"engine": "tensorflow_serving", "engine_image": ENGINE_IMAGE, "model": version("a", "v1")},
            "model",
            "whole numbers",
        ),
        (
            {"engine": "vllm", "engine_image": ENGINE_IMAGE, "pool": pool("H100:8"), "nodes": 2, "accelerators": 4},
            "accelerators",
            "all accelerators of each",
        ),
        ({"engine": "vllm", "engine_image": ENGINE_IMAGE, "nodes": 2}, "accelerators", "all accelerators of each"),
    ],
)
def test_what_an_engine_would_ignore_is_refused_by_name(change: dict[str, Any], path: str, told: str) -> None:
    found = refused(**change)
    assert (found[0], told in found[1]) == (path, True), found


def test_a_version_in_words_is_refused_when_it_is_known() -> None:
    with pytest.raises(Exception, match="whole numbers"):
        of("tensorflow_serving", model=lambda: pulumi.Output.from_input(version("a", "v1")))
