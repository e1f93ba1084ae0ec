"""What runs inside a cluster, whoever made it: add-ons, queues, training, the model in service, what watches them."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pulumi
from accelstack import k8s
from accelstack.contracts import Chart, ClusterPool, ModelVersion, StoreAccess
from accelstack.k8s import addon_values as k8s_values
from accelstack.k8s import pod, training_job_manifest
from accelstack.plan import addons, inside
from accelstack.plan.inside import Inside
from accelstack.plan.request import SYSTEM
from accelstack.plan.training import settled
from settings import Settings

from blueprints.outputs import Outputs
from blueprints.planning import add_ons_name

MONITORING, VELERO = "monitoring", "velero"
"""Namespaces of kube-prometheus-stack and of Velero."""
LOCK = Path(__file__).resolve().parents[1] / "addons.lock.json"
"""What `accelstack addons lock` writes."""
PROMETHEUS = "http://kube-prometheus-stack-prometheus.monitoring.svc:9090"


@dataclass(frozen=True)
class Access:
    """What pods of a namespace work with."""

    service_account: pulumi.Output[str]
    store: StoreAccess
    pull_secrets: list[pulumi.Input[str]] = field(default_factory=list)


@dataclass(frozen=True)
class Ground:
    """A cluster, and what its stack has beside it."""

    name: str
    """What names in the cluster begin with, so that stacks that share it keep apart."""
    opts: pulumi.ResourceOptions
    """With the cluster's provider."""
    kubeconfig: pulumi.Output[str]
    pools: list[ClusterPool]
    store: pulumi.Input[str]
    """URI of the object store, as pods see it."""
    access: Callable[[Mapping[str, k8s.Namespace]], Mapping[str, Access]]
    """How the pods of namespaces reach it, by what the namespaces are for."""
    add_ons: dict[str, str]
    """Versions of the add-ons to install, and of their parts."""
    adopted: list[str] = field(default_factory=list)
    """Add-ons of others that are used."""
    homes: list[str] = field(default_factory=list)
    """Others' namespaces that add-ons are installed into."""
    keeps: bool = False
    """Whether the cluster, and with it the registry's volume, outlives the stack."""
    egress: list[k8s.Egress] = field(default_factory=list)
    """Addresses that pods need besides any on port 443."""
    reaches: list[str] = field(default_factory=list)
    """Namespaces whose pods they need, such as an object store's."""
    image: pulumi.Input[str] = ""
    """Image with the workloads, by digest; empty where a base image runs their source."""
    charts: list[Chart] = field(default_factory=list)
    """What the cloud needs inside its cluster."""
    manifests: list[dict[str, Any]] = field(default_factory=list)


def check(chosen: Settings, asked: Inside, pools: list[ClusterPool]) -> None:
    """Holds the settings of training against the pool that trains, and looks for secrets, before the first resource.

    Raises:
        pulumi.InputPropertyError: a setting breaks its rule, or a secret that it needs is not set.
    """
    needed = {"registry_password": asked.registry, "backup_credentials": bool(asked.backup)}
    for key, wanted in needed.items():
        if wanted and pulumi.Config().get_secret(key) is None:
            raise pulumi.InputPropertyError(key, f"is not set; run `pulumi config set --secret {key}`")
    training = {**settled(chosen.training), "store": "", "pool": _chosen(pools, asked.train_on, "train")}
    for path, reason in training_job_manifest.problems(training).items():
        raise pulumi.InputPropertyError(path, reason)


def build(chosen: Settings, asked: Inside, ground: Ground) -> Outputs:
    """Puts it all into the cluster; gives the outputs of the workloads."""
    given: k8s.AddOnsArgs = {
        "components": [name for name in addons.addons() if name in ground.add_ons],
        "versions": ground.add_ons,
        "charts": ground.charts,
        "manifests": ground.manifests,
        "adopted": ground.adopted,
        "homes": ground.homes,
        "values": {"kube_prometheus_stack": k8s_values.on_volume(asked.storage_class)},
    }
    if asked.crds:
        given["crds"] = asked.crds
    if asked.mirror:
        given["mirror"] = asked.mirror
    if LOCK.exists():
        given["lock"] = json.loads(LOCK.read_text())
    ready = k8s.AddOns(add_ons_name(ground.name), given, ground.opts).ready
    train_on = _chosen(ground.pools, asked.train_on, "train")
    serve_on = _chosen(ground.pools, asked.serve_on, "serve")
    spaces = _namespaces(asked, ground, train_on, serve_on)
    access = ground.access(spaces)
    teams = [_team(name, spaces, asked) for name in asked.teams or {inside.USUAL_TEAM: {}}]
    # what serves, and what runs the cluster, takes no quota
    queued = [pool for pool in ground.pools if pool is train_on or (pool is not serve_on and pool["name"] != SYSTEM)]
    queues = k8s.Queues(ground.name, {"pools": queued, "teams": teams, "ready": ready}, ground.opts)
    registry = _registry(asked, ground, spaces, access) if asked.registry else None
    home = asked.team or teams[0]["name"]
    training = _training(chosen, asked, ground, train_on, spaces[home], access[home], queues, home, registry)
    inference = _inference(chosen, asked, ground, serve_on, spaces["serving"], access["serving"], training, ready)
    if asked.observability:
        k8s.Observability(ground.name[:31], {"namespace": _after(MONITORING, ready)}, ground.opts)
    if asked.backup:
        _backup(asked, ground, spaces, ready)
    return {
        "training": {"run_id": training.run_id, "metrics": training.metrics, "job": training.job},
        "model": training.model,
        **({"inference": _served(inference)} if inference else {}),
        **({"registry": registry.uri} if registry else {}),
    }


def _chosen(pools: list[ClusterPool], wanted: str, usual: str) -> ClusterPool:
    name = inside.pool_for([pool["name"] for pool in pools], wanted, usual)
    return next(pool for pool in pools if pool["name"] == name)


def _namespaces(
    asked: Inside, ground: Ground, train_on: ClusterPool, serve_on: ClusterPool
) -> dict[str, k8s.Namespace]:
    """A namespace for each team's jobs, for serving and for the registry, by what it is for."""
    outward: k8s.NamespaceArgs = {"egress": True, "egress_to": ground.egress, "reaches": [*ground.reaches]}
    watched: list[pulumi.Input[str]] = [MONITORING] if asked.observability else []
    serving: k8s.NamespaceArgs = {**outward, "reachable_from": [*watched, *asked.gateway_pods]}
    if asked.replica_nodes > 1:  # the nodes of one copy are joined as those of a training job
        serving |= {"level": pod.standard(serve_on["pod_fabric"]), "internal": True}
    jobs: k8s.NamespaceArgs = {**outward, "level": pod.standard(train_on["pod_fabric"]), "internal": True}
    if asked.registry:
        jobs["reaches"] = [*ground.reaches, f"{ground.name}-registry"]
    found = {**dict.fromkeys([*asked.teams] or [inside.USUAL_TEAM], jobs), inside.SERVING: serving}
    if asked.registry:
        found[inside.REGISTRY] = {**outward, "kept": ground.keeps}  # the registry says itself whom it lets in
    return {use: k8s.Namespace(f"{ground.name}-{use}", args, ground.opts) for use, args in found.items()}


def _team(name: str, spaces: Mapping[str, k8s.Namespace], asked: Inside) -> k8s.Team:
    own: Any = {"name": name, "namespace": spaces[name].namespace, **asked.teams.get(name, {})}
    return own


def _runtime(asked: Inside, ground: Ground, pool: ClusterPool, access: Access) -> dict[str, Any]:
    """What the workloads' code runs in."""
    daemon = pool["pod_fabric"].get("daemon")
    runtime = {"image": ground.image} if ground.image else {"base_image": asked.images.get("base", "")}
    if daemon and daemon["component"] in asked.images:
        runtime["daemon_image"] = asked.images[daemon["component"]]
    return {**runtime, "pull_secrets": access.pull_secrets}


def _training(
    chosen: Settings,
    asked: Inside,
    ground: Ground,
    pool: ClusterPool,
    space: k8s.Namespace,
    access: Access,
    queues: k8s.Queues,
    team: str,
    registry: k8s.ModelRegistry | None,
) -> k8s.TrainingJob:
    """The training job, behind a probe of its fabric where there is one."""
    place: dict[str, Any] = {
        **_runtime(asked, ground, pool, access),
        "namespace": space.namespace,
        "service_account": access.service_account,
        "pool": pool,
        "queue": queues.queues[team],
        "priority": queues.priorities[asked.priority],
        "kubeconfig": ground.kubeconfig,
    }
    job: dict[str, Any] = {
        **chosen.training,
        **place,
        "store": ground.store,
        "store_access": access.store,
        "wait_minutes": asked.wait_minutes,
    }
    if registry:
        job["registry"] = registry.uri
    if pool["fabric"] != "none" and pool["nodes"] > 1 and asked.probe != "off":
        probe: dict[str, Any] = {**place, "gate": asked.probe == "gate"}
        if asked.probe_floor:
            probe["floor_gbs"] = asked.probe_floor
        job["probed"] = k8s.FabricProbe("probe", probe, ground.opts).passed  # pyright: ignore[reportArgumentType]
    return k8s.TrainingJob("training", job, ground.opts)  # pyright: ignore[reportArgumentType]


def _inference(
    chosen: Settings,
    asked: Inside,
    ground: Ground,
    pool: ClusterPool,
    space: k8s.Namespace,
    access: Access,
    training: k8s.TrainingJob,
    ready: pulumi.Output[str],
) -> k8s.InferenceService | None:
    """The pinned model version in service, or the one that was waited for; None where there is neither."""
    if not asked.serving and not asked.wait_minutes:
        return None
    model: pulumi.Input[ModelVersion] = training.model
    if asked.serving:
        model = ModelVersion(**inside.model(chosen.model_name, asked.serving))
    args: dict[str, Any] = {
        **_runtime(asked, ground, pool, access),
        "model": model,
        "replicas": chosen.replicas,
        "namespace": _after(space.namespace, ready),
        "service_account": access.service_account,
        "pool": pool,
        "store": access.store,
        "engine": asked.engine,
        "nodes": asked.replica_nodes,
    }
    if asked.replica_nodes == 1:
        args.pop("daemon_image", None)
    if asked.canary:
        pinned = ModelVersion(**inside.model(chosen.model_name, asked.canary))
        args["canary"] = {"model": pinned, "percent": asked.canary["percent"]}
    if asked.max_replicas:
        args |= {"min_replicas": asked.min_replicas, "max_replicas": asked.max_replicas, "scale_on": asked.scale_on}
    if asked.scale_on == "queue":
        args["prometheus"] = asked.prometheus or PROMETHEUS
    if asked.observability:
        args["monitoring_namespace"] = MONITORING
    given: dict[str, Any] = {
        "accelerators": asked.replica_accelerators,
        "engine_image": asked.images.get("engine", ""),
        "options": asked.engine_options,
        "wake_query": asked.wake_query,
        "hostname": asked.hostname,
        "grpc_hostname": asked.grpc_hostname,
        "gateway": asked.gateway,
        "gateway_class": asked.gateway_class,
        "gateway_pods": [*asked.gateway_pods],
        "reachable_from_addresses": [*asked.gateway_addresses],
        "issuer": asked.issuer,
    }
    args |= {key: value for key, value in given.items() if value}
    return k8s.InferenceService("inference", args, ground.opts)  # pyright: ignore[reportArgumentType]


def _served(inference: k8s.InferenceService) -> dict[str, pulumi.Input[Any]]:
    return {
        "rest": inference.rest,
        "grpc": inference.grpc,
        "console": inference.console,
        "deployments": inference.deployments,
    }


def _registry(
    asked: Inside, ground: Ground, spaces: Mapping[str, k8s.Namespace], access: Mapping[str, Access]
) -> k8s.ModelRegistry:
    """MLflow over a PostgreSQL of its own, whose password is the stack's secret `registry_password`."""
    args: k8s.ModelRegistryArgs = {
        "namespace": spaces["registry"].namespace,
        "service_account": access["registry"].service_account,
        "pool": next((pool for pool in ground.pools if pool["name"] == SYSTEM), ground.pools[-1]),
        "image": asked.images.get("mlflow", ""),
        "store": access["registry"].store,
        "clients": [spaces[team].namespace for team in [*asked.teams] or [inside.USUAL_TEAM]],
        "database_image": asked.images.get("postgres", ""),
        "password": pulumi.Config().require_secret("registry_password"),
        "pull_secrets": access["registry"].pull_secrets,
    }
    if asked.storage_class:
        args["storage_class"] = asked.storage_class
    return k8s.ModelRegistry("registry", args, ground.opts)


def _backup(asked: Inside, ground: Ground, spaces: Mapping[str, k8s.Namespace], ready: pulumi.Output[str]) -> None:
    args: k8s.BackupArgs = {
        "namespace": _after(VELERO, ready),
        "bucket": asked.backup,
        "schedule": asked.backup_schedule,
        "namespaces": [space.namespace for space in spaces.values()],
        "credentials": pulumi.Config().require_secret("backup_credentials"),
    }
    if asked.backup_endpoint:
        args["endpoint"] = asked.backup_endpoint
    k8s.Backup(ground.name, args, ground.opts)


def _after(value: pulumi.Input[str], ready: pulumi.Output[str]) -> pulumi.Output[str]:
    """The value, known once the add-ons are ready."""
    return pulumi.Output.all(value, ready).apply(lambda parts: parts[0])
