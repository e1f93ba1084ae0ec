"""Dashboards, alerts and what Prometheus reads, for a cluster that has kube-prometheus-stack."""

import json
from collections.abc import Sequence
from typing import Any, NotRequired, TypedDict

import pulumi

from accelstack.k8s.alerts import LARGEST, Thresholds, alerts, groups
from accelstack.k8s.dashboards import dashboards
from accelstack.k8s.names import checked_name
from accelstack.k8s.objects import KubernetesObject
from accelstack.k8s.pod import labels
from accelstack.plan.findings import one_of

RELEASE = "kube-prometheus-stack"
DASHBOARD_UID = 40
"""Most characters of a dashboard's id (https://grafana.com/docs/grafana/latest/developers/http_api/dashboard/)."""
LONGEST_NAME = DASHBOARD_UID - len("-training")
TOKEN_FILE = "/var/run/secrets/kubernetes.io/serviceaccount/token"  # noqa: S105

SIGNED_IN: dict[str, Any] = {
    "port": "https",
    "scheme": "https",
    "bearerTokenFile": TOKEN_FILE,
    # the controllers sign their own certificates; Prometheus shows its token to the address that their Service has
    "tlsConfig": {"insecureSkipVerify": True},
    # their `namespace` is the job's
    "honorLabels": True,
}
MONITORS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "kueue": (
        {"app.kubernetes.io/name": "kueue", "app.kubernetes.io/component": "metrics-service"},
        SIGNED_IN,
    ),
    "jobset": ({"app.kubernetes.io/name": "jobset", "app.kubernetes.io/component": "controller"}, SIGNED_IN),
    "gpu-operator": ({"app": "nvidia-dcgm-exporter"}, {"port": "gpu-metrics"}),
    "dcgm-exporter": ({"app.kubernetes.io/name": "dcgm-exporter"}, {"port": "metrics"}),
    "velero": ({"app.kubernetes.io/name": "velero"}, {"port": "http-monitoring"}),
}
"""Labels of the Services that metrics are read from, in whatever namespace, and how; as their charts have them
(Kueue 0.18, JobSet 0.12, https://github.com/NVIDIA/gpu-operator/tree/main/assets/state-dcgm-exporter,
https://github.com/NVIDIA/dcgm-exporter/tree/main/deployment,
https://github.com/vmware-tanzu/helm-charts/tree/main/charts/velero)."""


METRICS_LABEL = "accelstack/metrics"
"""Of an inference service's pods: the name of the port that has their engine's metrics."""
SERVING_PORTS = ("rest", "metrics")


class ObservabilityArgs(TypedDict):
    """Args of `k8s.Observability`."""

    namespace: pulumi.Input[str]
    """Where kube-prometheus-stack is installed: its Grafana reads dashboards of its own namespace."""
    release: NotRequired[pulumi.Input[str]]
    """Name of its Helm release, by which Prometheus knows what is for it; `kube-prometheus-stack` if left out."""
    monitors: NotRequired[list[str]]
    """What Prometheus reads beside inference services: `kueue`, `jobset`, `velero`, and `gpu-operator` or
    `dcgm-exporter` for GPUs; all of them if left out, since one that is not installed gives nothing."""
    thresholds: NotRequired[Thresholds]
    """From where on alerts fire."""


class Observability(pulumi.ComponentResource):
    """Dashboards for Grafana, alerts and scrape targets for Prometheus.

    Namespaces that deny what they do not name must let the stack's namespace in: `reachable_from` of `k8s.Namespace`.

    Raises:
        pulumi.InputPropertyError: the name is no name of objects or longer than 31, a monitor is not known, or a
            threshold is out of its range.
    """

    dashboards: pulumi.Output[dict[str, str]]
    """Ids of the dashboards in Grafana, whose page is at `/d/<id>`, by key: `gpus`, `training`, `serving`, `nodes`."""
    alerts: pulumi.Output[list[str]]
    """Names of the alerts."""

    def __init__(self, name: str, args: ObservabilityArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        checked_name(name, LONGEST_NAME)
        monitors = args.get("monitors", [*MONITORS])
        for index, monitor in enumerate(monitors):
            if wrong := one_of(f"monitors[{index}]", monitor, MONITORS, "source of metrics"):
                raise pulumi.InputPropertyError(wrong.property, f"{wrong.value!r} {wrong.rule}; {wrong.fix}")
        thresholds = _checked(args.get("thresholds", Thresholds()))
        super().__init__("accelstack:index:K8sObservability", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        release = args.get("release", RELEASE)
        made = {
            key: KubernetesObject(f"{name}-{key}", manifest, child)
            for key, manifest in manifests(name, args["namespace"], release, monitors, thresholds).items()
        }
        known = pulumi.Output.all(*(each.id for each in made.values()))
        models, rules = dashboards(name), alerts(thresholds)
        self.dashboards = known.apply(lambda _: {key: model["uid"] for key, model in models.items()})
        self.alerts = known.apply(lambda _: [alert.name for group in rules.values() for alert in group])
        self.register_outputs({"dashboards": self.dashboards, "alerts": self.alerts})


def manifests(
    name: str,
    namespace: pulumi.Input[str],
    release: pulumi.Input[str],
    monitors: Sequence[str],
    thresholds: Thresholds,
) -> dict[str, dict[str, Any]]:
    """What is made, by what it is for."""

    def metadata(key: str, **own: pulumi.Input[str]) -> dict[str, Any]:
        return {"name": f"{name}-{key}", "namespace": namespace, "labels": {**labels(name), **own}}

    found: dict[str, dict[str, Any]] = {}
    for key, model in dashboards(name).items():
        found[f"dashboard-{key}"] = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": metadata(f"dashboard-{key}", grafana_dashboard="1"),
            "data": {f"{model['uid']}.json": json.dumps(model, sort_keys=True)},
        }
    found["alerts"] = {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": metadata("alerts", release=release),
        "spec": {"groups": groups(name, alerts(thresholds))},
    }
    for port in SERVING_PORTS:
        found[f"monitor-serving-{port}"] = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "PodMonitor",
            "metadata": metadata(f"serving-{port}", release=release),
            "spec": {
                "namespaceSelector": {"any": True},
                "selector": {"matchLabels": {METRICS_LABEL: port}},
                "podMetricsEndpoints": [{"path": "/metrics", "port": port, "interval": "15s"}],
            },
        }
    for key in monitors:
        chosen, endpoint = MONITORS[key]
        found[f"monitor-{key}"] = {
            "apiVersion": "monitoring.coreos.com/v1",
            "kind": "ServiceMonitor",
            "metadata": metadata(key, release=release),
            "spec": {
                "namespaceSelector": {"any": True},
                "selector": {"matchLabels": chosen},
                "endpoints": [{"path": "/metrics", "interval": "30s", **endpoint}],
            },
        }
    return found


def _checked(thresholds: Thresholds) -> Thresholds:
    for key, value in thresholds.items():
        path = f"thresholds.{key}"
        if wrong := one_of(path, key, LARGEST, "threshold"):
            raise pulumi.InputPropertyError(wrong.property, f"{wrong.value!r} {wrong.rule}; {wrong.fix}")
        if not isinstance(value, int | float) or isinstance(value, bool) or not 0 < value < LARGEST[key]:
            raise pulumi.InputPropertyError(path, f"{value!r} is not between 0 and {LARGEST[key]:g}")
        if key.endswith("minutes") and not isinstance(value, int):
            raise pulumi.InputPropertyError(path, f"{value!r} is no whole number of minutes")
    return thresholds
