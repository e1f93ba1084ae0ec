"""Values of add-ons' charts: what departs from the charts' own, and why."""

from collections.abc import Callable, Collection, Mapping
from typing import Any

import yaml

from accelstack.plan import addons, images
from accelstack.plan.accelerators import KINDS

Values = dict[str, Any]

SLOWEST_START = "30m"
"""Until an admitted job's pods must run: nodes with eight GPUs take tens of minutes to start."""
RECOVERY = "10m"
"""Until a job's lost pod must run again, before the job as a whole gives its nodes back."""
CLAIMED = ("mrdma.google.com", "compute-domain-default-channel.nvidia.com")
"""Device classes that pods claim; queues count each under its own name."""
FRAMEWORKS = ("batch/job", "jobset.x-k8s.io/jobset")
FOR_GROUPS = ("pod", "leaderworkerset.x-k8s.io/leaderworkerset")
RELEASE = "kube-prometheus-stack"
METRICS_ROOM, METRICS_SIZE = "50Gi", "45GB"
"""Of Prometheus' volume, and what it fills of it before it drops the oldest."""
CERT_MANAGER = {"apiVersion": "controller.config.cert-manager.io/v1alpha1", "kind": "ControllerConfiguration"}
EVERYWHERE = [{"operator": "Exists"}]
"""Toleration of daemons that devices hang on."""
FOUND_EVERYWHERE: Values = {"node-feature-discovery": {"worker": {"tolerations": EVERYWHERE}}}
"""Operators act on nodes whose features were found; the workers that find them would keep off tainted ones."""
SECCOMP = {"seccompProfile": {"type": "RuntimeDefault"}}
NVIDIA = sorted(name for name, kind in KINDS.items() if kind.vendor == "nvidia")
GPU_NODES = {
    "requiredDuringSchedulingIgnoredDuringExecution": {
        "nodeSelectorTerms": [
            {"matchExpressions": [{"key": "nvidia.com/gpu.present", "operator": "In", "values": ["true"]}]},
            {"matchExpressions": [{"key": "accelstack/accelerator", "operator": "In", "values": NVIDIA}]},
        ]
    }
}


def values(
    component: str,
    versions: Mapping[str, str],
    *,
    installed: Collection[str] = (),
    mirror: str = "",
) -> Values:
    """The values of an add-on's chart, with the switch that leaves definitions to us.

    Args:
        versions: by component, as `plan.addons.pins` gives them.
        installed: every add-on of the cluster.
        mirror: registry and path that images come from; empty for their own.
    """
    own = _moved(_VALUES[component](versions), mirror) if component in _VALUES else {}
    if component == "kueue":
        configuration = kueue_configuration(groups="leader_worker_set" in installed)
        own["managerConfig"] = {"controllerManagerConfigYaml": yaml.safe_dump(configuration, sort_keys=False)}
    if component == "gpu_operator" and "network_operator" in installed:
        # it brings the driver of network cards, and finds nodes' features for both (az_aks_rdma)
        own = merged(own, {"driver": {"rdma": {"enabled": True}}, "nfd": {"enabled": False}})
    if component == "dra_driver" and "gpu_operator" in installed:
        own = merged(own, {"nvidiaDriverRoot": "/run/nvidia/driver"})  # where the operator's driver is
    if component == "cert_manager" and "gateway_api" in installed:
        own = merged(own, {"config": {**CERT_MANAGER, "enableGatewayAPI": True}})
    own = merged(own, dict(addons.addons()[component].switch))
    return merged(own, _images(component, mirror)) if mirror else own


def on_volume(storage_class: str = "") -> Values:
    """Values of kube-prometheus-stack that keep its metrics on a volume.

    Args:
        storage_class: of the volume; empty for the cluster's default.
    """
    claim: Values = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": METRICS_ROOM}}}
    claim |= {"storageClassName": storage_class} if storage_class else {}
    spec = {"storageSpec": {"volumeClaimTemplate": {"spec": claim}}, "retentionSize": METRICS_SIZE}
    return {"prometheus": {"prometheusSpec": spec}}


def merged(values: Mapping[str, Any], more: Mapping[str, Any]) -> Values:
    """Values with others laid over them; lists are replaced, as Helm does."""
    made = {**values}
    for key, value in more.items():
        under = made.get(key)
        made[key] = merged(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value  # pyright: ignore[reportUnknownArgumentType]
    return made


def kueue_configuration(*, groups: bool = False) -> dict[str, Any]:
    """Kueue's own configuration: all pods of a job or none, fair shares, and devices that are claimed.

    Groups of pods that serve together pass through it only where LeaderWorkerSet is there: for them it has to look at
    every pod, so that none could start while it is down.

    Topology-aware scheduling and the quota of claimed devices are on by themselves in the pinned version
    (https://github.com/kubernetes-sigs/kueue/blob/v0.18.3/pkg/features/kube_features.go).
    """
    return {
        "apiVersion": "config.kueue.x-k8s.io/v1beta2",
        "kind": "Configuration",
        "health": {"healthProbeBindAddress": ":8081"},
        "metrics": {"bindAddress": ":8443", "enableClusterQueueResources": True},
        "webhook": {"port": 9443},
        "leaderElection": {"leaderElect": True, "resourceName": "c1f6bfd2.kueue.x-k8s.io"},
        "controller": {
            "groupKindConcurrency": {
                "Job.batch": 5,
                "Pod": 5,
                "Workload.kueue.x-k8s.io": 5,
                "LocalQueue.kueue.x-k8s.io": 1,
                "ClusterQueue.kueue.x-k8s.io": 1,
                "ResourceFlavor.kueue.x-k8s.io": 1,
            }
        },
        "clientConnection": {"qps": 50, "burst": 100},
        "manageJobsWithoutQueueName": False,
        "waitForPodsReady": {
            "timeout": SLOWEST_START,
            "recoveryTimeout": RECOVERY,
            "blockAdmission": False,
            "requeuingStrategy": {"timestamp": "Eviction", "backoffBaseSeconds": 60, "backoffMaxSeconds": 1800},
        },
        "integrations": {"frameworks": [*FRAMEWORKS, *(FOR_GROUPS if groups else ())]},
        "fairSharing": {"preemptionStrategies": ["LessThanOrEqualToFinalShare", "LessThanInitialShare"]},
        "resources": {"deviceClassMappings": [{"name": name, "deviceClassNames": [name]} for name in CLAIMED]},
    }


def _kueue(versions: Mapping[str, str]) -> Values:
    return {
        "controllerManager": {
            "manager": {
                "image": _image("registry.k8s.io/kueue/kueue", versions["kueue"]),
                "resources": _resources("500m", "1Gi"),
            }
        }
    }


def _jobset(versions: Mapping[str, str]) -> Values:
    return {
        "image": _image("registry.k8s.io/jobset/jobset", versions["jobset"]),
        "controller": {"resources": _resources("250m", "512Mi")},
    }


def _leader_worker_set(versions: Mapping[str, str]) -> Values:
    return {
        "image": {"manager": _image("registry.k8s.io/lws/lws", versions["leader_worker_set"])},
        "podSecurityContext": {"runAsNonRoot": True, **SECCOMP},
        "resources": _resources("250m", "512Mi"),
    }


def _cert_manager(versions: Mapping[str, str]) -> Values:
    small = _resources("50m", "256Mi")
    return {"resources": small, "webhook": {"resources": small}, "cainjector": {"resources": small}}


def _kube_prometheus_stack(versions: Mapping[str, str]) -> Values:
    every = (f"{kind}SelectorNilUsesHelmValues" for kind in ("podMonitor", "serviceMonitor", "rule", "probe"))
    hidden = {"enabled": False}  # managed control planes do not show them, and their alerts would never be silent
    return {
        "fullnameOverride": RELEASE,
        "prometheus": {
            "prometheusSpec": {
                **dict.fromkeys(every, False),
                "retention": "15d",
                "resources": _resources("500m", "4Gi"),
            }
        },
        "kubeControllerManager": hidden,
        "kubeScheduler": hidden,
        "kubeEtcd": hidden,
        "kubeProxy": hidden,
        "prometheus-node-exporter": {"tolerations": EVERYWHERE},
    }


def _dcgm_exporter(versions: Mapping[str, str]) -> Values:
    return {
        "tolerations": EVERYWHERE,
        "affinity": {"nodeAffinity": GPU_NODES},
        "serviceMonitor": {"enabled": False},  # `k8s.Observability` reads it
    }


def _velero(versions: Mapping[str, str]) -> Values:
    """Locations are made by `k8s.Backup`."""
    plugin = {
        "name": "velero-plugin-for-aws",
        "image": f"velero/velero-plugin-for-aws:v{versions['velero_aws_plugin']}",
        "volumeMounts": [{"mountPath": "/target", "name": "plugins"}],
    }
    return {
        "image": {"repository": "velero/velero", "tag": f"v{versions['velero']}"},
        "initContainers": [plugin],
        "deployNodeAgent": True,
        "nodeAgent": {"tolerations": EVERYWHERE},
        "backupsEnabled": False,
        "snapshotsEnabled": False,
        "credentials": {"useSecret": False},
        "configuration": {"backupStorageLocation": [], "volumeSnapshotLocation": []},
    }


def _gpu_operator(versions: Mapping[str, str]) -> Values:
    """Drivers are installed, since plans take the operator for nodes that lack them; it leaves a node's own alone."""
    needed = {"enabled": True}
    return {
        "daemonsets": {"tolerations": EVERYWHERE},
        "operator": {"upgradeCRD": True},
        "driver": needed,
        "toolkit": needed,
        **FOUND_EVERYWHERE,
    }


def _amd_gpu_operator(versions: Mapping[str, str]) -> Values:
    """Its plug-in, labeller and exporter; no workflows for repairs, which nobody asked for."""
    plugin = {"devicePluginTolerations": EVERYWHERE, "nodeLabellerTolerations": EVERYWHERE}
    return {
        "remediation": {"enabled": False},
        "deviceConfig": {"spec": {"devicePlugin": plugin, "metricsExporter": {"tolerations": EVERYWHERE}}},
        **FOUND_EVERYWHERE,
    }


def _network_operator(versions: Mapping[str, str]) -> Values:
    return {**FOUND_EVERYWHERE}


def _dra_driver(versions: Mapping[str, str]) -> Values:
    """Compute domains alone: GPUs are the device plugin's."""
    return {
        "resources": {"gpus": {"enabled": False}},
        "kubeletPlugin": {"tolerations": EVERYWHERE, "affinity": {"nodeAffinity": GPU_NODES}},
    }


def _device_plugin(versions: Mapping[str, str]) -> Values:
    """With feature discovery, whose labels its pods are placed by: nodes that nobody labelled would get none."""
    return {"tolerations": EVERYWHERE, "gfd": {"enabled": True}, "nfd": FOUND_EVERYWHERE["node-feature-discovery"]}


def _everywhere(versions: Mapping[str, str]) -> Values:
    return {"tolerations": EVERYWHERE}


def _moved(given: Values, mirror: str) -> Values:
    """Values whose images, where they name any, come from a mirror."""

    def moved(key: str, value: Any) -> Any:
        if key in ("repository", "image") and isinstance(value, str):
            return images.mirrored(value, mirror)
        if key == "initContainers":
            return [_moved(each, mirror) for each in value]
        return _moved(value, mirror) if isinstance(value, dict) else value  # pyright: ignore[reportUnknownArgumentType]

    return {key: moved(key, value) for key, value in given.items()}


def _images(component: str, mirror: str) -> Values:
    """The values that name a chart's images, which a mirror has under their whole names."""
    found: Values = {}
    places = addons.image_places(component)
    for path, name in places.whole.items():
        found = merged(found, _at(path, images.mirrored(name, mirror)))
    for path, name in places.apart.items():
        registry, _, repository = images.mirrored(name, mirror).partition("/")
        found = merged(found, _at(path, {"registry": registry, "repository": repository}))
    return found


def _at(path: str, value: Any) -> Values:
    """The value where a dotted path says."""
    first, _, rest = path.partition(".")
    return {first: _at(rest, value) if rest else value}


def _image(repository: str, version: str) -> Values:
    return {"repository": repository, "tag": f"v{version}", "pullPolicy": "IfNotPresent"}


def _resources(cpu: str, memory: str) -> Values:
    """Requests, and as much memory as limit: a controller that grows past it is better started anew."""
    return {"requests": {"cpu": cpu, "memory": memory}, "limits": {"memory": memory}}


_VALUES: dict[str, Callable[[Mapping[str, str]], Values]] = {
    "kueue": _kueue,
    "jobset": _jobset,
    "leader_worker_set": _leader_worker_set,
    "cert_manager": _cert_manager,
    "kube_prometheus_stack": _kube_prometheus_stack,
    "dcgm_exporter": _dcgm_exporter,
    "velero": _velero,
    "gpu_operator": _gpu_operator,
    "amd_gpu_operator": _amd_gpu_operator,
    "network_operator": _network_operator,
    "dra_driver": _dra_driver,
    "device_plugin": _device_plugin,
    "efa_device_plugin": _everywhere,
}
