"""The fabric's probe as a job runs it: two pods that are processes on this machine, and what NCCL's log tells."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from accelstack_workloads import probe, probe_worker
from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.lifeline import PARENT_VARIABLE

from tests.workloads.steps import END_SECONDS


def free_endpoint() -> str:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{found.getsockname()[1]}"


def pod(folder: Path, index: int, *options: str) -> subprocess.Popen[str]:
    """One pod of a job, which leaves its result in a file of its own."""
    own = {"JOB_COMPLETION_INDEX": str(index), "ACCELSTACK_RESULT_FILE": str(folder / f"result-{index}")}
    return subprocess.Popen(
        [sys.executable, "-m", "accelstack_workloads", "cluster", "probe", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | own,
    )


def test_two_pods_measure_together_and_the_first_leaves_the_result(tmp_path: Path) -> None:
    options = ("--nodes", "2", "--processes", "1", "--rendezvous", free_endpoint(), "--megabytes", "6")
    pods = [pod(tmp_path, index, *options) for index in (1, 0)]
    ends = [each.communicate(timeout=END_SECONDS) for each in pods]
    assert [each.returncode for each in pods] == [0, 0], ends
    result = json.loads((tmp_path / "result-0").read_text())
    assert not (tmp_path / "result-1").exists()
    assert json.loads(ends[1][0]) == result
    assert result["ranks"] == 2
    assert result["bytes"] in [2**20, 4 * 2**20, 6 * 2**20]
    assert 0.001 < result["bus_gbs"] < 1000
    assert result["bus_gbs"] == pytest.approx(result["algorithm_gbs"])  # for two processes 2(n-1)/n is 1
    assert (result["backend"], result["transport"]) in [("gloo", "tcp"), ("nccl", "P2P"), ("nccl", "SHM")]
    assert result.keys() == {"bus_gbs", "algorithm_gbs", "bytes", "ranks", "backend", "transport"}
    assert all("6 MiB in" in told for _, told in ends)


def test_a_pod_that_is_taken_ends_with_its_processes_and_asks_to_begin_again(tmp_path: Path) -> None:
    waiting = pod(tmp_path, 0, "--nodes", "2", "--processes", "1", "--rendezvous", free_endpoint())
    assert waiting.stderr
    assert "meets at 127.0.0.1" in waiting.stderr.readline()
    pid = waiting.pid
    waiting.send_signal(signal.SIGTERM)  # at a moment when it may be starting its launcher
    waiting.communicate(timeout=END_SECONDS)
    assert waiting.returncode == 3
    environments = [process.info["environ"] or {} for process in psutil.process_iter(["environ"])]
    assert str(pid) not in [each.get(PARENT_VARIABLE) for each in environments]
    assert not (tmp_path / "result-0").exists()


def test_a_rendezvous_without_an_address_is_told_in_one_line() -> None:
    with pytest.raises(WorkloadError, match=r"rendezvous: 'nowhere\.invalid' has no address after 0\.2 s") as told:
        probe.wait_for("nowhere.invalid", 29500, 0.2)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (("--nodes", "2", "--processes", "1", "--rendezvous", "somewhere"), "is not HOST:PORT"),
        (("--nodes", "2", "--processes", "1", "--rendezvous", "here:70000"), "is not HOST:PORT"),
        (("--nodes", "1", "--processes", "1", "--rendezvous", "here:1"), "give 2 or more"),
        (("--nodes", "2", "--processes", "1", "--rendezvous", "here:1", "--megabytes", "0"), "megabytes: 0 is below 1"),
    ],
)
def test_bad_input_ends_with_status_2_so_that_no_restart_is_tried(
    tmp_path: Path, options: tuple[str, ...], reason: str
) -> None:
    refused = pod(tmp_path, 0, *options)
    _, told = refused.communicate(timeout=END_SECONDS)
    assert refused.returncode == 2
    assert reason in told
    assert told.count("\n") == 1


def test_bandwidths_are_counted_as_nccls_tests_count_them() -> None:
    assert probe_worker.bandwidths(10**9, 0.01, 2) == pytest.approx((100, 100))
    assert probe_worker.bandwidths(10**9, 0.01, 8) == pytest.approx((100, 175))
    assert probe_worker.bandwidths(2 * 10**9, 0.01, 16) == pytest.approx((200, 375))


def test_sizes_grow_fourfold_up_to_the_largest() -> None:
    assert [size // 2**20 for size in probe_worker.sizes(64)] == [1, 4, 16, 64]
    assert [size // 2**20 for size in probe_worker.sizes(100)] == [1, 4, 16, 64, 100]
    assert probe_worker.sizes(1) == [2**20]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("p:1:2 [0] NCCL INFO Channel 00/0 : 1[0] -> 0[0] [receive] via NET/AWS Libfabric/0/GDRDMA", "NET/OFI+GDRDMA"),
        ("p:1:2 [0] NCCL INFO Channel 01/0 : 8[0] -> 0[0] [send] via NET/Libfabric/3(0)/GDRDMA", "NET/OFI+GDRDMA"),
        ("p:1:2 [0] NCCL INFO Channel 00/0 : 1[0] -> 0[0] [send] via NET/IB/7", "NET/IB"),
        ("p:1:2 [0] NCCL INFO Channel 00/0 : 1[0] -> 0[0] [send] via NET/Socket/0", "NET/Socket"),
        ("p:1:2 [0] NCCL INFO Channel 00/0 : 0[0] -> 1[1] via P2P/CUMEM", "P2P"),
        ("p:1:2 [0] NCCL INFO NET/IB : No device found.", ""),
        ("p:1:2 [0] NCCL INFO NET/Socket : Using [0]eth0:10.0.0.4<0>", ""),
    ],
)
def test_the_network_is_the_one_that_a_channel_uses_not_one_that_was_looked_for(line: str, told: str) -> None:
    assert probe.network(line) == told
