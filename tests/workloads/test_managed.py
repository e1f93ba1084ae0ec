"""Training as Vertex AI and Azure ML run it: their variables, real processes, and a model where they look for it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from accelstack_workloads import managed
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.model_files import digest

from tests.workloads.steps import END_SECONDS

SETTINGS = ("--workload", "vision", "--epochs", "1", "--processes", "1")
HOSTS = ("cmle-training-workerpool0-0:2222", "cmle-training-workerpool1-0:2222", "cmle-training-workerpool1-1:2222")


def spec(pool: str, index: int) -> str:
    """What Vertex AI gives a machine of a job with one chief and two workers."""
    cluster = {"workerpool0": [HOSTS[0]], "workerpool1": [*HOSTS[1:]]}
    return json.dumps({"cluster": cluster, "environment": "cloud", "task": {"type": pool, "index": index}})


def start(environment: dict[str, str], *options: str) -> subprocess.Popen[str]:
    own = {name: value for name, value in os.environ.items() if name not in ("RANK", "WORLD_SIZE")}
    return subprocess.Popen(
        [sys.executable, "-m", "accelstack_workloads", "managed", "train", *SETTINGS, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**own, "OMP_NUM_THREADS": "1", **environment},
    )


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@pytest.mark.parametrize(
    ("pool", "index", "number"), [("workerpool0", 0, 0), ("workerpool1", 0, 1), ("workerpool1", 1, 2)]
)
def test_vertex_ai_s_pools_are_one_row_of_machines(pool: str, index: int, number: int) -> None:
    found = managed.place({"CLUSTER_SPEC": spec(pool, index), "AIP_MODEL_DIR": "gs://bucket/job/model/"})
    assert (found.nodes, found.index, found.rendezvous) == (3, number, HOSTS[0])
    assert (found.store, found.model) == ("gs://bucket/job", "gs://bucket/job/model")


def test_cloud_storage_is_used_where_it_is_mounted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(managed, "MOUNTED", tmp_path)
    assert managed.mounted("gs://bucket/pictures") == str(tmp_path / "bucket/pictures")
    assert managed.mounted("s3://bucket/pictures") == "s3://bucket/pictures"
    assert managed.mounted("digits") == "digits"


@pytest.mark.parametrize(
    ("environment", "reason"),
    [
        ({}, "neither Vertex AI's .* nor Azure ML's"),
        ({"CLUSTER_SPEC": "{}"}, "CLUSTER_SPEC: '{}' is none"),
        ({"CLUSTER_SPEC": spec("workerpool1", 2)}, "task 3 is none of its 3 hosts"),
        ({"CLUSTER_SPEC": spec("workerpool7", 0)}, "is none"),
        ({"AZUREML_RUN_ID": "r", "NODE_RANK": "2", "WORLD_SIZE": "2"}, "NODE_RANK: is 2, and WORLD_SIZE is 2"),
        (
            {"AZUREML_RUN_ID": "r", "NODE_RANK": "0", "RANK": "1", "WORLD_SIZE": "4"},
            "set process_count_per_instance to 1",
        ),
    ],
)
def test_what_no_platform_would_say_is_refused(environment: dict[str, str], reason: str) -> None:
    with pytest.raises(WorkloadError, match=reason):
        managed.place(environment)


def test_a_job_of_vertex_ai_leaves_its_model_where_vertex_ai_takes_it_up(tmp_path: Path) -> None:
    environment = {
        "CLOUD_ML_JOB_ID": "4711",
        "AIP_MODEL_DIR": f"{tmp_path}/job/model/",
        "CLUSTER_SPEC": json.dumps(
            {"cluster": {"workerpool0": [f"127.0.0.1:{free_port()}"]}, "task": {"type": "workerpool0", "index": 0}}
        ),
        "ACCELSTACK_RESULT_FILE": str(tmp_path / "result.json"),
    }
    process = start(environment)
    printed, _ = process.communicate(timeout=END_SECONDS)
    assert process.returncode == 0, printed
    result = json.loads((tmp_path / "result.json").read_text())
    assert result["run_id"] == "4711"
    assert digest(tmp_path / "job" / "model") == result["model"]["digest"]
    assert (tmp_path / "job" / "runs" / "4711" / "evaluation.json").exists()

    again = start(environment)
    printed, _ = again.communicate(timeout=END_SECONDS)
    assert again.returncode == 0, printed
    assert "already trained: run 4711 is in the store" in printed


def test_two_machines_of_azure_ml_train_one_model(tmp_path: Path) -> None:
    shared = {
        "AZUREML_RUN_ID": "brave_sky_1",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(free_port()),
        "WORLD_SIZE": "2",
    }
    machines = [
        start(
            {
                **shared,
                "NODE_RANK": rank,
                "RANK": rank,
                "LOCAL_RANK": "0",
                "ACCELSTACK_RESULT_FILE": str(tmp_path / f"result-{rank}.json"),
            },
            *("--store", str(tmp_path / "output")),
        )
        for rank in ("0", "1")
    ]
    printed = [machine.communicate(timeout=END_SECONDS)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], printed
    result = json.loads((tmp_path / "result-0.json").read_text())
    assert result["metrics"]["world_size"] == 2
    assert digest(tmp_path / "output" / "runs" / "brave_sky_1" / "model") == result["model"]["digest"]
    assert not (tmp_path / "result-1.json").exists()


def test_azure_ml_names_no_place_so_one_must_be_given() -> None:
    process = start({"AZUREML_RUN_ID": "brave_sky_1"})
    printed, _ = process.communicate(timeout=END_SECONDS)
    assert (process.returncode, printed) == (
        2,
        "error: --store: the platform names no place for the run; give a path or URI that all machines have\n",
    )
