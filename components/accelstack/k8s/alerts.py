"""Alerts as Prometheus rules: GPUs idle or broken, queues that do not move, failed jobs, serving, and what is gone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NotRequired, TypedDict

from accelstack.k8s.dashboard_panels import FAILED

BROKEN_XIDS = (48, 64, 74, 79, 95, 119, 120, 140)
"""Codes after which a GPU needs a reset, or its machine a restart or a repair: memory that cannot be corrected, NVLink,
off the bus, firmware that does not answer (https://docs.nvidia.com/deploy/xid-errors/). Most others come from the
program that used it."""


class Thresholds(TypedDict):
    """From where on alerts fire."""

    idle_percent: NotRequired[float]
    """Mean utilisation below which a pod's GPUs are idle; 5 if left out."""
    idle_minutes: NotRequired[int]
    """How long they may be; 30 if left out."""
    queue_minutes: NotRequired[int]
    """How long nine in ten jobs wait at most until they are admitted, and how long jobs may wait in a queue that admits
    none, 682 at most; 60 if left out."""
    error_percent: NotRequired[float]
    """Requests in a hundred that may fail; 1 if left out."""
    p99_seconds: NotRequired[float]
    """Time within which 99 requests in a hundred are answered, below 10, where the server's histogram ends; 1 if left
    out."""


LARGEST = {
    "idle_percent": 100.0,
    "idle_minutes": 1440.0,
    "queue_minutes": 683.0,
    "error_percent": 100.0,
    "p99_seconds": 10.0,
}
"""Thresholds lie above 0 and below these: Kueue's histogram of waiting ends at 40,960 s, the server's at 10 s."""


@dataclass(frozen=True, slots=True)
class Alert:
    """An expression that gives a line for each thing that is wrong, and how long it must be."""

    name: str
    expression: str
    minutes: int
    severity: str
    """`critical` or `warning`."""
    summary: str
    """What is wrong, with Prometheus' templates for labels and values."""
    advice: str
    """What to do."""


def alerts(asked: Thresholds) -> dict[str, list[Alert]]:
    """The alerts by group: `gpus`, `training`, `serving`, `nodes`, `backup`."""
    return {
        "gpus": _gpus(asked.get("idle_percent", 5), asked.get("idle_minutes", 30)),
        "training": _training(asked.get("queue_minutes", 60)),
        "serving": _serving(asked.get("error_percent", 1), asked.get("p99_seconds", 1)),
        "nodes": _nodes(),
        "backup": _backup(),
    }


def groups(owner: str, found: Mapping[str, Sequence[Alert]]) -> list[dict[str, Any]]:
    """The alerts as a PrometheusRule has them."""
    return [
        {
            "name": f"{owner}-{key}",
            "rules": [
                {
                    "alert": each.name,
                    "expr": each.expression,
                    "for": f"{each.minutes}m",
                    "labels": {"severity": each.severity},
                    "annotations": {"summary": each.summary, "description": each.advice},
                }
                for each in chosen
            ],
        }
        for key, chosen in found.items()
    ]


def _gpus(percent: float, minutes: int) -> list[Alert]:
    last = "DCGM_FI_DEV_XID_ERRORS"
    pod = "{{ $labels.exported_namespace }}/{{ $labels.exported_pod }}"
    gpu = "GPU {{ $labels.gpu }} of {{ $labels.Hostname }}"
    return [
        Alert(
            "GpusIdle",
            'avg by (exported_namespace, exported_pod) (avg_over_time(DCGM_FI_DEV_GPU_UTIL{exported_pod!=""}[5m]))'
            f" < {percent:g}",
            minutes,
            "warning",
            f"{pod} has GPUs and uses {{{{ $value | humanize }}}} % of them",
            "See in its log whether it waits for data or for other nodes; end what nobody needs.",
        ),
        Alert(
            "GpuBroken",
            " or ".join(f"{last} == {code}" for code in BROKEN_XIDS),
            0,
            "critical",
            f"{gpu} had XID error {{{{ $value }}}}, after which it needs a reset or repair",
            "Cordon the node, and reset the GPU or replace the machine; jobs go on elsewhere from their checkpoints.",
        ),
        Alert(
            "GpuError",
            f"{last} > 0 and changes({last}[15m]) > 0",
            0,
            "warning",
            f"{gpu} has a new XID error, {{{{ $value }}}}",
            "See https://docs.nvidia.com/deploy/xid-errors/ for the code; most come from the program that ran there.",
        ),
    ]


def _training(minutes: int) -> list[Alert]:
    queue = "Queue {{ $labels.cluster_queue }}"
    job = "{{ $labels.namespace }}/{{ $labels.jobset_name }}"
    return [
        Alert(
            "QueueSlow",
            "histogram_quantile(0.9, sum by (cluster_queue, le)"
            f" (rate(kueue_admission_wait_time_seconds_bucket[{minutes}m]))) > {minutes * 60}",
            0,
            "warning",
            f"{queue}: one job in ten waits longer than {minutes} minutes",
            "Add nodes, lend quota between teams, or lower what jobs ask for.",
        ),
        Alert(
            "QueueStuck",
            "max by (cluster_queue) (kueue_pending_workloads) > 0 unless on (cluster_queue)"
            f" sum by (cluster_queue) (increase(kueue_admitted_workloads_total[{minutes}m])) > 0",
            minutes,
            "warning",
            f"{queue} has jobs that wait, and admitted none for {minutes} minutes",
            "`kubectl describe workload` says of each what it waits for: quota, nodes, or a check that does not pass.",
        ),
        Alert(
            "JobFailed",
            # a job's counter begins at 1: there is nothing that it could have increased from
            "(jobset_failed_total unless jobset_failed_total offset 15m) or increase(jobset_failed_total[15m]) > 0",
            0,
            "warning",
            f"Job {job} failed for good",
            "`kubectl describe jobset` and the log of its first failed pod say why; a fabric probe fails when nodes are"
            " slower together than their floor.",
        ),
    ]


def _serving(percent: float, p99: float) -> list[Alert]:
    model = "{{ $labels.namespace }}: model {{ $labels.model }} {{ $labels.version }}"
    requests = "accelstack_inference_requests_total"
    by = "by (namespace, model, version)"
    return [
        Alert(
            "RequestsFail",
            f'100 * sum {by} (rate({requests}{{code=~"{FAILED}"}}[5m])) / sum {by} (rate({requests}[5m]))'
            f" > {percent:g}",
            5,
            "critical",
            f"{model} fails {{{{ $value | humanize }}}} % of its requests",
            "The pods' log says why; after a change of version, go back to the one before.",
        ),
        Alert(
            "RequestsSlow",
            "histogram_quantile(0.99, sum by (namespace, model, version, le)"
            f" (rate(accelstack_inference_request_seconds_bucket[5m]))) > {p99:g}",
            10,
            "warning",
            f"{model}: p99 is {{{{ $value | humanizeDuration }}}}",
            "Add copies, or let them scale on the requests that wait.",
        ),
        Alert(
            "NoCopyReady",
            "(kube_deployment_spec_replicas > 0"
            " unless on (namespace, deployment) kube_deployment_status_replicas_ready > 0)"
            f" and on (namespace) last_over_time({requests}[1d])",
            5,
            "critical",
            "No copy of {{ $labels.namespace }}/{{ $labels.deployment }} is ready",
            "`kubectl describe pod` says what they wait for: nodes, images, the model's files, or their start.",
        ),
    ]


def _nodes() -> list[Alert]:
    return [
        Alert(
            "TargetDown",
            'up{job=~".*(kueue|jobset|dcgm|velero).*"} == 0'
            " or up == 0 and on (job) last_over_time(accelstack_inference_requests_total[1d])",
            10,
            "warning",
            "{{ $labels.job }} at {{ $labels.instance }} gives no metrics",
            "See whether its pod runs, and whether a network policy keeps Prometheus out.",
        ),
        Alert(
            "NodeGone",
            'kube_node_status_condition{condition="Ready", status="true"} == 0',
            15,
            "warning",
            "Node {{ $labels.node }} is not ready",
            "`kubectl describe node` says why; jobs go on elsewhere from their checkpoints.",
        ),
    ]


def _backup() -> list[Alert]:
    failures = ("failure", "partial_failure", "validation_failure")
    return [
        Alert(
            "BackupFailed",
            " or ".join(f'increase(velero_backup_{each}_total{{schedule!=""}}[1d]) > 0' for each in failures),
            0,
            "critical",
            "A backup of {{ $labels.schedule }} failed, or lacks something",
            "`kubectl describe backup` in Velero's namespace says what, for the newest of the schedule.",
        ),
        Alert(
            "BackupStoreGone",
            "velero_backup_location_status_gauge == 0",
            15,
            "critical",
            "Velero does not reach the bucket of {{ $labels.backup_location_name }}",
            "`kubectl describe backupstoragelocation` in Velero's namespace says why: name, credentials, or network.",
        ),
    ]
