"""What the dashboards show: panels of PromQL expressions, and where their metrics come from."""

from collections.abc import Mapping
from dataclasses import dataclass

FAILED = "5..|INTERNAL|UNAVAILABLE|UNKNOWN|DEADLINE_EXCEEDED|RESOURCE_EXHAUSTED"
"""Codes of the native server's requests that count as errors of the server, HTTP's and gRPC's; a client that went away
or asked for nonsense is none."""
GPU_RESOURCES = "nvidia_com_gpu|amd_com_gpu"
"""Extended resources of GPUs, as kube-state-metrics writes them."""


@dataclass(frozen=True, slots=True)
class Panel:
    """A graph."""

    title: str
    unit: str
    """Grafana's name of it, such as `percent` or `s`."""
    queries: Mapping[str, str]
    """PromQL expressions, by what a line is called: Grafana's pattern, such as `{{pod}}`."""
    kind: str = "timeseries"
    """`timeseries`, or `stat` for the newest value alone."""
    about: str = ""
    """What it tells, where the title does not."""


def _quantile(share: float, metric: str, by: str, where: str = "", window: str = "5m") -> str:
    return f"histogram_quantile({share}, sum by ({by}, le) (rate({metric}_bucket{where}[{window}])))"


GPUS = (
    Panel(
        "GPUs",
        "short",
        {
            "there": "count(DCGM_FI_DEV_GPU_UTIL)",
            "given to pods": 'count(DCGM_FI_DEV_GPU_UTIL{exported_pod!=""}) or vector(0)',
        },
        kind="stat",
    ),
    Panel("Utilisation by node", "percent", {"{{Hostname}}": "avg by (Hostname) (DCGM_FI_DEV_GPU_UTIL)"}),
    Panel(
        "Utilisation by pod",
        "percent",
        {
            "{{exported_namespace}}/{{exported_pod}}": (
                'avg by (exported_namespace, exported_pod) (DCGM_FI_DEV_GPU_UTIL{exported_pod!=""})'
            )
        },
    ),
    Panel(
        "Memory in use",
        "percent",
        {
            "{{Hostname}} {{gpu}}": (
                "100 * max by (Hostname, gpu) (DCGM_FI_DEV_FB_USED / (DCGM_FI_DEV_FB_USED + DCGM_FI_DEV_FB_FREE))"
            )
        },
    ),
    Panel("Power", "watt", {"{{Hostname}}": "sum by (Hostname) (DCGM_FI_DEV_POWER_USAGE)"}),
    Panel(
        "Temperature, hottest of each node",
        "celsius",
        {
            "{{Hostname}}": "max by (Hostname) (DCGM_FI_DEV_GPU_TEMP)",
            "{{Hostname}} memory": "max by (Hostname) (DCGM_FI_DEV_MEMORY_TEMP)",
        },
    ),
    Panel(
        "Last XID error",
        "none",
        {"{{Hostname}} {{gpu}}": "max by (Hostname, gpu) (DCGM_FI_DEV_XID_ERRORS) > 0"},
        about="https://docs.nvidia.com/deploy/xid-errors/ says what each code means.",
    ),
    Panel(
        "Clock, slowest of each node",
        "hertz",
        {"{{Hostname}}": "1000000 * min by (Hostname) (DCGM_FI_DEV_SM_CLOCK)"},
        about="Well below the others under load: throttled by heat or power.",
    ),
)
"""Metrics of the DCGM exporter, of those that it gives by default
(https://github.com/NVIDIA/dcgm-exporter/blob/main/etc/default-counters.csv); NVIDIA's GPUs alone. `exported_pod` is
the pod that has the GPU: `pod` is the exporter's own."""

TRAINING = (
    Panel(
        "Jobs that wait",
        "short",
        {"{{cluster_queue}} {{status}}": "max by (cluster_queue, status) (kueue_pending_workloads)"},
    ),
    Panel("Jobs that run", "short", {"{{cluster_queue}}": "max by (cluster_queue) (kueue_admitted_active_workloads)"}),
    Panel(
        "Wait until admitted",
        "s",
        {
            "half of {{cluster_queue}}": _quantile(
                0.5, "kueue_admission_wait_time_seconds", "cluster_queue", window="1h"
            ),
            "nine in ten of {{cluster_queue}}": _quantile(
                0.9, "kueue_admission_wait_time_seconds", "cluster_queue", window="1h"
            ),
        },
    ),
    Panel(
        "Quota in use",
        "percent",
        {
            "{{cluster_queue}} {{flavor}} {{resource}}": (
                "100 * max by (cluster_queue, flavor, resource) (kueue_cluster_queue_resource_usage)"
                " / (max by (cluster_queue, flavor, resource) (kueue_cluster_queue_nominal_quota) > 0)"
            )
        },
        about="Above 100: borrowed from other queues of the cohort.",
    ),
    Panel(
        "Share of the cohort",
        "short",
        {"{{cluster_queue}}": "max by (cluster_queue) (kueue_cluster_queue_weighted_share)"},
        about="What fair sharing compares; 0 while a queue borrows nothing.",
    ),
    Panel(
        "Jobs put back into the queue in an hour",
        "short",
        {
            "{{cluster_queue}} {{reason}}": (
                "sum by (cluster_queue, reason) (increase(kueue_evicted_workloads_total[1h]))"
            )
        },
    ),
    Panel(
        "Jobs ended in an hour",
        "short",
        {
            "completed in {{namespace}}": "sum by (namespace) (increase(jobset_completed_total[1h]))",
            "failed in {{namespace}}": "sum by (namespace) (increase(jobset_failed_total[1h]))",
        },
    ),
)
"""Metrics of Kueue (https://kueue.sigs.k8s.io/docs/reference/metrics/), whose quotas need
`metrics.enableClusterQueueResources` in its configuration, and of JobSet
(https://jobset.sigs.k8s.io/docs/reference/metrics/). Each replica of Kueue tells of itself: hence the maxima."""

_HERE = '{namespace=~"$namespace"}'
_FAILED_HERE = f'{{namespace=~"$namespace", code=~"{FAILED}"}}'
SERVING = (
    Panel(
        "Requests",
        "reqps",
        {
            "{{model}} {{version}} {{protocol}}": (
                f"sum by (model, version, protocol) (rate(accelstack_inference_requests_total{_HERE}[5m]))"
            )
        },
        about="By version: how a canary's share comes out.",
    ),
    Panel(
        "Errors",
        "percent",
        {
            "{{model}} {{version}}": (
                f"100 * (sum by (model, version) (rate(accelstack_inference_requests_total{_FAILED_HERE}[5m]))"
                f" or 0 * sum by (model, version) (rate(accelstack_inference_requests_total{_HERE}[5m])))"
                f" / sum by (model, version) (rate(accelstack_inference_requests_total{_HERE}[5m]))"
            )
        },
    ),
    Panel(
        "Time to answer",
        "s",
        {
            f"{called} of {{{{model}}}} {{{{version}}}}": _quantile(
                share, "accelstack_inference_request_seconds", "model, version", _HERE
            )
            for called, share in (("p50", 0.5), ("p90", 0.9), ("p99", 0.99))
        },
    ),
    Panel(
        "Requests in the servers",
        "short",
        {"{{model}} {{version}}": f"sum by (model, version) (accelstack_inference_waiting{_HERE})"},
        about="Answered now or waiting: what autoscaling by queue goes by.",
    ),
    Panel(
        "Samples",
        "ops",
        {"{{model}} {{version}}": f"sum by (model, version) (rate(accelstack_inference_samples_total{_HERE}[5m]))"},
    ),
    Panel(
        "Copies",
        "short",
        {
            "{{deployment}} ready": f"sum by (deployment) (kube_deployment_status_replicas_ready{_HERE})",
            "{{deployment}} wanted": f"sum by (deployment) (kube_deployment_spec_replicas{_HERE})",
        },
    ),
)
"""Metrics of the native server, and of kube-state-metrics
(https://github.com/kubernetes/kube-state-metrics/tree/main/docs/metrics)."""

_DISKS = '{fstype!~"tmpfs|overlay|squashfs"}'
NODES = (
    Panel(
        "Nodes",
        "short",
        {
            "ready": 'sum(kube_node_status_condition{condition="Ready", status="true"})',
            "not ready": 'sum(kube_node_status_condition{condition="Ready", status=~"false|unknown"})',
        },
        kind="stat",
    ),
    Panel(
        "GPUs that pods may have",
        "short",
        {
            "there": f'sum(kube_node_status_allocatable{{resource=~"{GPU_RESOURCES}"}})',
            "taken": (
                f'sum(kube_pod_container_resource_requests{{resource=~"{GPU_RESOURCES}"}}'
                ' * on (namespace, pod) group_left () (kube_pod_status_phase{phase="Running"} == 1)) or vector(0)'
            ),
        },
    ),
    Panel(
        "Processors in use",
        "percent",
        {"{{instance}}": '100 * (1 - avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5m])))'},
    ),
    Panel(
        "Memory in use",
        "percent",
        {"{{instance}}": "100 * (1 - node_memory_MemAvailable_bytes / node_memory_MemTotal_bytes)"},
    ),
    Panel(
        "Disks, fullest of each node",
        "percent",
        {
            "{{instance}}": (
                "100 * max by (instance) "
                f"(1 - node_filesystem_avail_bytes{_DISKS} / node_filesystem_size_bytes{_DISKS})"
            )
        },
    ),
    Panel(
        "Network received",
        "Bps",
        {
            "{{instance}}": (
                'sum by (instance) (rate(node_network_receive_bytes_total{device!~"lo|veth.*|cali.*|cilium.*"}[5m]))'
            )
        },
    ),
    Panel(
        "InfiniBand and RoCE received",
        "Bps",
        {"{{instance}}": "sum by (instance) (rate(node_infiniband_port_data_received_bytes_total[5m]))"},
        about="Flat under training over several nodes: the fabric is not used.",
    ),
)
"""Metrics of node-exporter (https://github.com/prometheus/node_exporter) and kube-state-metrics."""
