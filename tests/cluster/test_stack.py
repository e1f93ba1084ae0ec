"""This project's own program on a cluster that is there already: from nothing to a canary, and away again."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import pytest
from accelstack.cli.main import app
from accelstack.k8s.training_outcome import INDEX
from accelstack.plan.compatibility import defaults
from moto.server import ThreadedMotoServer
from typer.testing import CliRunner, Result

from tests.cluster.control_plane import ControlPlane, running
from tests.cluster.launch import free_ports
from tests.cluster.nodes import cpu_pool, nodes
from tests.engine import programs
from tests.engine.programs import Program, Run

POOL = cpu_pool("train", per_node=1)
DIGEST = f"sha256:{'0' * 64}"
IMAGE = f"registry.example.com/workloads@{DIGEST}"
HOME, JOBS = "accelstack-test-serving", "accelstack-test-training"
KEYS = {"AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test", "AWS_DEFAULT_REGION": "us-east-1"}
PATIENCE = 120.0
LOCAL_ACCURACY = 0.95
"""What the local target's tests hold the digits to after as many epochs."""
CONTROLLERS = {"kueue": "kueue", "jobset": "jobset"}
"""Whose programs run beside the cluster; Deployments in it stand for them, as somebody else's installation."""


def installed(name: str, version: str) -> list[dict[str, Any]]:
    """A controller that was there before the stack."""
    image = f"registry.k8s.io/{name}/{name}:v{version}"
    labels = {"app.kubernetes.io/name": name}
    pod = {"containers": [{"name": "manager", "image": image}], "nodeSelector": POOL["labels"]}
    spec = {"selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels}, "spec": pod}}
    about = {"name": f"{name}-controller-manager", "namespace": f"{name}-system", "labels": labels}
    return [
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": f"{name}-system"}},
        {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": about, "spec": spec},
    ]


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running(tmp_path_factory.mktemp("plane"), components=["gateway_api"]) as made:
        made.apply([*nodes(POOL, 2), *nodes(cpu_pool("serve", per_node=1), 2)])
        for name, version in defaults("private", [*CONTROLLERS]).items():
            made.apply(installed(name, version))
        gateway = {"name": "shared", "namespace": "default"}
        listener = {"name": "https", "port": 443, "protocol": "HTTP", "allowedRoutes": {"namespaces": {"from": "All"}}}
        made.apply(
            [
                {
                    "apiVersion": "gateway.networking.k8s.io/v1",
                    "kind": "Gateway",
                    "metadata": gateway,
                    "spec": {"gatewayClassName": "example", "listeners": [listener]},
                }
            ]
        )
        yield made


@pytest.fixture(scope="module")
def objects() -> Iterator[str]:
    """URL of an object store of one's own, with the stack's bucket."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test", "region_name": "us-east-1"}
    boto3.client("s3", endpoint_url=url, **keys).create_bucket(Bucket="models")
    yield url
    server.stop()


@pytest.fixture(scope="module")
def stack(plane: ControlPlane, objects: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder = tmp_path_factory.mktemp("private") / "stack"
    about = {"name": "objects", "namespace": "default"}
    plane.apply([{"apiVersion": "v1", "kind": "Secret", "metadata": about, "stringData": KEYS}])
    with programs.attached(folder, ("kubernetes",), stacks=True, kubernetes=plane.kubeconfig) as program:
        program.configure(
            target="private",
            kubeconfig=str(plane.kubeconfig),
            store="s3://models/test",
            store_endpoint=objects,
            store_secret="default/objects",  # noqa: S106
            image=IMAGE,
            epochs="8",
            pools=json.dumps({name: {"accelerator": "cpu:1", "nodes": 2} for name in ("train", "serve")}),
        )
        yield program


def succeeded(run: Run) -> Run:
    assert run.ok, run.output
    return run


def status(plane: ControlPlane, *arguments: str) -> Result:
    """`accelstack status`."""
    return CliRunner().invoke(app, ["status", "--kubeconfig", str(plane.kubeconfig), *arguments])


@contextmanager
def as_process(
    pod: dict[str, Any], plane: ControlPlane, first: str, port: int, folder: Path
) -> Iterator[subprocess.Popen[bytes]]:
    """A pod's program on this machine: its command and environment, with the first pod's name led to loopback."""
    (folder / "scratch").mkdir(parents=True)
    (program,) = pod["spec"]["containers"]
    environment = {each["name"]: each["value"] for each in program["env"] if "value" in each}
    for source in program["envFrom"]:
        held = plane.get("secret", source["secretRef"]["name"], pod["metadata"]["namespace"]) or {}
        environment |= {key: base64.b64decode(value).decode() for key, value in held["data"].items()}
    assert first in " ".join(program["command"])
    words = [sys.executable if word == "python" else word for word in program["command"]]
    place = words.index("--rendezvous") + 1
    assert words[place].partition(":")[0] == first
    words[place] = f"127.0.0.1:{port}"
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(
            words,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={
                **os.environ,
                **environment,
                "JOB_COMPLETION_INDEX": pod["metadata"]["annotations"][INDEX],
                "ACCELSTACK_SCRATCH": str(folder / "scratch"),
                "ACCELSTACK_RESULT_FILE": str(folder / "termination-log"),
            },
            start_new_session=True,
        )
        try:
            yield process
        finally:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(PATIENCE)


def model(version: str) -> dict[str, Any]:
    return {"version": version, "digest": f"sha256:{version * 64}", "uri": f"s3://models/test/runs/{version}/model"}


def weights(plane: ControlPlane) -> list[int]:
    (route,) = json.loads(plane.kubectl("--namespace", HOME, "get", "httproutes", "-o", "json"))["items"]
    backends = [rule["backendRefs"] for rule in route["spec"]["rules"] if len(rule["backendRefs"]) > 1]
    return [backend["weight"] for backend in backends[0]] if backends else []


def pods(plane: ControlPlane) -> set[str]:
    found = json.loads(plane.kubectl("--namespace", HOME, "get", "pods", "-o", "json"))["items"]
    return {each["metadata"]["uid"] for each in found if not each["metadata"].get("deletionTimestamp")}


class TestAStackOnAnExistingCluster:
    """In this order: each goes on from where the one before left off."""

    def test_is_planned_made_and_found_unchanged(self, stack: Program, plane: ControlPlane) -> None:
        planned = succeeded(stack.preview())
        assert "is used as it is" in planned.output or "adopt" in planned.output
        succeeded(stack.up())
        assert succeeded(stack.up()).steps == []
        job = stack.outputs()["training"]["job"]
        assert job.startswith(f"{JOBS}/training-")

    def test_the_job_is_queued_admitted_and_done(self, stack: Program, plane: ControlPlane) -> None:
        namespace, _, name = stack.outputs()["training"]["job"].partition("/")

        def done() -> bool:
            job = plane.get("jobset", name, namespace) or {}
            return job.get("status", {}).get("terminalState") == "Completed"

        plane.wait(done, "the training job", 60)
        assert "Admitted" in plane.kubectl("--namespace", namespace, "get", "workloads", "-o", "yaml")
        told = status(plane, f"{namespace}/{name}")
        assert told.exit_code == 0
        assert told.stdout.startswith(f"{namespace}/{name}: succeeded:")
        every = json.loads(status(plane, "--json").stdout)
        assert every[f"{namespace}/{name}"]["stage"] == "succeeded"
        lost = status(plane, f"{namespace}/nothing")
        assert (lost.exit_code, "missing" in lost.stdout) == (1, True)

    def test_the_pods_own_command_trains(self, stack: Program, plane: ControlPlane, tmp_path: Path) -> None:
        namespace, _, name = stack.outputs()["training"]["job"].partition("/")
        selected = ("--namespace", namespace, "--selector", f"jobset.sigs.k8s.io/jobset-name={name}")
        pods = json.loads(plane.kubectl("get", "pods", *selected, "-o", "json"))["items"]
        (leader,) = (each for each in pods if each["metadata"]["annotations"][INDEX] == "0")
        first = f"{leader['spec']['hostname']}.{leader['spec']['subdomain']}"
        (port,) = free_ports(1)
        with ExitStack() as running_pods:
            processes = [
                running_pods.enter_context(as_process(pod, plane, first, port, tmp_path / pod["metadata"]["name"]))
                for pod in pods
            ]
            assert [process.wait(PATIENCE) for process in processes] == [0, 0]
        result = json.loads((tmp_path / leader["metadata"]["name"] / "termination-log").read_text())
        assert result["metrics"]["accuracy"] >= LOCAL_ACCURACY
        assert result["metrics"]["world_size"] == 2
        assert result["model"]["uri"] == stack.outputs()["model"]["uri"]

    def test_a_pinned_version_is_served_and_a_canary_moves_the_route_alone(
        self, stack: Program, plane: ControlPlane
    ) -> None:
        stack.configure(serving=json.dumps(model("1")), gateway="default/shared", hostname="vision.example.com")
        succeeded(stack.up())
        stack.configure(canary=json.dumps({**model("2"), "percent": 10}))
        succeeded(stack.up())
        assert weights(plane) == [90, 10]
        before = pods(plane)
        for percent, expected in ((50, [50, 50]), (100, [0, 100]), (0, [100, 0])):
            stack.configure(canary=json.dumps({**model("2"), "percent": percent}))
            changes = succeeded(stack.up()).steps
            assert changes == [("update", "inference-http")]
            assert weights(plane) == expected
        assert pods(plane) == before

    def test_what_kubectl_deleted_comes_back(self, stack: Program, plane: ControlPlane) -> None:
        plane.kubectl("--namespace", HOME, "delete", "networkpolicies", "--all")
        succeeded(stack.up("--refresh"))
        assert "inference" in plane.kubectl("--namespace", HOME, "get", "networkpolicies")
        assert succeeded(stack.up()).steps == []

    @pytest.mark.parametrize(
        ("setting", "value", "told"),
        [
            ("canary", json.dumps({**model("2"), "percent": 101}), "canary.percent: 101"),
            ("serving", json.dumps({"version": "9"}), "serving.digest"),
            ("pools", json.dumps({"train": {"accelerator": "H100:8", "nodes": 2}}), "H100"),
            ("store", "somewhere", "store: somewhere"),
            ("team", "nobody", "team: nobody"),
            ("context", "elsewhere", "context"),
        ],
    )
    def test_a_mistake_is_named_and_changes_nothing(self, stack: Program, setting: str, value: str, told: str) -> None:
        before = [entry.urn for entry in stack.state()]
        kept = stack.settings.read_text()
        stack.configure(**{setting: value})
        run = stack.up()
        stack.settings.write_text(kept)
        assert not run.ok
        assert told in run.output, run.output
        assert [entry.urn for entry in stack.state()] == before

    def test_an_unreachable_cluster_loses_nothing(self, stack: Program, tmp_path: Path) -> None:
        before = {entry.urn for entry in stack.state()}
        kept = stack.settings.read_text()
        lost = tmp_path / "lost"
        there = Path(json.loads(kept)["config"]["accelstack:kubeconfig"]).read_text()
        lost.write_text(re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:9", there))
        stack.configure(kubeconfig=str(lost))
        preview, up = stack.preview(), stack.up()
        stack.settings.write_text(kept)
        assert preview.ok, preview.output
        assert "could not be read" in preview.output
        assert not up.ok
        assert "nothing was changed" in up.output
        assert {entry.urn for entry in stack.state()} == before

    def test_is_removed_in_one_go(self, stack: Program, plane: ControlPlane) -> None:
        succeeded(stack.destroy())
        assert not [entry for entry in stack.state() if not entry.type.startswith("pulumi:")]
        assert "accelstack" not in plane.kubectl("get", "namespaces,clusterqueues,resourceflavors,cohorts,topologies")
        assert "kueue-controller-manager" in plane.kubectl("--namespace", "kueue-system", "get", "deployments")
