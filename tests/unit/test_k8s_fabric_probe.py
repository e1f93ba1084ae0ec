"""The fabric's probe: what it runs, when it runs again, and what it holds a bandwidth against."""

from __future__ import annotations

import sys
from typing import Any

import pulumi
import pytest
from accelstack.dynamic import UserError
from accelstack.k8s.fabric_probe import FabricProbe
from accelstack.k8s.job_outcome import ProbeProvider

from tests.unit.k8s_engine import Cluster, run
from tests.unit.k8s_pools import planned

IMAGE = f"registry.example/workloads@sha256:{'a' * 64}"
POOL = planned("aws", "H100:8", nodes=4)
PROBE: dict[str, Any] = {
    "namespace": "team",
    "service_account": "workload",
    "pool": POOL,
    "queue": "team",
    "image": IMAGE,
    "kubeconfig": "apiVersion: v1",
}


def probed(**more: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    """The JobSet, and what is waited for."""
    given: Any = {**PROBE, **more}
    cluster, _ = run(lambda: FabricProbe("probe", given).urn)
    return one(cluster, "JobSet"), one(cluster, "K8sProbeOutcome")


def one(cluster: Cluster, kind: str) -> dict[str, Any]:
    (found,) = cluster.objects(kind)
    return found


class TestProbe:
    def test_is_a_gang_of_two_nodes_with_the_fabric(self) -> None:
        made, _ = probed()
        job = made["spec"]["replicatedJobs"][0]["template"]["spec"]
        assert job["completions"] == 2
        (program,) = job["template"]["spec"]["containers"]
        assert program["command"][:5] == ["python", "-m", "accelstack_workloads", "cluster", "probe"]
        assert program["resources"]["limits"]["vpc.amazonaws.com/efa"] == "32"
        assert {"name": "NCCL_DEBUG", "value": "INFO"} in program["env"]

    def test_can_measure_between_all_nodes(self) -> None:
        made, _ = probed(nodes=4)
        assert made["spec"]["replicatedJobs"][0]["template"]["spec"]["completions"] == 4

    def test_has_the_pools_floor_or_an_own_one(self) -> None:
        assert probed()[1]["floor_gbs"] == POOL["pod_fabric"]["floor_gbs"] > 0
        assert probed(floor_gbs=50.0)[1]["floor_gbs"] == 50

    def test_runs_again_when_pool_fabric_or_image_change_only(self) -> None:
        name = probed()[0]["metadata"]["name"]
        fabric: Any = {**POOL["pod_fabric"], "environment": {"NCCL_NET": "other"}}
        assert probed(pool={**POOL, "pod_fabric": fabric})[0]["metadata"]["name"] != name
        assert probed(image=IMAGE.replace("a" * 64, "b" * 64))[0]["metadata"]["name"] != name
        assert probed(pool={**POOL, "nodes": 8}, gate=False, queue="other")[0]["metadata"]["name"] == name

    @pytest.mark.parametrize(
        ("more", "path", "said"),
        [
            ({"pool": {**POOL, "nodes": 1}}, "pool", "leave the probe out"),
            ({"nodes": 5}, "nodes", "2 to 4"),
            ({"nodes": 1}, "nodes", "2 to 4"),
            ({"floor_gbs": -1.0}, "floor_gbs", "0 for no floor"),
            ({"wait_minutes": 0}, "wait_minutes", "above 0"),
            ({"image": "workloads"}, "image", "digest"),
        ],
    )
    def test_what_cannot_be_names_the_arg(self, more: Any, path: str, said: str) -> None:
        given: Any = {**PROBE, **more}
        with pytest.raises(pulumi.InputPropertyError, match=said) as caught:
            FabricProbe("probe", given)
        assert caught.value.property_path == path


class TestFloor:
    @pytest.fixture(autouse=True)
    def own_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Providers set how much of a trace is shown, for a process of their own."""
        monkeypatch.setattr(sys, "tracebacklimit", 100, raising=False)

    def held(self, bus_gbs: float, **more: Any) -> dict[str, Any]:
        props = {
            "floor_gbs": 300.0,
            "gate": True,
            "fabric": "efa",
            "pool": "gpu",
            "source": "the table's for H100",
            "urn": "urn:pulumi:dev::test::probe-job",
        }
        return ProbeProvider().outcome({**props, **more}, {"bus_gbs": bus_gbs})

    def test_enough_passes(self) -> None:
        found = self.held(312.4)
        assert found["bus_gbs"] == 312.4
        assert "312.4 GB/s" in found["passed"]

    def test_too_little_fails_with_what_was_measured_and_what_to_look_at(self) -> None:
        with pytest.raises(UserError) as caught:
            self.held(8.0)
        said = str(caught.value)
        for part in ("8.0 GB/s", "floor of 300", "the table's for H100", "TCP", "--replace 'urn:", "gate to false"):
            assert part in said

    def test_without_a_gate_it_warns(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.held(8.0, gate=False)["bus_gbs"] == 8
        assert "warning: efa on gpu" in capsys.readouterr().out

    def test_without_a_floor_anything_passes(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert self.held(1.0, floor_gbs=0)["bus_gbs"] == 1
        assert "no floor is known" in capsys.readouterr().out

    def test_another_floor_is_held_against_what_was_measured(self, monkeypatch: pytest.MonkeyPatch) -> None:
        def never(_: Any, __: Any) -> Any:
            raise AssertionError("measured again")

        monkeypatch.setattr(ProbeProvider, "wait", never)
        olds = {"uid": "1", "bus_gbs": 200.0, "floor_gbs": 100.0, "gate": True, "fabric": "efa", "pool": "gpu"}
        news = {**olds, "floor_gbs": 250.0, "source": "as given", "urn": "urn:x"}
        assert ProbeProvider().diff("", olds, news).changes
        with pytest.raises(UserError, match="below the floor of 250"):
            ProbeProvider().update("", olds, news)
