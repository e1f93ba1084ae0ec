"""The pods that serve a model version: how they get the model, how they start, and how they end."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pulumi

from accelstack.contracts import ClusterPool, StoreAccess
from accelstack.k8s import bundle, engines, pod_fabric
from accelstack.k8s.engines import Engine
from accelstack.k8s.pod import Container, PodArgs, labels, store_parts
from accelstack.k8s.pools import HOST, ZONE
from accelstack.k8s.quantity import amount

KIND = "inference-service"
REVISION = "accelstack/revision"
"""Label of a model version's pods: the name of what makes them."""
METRICS = "accelstack/metrics"
"""Label of pods with Prometheus metrics at `/metrics`: the name of the port."""
SETTLE_SECONDS = 10
"""From the end of a pod's endpoint until the last proxy has heard of it: nodes and gateways follow within seconds, when
they are busy a little later."""
SPARE_SECONDS = 5
"""For a server to end after its last request, before it is killed."""
NODE_SECONDS = 900
"""Until a node is there for a pod that has to wait for one, and the images on it."""
PART = 0.25
"""Of a node without accelerators, for a copy: what replaces it, and another version, have room beside it."""
MOST_CORES = 2.0
"""That the bundled server makes use of: one thread computes, one answers."""
LEAST_GIB, MOST_GIB = 1.0, 4.0
"""For PyTorch and a model of the bundled workloads' size."""
DEPLOYMENT = ("apps/v1", "Deployment")
GROUP = ("leaderworkerset.x-k8s.io/v1", "LeaderWorkerSet")


@dataclass(frozen=True, slots=True)
class Revision:
    """A model version in service."""

    slot: str
    """What the logical names of its objects end in."""
    name: pulumi.Input[str]
    """Name of its objects."""
    model: Mapping[str, pulumi.Input[str]]
    """`name`, `version`, `digest` and `uri`."""


@dataclass(frozen=True, slots=True)
class Serving:
    """How model versions are served, decided."""

    name: str
    namespace: pulumi.Input[str]
    service_account: pulumi.Input[str]
    pool: ClusterPool
    store: StoreAccess
    engine: Engine
    image: pulumi.Input[str]
    """Image of the server."""
    fetcher: pulumi.Input[str]
    """Image that gets the model from the store: the workloads', or one with Python and PyTorch."""
    packages: Sequence[str] | None
    """What is installed beside the bundled code; None: the image has it all."""
    replicas: int
    """Copies at first."""
    accelerators: int
    """Of each node of a copy."""
    nodes: int
    """Of each copy."""
    cpu: str
    cpu_limit: str
    memory: str
    timeout_seconds: int
    startup_seconds: int
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    code: pulumi.Input[str] = ""
    """ConfigMap of the bundled code; empty where the image has it."""
    index_url: pulumi.Input[str] = ""
    """Where packages are found; pip's default if empty."""
    daemon_image: pulumi.Input[str] = ""
    pull_secrets: Sequence[pulumi.Input[str]] = ()

    @property
    def sleep_seconds(self) -> int:
        """From a pod's end of being addressed until its server is told to stop: what is in flight then has as long as
        any other request, here or while the server drains."""
        return SETTLE_SECONDS + max(0, self.timeout_seconds - self.engine.drain_seconds)

    @property
    def grace_seconds(self) -> int:
        """From there until a pod is killed."""
        return self.sleep_seconds + self.engine.drain_seconds + SPARE_SECONDS

    @property
    def deadline_seconds(self) -> int:
        """Until a pod that is started must serve."""
        return NODE_SECONDS + self.startup_seconds

    @property
    def workload(self) -> tuple[str, str]:
        """API and kind of what makes the pods."""
        return GROUP if self.nodes > 1 else DEPLOYMENT


def share(pool: ClusterPool, accelerators: int) -> tuple[str, str, str]:
    """Cores that a server asks for, those that it may use, and its memory: of a node with accelerators as much as it
    has of those, without what is the node's own."""
    cores, gib = pool["cores"] * pod_fabric.CPU_SHARE, pool["memory_gib"] * pod_fabric.MEMORY_SHARE
    if pool["resource"]:
        part = accelerators / pool["per_node"]
        return _cores(cores * part), _cores(cores * part), _gib(gib * part)
    asked = min(cores * PART, MOST_CORES)
    return _cores(asked), _cores(min(cores, MOST_CORES)), _gib(min(max(gib * PART, LEAST_GIB), MOST_GIB))


def _cores(number: float) -> str:
    return f"{int(number * 1000)}m"


def _gib(number: float) -> str:
    return f"{int(number * 1024)}Mi"


def selector(name: str, revision: pulumi.Input[str] = "") -> dict[str, pulumi.Input[str]]:
    """Labels by which the service's pods are found, or those of one revision."""
    named = labels(name, KIND)
    common = {key: named[key] for key in ("app.kubernetes.io/name", "app.kubernetes.io/instance")}
    return {**common, **({REVISION: revision} if revision != "" else {})}


def pod(asked: Serving, revision: Revision, *, worker: bool = False) -> PodArgs:
    """A pod that gets the model and then serves it; as a worker it helps the one that does."""
    engine, store = asked.engine, store_parts(asked.store)
    volumes: dict[str, dict[str, Any]] = {"model": {"emptyDir": {}}, **store[2]}
    if asked.packages is not None:
        volumes |= bundle.parts(asked.code)[1]
    server = _server(asked, revision, worker=worker)
    metrics = {} if worker or not engine.metrics else {METRICS: "metrics" if "metrics" in engine.ports else "rest"}
    found: PodArgs = {
        "containers": [server],
        "init_containers": _before(asked, revision, store),
        "volumes": volumes,
        "pool": asked.pool,
        "service_account": asked.service_account,
        "labels": {**labels(asked.name, KIND), REVISION: revision.name, **metrics},
        "grace_seconds": asked.grace_seconds,
        "pull_secrets": [*asked.pull_secrets],
    }
    if engine.shared_memory and max(asked.accelerators, asked.nodes) > 1:
        found["shared_memory"] = f"{int(amount(asked.memory) / 4 / 2**20)}Mi"
    if asked.nodes == 1:
        found["spread"] = _spread(asked, revision)
    return found


def _server(asked: Serving, revision: Revision, *, worker: bool) -> Container:
    engine = asked.engine
    bundled = asked.packages is not None and engine.name == "native"
    environment, _, mounts = bundle.parts(asked.code) if bundled else ({}, {}, {})
    accelerators = {asked.pool["resource"]: str(asked.accelerators)} if asked.accelerators else {}
    drain = asked.engine.drain_seconds
    found: Container = {
        "name": "worker" if worker else "server",
        "image": asked.image,
        "command": engines.command(
            engine, revision.model, asked.options, asked.accelerators, drain, asked.nodes, worker=worker
        ),
        "environment": {**engine.environment, **environment},
        "cpu": asked.cpu,
        "cpu_limit": asked.cpu_limit,
        "memory": asked.memory,
        "resources": accelerators,
        "mounts": {"model": engines.MODEL, **mounts},
        "read_only": ["model"],
        "pre_stop": {"sleep": {"seconds": asked.sleep_seconds}},
    }
    if worker:  # it answers nobody, also no probe; one that ends takes its group with it
        return found
    ready = {"httpGet": {"path": engines.filled_in(engine.ready, revision.model), "port": "rest"}}
    live = {"httpGet": {"path": engine.live, "port": "rest"}} if engine.live else {"tcpSocket": {"port": "rest"}}
    return {
        **found,
        "ports": {**engine.ports},
        "startup": {
            **ready,
            "periodSeconds": 5,
            "timeoutSeconds": 5,
            "failureThreshold": -(-asked.startup_seconds // 5),
        },
        # out of rotation after 15 seconds; ended only after a minute, since a server with much to do is not a dead one
        "readiness": {**ready, "periodSeconds": 5, "timeoutSeconds": 3, "failureThreshold": 3},
        "liveness": {**live, "periodSeconds": 10, "timeoutSeconds": 5, "failureThreshold": 6},
    }


def _before(asked: Serving, revision: Revision, store: tuple[Any, ...]) -> list[Container]:
    """What runs before the server: it gets the model, and checks it against its digest."""
    environment, secrets, _, mounts = store
    fetch: Container = {
        "name": "fetch",
        "image": asked.fetcher,
        "command": [
            *("python", "-m", "accelstack_workloads", "fetch", "--uri", revision.model["uri"]),
            *("--digest", revision.model["digest"]),
            *("--out", engines.filled_in(asked.engine.files, revision.model)),
        ],
        "environment": environment,
        "secrets": secrets,
        "cpu": "500m",
        "memory": "1Gi",
        "mounts": {"model": engines.MODEL, **mounts},
        "read_only": [*mounts],
    }
    if asked.packages is None:
        return [fetch]
    code, _, scratch = bundle.parts(asked.code)
    fetch["environment"] = {**environment, **code}
    fetch["mounts"] = {**fetch.get("mounts", {}), **scratch}
    return [bundle.unpacking(asked.fetcher, [*asked.packages], asked.index_url), fetch]


def _spread(asked: Serving, revision: Revision) -> list[dict[str, Any]]:
    """Over zones, then hosts, as far as there is room: that a copy must wait for a zone with none is worse than two in
    one. Each rollout counts its own pods, so that what it replaces does not push it together."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": key,
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": selector(asked.name, revision.name)},
            "matchLabelKeys": ["pod-template-hash"],
        }
        for key in (ZONE, HOST)
    ]
