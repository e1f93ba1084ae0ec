"""The control plane of the tests itself: it is there in seconds, does what a cluster does, and leaves nothing."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from accelstack.k8s.pools import HOST

from tests.cluster import crds, programs
from tests.cluster.bare import gang, local_queue, queue
from tests.cluster.control_plane import ControlPlane, ControlPlaneError, running
from tests.cluster.nodes import cpu_pool, gpu_pool, nodes
from tests.engine.double.kubernetes.api import Refused

PROJECT = Path(__file__).resolve().parents[2]
READY_SECONDS = 15.0
"""What users of the tests may wait for on 2 cores with nothing else to do; a busy machine gets three times as long."""
MEMORY = 1.5e9  # bytes of all programs together
GANG = 4


@pytest.fixture(scope="module")
def plane(shared: ControlPlane) -> Iterator[ControlPlane]:
    """The shared one with a queue over two kinds of nodes."""
    pools = [cpu_pool("small"), gpu_pool("large")]
    made = [node for pool in pools for node in nodes(pool, GANG)]
    shared.create_all(made)
    shared.apply(queue(pools[1], GANG, "large"))
    yield shared
    shared.kubectl("delete", "node", *[node["metadata"]["name"] for node in made])
    shared.kubectl("delete", "clusterqueue,resourceflavor", "large")


def completed(plane: ControlPlane, namespace: str, name: str) -> bool:
    found = plane.api.get("jobset.x-k8s.io/v1alpha2", "JobSet", namespace, name) or {}
    conditions = found.get("status", {}).get("conditions") or []
    return any(each["type"] == "Completed" and each["status"] == "True" for each in conditions)


def pods_of(plane: ControlPlane, namespace: str, name: str) -> list[dict[str, Any]]:
    return plane.api.list("v1", "Pod", namespace, f"jobset.sigs.k8s.io/jobset-name={name}")


def left_of(home: Path) -> list[str]:
    """Command lines of processes that work in a folder."""
    found: list[str] = []
    for process in psutil.process_iter(["cmdline"]):
        line = " ".join(process.info["cmdline"] or [])
        if str(home) in line and process.status() != psutil.STATUS_ZOMBIE:
            found.append(line)
    return found


def test_it_is_ready_in_seconds_and_leaves_nothing(tmp_path: Path) -> None:
    started = time.monotonic()
    with running(tmp_path) as plane:
        took = time.monotonic() - started
        assert took < READY_SECONDS * (1 if os.getloadavg()[0] < 2 else 3)
        own = [process.pid for process in plane.processes.values()]
        assert len(own) == 8
        assert sum(process.memory_info().rss for process in plane.processes.values()) < MEMORY
        listening = {
            each.laddr
            for process in plane.processes.values()
            for each in process.net_connections("tcp")
            if each.status == psutil.CONN_LISTEN
        }
        assert listening
        assert all(address.ip == "127.0.0.1" for address in listening)
        home = plane.home
    assert not any(psutil.pid_exists(pid) for pid in own)
    assert not left_of(home)
    assert not [*tmp_path.iterdir()]


def test_it_goes_with_the_process_that_started_it(tmp_path: Path) -> None:
    program = (
        "import pathlib, sys, time\n"
        "from tests.cluster.control_plane import running\n"
        "with running(pathlib.Path(sys.argv[1]), controllers=False) as plane:\n"
        "    print(plane.home, flush=True)\n"
        "    time.sleep(600)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        home = Path(process.stdout.readline().strip())
        assert left_of(home)
        process.send_signal(signal.SIGKILL)
    until = time.monotonic() + 30
    while (left_of(home) or home.exists()) and time.monotonic() < until:
        time.sleep(0.1)
    assert not left_of(home)
    assert not home.exists()


def test_a_program_that_ends_is_named_with_what_it_said(tmp_path: Path) -> None:
    with running(tmp_path, controllers=False) as plane:
        plane.processes["etcd"].kill()
        with pytest.raises(ControlPlaneError, match=r"^etcd ended"):
            plane.wait(lambda: None, "nothing")


def test_programs_are_of_the_versions_that_are_installed() -> None:
    table = (PROJECT / "components" / "accelstack" / "plan" / "tables" / "versions.csv").read_text()
    for component in ("kueue", "jobset", "leader_worker_set"):
        (installed,) = re.findall(rf"^{component},any,([^,]+),", table, re.M)
        assert programs.folder(component).name.startswith(f"{component}-v{installed}-")


def test_a_gang_is_admitted_scheduled_and_completed(plane: ControlPlane, namespace: str) -> None:
    pool = gpu_pool("large")
    plane.apply([local_queue(namespace, "large"), gang(pool, namespace, "first", GANG, seconds=2)])
    plane.wait(lambda: len(pods_of(plane, namespace, "first")) == GANG, "the pods")
    plane.wait(lambda: all(pod["spec"].get("nodeName") for pod in pods_of(plane, namespace, "first")), "their nodes")
    placed = {pod["spec"]["nodeName"] for pod in pods_of(plane, namespace, "first")}
    assert placed == {f"large-{number}" for number in range(GANG)}
    plane.wait(lambda: completed(plane, namespace, "first"), "the end")


def test_a_gang_without_room_waits_as_a_whole(plane: ControlPlane, namespace: str) -> None:
    pool = gpu_pool("large")
    plane.apply([local_queue(namespace, "large"), gang(pool, namespace, "first", GANG - 1, seconds=3)])
    plane.wait(lambda: len(pods_of(plane, namespace, "first")) == GANG - 1, "the first gang")
    plane.apply([gang(pool, namespace, "second", 2)])

    def waits() -> bool:
        workloads = json.loads(plane.kubectl("get", "workloads", f"--namespace={namespace}", "--output=json"))["items"]
        return any(
            each["type"] == "QuotaReserved" and each["status"] == "False"
            for workload in workloads
            for each in workload.get("status", {}).get("conditions") or []
        )

    plane.wait(waits, "the second gang in the queue")
    assert not pods_of(plane, namespace, "second")
    plane.wait(lambda: completed(plane, namespace, "second"), "the second gang, after the first")


def test_restricted_admission_rejects_a_privileged_pod(plane: ControlPlane, namespace: str) -> None:
    container = {"name": "main", "image": "example.org/nothing", "securityContext": {"privileged": True}}
    pod = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "pod", "namespace": namespace},
        "spec": {"containers": [container]},
    }
    with pytest.raises(Refused, match="violates PodSecurity"):
        plane.apply([pod])


@pytest.mark.parametrize("kind", ["ConfigMap", "JobSet"])
def test_an_unknown_field_is_rejected(plane: ControlPlane, namespace: str, kind: str) -> None:
    manifest = gang(gpu_pool("large"), namespace, "unknown", 1)
    if kind == "ConfigMap":
        manifest = {"apiVersion": "v1", "kind": kind, "metadata": {"name": "unknown", "namespace": namespace}}
    with pytest.raises(Refused, match="misspelt"):
        plane.apply([{**manifest, "misspelt": {}}])


def test_nodes_carry_what_the_pool_says(plane: ControlPlane) -> None:
    fabric = {**gpu_pool()["pod_fabric"], "resources": {"vpc.amazonaws.com/efa": "16", "hugepages-2Mi": "5Gi"}}
    pool = gpu_pool("racks", pod_fabric=fabric, topology=["example.org/block", "example.org/rack", HOST], zones=[])
    made = nodes(pool, 17)
    plane.create_all(made[:1])
    found = plane.wait(lambda: ready(plane, "racks-0"), "the node")
    plane.kubectl("delete", "node", "racks-0")
    assert (
        found["status"]["allocatable"].items()
        >= {
            "cpu": "192",
            "nvidia.com/gpu": "8",
            "vpc.amazonaws.com/efa": "16",
            "hugepages-2Mi": "5Gi",
        }.items()
    )
    assert {"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"} in found["spec"]["taints"]
    labels = [node["metadata"]["labels"] for node in made]
    assert labels[0]["accelstack/pool"] == "racks"
    assert [len({each[f"example.org/{level}"] for each in labels}) for level in ("block", "rack")] == [2, 5]
    assert all(  # a rack is in one block
        one["example.org/block"] == other["example.org/block"]
        for one in labels
        for other in labels
        if one["example.org/rack"] == other["example.org/rack"]
    )


def ready(plane: ControlPlane, name: str) -> dict[str, Any] | None:
    found = plane.api.get("v1", "Node", "", name) or {}
    conditions = found.get("status", {}).get("conditions") or []
    return found if any(each["type"] == "Ready" and each["status"] == "True" for each in conditions) else None


def test_every_component_has_definitions_that_are_accepted(tmp_path: Path) -> None:
    with running(tmp_path, controllers=False, components=crds.COMPONENTS) as plane:
        kinds = {line.split()[-1] for line in plane.kubectl("api-resources", "--no-headers").splitlines()}
    assert kinds >= {
        "Certificate",
        "ClusterQueue",
        "ComputeDomain",
        "EC2NodeClass",
        "GKENetworkParamSet",
        "HTTPRoute",
        "JobSet",
        "LeaderWorkerSet",
        "PodMonitor",
        "PrometheusRule",
        "Schedule",
        "ScaledObject",
    }
