"""Dashboards and alerts: what they ask Prometheus for is there to be asked, and what they show can be shown."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any, cast

import promql_parser
import pulumi
import pytest
from accelstack.k8s.alerts import LARGEST, Alert, Thresholds, alerts, groups
from accelstack.k8s.dashboard_panels import FAILED
from accelstack.k8s.dashboards import dashboards
from accelstack.k8s.observability import MONITORS, Observability, ObservabilityArgs, manifests
from accelstack_workloads.serve.metrics import Metrics

from tests.unit.k8s_engine import run

OTHERS = {
    "https://github.com/NVIDIA/dcgm-exporter/blob/main/etc/default-counters.csv": {
        "DCGM_FI_DEV_FB_FREE",
        "DCGM_FI_DEV_FB_USED",
        "DCGM_FI_DEV_GPU_TEMP",
        "DCGM_FI_DEV_GPU_UTIL",
        "DCGM_FI_DEV_MEMORY_TEMP",
        "DCGM_FI_DEV_POWER_USAGE",
        "DCGM_FI_DEV_SM_CLOCK",
        "DCGM_FI_DEV_XID_ERRORS",
    },
    "https://kueue.sigs.k8s.io/docs/reference/metrics/": {
        "kueue_admission_wait_time_seconds_bucket",
        "kueue_admitted_active_workloads",
        "kueue_admitted_workloads_total",
        "kueue_cluster_queue_nominal_quota",
        "kueue_cluster_queue_resource_usage",
        "kueue_cluster_queue_weighted_share",
        "kueue_evicted_workloads_total",
        "kueue_pending_workloads",
    },
    "https://jobset.sigs.k8s.io/docs/reference/metrics/": {"jobset_completed_total", "jobset_failed_total"},
    "https://github.com/kubernetes/kube-state-metrics/tree/main/docs/metrics": {
        "kube_deployment_spec_replicas",
        "kube_deployment_status_replicas_ready",
        "kube_node_status_allocatable",
        "kube_node_status_condition",
        "kube_pod_container_resource_requests",
        "kube_pod_status_phase",
    },
    "https://github.com/prometheus/node_exporter": {
        "node_cpu_seconds_total",
        "node_filesystem_avail_bytes",
        "node_filesystem_size_bytes",
        "node_infiniband_port_data_received_bytes_total",
        "node_memory_MemAvailable_bytes",
        "node_memory_MemTotal_bytes",
        "node_network_receive_bytes_total",
    },
    "https://velero.io/docs/main/api-types/backupstoragelocation/": {
        "velero_backup_failure_total",
        "velero_backup_location_status_gauge",
        "velero_backup_partial_failure_total",
        "velero_backup_validation_failure_total",
    },
    "https://prometheus.io/docs/concepts/jobs_instances/": {"up"},
}
"""Metrics of other projects, by where they are documented."""
ALERTS = [alert for group in alerts({}).values() for alert in group]
PANELS = [
    (key, panel["title"], target["expr"])
    for key, model in dashboards("ours").items()
    for panel in model["panels"]
    for target in panel["targets"]
]
EXPRESSIONS = [*(expression for _, _, expression in PANELS), *(alert.expression for alert in ALERTS)]


def served() -> dict[str, set[str]]:
    """Labels by metric, as the native server exports them."""
    model: Any = SimpleNamespace(name="digits", version="1")
    metrics = Metrics(model, lambda: 0)
    for protocol in ("rest", "grpc"):
        with metrics.measure(protocol) as outcome:
            outcome.code = "200"
        metrics.count(protocol, 1)
    lines = [line for line in metrics.render().decode().splitlines() if not line.startswith("#")]
    found: dict[str, set[str]] = {}
    for line in lines:
        name, _, rest = line.partition("{")
        found.setdefault(name, set()).update(re.findall(r"(\w+)=\"", rest))
    return found


def selectors(expression: str) -> Iterator[promql_parser.VectorSelector]:
    """What an expression reads."""
    found: list[promql_parser.VectorSelector] = []

    def visit(node: Any) -> bool:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)
        return True

    promql_parser.walk(promql_parser.parse(expression), visit)
    assert found, expression
    return iter(found)


@pytest.mark.parametrize("expression", EXPRESSIONS)
class TestExpressions:
    def test_reads_metrics_that_there_are(self, expression: str) -> None:
        known = set().union(*OTHERS.values(), served())
        assert {selector.name for selector in selectors(expression)} <= known

    def test_asks_our_servers_for_labels_that_they_have(self, expression: str) -> None:
        ours = served()
        for selector in selectors(expression):
            if selector.name in ours:
                labels = {matcher.name for matcher in selector.matchers.matchers}
                assert labels <= ours[selector.name] | {"namespace", "pod"}


class TestDashboards:
    def test_there_are_four_with_ids_of_their_own_that_stay(self) -> None:
        found = {key: model["uid"] for key, model in dashboards("ours").items()}
        assert found == {key: f"ours-{key}" for key in ("gpus", "training", "serving", "nodes")}
        assert not {*found.values()} & {model["uid"] for model in dashboards("others").values()}

    @pytest.mark.parametrize("model", dashboards("ours").values(), ids=lambda model: model["uid"])
    def test_panels_lie_side_by_side_within_the_grid(self, model: dict[str, Any]) -> None:
        places = [panel["gridPos"] for panel in model["panels"]]
        cells = [(x, y) for p in places for x in range(p["x"], p["x"] + p["w"]) for y in range(p["y"], p["y"] + p["h"])]
        assert len(cells) == len(set(cells))
        assert max(x for x, _ in cells) < 24
        assert len({panel["id"] for panel in model["panels"]}) == len(model["panels"])

    @pytest.mark.parametrize("model", dashboards("ours").values(), ids=lambda model: model["uid"])
    def test_every_variable_used_is_there(self, model: dict[str, Any]) -> None:
        names = {variable["name"] for variable in model["templating"]["list"]}
        assert set(re.findall(r"\$\{?([a-z_]+)", json.dumps(model["panels"]))) <= names

    @pytest.mark.parametrize(("key", "title", "expression"), PANELS, ids=lambda text: text[:40])
    def test_legends_name_labels_that_lines_have(self, key: str, title: str, expression: str) -> None:
        panel = next(panel for panel in dashboards("ours")[key]["panels"] if panel["title"] == title)
        legend = next(target["legendFormat"] for target in panel["targets"] if target["expr"] == expression)
        grouped = {label for names in re.findall(r"by \(([^)]*)\)", expression) for label in names.split(", ")}
        plain = {"instance"} if " by " not in expression else set[str]()
        assert set(re.findall(r"{{(\w+)}}", legend)) <= (grouped | plain) - {"le"}


class TestAlerts:
    def test_cover_what_costs_most(self) -> None:
        assert {alert.name for alert in ALERTS} >= {
            "GpusIdle",
            "GpuBroken",
            "QueueSlow",
            "QueueStuck",
            "RequestsFail",
            "RequestsSlow",
            "NoCopyReady",
            "BackupFailed",
        }

    def test_thresholds_are_what_was_asked_for(self) -> None:
        asked: Thresholds = {"idle_percent": 7, "idle_minutes": 12, "queue_minutes": 45, "p99_seconds": 0.25}
        found = {alert.name: alert for group in alerts(asked).values() for alert in group}
        assert (found["GpusIdle"].expression.endswith("< 7"), found["GpusIdle"].minutes) == (True, 12)
        assert found["QueueSlow"].expression.endswith("[45m]))) > 2700")
        assert found["RequestsSlow"].expression.endswith("> 0.25")

    @pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
    def test_say_what_is_wrong_and_what_to_do(self, alert: Alert) -> None:
        (rule,) = groups("ours", {"group": [alert]})[0]["rules"]
        assert rule["annotations"].keys() == {"summary", "description"}
        assert rule["labels"]["severity"] in {"warning", "critical"}
        grouped = {label for names in re.findall(r"by \(([^)]*)\)", alert.expression) for label in names.split(", ")}
        named = set(re.findall(r"\$labels\.(\w+)", alert.summary + alert.advice))
        assert not grouped or named <= grouped - {"le"}

    @pytest.mark.parametrize("code", ["500", "503", "INTERNAL", "UNAVAILABLE", "RESOURCE_EXHAUSTED"])
    def test_what_the_server_could_not_do_is_an_error(self, code: str) -> None:
        assert re.fullmatch(FAILED, code)

    @pytest.mark.parametrize("code", ["200", "OK", "400", "404", "INVALID_ARGUMENT", "cancelled"])
    def test_what_clients_did_wrong_is_none(self, code: str) -> None:
        assert not re.fullmatch(FAILED, code)


class TestObjects:
    def found(self, **args: Any) -> dict[str, dict[str, Any]]:
        return manifests("ours", "monitoring", "stack", [*MONITORS], cast(Thresholds, args))

    def test_dashboards_are_where_grafana_looks(self) -> None:
        maps = [each for each in self.found().values() if each["kind"] == "ConfigMap"]
        assert len(maps) == 4
        for each in maps:
            assert each["metadata"]["labels"]["grafana_dashboard"] == "1"
            (file,) = each["data"].items()
            assert file[0] == f"{json.loads(file[1])['uid']}.json"

    def test_rules_and_monitors_are_for_the_stacks_prometheus(self) -> None:
        others = [each for each in self.found().values() if each["kind"] != "ConfigMap"]
        assert {each["kind"] for each in others} == {"PrometheusRule", "ServiceMonitor", "PodMonitor"}
        assert {each["metadata"]["labels"]["release"] for each in others} == {"stack"}

    def test_gpus_stay_with_the_pod_that_has_them(self) -> None:
        """Prometheus renames the exporter's labels where honorLabels is false, and the expressions count on it."""
        for key in ("gpu-operator", "dcgm-exporter"):
            (endpoint,) = self.found()[f"monitor-{key}"]["spec"]["endpoints"]
            assert not endpoint.get("honorLabels", False)
        assert "exported_pod" in next(alert.expression for alert in ALERTS if alert.name == "GpusIdle")

    def test_makes_all_under_its_own_name_and_tells_the_ids(self) -> None:
        args: ObservabilityArgs = {"namespace": pulumi.Output.from_input("monitoring"), "monitors": ["kueue"]}

        def program() -> Any:
            made = Observability("ours", args)
            return pulumi.Output.all(made.dashboards, made.alerts)

        cluster, (uids, names) = run(program)
        assert uids["gpus"] == "ours-gpus"
        assert names == [alert.name for alert in ALERTS]
        assert all(each["metadata"]["namespace"] == "monitoring" for each in cluster.objects("ConfigMap"))
        assert [each["metadata"]["name"] for each in cluster.objects("ServiceMonitor")] == ["ours-kueue"]
        assert all(name.startswith("ours") for _, name, _ in cluster.made)


class TestBadInput:
    @pytest.mark.parametrize(
        ("name", "args", "path", "told"),
        [
            ("Ours", {}, "name", "small letters"),
            ("o" * 32, {}, "name", "31 at most"),
            ("ours", {"monitors": ["kueu"]}, "monitors[0]", "did you mean kueue"),
            ("ours", {"thresholds": {"idle": 5}}, "thresholds.idle", "is no known threshold"),
            ("ours", {"thresholds": {"error_percent": 100}}, "thresholds.error_percent", "between 0 and 100"),
            ("ours", {"thresholds": {"p99_seconds": 30}}, "thresholds.p99_seconds", "between 0 and 10"),
            ("ours", {"thresholds": {"idle_minutes": 2.5}}, "thresholds.idle_minutes", "no whole number"),
            ("ours", {"thresholds": {"queue_minutes": True}}, "thresholds.queue_minutes", "between 0 and"),
        ],
    )
    def test_is_refused_by_name(self, name: str, args: dict[str, Any], path: str, told: str) -> None:
        with pytest.raises(pulumi.InputPropertyError, match=re.escape(told)) as caught:
            Observability(name, cast(ObservabilityArgs, {"namespace": "monitoring", **args}))
        assert caught.value.property_path == path

    def test_every_threshold_has_its_range(self) -> None:
        assert LARGEST.keys() == Thresholds.__annotations__.keys()
