"""Copies that follow the load: by what, from where to where, and what wakes the first."""

from __future__ import annotations

from typing import Any

import pytest
from pulumi.runtime import mocks

from tests.unit.k8s_serving import ENGINE_IMAGE, pool, refused, serve

PODS, SCALER = "digits-aaaaaaaa-pods", "digits-aaaaaaaa-scaler"
PROMETHEUS = "http://prometheus.monitoring.svc:9090"
QUEUE = {"max_replicas": 6, "scale_on": "queue", "prometheus": PROMETHEUS}


def test_copies_stay_as_many_as_asked_for_if_nothing_else_is() -> None:
    made = serve(replicas=3)
    assert made.spec(PODS)["replicas"] == 3
    assert SCALER not in made.objects


def test_they_follow_the_processor() -> None:
    spec = serve(replicas=2, max_replicas=5).spec(SCALER)
    assert (spec["minReplicas"], spec["maxReplicas"]) == (2, 5)
    assert spec["scaleTargetRef"] == {"apiVersion": "apps/v1", "kind": "Deployment", "name": "digits-aaaaaaaa"}
    assert spec["metrics"][0]["resource"]["target"] == {"type": "Utilization", "averageUtilization": 70}


def test_they_follow_the_requests_in_the_servers() -> None:
    made = serve(**QUEUE, min_replicas=1, scale_at=4)
    spec = made.spec(SCALER)
    (load,) = spec["triggers"]
    pods = 'namespace="models", pod=~"digits-aaaaaaaa-.+"'
    assert load["metadata"] == {
        "serverAddress": PROMETHEUS,
        "query": f"sum(accelstack_inference_waiting{{{pods}}}) or vector(0)",
        "threshold": "4",
    }
    assert (spec["minReplicaCount"], spec["maxReplicaCount"]) == (1, 6)
    labels = made.spec(PODS)["template"]["metadata"]["labels"]
    assert labels["accelstack/metrics"] == "rest"


def test_vllm_counts_those_that_run_and_those_that_wait() -> None:
    more: dict[str, Any] = {"pool": pool("H100:8"), "engine": "vllm", "engine_image": ENGINE_IMAGE}
    query = serve(**QUEUE, **more).spec(SCALER)["triggers"][0]["metadata"]["query"]
    assert "vllm:num_requests_running{" in query
    assert "vllm:num_requests_waiting{" in query


def test_from_none_the_gateway_s_count_brings_one_back_and_no_more() -> None:
    made = serve(**QUEUE, min_replicas=0, wake_query="sum(rate(requests[1m]))")
    spec = made.spec(SCALER)
    _, wake = spec["triggers"]
    assert (wake["metadata"]["query"], wake["metadata"]["activationThreshold"]) == ("sum(rate(requests[1m]))", "0")
    assert int(wake["metadata"]["threshold"]) > 10**6
    assert spec["minReplicaCount"] == 0
    assert made.spec(PODS)["replicas"] == 1  # the first `up` sees it serve
    assert spec["fallback"]["replicas"] == 1  # and nothing goes to none because Prometheus is away


def test_what_scaling_did_is_not_undone(monkeypatch: pytest.MonkeyPatch) -> None:
    ignored: dict[str, list[str]] = {}
    register = mocks.MockMonitor.RegisterResource

    def remember(monitor: Any, request: Any) -> Any:
        ignored[request.name] = [*request.ignoreChanges]
        return register(monitor, request)

    monkeypatch.setattr(mocks.MockMonitor, "RegisterResource", remember)
    serve(max_replicas=5)
    assert ignored[PODS] == ["spec.replicas"]
    serve()
    assert ignored[PODS] == []


@pytest.mark.parametrize(
    ("change", "path", "told"),
    [
        ({"min_replicas": 2}, "min_replicas", "set max_replicas"),
        ({"scale_on": "queue"}, "scale_on", "set max_replicas"),
        ({"max_replicas": 2, "replicas": 3}, "max_replicas", "less than the fewest, 3"),
        ({"max_replicas": 2, "min_replicas": 3}, "max_replicas", "less than the fewest, 3"),
        ({"max_replicas": 2, "scale_on": "requests"}, "scale_on", "use cpu or queue"),
        ({"max_replicas": 2, "scale_at": 0}, "scale_at", "1 or more"),
        ({"max_replicas": 2, "min_replicas": 0}, "min_replicas", "scale_on: queue (KEDA)"),
        ({"max_replicas": 2, "prometheus": PROMETHEUS}, "scale_on", "leave them out"),
        ({"max_replicas": 2, "scale_on": "queue"}, "prometheus", "URL"),
        ({**QUEUE, "min_replicas": 0}, "min_replicas", "wake_query"),
        ({"max_replicas": 2, "pool": pool("H100:8")}, "scale_on", "does not tell that of H100"),
        (
            {**QUEUE, "engine": "tensorflow_serving", "engine_image": ENGINE_IMAGE},
            "scale_on",
            "tensorflow_serving does not tell",
        ),
    ],
)
def test_what_cannot_scale_is_refused_by_name(change: dict[str, Any], path: str, told: str) -> None:
    found = refused(**change)
    assert (found[0], told in found[1]) == (path, True), found
