"""What every target shares: the args of its components (TypedDict) and the outputs that they offer (Protocol).

Each target has its own component classes, with args fit for it, that satisfy these protocols; so a stack moves from one
target to another by naming another target.
"""

from typing import Any, NotRequired, Protocol, TypedDict

import pulumi


class Pool(TypedDict):
    """Nodes of one accelerator."""

    accelerator: str
    """Neutral name, such as `H100` or `cpu`."""
    per_node: int
    """Accelerators on each node; for `cpu`, the number of training processes."""
    nodes: int
    """Nodes in the pool."""
    fabric: str
    """What joins accelerators between nodes, or `none`."""
    cores: int
    """Processor cores of a node."""
    memory_gib: float
    """Main memory of a node, in GiB."""


class Taint(TypedDict):
    """A taint that keeps other pods off a pool's nodes."""

    key: str
    """Such as `nvidia.com/gpu`."""
    value: str
    """Empty where it has none."""
    effect: str
    """`NoSchedule`, `NoExecute` or `PreferNoSchedule`."""


class HostFolder(TypedDict):
    """A folder that a container sees."""

    host_path: str
    """On the node; empty for one that the pod's containers share."""
    mount_path: str
    """In the container."""


class FabricDaemon(TypedDict):
    """A container that a fabric needs beside each pod's own."""

    name: str
    """Of the container."""
    component: str
    """The component of the versions table that its image is."""
    command: str
    """As a shell takes it."""
    capabilities: list[str]
    """Linux capabilities that it needs."""
    folders: list[HostFolder]
    """What it sees beside its image."""


class PodFabric(TypedDict):
    """What a pod that has all the accelerators of its node needs for the fabric to be used."""

    name: str
    """Such as `efa`, or `none`."""
    resources: dict[str, str]
    """Extended resources and huge pages, by name."""
    claims: dict[str, str]
    """Device classes and counts that it claims instead, where devices are allocated dynamically."""
    annotations: dict[str, str]
    """Of the pod."""
    environment: dict[str, str]
    """Variables of the program."""
    script: str
    """Script on the node that is sourced before the program; empty if none."""
    folders: list[HostFolder]
    """What the program sees beside its image."""
    daemon: NotRequired[FabricDaemon]
    """Left out where the fabric needs none."""
    shared_memory: str
    """Size of /dev/shm, such as `16Gi`; empty for the usual 64 MiB."""
    capabilities: list[str]
    """Linux capabilities that the program needs."""
    compute_domain: bool
    """Whether each job claims a ComputeDomain of NVIDIA's DRA driver, for NVLink between nodes."""
    floor_gbs: float
    """Least bus bandwidth of a healthy all-reduce, in GB/s; 0 where no source gives one."""


class ClusterPool(Pool):
    """A pool as Kubernetes knows it: how its nodes are told apart, and what a pod on them asks for."""

    name: str
    """In its stack."""
    min_nodes: int
    """Fewest nodes, 0 where it scales from none."""
    capacity: str
    """`on_demand`, `spot`, `reservation`, `block` or `flex_start`."""
    architecture: str
    """`x86_64` or `arm64`."""
    resource: str
    """Extended resource of the accelerator, such as `nvidia.com/gpu`; empty for `cpu`."""
    labels: dict[str, str]
    """Labels that all its nodes have, and no other pool's."""
    taints: list[Taint]
    """Of all its nodes."""
    zones: list[str]
    """Zones that it may span, as the nodes' `topology.kubernetes.io/zone` says; empty where nodes have none."""
    topology: list[str]
    """Labels of its nodes, widest first, that tell how near nodes are; the last is `kubernetes.io/hostname`."""
    pod_fabric: PodFabric
    """What pods on it ask for so that the fabric is used."""


class StoreAccess(TypedDict):
    """How pods reach the object store."""

    uri: pulumi.Input[str]
    """fsspec URI of its root as pods see it, without a trailing slash; `file:///store` where a volume is mounted."""
    environment: dict[str, pulumi.Input[str]]
    """Plain variables, such as AWS_ENDPOINT_URL."""
    secret: NotRequired[pulumi.Input[str]]
    """Secret in the pods' namespace whose keys become variables; left out where the pods' identity is enough."""
    claim: NotRequired[pulumi.Input[str]]
    """Persistent volume claim in the pods' namespace, mounted at `/store`."""


class ModelVersion(TypedDict):
    """One version of a model in a registry: what serving pins, promotion moves and rollback restores."""

    name: str
    """Name in the registry."""
    version: str
    """Version of that name, as the registry counts."""
    digest: str
    """`sha256:<hex>` over the model's files."""
    uri: str
    """fsspec URI of the model directory."""
    public_key: NotRequired[str]
    """Key that signed it, as `accelstack_workloads register` prints it; where it is given, nothing else is served."""


class TrainingSettings(TypedDict):
    """What a training job is to do, in plain values."""

    workload: str
    """Name of a bundled workload, such as `vision`."""
    architecture: NotRequired[str]
    """One of the workload's networks, such as `resnet18`; its usual one if left out."""
    dataset: NotRequired[str]
    """Name of a bundled dataset, such as `digits`, or an fsspec URI; the workload's usual one if left out."""
    epochs: NotRequired[int]
    """Passes over the training data, 1 or more; what is usual for the workload if left out."""
    batch_size: NotRequired[int]
    """Samples in one optimiser step over all processes, 1 or more; likewise."""
    learning_rate: NotRequired[float]
    """Peak learning rate, above 0; likewise."""
    seed: NotRequired[int]
    """Seed of everything random in the run, 0 or more; 0 if left out."""
    model: NotRequired[str]
    """Name under which the trained model is registered; the workload's if left out."""


class TrainingJobArgs(TrainingSettings):
    """Args that a training job takes on every target."""

    store: pulumi.Input[str]
    """fsspec URI of the object store that keeps runs, prepared data and models."""


class InferenceServiceArgs(TypedDict):
    """Args that an inference service takes on every target."""

    model: pulumi.Input[ModelVersion]
    """The model version to serve."""
    replicas: NotRequired[int]
    """Copies of the server that share the load, 1 or more; 1 if left out."""


class Chart(TypedDict):
    """A Helm chart that a target needs inside its cluster."""

    name: str
    """Name of the release."""
    repository: str
    """URL of the chart's repository; empty where `chart` is an `oci://` reference."""
    chart: str
    """Its name there."""
    version: str
    """Its version, exactly."""
    namespace: str
    """Namespace that it is installed into."""
    values: dict[str, Any]
    """Values that differ from the chart's own; they may hold outputs."""


class Network(Protocol):
    """What joins the stack's machines."""

    cidrs: pulumi.Output[list[str]]
    """Address ranges of the network."""


class Cluster(Protocol):
    """What runs training and serving."""

    name: pulumi.Output[str]
    kubeconfig: pulumi.Output[str | None]
    """Secret; None where the cluster is no Kubernetes cluster."""


class ObjectStore(Protocol):
    """Object storage for data, checkpoints and models."""

    uri: pulumi.Output[str]
    """fsspec URI of its root, without a trailing slash."""


class TrainingJob(Protocol):
    """A run of a bundled workload and the model version that came of it."""

    run_id: pulumi.Output[str]
    metrics: pulumi.Output[dict[str, Any]]
    """Figures of the evaluation on held-out data, and of the run."""
    model: pulumi.Output[ModelVersion]


class InferenceService(Protocol):
    """A model version in service, over the Open Inference Protocol v2."""

    rest: pulumi.Output[str]
    """Base URL of the REST protocol."""

    @property
    def grpc(self) -> pulumi.Output[str | None]:
        """`host:port` of the gRPC protocol; None where the target has none."""
        ...

    console: pulumi.Output[str]
    """URL of the page for people."""
