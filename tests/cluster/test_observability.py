"""Dashboards, alerts and monitors on a real API server, with Prometheus Operator's own definitions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from accelstack.k8s.observability import Observability

from tests.cluster.admission import admitted, home, objects
from tests.cluster.control_plane import ControlPlane, running
from tests.engine import programs
from tests.engine.programs import Run
from tests.unit.k8s_engine import run

HEADER = """
import pulumi
import pulumi_kubernetes as kubernetes
from accelstack.k8s.observability import Observability

"""


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running(tmp_path_factory.mktemp("plane"), components=["prometheus_operator"]) as made:
        home(made, "monitoring")
        yield made


def test_every_object_is_admitted_without_a_warning(plane: ControlPlane, tmp_path: Path) -> None:
    cluster, _ = run(lambda: Observability("ours", {"namespace": "monitoring"}).alerts)
    found = objects(cluster)
    assert {each["kind"] for each in found} == {"ConfigMap", "PrometheusRule", "ServiceMonitor", "PodMonitor"}
    assert admitted(plane, tmp_path, found) == len(found)


def test_comes_changes_and_goes_in_one_go(plane: ControlPlane, tmp_path: Path) -> None:
    with programs.attached(tmp_path / "p", ("kubernetes",), kubernetes=plane.kubeconfig) as program:

        def up(thresholds: str) -> Run:
            program.write(
                f"""
                cluster = kubernetes.Provider("cluster", kubeconfig={str(plane.kubeconfig)!r})
                args = {{"namespace": "monitoring", "thresholds": {thresholds}}}
                watched = Observability("watch", args, pulumi.ResourceOptions(providers=[cluster]))
                pulumi.export("dashboards", watched.dashboards)
                """,
                HEADER,
            )
            run = program.up()
            assert run.ok, run.output
            return run

        up("{}")
        assert program.outputs()["dashboards"]["serving"] == "watch-serving"
        assert not up("{}").steps
        assert up('{"p99_seconds": 0.2}').steps == [("update", "watch-alerts")]
        destroyed = program.destroy()
        assert destroyed.ok, destroyed.output
    kinds = "configmaps,prometheusrules,servicemonitors,podmonitors"
    owned = ("--namespace", "monitoring", "get", kinds, "--selector", "app.kubernetes.io/part-of=watch", "-o", "name")
    assert plane.kubectl(*owned) == ""
