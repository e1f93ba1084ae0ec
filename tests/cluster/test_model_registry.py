"""The model registry: its objects on a real API server, and its command lines, taken from its pods, run here."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from accelstack.k8s.model_registry import ModelRegistry

from tests.cluster.admission import admitted, home, objects
from tests.cluster.control_plane import ControlPlane, running
from tests.cluster.nodes import nodes
from tests.engine import programs
from tests.unit.k8s_engine import run
from tests.unit.test_k8s_model_registry import OWN, URI, args, made

SERVICE = "registry.models.svc:5000"
START_SECONDS = 90
CLASS = "by-hand"
VOLUME: list[dict[str, Any]] = [
    {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": CLASS},
        "provisioner": "kubernetes.io/no-provisioner",
    },
    {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": CLASS},
        "spec": {
            "storageClassName": CLASS,
            "capacity": {"storage": "20Gi"},
            "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": "/data"},
        },
    },
]
HEADER = """
import json
import pulumi
import pulumi_kubernetes as kubernetes
from accelstack.k8s.model_registry import ModelRegistry

"""


@pytest.fixture(scope="module")
def pod() -> dict[str, Any]:
    cluster, _ = run(lambda: ModelRegistry("registry", args(database=URI)).uri)
    return cluster.objects("Deployment")[0]["spec"]["template"]["spec"]


def environment(container: dict[str, Any], folder: Path) -> dict[str, str]:
    own = {each["name"]: each["value"] for each in container["env"]}
    database = {"MLFLOW_BACKEND_STORE_URI": f"sqlite:///{folder / 'registry.db'}"}
    return {"PATH": os.environ["PATH"], **own, "HOME": str(folder), "TMPDIR": str(folder), **database}


def command(container: dict[str, Any], variables: dict[str, str]) -> list[str]:
    """The container's, as the kubelet fills its variables in, by this interpreter's MLflow."""
    filled = [variables.get(part[2:-1], part) if part.startswith("$(") else part for part in container["command"]]
    assert filled[0] == "mlflow"
    return [sys.executable, "-m", *filled]


@pytest.fixture(scope="module")
def server(pod: dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """The server, on a port of this machine; it must end by itself when it is told to."""
    folder = tmp_path_factory.mktemp("registry")
    (upgrade,), (container,) = pod["initContainers"], pod["containers"]
    variables = environment(upgrade, folder)
    subprocess.run(command(upgrade, variables), env=variables, cwd=folder, check=True, timeout=START_SECONDS)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    started = command(container, environment(container, folder))
    started[started.index("--port") + 1] = str(port)
    process = subprocess.Popen(started, env=environment(container, folder), cwd=folder)
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{port}") as client:
            wait_for(client, process)
            yield client
        process.send_signal(signal.SIGTERM)
        process.wait(pod["terminationGracePeriodSeconds"])
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
            pytest.fail("the server did not end within its grace period")


def wait_for(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + START_SECONDS
    while time.monotonic() < end:
        assert process.poll() is None, "the server ended"
        with contextlib.suppress(httpx.TransportError):
            if client.get("/health").is_success:
                return
        time.sleep(0.2)
    pytest.fail("the server did not answer")


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running(tmp_path_factory.mktemp("plane")) as ready:
        ready.apply([*nodes(args()["pool"], 1), *VOLUME])
        home(ready, "models")
        yield ready


def test_every_object_and_pod_is_admitted_without_a_warning(plane: ControlPlane, tmp_path: Path) -> None:
    for own, pods in ((OWN, 2), ({"database": URI}, 1)):
        found = objects(made(**own)[0])
        assert sum(each["kind"] == "Pod" for each in found) == pods
        assert admitted(plane, tmp_path, found) == len(found)


def test_comes_stays_and_goes_in_one_go_but_for_its_data(plane: ControlPlane, tmp_path: Path) -> None:
    given = {**args(**OWN), "storage_class": CLASS}
    with programs.attached(tmp_path / "p", ("kubernetes",), kubernetes=plane.kubeconfig) as program:
        program.write(
            f"""
            cluster = kubernetes.Provider("cluster", kubeconfig={str(plane.kubeconfig)!r})
            args = json.loads({json.dumps(given)!r})
            registry = ModelRegistry("kept", args, pulumi.ResourceOptions(providers=[cluster]))
            pulumi.export("uri", registry.uri)
            """,
            HEADER,
        )
        first = program.up()
        assert first.ok, first.output
        assert program.outputs()["uri"] == "http://kept.models.svc:5000"
        assert OWN["password"] not in json.dumps(program.export())
        again = program.up()
        assert again.ok, again.output
        assert not again.steps
        destroyed = program.destroy()
        assert destroyed.ok, destroyed.output
    kinds = "deployments,statefulsets,services,secrets,networkpolicies,persistentvolumeclaims"
    left = ("--namespace", "models", "get", kinds, "--selector", "app.kubernetes.io/part-of=kept", "-o", "name")
    assert plane.kubectl(*left).split() == ["persistentvolumeclaim/data-kept-db-0"]


class TestServer:
    """With SQLite for its database."""

    def test_registers_model_versions_whose_files_lie_in_the_object_store(self, server: httpx.Client) -> None:
        asked = {
            "name": "digits",
            "source": "s3://ours/models/digits/abc",
            "tags": [{"key": "digest", "value": "sha256:0"}],
        }
        api = "/api/2.0/mlflow"
        assert server.post(f"{api}/registered-models/create", json={"name": "digits"}).is_success
        assert server.post(f"{api}/model-versions/create", json=asked).is_success
        found = server.get(f"{api}/model-versions/get", params={"name": "digits", "version": "1"}).json()
        assert found["model_version"]["source"] == asked["source"]
        assert found["model_version"]["tags"] == asked["tags"]

    def test_takes_no_model_that_lies_in_a_folder(self, server: httpx.Client) -> None:
        """Which is why the component refuses stores that are folders."""
        asked = {"name": "digits", "source": "file:///store/models/digits/abc"}
        answer = server.post("/api/2.0/mlflow/model-versions/create", json=asked)
        assert answer.status_code == 400
        assert "Invalid model version source" in answer.text

    def test_keeps_runs_files_in_the_object_store(self, server: httpx.Client) -> None:
        found = server.get("/api/2.0/mlflow/experiments/get", params={"experiment_id": "0"}).json()
        assert found["experiment"]["artifact_location"] == "s3://ours/mlflow/0"

    @pytest.mark.parametrize(("host", "status"), [(SERVICE, 200), ("registry.models:5000", 200), ("evil.example", 403)])
    def test_answers_to_the_names_of_its_service_alone(self, server: httpx.Client, host: str, status: int) -> None:
        path = "/api/2.0/mlflow/experiments/get?experiment_id=0"
        assert server.get(path, headers={"Host": host}).status_code == status

    def test_probes_need_no_name(self, pod: dict[str, Any], server: httpx.Client) -> None:
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            path = pod["containers"][0][probe]["httpGet"]["path"]
            assert server.get(path, headers={"Host": "10.1.2.3:5000"}).status_code == 200
