"""Nodes and other objects of existing clusters, as their APIs give them."""

from typing import Any

GFD_H100 = {
    "nvidia.com/gpu.present": "true",
    "nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3",
    "nvidia.com/gpu.memory": "81559",
    "nvidia.com/gpu.count": "8",
    "nvidia.com/cuda.driver-version.full": "580.82.07",
    "nvidia.com/gfd.timestamp": "1760000000",
}
"""Labels that GPU feature discovery gives nodes with 8 H100."""


def node(name: str, labels: dict[str, str] | None = None, **more: Any) -> dict[str, Any]:
    """A node; `more`: resources, taints, ready, unschedulable, arch, cpu, memory."""
    arch = more.get("arch", "amd64")
    own = {"kubernetes.io/hostname": name, "kubernetes.io/arch": arch, "kubernetes.io/os": "linux"}
    resources = {"cpu": more.get("cpu", "191450m"), "memory": more.get("memory", "2063472Mi"), "pods": "110"}
    spec: dict[str, Any] = {"taints": more.get("taints", [])}
    if more.get("unschedulable"):
        spec["unschedulable"] = True
    return {
        "metadata": {"name": name, "labels": {**own, **(labels or {})}},
        "spec": spec,
        "status": {
            "allocatable": {**resources, **more.get("resources", {})},
            "conditions": [{"type": "Ready", "status": "True" if more.get("ready", True) else "Unknown"}],
        },
    }


def bare_metal(count: int = 4, cpus: int = 2, **more: Any) -> list[dict[str, Any]]:
    """Machines of one's own with 8 H100 and InfiniBand each, and some without."""
    resources = {"nvidia.com/gpu": "8", "rdma/ib": "8"}
    gpus = [node(f"gpu-{n}", GFD_H100, resources={**resources, **more}) for n in range(count)]
    plain = [node(f"cpu-{n}", {"node-role.kubernetes.io/worker": ""}, cpu="31", memory="120Gi") for n in range(cpus)]
    return [*gpus, *plain]


def eks(count: int = 2, efa: str = "32", group: str = "train") -> list[dict[str, Any]]:
    """Nodes of EKS: p5.48xlarge with EFA, and m5.2xlarge."""
    labels = {
        "node.kubernetes.io/instance-type": "p5.48xlarge",
        "eks.amazonaws.com/nodegroup": group,
        "topology.kubernetes.io/zone": "us-east-1a",
        "topology.k8s.aws/network-node-layer-1": "nn-1",
    }
    taints = [{"key": "nvidia.com/gpu", "value": "true", "effect": "NoSchedule"}]
    resources = {"nvidia.com/gpu": "8", "hugepages-2Mi": "10Gi", **({"vpc.amazonaws.com/efa": efa} if efa else {})}
    plain = {"node.kubernetes.io/instance-type": "m5.2xlarge", "eks.amazonaws.com/nodegroup": "plain"}
    return [
        *(node(f"ip-10-0-{group}-{n}", labels, taints=taints, resources=resources) for n in range(count)),
        node("ip-10-0-9-1", {**plain, "topology.kubernetes.io/zone": "us-east-1a"}, cpu="7910m", memory="30Gi"),
    ]


def gke(count: int = 2, networks: int = 8) -> list[dict[str, Any]]:
    """Nodes of GKE: a3-megagpu-8g with the networks of TCPXO, on spot capacity."""
    labels = {
        "node.kubernetes.io/instance-type": "a3-megagpu-8g",
        "cloud.google.com/gke-accelerator": "nvidia-h100-mega-80gb",
        "cloud.google.com/gke-nodepool": "mega",
        "cloud.google.com/gke-spot": "true",
    }
    extra = {f"networking.gke.io.networks/vpc{n}": "1" for n in range(1, networks + 1)}
    addresses = {f"{name}.IP": "1" for name in extra}
    found = [node(f"gke-{n}", labels, resources={"nvidia.com/gpu": "8", **extra, **addresses}) for n in range(count)]
    plain = {"node.kubernetes.io/instance-type": "n1-standard-8", "cloud.google.com/gke-nodepool": "default"}
    return [*found, node("gke-plain", plain, cpu="7910m", memory="27Gi")]


def storage_class(name: str, default: bool = False) -> dict[str, Any]:
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"} if default else {}
    return {"metadata": {"name": name, "annotations": annotations}, "provisioner": "example.com/disk"}


def deployment(name: str, image: str, **labels: str) -> dict[str, Any]:
    spec = {"template": {"spec": {"containers": [{"name": "main", "image": image}]}}}
    return {"metadata": {"name": name, "namespace": f"{name}-system", "labels": labels}, "spec": spec}
