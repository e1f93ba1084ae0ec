"""Training and serving as SageMaker runs them: its folder, one word, real processes."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from accelstack_workloads.model_files import digest

from tests.workloads.serving import digits, drawing, infer_body
from tests.workloads.steps import END_SECONDS, picture_folder

BINARY = "application/vnd.sagemaker-triton.binary+json;json-header-size="
HOSTS = ("127.0.0.1", "algo-2")
"""The first is where the trainers meet, so it must be an address."""


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


class Container:
    """One machine of a job: a folder in place of /opt/ml, and the process that the image's entry point starts."""

    def __init__(
        self, root: Path, rank: int = 0, hosts: tuple[str, ...] = HOSTS[:1], **hyperparameters: object
    ) -> None:
        self.root = root
        config = root / "input/config"
        config.mkdir(parents=True, exist_ok=True)
        texts = {name: str(value) for name, value in hyperparameters.items()}
        (config / "hyperparameters.json").write_text(json.dumps(texts))
        resources = {"current_host": hosts[rank], "hosts": hosts, "network_interface_name": "lo"}
        (config / "resourceconfig.json").write_text(json.dumps(resources))

    def start(self, verb: str = "train", **environment: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, "-m", "accelstack_workloads", verb],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ | {"SAGEMAKER_BASE_DIR": str(self.root), "OMP_NUM_THREADS": "1"} | environment,
        )

    def train(self) -> tuple[int, str]:
        process = self.start(MASTER_PORT=str(free_port()))
        printed, _ = process.communicate(timeout=END_SECONDS)
        return process.returncode, printed

    def result(self, name: str) -> dict[str, Any]:
        return json.loads((self.root / "model" / name).read_text())

    @property
    def failure(self) -> str:
        path = self.root / "output/failure"
        return path.read_text() if path.exists() else ""


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Container:
    """A job on one machine that has ended well."""
    container = Container(tmp_path_factory.mktemp("opt-ml"), epochs=2, batch_size=64, learning_rate=0.005, seed=3)
    status, printed = container.train()
    assert status == 0, printed
    return container


def test_a_job_leaves_the_model_and_its_results_in_the_model_folder(trained: Container) -> None:
    assert trained.result("training.json")["model"]["digest"] == digest(trained.root / "model")
    assert trained.result("training.json")["settings"]["seed"] == 3
    assert trained.result("evaluation.json")["accuracy"] > 0.5
    assert trained.failure == ""


def test_two_machines_train_one_model_that_the_first_delivers(tmp_path: Path) -> None:
    settings = {"epochs": 1, "batch_size": 64, "processes": 1}
    machines = [Container(tmp_path / name, rank, HOSTS, **settings) for rank, name in enumerate(HOSTS)]
    port = str(free_port())
    processes = [machine.start(MASTER_PORT=port) for machine in machines]
    printed = [process.communicate(timeout=END_SECONDS)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], printed
    assert machines[0].result("training.json")["world_size"] == 2
    assert not list(machines[1].root.glob("model/*"))


def test_a_stopped_job_goes_on_from_the_checkpoints_that_sagemaker_kept(tmp_path: Path) -> None:
    first = Container(tmp_path / "first", epochs=30)
    process = first.start(MASTER_PORT=str(free_port()))
    assert process.stdout
    seen = next(line for line in process.stdout if line.startswith("epoch 2/"))
    process.send_signal(signal.SIGTERM)
    printed = seen + process.communicate(timeout=END_SECONDS)[0]
    assert process.returncode == 3, printed
    assert "stopped after checkpoint" in printed
    assert first.failure == ""
    second = Container(tmp_path / "second", epochs=30)
    shutil.copytree(first.root / "checkpoints", second.root / "checkpoints")
    status, printed = second.train()
    assert status == 0, printed
    assert second.result("training.json")["resumed_from"]["epoch"] >= 2


def test_pictures_come_from_the_input_channel(tmp_path: Path) -> None:
    container = Container(tmp_path, epochs=1, batch_size=2, dataset="digits")
    picture_folder(tmp_path / "input/data/dataset", {"cat": 6, "dog": 6})
    status, printed = container.train()
    assert status == 0, printed
    assert container.result("evaluation.json")["classes"].keys() == {"cat", "dog"}


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ({"batch_size": 63, "processes": 2}, "must be a multiple of 2"),
        ({"workload": "poetry"}, "'poetry' is not bundled"),
        ({"dataset": "/nowhere"}, "nowhere"),
        ({"epochs": 0}, "is not above 0"),
    ],
)
def test_the_reason_of_a_failure_is_where_sagemaker_looks_for_it(
    tmp_path: Path, wrong: dict[str, object], reason: str
) -> None:
    container = Container(tmp_path, **wrong)
    status, printed = container.train()
    assert status != 0
    assert reason in container.failure, printed


def answers(address: str) -> bool:
    try:
        return httpx.get(f"{address}/ping").status_code == 200
    except httpx.TransportError:
        return False


@pytest.fixture(scope="module")
def address(trained: Container) -> Iterator[str]:
    port = free_port()
    named = {"ACCELSTACK_MODEL_NAME": "digits", "ACCELSTACK_MODEL_VERSION": "4"}
    known = {"ACCELSTACK_MODEL_DIGEST": digest(trained.root / "model")}
    process = trained.start("serve", SAGEMAKER_BIND_TO_PORT=str(port), **named, **known)
    address = f"http://127.0.0.1:{port}"
    deadline = time.monotonic() + END_SECONDS
    while not answers(address):
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < deadline
        time.sleep(0.1)
    yield address
    process.terminate()
    assert process.wait(10) == 0
    assert process.stdout
    process.stdout.close()


class TestServing:
    def test_the_protocol_is_spoken_in_json(self, address: str) -> None:
        images, labels = digits()
        answer = httpx.post(f"{address}/invocations", json=infer_body(images[:50])).json()
        assert (answer["model_name"], answer["model_version"]) == ("digits", "4")
        probabilities = np.array(answer["outputs"][0]["data"]).reshape(50, 10)
        assert np.mean(probabilities.argmax(1) == labels[:50]) > 0.5

    def test_binary_tensors_carry_the_length_of_the_json_in_the_content_type(self, address: str) -> None:
        images, _ = digits()
        values = images[:5].tobytes()
        tensor = {"name": "image", "datatype": "FP32", "shape": [5, 1, 8, 8]}
        tensor["parameters"] = {"binary_data_size": len(values)}
        head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
        kind = {"Content-Type": f"{BINARY}{len(head)}"}
        answer = httpx.post(f"{address}/invocations", content=head + values, headers=kind)
        assert answer.status_code == 200, answer.text
        assert answer.headers["Content-Type"].startswith(BINARY)
        length = int(answer.headers["Content-Type"].removeprefix(BINARY))
        probabilities = np.frombuffer(answer.content[length:], np.float32).reshape(5, 10)
        plain = httpx.post(f"{address}/invocations", json=infer_body(images[:5])).json()["outputs"][0]["data"]
        assert np.allclose(probabilities.ravel(), plain, atol=1e-6)

    @pytest.mark.parametrize("kind", ["png", "jpeg"])
    def test_a_picture_gets_its_classes(self, address: str, kind: str) -> None:
        content = io.BytesIO()
        drawing("0").save(content, kind)
        headers = {"Content-Type": f"image/{kind}"}
        answer = httpx.post(f"{address}/invocations", content=content.getvalue(), headers=headers).json()
        assert {each["label"] for each in answer["classes"]} == set("0123456789")
        assert sum(each["probability"] for each in answer["classes"]) == pytest.approx(1, abs=1e-4)

    def test_what_is_no_request_is_refused_with_the_reason(self, address: str) -> None:
        answer = httpx.post(f"{address}/invocations", content=b"{", headers={"Content-Type": "application/json"})
        assert answer.status_code == 400
        assert "is not JSON" in answer.json()["error"]


def test_another_model_than_the_one_asked_for_is_not_served(trained: Container) -> None:
    process = trained.start("serve", ACCELSTACK_MODEL_DIGEST="sha256:0")
    printed, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 2
    assert "not sha256:0" in printed


def test_people_still_get_the_command_line(tmp_path: Path) -> None:
    process = Container(tmp_path / "unused").start("serve")
    printed, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 2
    assert "--model" in printed
