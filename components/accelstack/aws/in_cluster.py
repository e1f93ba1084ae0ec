"""What AWS needs inside a cluster, as charts: autoscalers, and the device plugins of GPUs and EFA."""

from collections.abc import Mapping, Sequence
from typing import Any

import pulumi

from accelstack.aws.karpenter import ACCOUNT, NAMESPACE
from accelstack.contracts import Chart
from accelstack.plan.accelerators import KINDS
from accelstack.plan.pool import PoolPlan

AUTOSCALERS = {"1.33": "v1.33.6", "1.34": "v1.34.5", "1.35": "v1.35.2", "1.36": "v1.36.1"}
"""The newest Cluster Autoscaler for each minor version of Kubernetes, as released on 2026-07-22
(https://github.com/kubernetes/autoscaler/releases)."""
AUTOSCALER_ACCOUNT = "cluster-autoscaler"
"""Its service account, in `kube-system`."""
SLOWEST_START = "30m"
"""Until a node counts as failed: machines with eight GPUs take longer than the usual 15 minutes to become ready."""
EVERYWHERE = [{"operator": "Exists"}]
"""Toleration of daemons that devices hang on: a taint that they did not know would take the devices from its nodes."""
RESTRICTED: dict[str, Any] = {
    "securityContext": {
        "runAsNonRoot": True,
        "runAsUser": 65534,
        "fsGroup": 65534,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
    "containerSecurityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "readOnlyRootFilesystem": True,
    },
}


def cluster_autoscaler(
    cluster: pulumi.Input[str], region: str, service_account: pulumi.Input[str], versions: Mapping[str, str]
) -> Chart:
    """Cluster Autoscaler for the managed node groups of a cluster, in the plan's version, with the program of the
    cluster's own minor version; take `service_account` from `aws.ClusterAutoscaler`."""
    minor = ".".join(versions["kubernetes"].split(".")[:2])
    return Chart(
        name="cluster-autoscaler",
        repository="https://kubernetes.github.io/autoscaler",
        chart="cluster-autoscaler",
        version=versions["cluster_autoscaler"],
        namespace="kube-system",
        values={
            "cloudProvider": "aws",
            "awsRegion": region,
            "autoDiscovery": {"clusterName": cluster},
            "image": {"tag": AUTOSCALERS.get(minor, f"v{minor}.0")},
            "rbac": {"serviceAccount": {"name": service_account}},
            "fullnameOverride": "cluster-autoscaler",
            "extraArgs": {
                "expander": "least-waste",
                "max-node-provision-time": SLOWEST_START,
                "skip-nodes-with-system-pods": False,
            },
            **RESTRICTED,
        },
    )


def karpenter(
    cluster: pulumi.Input[str], queue: pulumi.Input[str], service_account: pulumi.Input[str], version: str
) -> Chart:
    """Karpenter itself, with what `aws.Karpenter` made; its pools are manifests of `aws.KarpenterPool`."""
    return Chart(
        name=ACCOUNT,
        repository="",
        chart="oci://public.ecr.aws/karpenter/karpenter",
        version=version,
        namespace=NAMESPACE,
        values={
            "serviceAccount": {"name": service_account},
            "settings": {
                "clusterName": cluster,
                "interruptionQueue": queue,
                # overlays tell it of huge pages
                "featureGates": {"reservedCapacity": True, "nodeOverlay": True},
            },
            "controller": {"resources": {"requests": {"cpu": "500m", "memory": "1Gi"}, "limits": {"memory": "1Gi"}}},
        },
    )


def device_plugins(pools: Sequence[PoolPlan], versions: Mapping[str, str]) -> list[Chart]:
    """The device plugins that the pools' nodes need, in the plan's versions."""
    charts: list[Chart] = []
    if any(KINDS[pool.machine.accelerator].vendor == "nvidia" for pool in pools):
        charts.append(
            Chart(
                name="nvidia-device-plugin",
                repository="https://nvidia.github.io/k8s-device-plugin",
                chart="nvidia-device-plugin",
                version=versions["device_plugin"],
                namespace="kube-system",
                values={"tolerations": EVERYWHERE},
            )
        )
    machines = sorted({pool.machine.name for pool in pools if pool.fabric.name == "efa"})
    if machines:
        # the chart's own list of machines lags behind AWS, and a machine that is missing there has no EFA
        label = {"keys": ["node.kubernetes.io/instance-type"], "values": machines}
        charts.append(
            Chart(
                name="aws-efa-k8s-device-plugin",
                repository="https://aws.github.io/eks-charts",
                chart="aws-efa-k8s-device-plugin",
                version=f"v{versions['efa_device_plugin']}",
                namespace="kube-system",
                values={"tolerations": EVERYWHERE, "supportedInstanceLabels": label},
            )
        )
    return charts
