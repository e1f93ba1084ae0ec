"""A training job as its pods run it: as processes on this machine, which meet on loopback."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from moto.server import ThreadedMotoServer

PATIENCE = 120.0
LOCAL_ACCURACY = 0.95
"""What the local target's tests hold the digits to after as many epochs."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def command(port: int, store: str, run_id: str = "0123456789ab", **changed: str) -> list[str]:
    """The command of every pod, as the training job's manifest has it."""
    options = {
        "workload": "vision",
        "architecture": "cnn",
        "dataset": "digits",
        "epochs": "3",
        "batch-size": "64",
        "learning-rate": "0.005",
        "seed": "0",
        "nodes": "2",
        "processes": "1",
        "rendezvous": f"127.0.0.1:{port}",
        "store": store,
        "run-id": run_id,
        "model": "digits",
    }
    given = {**options, **{key.replace("_", "-"): value for key, value in changed.items()}}
    words = [word for key, value in given.items() for word in (f"--{key}", value)]
    return [sys.executable, "-m", "accelstack_workloads", "cluster", "train", *words]


class Pod:
    """A pod's program, with its files."""

    def __init__(self, folder: Path, index: int, words: list[str], environment: Mapping[str, str]) -> None:
        self.folder = folder / f"pod-{index}-{time.monotonic_ns()}"
        (self.folder / "scratch").mkdir(parents=True)
        self.left = self.folder / "termination-log"
        self._log = (self.folder / "log").open("w")
        self.process = subprocess.Popen(
            words,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **environment,
                "JOB_COMPLETION_INDEX": str(index),
                "ACCELSTACK_SCRATCH": str(self.folder / "scratch"),
                "ACCELSTACK_RESULT_FILE": str(self.left),
            },
        )

    @property
    def said(self) -> str:
        return (self.folder / "log").read_text()

    def wait(self) -> int:
        return self.process.wait(PATIENCE)

    def kill(self) -> None:
        """The machine is lost: nothing of the pod is left, and nothing had a farewell."""
        try:
            tree = [*psutil.Process(self.process.pid).children(recursive=True), psutil.Process(self.process.pid)]
        except psutil.NoSuchProcess:
            return
        for each in tree:
            try:
                each.kill()
            except psutil.NoSuchProcess:
                continue

    def close(self) -> None:
        self.kill()
        self.process.wait(PATIENCE)
        self._log.close()


@contextmanager
def gang(folder: Path, store: str, environment: Mapping[str, str] = {}, **changed: str) -> Iterator[list[Pod]]:
    words = command(free_port(), store, **changed)
    with ExitStack() as stack:
        pods = [Pod(folder, index, words, environment) for index in (0, 1)]
        for pod in pods:
            stack.callback(pod.close)
        yield pods


def until(pods: list[Pod], text: str) -> None:
    """Waits for what one of them says: whoever leads."""
    end = time.monotonic() + PATIENCE
    while not any(text in pod.said for pod in pods):
        said = "\n".join(pod.said for pod in pods)
        assert any(pod.process.poll() is None for pod in pods), said
        assert time.monotonic() < end, said
        time.sleep(0.1)


def finished(folder: Path, store: str, environment: Mapping[str, str] = {}, **changed: str) -> dict[str, Any]:
    """Runs a gang to its end; gives the result that the first pod left."""
    with gang(folder, store, environment, **changed) as pods:
        assert [pod.wait() for pod in pods] == [0, 0], "\n".join(pod.said for pod in pods)
        assert not pods[1].left.exists()
        return json.loads(pods[0].left.read_text())


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    return tmp_path_factory.mktemp("store").as_uri()


@pytest.fixture(scope="module")
def trained(store: str, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return finished(tmp_path_factory.mktemp("first"), store, epochs="8")


def test_two_pods_train_to_what_one_machine_reaches(trained: dict[str, Any], store: str) -> None:
    assert trained["metrics"]["accuracy"] >= LOCAL_ACCURACY
    assert trained["metrics"]["world_size"] == 2
    assert trained["model"]["uri"] == f"{store}/runs/0123456789ab/model"
    assert trained["model"]["digest"].removeprefix("sha256:").startswith(trained["model"]["version"])
    assert len(json.dumps(trained)) < 4096  # what a termination message holds


def test_a_run_that_is_done_is_not_repeated(trained: dict[str, Any], store: str, tmp_path: Path) -> None:
    with gang(tmp_path, store, epochs="8") as pods:
        assert [pod.wait() for pod in pods] == [0, 0]
        assert json.loads(pods[0].left.read_text()) == trained
        assert "already trained" in pods[1].said


def test_stopped_and_lost_pods_go_on_from_the_store_to_the_same_model(
    trained: dict[str, Any], store: str, tmp_path: Path
) -> None:
    again = {"run_id": "ba9876543210", "epochs": "8"}
    with gang(tmp_path, store, **again) as pods:  # a spot reclaim
        until(pods, "epoch 2")
        for pod in pods:
            pod.process.send_signal(signal.SIGTERM)
        assert [pod.wait() for pod in pods] == [3, 3], "\n".join(pod.said for pod in pods)
        assert not pods[0].left.exists()
    with gang(tmp_path, store, **again) as pods:  # a lost machine
        until(pods, "going on from")
        until(pods, "epoch 5")
        pods[1].kill()
        assert pods[0].wait() == 1, pods[0].said
    result = finished(tmp_path, store, **again)
    assert result["model"]["digest"] == trained["model"]["digest"]


def test_an_elastic_run_goes_on_with_the_nodes_that_are_left(store: str, tmp_path: Path) -> None:
    with gang(tmp_path, store, run_id="222222222222", epochs="40", min_nodes="1") as pods:
        until(pods, "epoch 2")
        pods[1].kill()
        assert pods[0].wait() == 0, pods[0].said
        result = json.loads(pods[0].left.read_text())
    assert result["metrics"]["world_size"] == 1
    assert result["metrics"]["accuracy"] >= LOCAL_ACCURACY


def test_an_elastic_run_that_is_stopped_saves_and_goes_on_later(store: str, tmp_path: Path) -> None:
    again = {"run_id": "333333333333", "epochs": "40", "min_nodes": "1"}
    with gang(tmp_path, store, **again) as pods:
        until(pods, "epoch 2")
        for pod in pods:
            pod.process.send_signal(signal.SIGTERM)
        assert [pod.wait() for pod in pods] == [3, 3], "\n".join(pod.said for pod in pods)
    with gang(tmp_path, store, **again) as pods:
        until(pods, "going on from")
        assert [pod.wait() for pod in pods] == [0, 0], "\n".join(pod.said for pod in pods)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"dataset": "/nowhere"}, "dataset"),
        ({"batch_size": "63"}, "multiple of 2"),
        ({"rendezvous": "here"}, "is not HOST:PORT"),
        ({"registry": "http://registry.example:5000"}, "object stores alone"),
        ({"min_nodes": "3"}, "min-nodes"),
    ],
)
def test_bad_input_ends_for_good(store: str, tmp_path: Path, changed: dict[str, str], told: str) -> None:
    with gang(tmp_path, store, **{"run_id": "111111111111", **changed}) as pods:
        statuses = [pod.wait() for pod in pods]
        assert 2 in statuses, pods[0].said
        assert told in pods[statuses.index(2)].said


def test_an_object_store_keeps_checkpoints_and_model(tmp_path: Path) -> None:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        environment = {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_DEFAULT_REGION": "us-east-1",
        }
        made = "import s3fs; s3fs.S3FileSystem().mkdir('models')"
        subprocess.run([sys.executable, "-c", made], env={**os.environ, **environment}, check=True, timeout=PATIENCE)
        result = finished(tmp_path, "s3://models/test", environment, epochs="1")
        listed = "import s3fs; print(*s3fs.S3FileSystem().find('models/test'))"
        names = subprocess.run(
            [sys.executable, "-c", listed],
            env={**os.environ, **environment},
            check=True,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
        ).stdout.split()
    finally:
        server.stop()
    assert result["model"]["uri"] == "s3://models/test/runs/0123456789ab/model"
    run = {name.removeprefix("models/test/runs/0123456789ab/") for name in names}
    assert {"result.json", "evaluation.json", "model/model.safetensors", "model/model.json"} <= run
    assert any(name.startswith("checkpoints/step-") for name in run)
