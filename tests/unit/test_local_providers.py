"""The dynamic providers of the local target, called as the engine calls them."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from accelstack import fingerprint
from accelstack.dynamic import UserError
from accelstack.local import machine, ports, processes, steps, supervision, training_job
from accelstack.local.cluster import MachineProvider
from accelstack.local.network import PortsProvider
from accelstack.local.storage import FolderProvider
from accelstack.local.training_job import IDENTITY, TrainingRunProvider
from pulumi import dynamic

TWO_CORES = machine.Machine(cores=2, memory_gib=8, gpus=[])
GPUS = machine.Machine(cores=16, memory_gib=64, gpus=["NVIDIA H100 80GB HBM3", "NVIDIA H100 80GB HBM3"])


@pytest.fixture(autouse=True)
def traces(monkeypatch: pytest.MonkeyPatch) -> None:
    """Providers cut traces short, for the process that is theirs."""
    monkeypatch.setattr(sys, "tracebacklimit", 100, raising=False)


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as holder:
        holder.bind((ports.HOST, 0))
        holder.listen()
        yield holder.getsockname()[1]


class TestMachine:
    def test_auto_is_two_processes_on_cpu_or_every_gpu(self) -> None:
        assert machine.resolve("auto", TWO_CORES) == machine.accelerators.Accelerator("cpu", 2)
        assert machine.resolve("auto", GPUS) == machine.accelerators.Accelerator("H100", 2)

    def test_a_form_of_a_gpu_matches_its_family(self) -> None:
        assert machine.resolve("H100-80:1", GPUS) == machine.accelerators.Accelerator("H100-80", 1)

    @pytest.mark.parametrize(
        ("request_", "found", "reason"),
        [
            ("L4", TWO_CORES, "this machine has no GPU"),
            ("L4", GPUS, "this machine has NVIDIA H100"),
            ("H100:3", GPUS, "is not here"),
            ("cpu:3", TWO_CORES, "this machine has 2 cores"),
            ("H10", GPUS, "did you mean"),
        ],
    )
    def test_what_is_not_here_is_refused(self, request_: str, found: machine.Machine, reason: str) -> None:
        with pytest.raises(ValueError, match=reason):
            machine.resolve(request_, found)

    def test_an_unknown_accelerator_fails_the_check_of_the_cluster(self, tmp_path: Path) -> None:
        result = MachineProvider().check({}, {"folder": str(tmp_path), "request": "gpux"})
        assert [(f.property, "no known accelerator" in f.reason) for f in result.failures] == [("accelerator", True)]


class TestPorts:
    def test_a_taken_port_fails_the_check_and_names_its_holder(self, taken: int) -> None:
        result = PortsProvider().check({}, {"rest_port": taken, "grpc_port": 0})
        assert [f.property for f in result.failures] == ["rest_port"]
        assert f"port {taken} is taken by" in result.failures[0].reason
        assert f"pid {os.getpid()}" in result.failures[0].reason

    def test_a_port_that_a_service_of_accelstack_holds_is_not_held_against_it_here(
        self, taken: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(ports, "held_by_service", lambda port: port == taken)
        assert PortsProvider().check({}, {"rest_port": taken, "grpc_port": 0}).failures == []

    def test_a_listener_on_another_address_is_no_holder(self) -> None:
        with socket.socket() as other:
            other.bind(("127.0.0.2", 0))
            other.listen()
            port = other.getsockname()[1]
            assert ports.holder(port) is None
            assert ports.holder_process(port) is None

    def test_free_ports_are_two_and_stay_when_the_other_is_set(self) -> None:
        first = PortsProvider().create({"rest_port": 0, "grpc_port": 0}).outs or {}
        assert first["rest_port_used"] != first["grpc_port_used"]
        asked = ports.free()
        second = PortsProvider().update("loopback", first, {"rest_port": asked, "grpc_port": 0}).outs or {}
        assert second["rest_port_used"] == asked
        assert second["grpc_port_used"] == first["grpc_port_used"]

    def test_a_free_port_that_somebody_took_since_is_given_up(self, taken: int) -> None:
        props = {"rest_port": 0, "grpc_port": 0, "rest_port_used": taken, "grpc_port_used": ports.free()}
        assert PortsProvider().read("loopback", props).id == ""


@pytest.mark.parametrize("provider", [FolderProvider(), MachineProvider()], ids=["store", "cluster"])
class TestFolder:
    def test_it_is_made_seen_and_removed_with_all_in_it(
        self, provider: dynamic.ResourceProvider, tmp_path: Path
    ) -> None:
        props = {"folder": str(tmp_path / "a" / "folder"), "owner": "me", "request": "cpu:1"}
        made = provider.create(props)
        Path(props["folder"], "runs").mkdir()
        assert provider.read(made.id, props).id == made.id
        provider.delete(made.id, props)
        assert not Path(props["folder"]).exists()
        assert provider.read(made.id, props).id == ""

    def test_foreign_content_is_refused_and_left_alone(
        self, provider: dynamic.ResourceProvider, tmp_path: Path
    ) -> None:
        (tmp_path / "thesis.txt").write_text("years of work")
        props = {"folder": str(tmp_path), "owner": "me", "request": "cpu:1"}
        assert "holds something else" in provider.check({}, props).failures[0].reason
        with pytest.raises(UserError, match="holds something else"):
            provider.create(props)
        provider.delete(str(tmp_path), props)
        assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]

    def test_so_is_the_folder_of_another_component(self, provider: dynamic.ResourceProvider, tmp_path: Path) -> None:
        theirs = {"folder": str(tmp_path), "owner": "another", "request": "cpu:1"}
        provider.create(theirs)
        provider.delete(str(tmp_path), {**theirs, "owner": "me"})
        assert provider.read(str(tmp_path), theirs).id == str(tmp_path)


class TestFingerprint:
    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        for name in ("a/1.png", "b/2.png"):
            (tmp_path / name).parent.mkdir()
            (tmp_path / name).write_bytes(name.encode())
        return tmp_path

    def test_touched_files_are_the_same_data(self, folder: Path) -> None:
        listing, digest = fingerprint.data(str(folder), None, None)
        os.utime(folder / "a/1.png", (1, 1))
        touched_listing, touched_digest = fingerprint.data(str(folder), listing, digest)
        assert touched_listing != listing
        assert touched_digest == digest

    def test_a_changed_renamed_or_added_file_is_other_data(self, folder: Path) -> None:
        digests = [fingerprint.data(str(folder), None, None)[1]]
        (folder / "a/1.png").write_bytes(b"other")
        digests.append(fingerprint.data(str(folder), None, None)[1])
        (folder / "a/1.png").rename(folder / "a/3.png")
        digests.append(fingerprint.data(str(folder), None, None)[1])
        (folder / "b/4.png").write_bytes(b"more")
        digests.append(fingerprint.data(str(folder), None, None)[1])
        assert len(set(digests)) == 4

    def test_an_unchanged_listing_is_not_read_again(self, folder: Path) -> None:
        listing, _ = fingerprint.data(str(folder), None, None)
        assert fingerprint.data(str(folder), listing, "known") == (listing, "known")

    @pytest.mark.parametrize(
        ("uri", "reason"),
        [("/nowhere/at/all", "missing"), ("nope://x", "cannot be read"), ("near/here", "is relative")],
    )
    def test_a_missing_or_unreadable_dataset_is_named(self, uri: str, reason: str) -> None:
        with pytest.raises(UserError, match=reason) as refused:
            fingerprint.data(uri, None, None)
        assert uri in str(refused.value)

    def test_hidden_files_pipes_and_broken_links_are_no_data(self, folder: Path) -> None:
        before = fingerprint.data(str(folder), None, None)[1]
        (folder / ".DS_Store").write_bytes(b"noise")
        os.mkfifo(folder / "a" / "pipe")
        (folder / "a" / "gone").symlink_to("nowhere")
        assert fingerprint.data(str(folder), None, None)[1] == before

    def test_serving_code_is_no_part_of_a_run(self) -> None:
        assert fingerprint.training_code() != fingerprint.serving_code()


class TestRunIdentity:
    PROPS: dict[str, Any] = dict.fromkeys([*IDENTITY, "store"], 1) | {"data_listing": 1}

    def test_nothing_changed_means_no_run(self) -> None:
        assert TrainingRunProvider().diff("run", self.PROPS, {**self.PROPS, "data_listing": 2}).changes is False

    @pytest.mark.parametrize("name", IDENTITY)
    def test_a_change_of_code_data_or_settings_means_a_new_run(self, name: str) -> None:
        assert TrainingRunProvider().diff("run", self.PROPS, {**self.PROPS, name: 2}).changes is True


def test_only_the_stacks_own_processes_are_stopped(tmp_path: Path) -> None:
    idle = [sys.executable, "-c", "import time; time.sleep(60)", "accelstack_workloads", f"{tmp_path}/run"]
    ours = subprocess.Popen(idle, env={**os.environ, processes.MARK: f"{tmp_path}/run"})
    beside = subprocess.Popen(idle, env={**os.environ, processes.MARK: f"{tmp_path}2/run"})
    theirs = subprocess.Popen(idle)
    try:
        processes.stop_all_below(tmp_path)
        assert not psutil.pid_exists(ours.pid)
        assert theirs.poll() is None
        assert beside.poll() is None
    finally:
        for process in (ours, beside, theirs):
            process.kill()
            process.wait()


def test_a_service_knows_no_secret_of_the_deployment() -> None:
    given = {"PATH": "/bin", "PULUMI_CONFIG_PASSPHRASE": "x", "AWS_SECRET_ACCESS_KEY": "x", "OMP_NUM_THREADS": "1"}
    assert supervision.inherited(given) == {"PATH": "/bin", "OMP_NUM_THREADS": "1"}


def test_only_a_folder_of_this_machine_is_a_local_store() -> None:
    assert steps.path_of("file:///a b/%20") == Path("/a b/%20")
    with pytest.raises(UserError, match="is not on this machine"):
        steps.path_of("s3://bucket/models")


class TestRunResults:
    def finished(self, run: Path) -> Path:
        (run / "model").mkdir(parents=True)
        for name in ("model/model.json", "model/model.safetensors", "training.json", "evaluation.json"):
            (run / name).write_text("{}")
        return run

    def test_of_a_finished_run_they_are_there(self, tmp_path: Path) -> None:
        assert training_job.results(self.finished(tmp_path / "run")) == ({}, {})

    @pytest.mark.parametrize("damaged", ["training.json", "evaluation.json"])
    def test_a_damaged_file_makes_the_run_unfinished(self, damaged: str, tmp_path: Path) -> None:
        (self.finished(tmp_path / "run") / damaged).write_text("")
        assert training_job.results(tmp_path / "run") is None
