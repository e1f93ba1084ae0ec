"""Grafana dashboards as data: GPUs, training and its queues, serving, nodes.

The models keep to Grafana's dashboard schema (https://grafana.com/docs/grafana/latest/dashboards/build-dashboards/view-dashboard-json-model/).
What they show stands in `dashboard_panels`.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from accelstack.k8s.dashboard_panels import GPUS, NODES, SERVING, TRAINING, Panel

SCHEMA = 39
"""Of the dashboard model; Grafana 10.3 and newer read it and bring it up to their own."""
WIDTH, HEIGHT, COLUMNS = 8, 8, 3
"""A panel's size in Grafana's grid of 24 columns, and the panels of a row."""
SOURCE = {"type": "prometheus", "uid": "${datasource}"}


def dashboards(owner: str) -> dict[str, dict[str, Any]]:
    """The dashboards' models by key: `gpus`, `training`, `serving`, `nodes`.

    Args:
        owner: of them, part of their ids, which stay the same as long as it does.
    """
    namespaces = "label_values(accelstack_inference_requests_total, namespace)"
    return {
        "gpus": _model(owner, "gpus", "GPUs", GPUS),
        "training": _model(owner, "training", "Training and queues", TRAINING),
        "serving": _model(owner, "serving", "Serving", SERVING, {"namespace": namespaces}),
        "nodes": _model(owner, "nodes", "Nodes", NODES),
    }


def _model(
    owner: str, key: str, title: str, panels: Sequence[Panel], variables: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """A dashboard; each variable is a query of label values, and stands for all of them at first."""
    asked = [
        {
            "name": variable,
            "type": "query",
            "datasource": SOURCE,
            "query": query,
            "refresh": 2,
            "includeAll": True,
            "allValue": ".*",
            "multi": True,
            "current": {"text": ["All"], "value": ["$__all"]},
        }
        for variable, query in (variables or {}).items()
    ]
    return {
        "uid": f"{owner}-{key}",
        "title": f"{title} ({owner})",
        "tags": ["accelstack"],
        "schemaVersion": SCHEMA,
        "editable": False,
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "timezone": "browser",
        "templating": {"list": [{"name": "datasource", "type": "datasource", "query": "prometheus"}, *asked]},
        "panels": [_panel(index, panel) for index, panel in enumerate(panels)],
    }


def _panel(index: int, panel: Panel) -> dict[str, Any]:
    return {
        "id": index + 1,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.about,
        "datasource": SOURCE,
        "gridPos": {
            "x": index % COLUMNS * WIDTH,
            "y": index // COLUMNS * HEIGHT,
            "w": WIDTH,
            "h": HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + number), "datasource": SOURCE, "expr": query, "legendFormat": called}
            for number, (called, query) in enumerate(panel.queries.items())
        ],
    }
