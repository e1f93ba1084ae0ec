"""Lost, hanging and slow processes are named, with their host and how far they came."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from accelstack_workloads.diagnosis import Slow, slow
from accelstack_workloads.group import Group
from accelstack_workloads.progress import Progress
from accelstack_workloads.reporting import Reports
from accelstack_workloads.run_folder import RunFolder
from accelstack_workloads.settings import Settings
from accelstack_workloads.stopwatch import Stopwatch
from torch.distributed import TCPStore

from tests.workloads.steps import END_SECONDS, command

HOST = re.escape(socket.gethostname())
LONG = ("--epochs", 2000, "--batch-size", 16)


@contextmanager
def group(data: Path, out: Path, *options: object, size: int = 2) -> Iterator[list[subprocess.Popen[str]]]:
    """Processes that train together, with a store that outlives them as torchrun's does, but without torchrun, which
    would end the others when one is lost.
    """
    store = TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    started = [
        subprocess.Popen(
            command("train", "--data", data, "--out", out, *LONG, *options),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "RANK": str(rank),
                "LOCAL_RANK": str(rank),
                "WORLD_SIZE": str(size),
                "LOCAL_WORLD_SIZE": str(size),
                "MASTER_ADDR": "127.0.0.1",
                "MASTER_PORT": str(store.port),
                "TORCHELASTIC_USE_AGENT_STORE": "True",
                "TORCHELASTIC_RESTART_COUNT": "0",
            },
        )
        for rank in range(size)
    ]
    try:
        for line in started[0].stdout or ():
            if "epoch 1/2000" in line:
                break
        yield started
    finally:
        for process in started:
            process.kill()
            process.communicate()


def test_a_process_that_hangs_is_named_by_the_others(digits_data: Path, tmp_path: Path) -> None:
    with group(digits_data, tmp_path, "--timeout-minutes", 0.1) as processes:
        processes[1].send_signal(signal.SIGSTOP)
        _, errors = processes[0].communicate(timeout=END_SECONDS)
        assert processes[0].returncode == 2
    assert re.fullmatch(
        rf"error: training: process 0 of 2 lost another one of its group: process 1 on {HOST}, last heard of at epoch "
        r"\d+ step \d+, which gave no answer for 0.1 minutes; run again to go on from the last checkpoint\n",
        errors,
    ), errors


def test_a_process_that_ended_is_named_by_all_others(digits_data: Path, tmp_path: Path) -> None:
    with group(digits_data, tmp_path, "--batch-size", 48, size=3) as processes:
        processes[1].kill()
        for rank in (0, 2):
            _, errors = processes[rank].communicate(timeout=END_SECONDS)
            assert processes[rank].returncode == 2
            said = rf"process {rank} of 3 lost another one of its group: process 1 on {HOST}, last heard of at epoch"
            assert re.search(said, errors), errors
            assert errors.count("\n") == 1


def test_slow_processes_are_those_well_above_the_median() -> None:
    assert slow([0.1, 0.1, 0.1, 0.129]) == []
    assert slow([0.1, 0.2, 0.1, 0.1]) == [Slow(1, 0.2, 0.1)]
    assert slow([0.001, 0.005]) == []
    assert slow([0.1]) == []


def test_a_slow_process_is_named_in_lines_and_metrics(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    class Ten(Group):
        def of_each(self, value: float) -> list[float]:
            return [value] * 9 + [3 * value]

    group = Ten(0, 10, torch.device("cpu"))
    settings = Settings("sha256:0", 1, 10, 0.1, 0, "cnn")
    reports = Reports(RunFolder(tmp_path), Progress(1, 1, "images", "accuracy", True), settings, "")
    assert reports.slow(group, 0.1)["slow"][0]["rank"] == 9
    told = rf"warning: process 9 on {HOST} holds up the others: its own work takes 0.300 s a step, the median is 0.100"
    assert re.match(told, capsys.readouterr().out)
    assert reports.slow(group, 0.001) == {}


def test_the_stopwatch_gives_the_mean_of_its_parts_once() -> None:
    watch = Stopwatch(torch.device("cpu"))
    for _ in range(3):
        with watch.part():
            sum(range(10_000))
    assert 0 < watch.read() < 1
    assert watch.read() == 0
