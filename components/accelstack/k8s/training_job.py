"""A training job on any Kubernetes cluster with JobSet and Kueue, with the args and outputs of every other target."""

from collections.abc import Mapping
from typing import Any, NotRequired, cast

import pulumi

from accelstack import fingerprint
from accelstack.contracts import ClusterPool, ModelVersion, StoreAccess, TrainingJobArgs
from accelstack.k8s import bundle, gang, pod, training_job_manifest
from accelstack.k8s.gang import Gang, RuntimeArgs
from accelstack.k8s.job_outcome import TrainingOutcome
from accelstack.k8s.objects import KubernetesObject
from accelstack.plan import training

RESTARTS = 10
"""A machine that dies is not always told from a program that fails: the others may fail first, waiting for it."""


class K8sTrainingJobArgs(TrainingJobArgs, RuntimeArgs):
    """Args of `k8s.TrainingJob`."""

    namespace: pulumi.Input[str]
    """Namespace that it runs in, such as a `k8s.Namespace` with `internal`."""
    service_account: pulumi.Input[str]
    """Service account of its pods, such as the namespace's."""
    pool: ClusterPool
    """The pool that it trains on."""
    queue: pulumi.Input[str]
    """Kueue's local queue in the namespace."""
    priority: NotRequired[pulumi.Input[str]]
    """Kueue's priority class; the queue's usual one if left out."""
    nodes: NotRequired[int]
    """Nodes that train together; all of the pool's if left out."""
    min_nodes: NotRequired[int]
    """Nodes that go on with training while a lost one is replaced; all must be there again if left out. Kueue admits
    all `nodes` or none, whatever this says."""
    store_access: NotRequired[StoreAccess]
    """How pods reach the store; if left out, `store` and the service account's own identity are enough."""
    registry: NotRequired[pulumi.Input[str]]
    """URI of the MLflow registry that counts the model's versions; a table in the store if left out."""
    data_version: NotRequired[pulumi.Input[str]]
    """Anything that is another when the dataset at a URI is, such as its date or digest: another one makes a new run,
    and what changes in the dataset without it is not seen from here."""
    restarts: NotRequired[int]
    """How often it begins again, from its last checkpoint, after a failure; lost and taken machines and preemption do
    not count. 10 if left out."""
    wait_minutes: NotRequired[float]
    """How long `up` follows it for its results; 0, which returns once it is submitted, if left out."""
    kubeconfig: NotRequired[pulumi.Input[str]]
    """The cluster, and how to sign in to it: needed with `wait_minutes`."""
    probed: NotRequired[pulumi.Input[str]]
    """`passed` of a `k8s.FabricProbe`, so that training waits for it."""


class TrainingJob(pulumi.ComponentResource):
    """A run of a bundled workload on a cluster, as a JobSet that waits in a queue until all its nodes are free.

    `up` returns once it is submitted, or follows it for `wait_minutes`. The same code, data and settings make no new
    run. Another run replaces the JobSet; `destroy` stops it; what runs left in the store stays there. A job whose nodes
    are lost, taken or preempted saves a checkpoint where it can and goes on from the last one. Works from Python
    programs alone where it waits, since that stands on a dynamic resource.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    run_id: pulumi.Output[str]
    """Identity of the run, from its code, data and settings."""
    metrics: pulumi.Output[dict[str, Any]]
    """Figures of the evaluation on held-out data, and of the run; empty where it was not waited for."""
    model: pulumi.Output[ModelVersion]
    """The model version that came of the run; where it was not waited for, without version and digest, and with the
    `uri` where it will be."""
    job: pulumi.Output[str]
    """The JobSet, as `<namespace>/<name>`: what `accelstack status` asks for."""

    def __init__(self, name: str, args: K8sTrainingJobArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        pool, runtime = args["pool"], gang.refuse_runtime(args, args["pool"])
        settled = training.settled(args)
        for path, reason in training_job_manifest.problems(settled).items():
            raise pulumi.InputPropertyError(path, reason)
        super().__init__("accelstack:index:K8sTrainingJob", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        nodes = args.get("nodes", pool["nodes"])
        access: StoreAccess = args.get("store_access", {"uri": args["store"], "environment": {}})
        self.run_id = pulumi.Output.all(**_identity(name, settled, runtime, nodes)).apply(training_job_manifest.run_id)
        short = self.run_id.apply(lambda run: run[: training_job_manifest.SHORT])
        called = pulumi.Output.concat(gang.fitting(name), "-", short)
        environment, secrets, volumes, mounts = pod.store_parts(access)
        asked: Gang = {
            "name": called,
            "namespace": args["namespace"],
            "role": gang.TRAINING,
            "part_of": name,
            "service_account": args["service_account"],
            "queue": args["queue"],
            "pool": pool,
            "nodes": nodes,
            "min_nodes": args.get("min_nodes", nodes),
            "runtime": runtime,
            "program": training_job_manifest.program(
                settled, nodes, args.get("min_nodes", nodes), called, self.run_id, access
            ),
            "environment": environment,
            "secrets": secrets,
            "volumes": volumes,
            "mounts": mounts,
            "restarts": args.get("restarts", RESTARTS),
        }
        if "priority" in args:
            asked["priority"] = args["priority"]
        if "probed" in args:
            asked["annotations"] = {"accelstack/probed": args["probed"]}
        if "base_image" in args:
            code = KubernetesObject(f"{name}-code", bundle.config_map(name, args["namespace"]), child)
            asked["config_map"] = gang.name_of(code)
            asked["packages"] = _packages(settled, access)
        job = gang.submit(self, name, asked)
        self.job = job.id
        self.metrics, self.model = self._outcome(name, settled, access, called, job)
        self.register_outputs({"run_id": self.run_id, "metrics": self.metrics, "model": self.model, "job": self.job})

    def _outcome(
        self, name: str, args: Mapping[str, Any], access: StoreAccess, called: pulumi.Output[str], job: gang.JobSet
    ) -> tuple[pulumi.Output[dict[str, Any]], pulumi.Output[ModelVersion]]:
        run = pulumi.Output.concat("/runs/", self.run_id)
        if not args.get("wait_minutes", 0):
            uri = pulumi.Output.concat(access["uri"], run, "/model")
            to_be = pulumi.Output.all(name=args["model"], version="", digest="", uri=uri)
            return pulumi.Output.from_input(cast(dict[str, Any], {})), cast(pulumi.Output[ModelVersion], to_be)
        props = {
            "kubeconfig": pulumi.Output.secret(args.get("kubeconfig", "")),
            "namespace": args["namespace"],
            "job": called,
            "uid": job.uid,
            "uri": pulumi.Output.concat(args["store"], run, "/result.json"),
            "wait_minutes": args.get("wait_minutes", 0),
        }
        outcome = TrainingOutcome(f"{name}-outcome", props, pulumi.ResourceOptions(parent=self))
        return outcome.metrics, cast(pulumi.Output[ModelVersion], outcome.model)


def _identity(name: str, args: Mapping[str, Any], runtime: RuntimeArgs, nodes: int) -> dict[str, Any]:
    """What a run's result depends on, and whose it is. Where it waits and what it may do is no part of it."""
    pool = args["pool"]
    code = {} if "image" in runtime else {"code": fingerprint.training_code()}
    return {
        "owner": f"{pulumi.get_project()}/{pulumi.get_stack()}",
        "component": name,
        **{setting: args[setting] for setting in training_job_manifest.SETTINGS},
        "data_version": args.get("data_version", ""),
        "accelerator": pool["accelerator"],
        "processes": pool["per_node"],
        "nodes": nodes,
        "min_nodes": args.get("min_nodes", nodes),
        "store": args["store"],
        "registry": args.get("registry", ""),
        "image": runtime.get("image", runtime.get("base_image", "")),
        **code,
    }


def _packages(args: Mapping[str, Any], access: StoreAccess) -> list[str]:
    """What a base image may lack. A URI that is not known yet is taken for one of S3, which most stores speak."""
    uris = [each if isinstance(each, str) else "s3://" for each in (access["uri"], args["dataset"])]
    return bundle.requirements(*uris, extra=bundle.REGISTRY if "registry" in args else ())
