"""What a `k8s.InferenceService` is asked for, and what of it is refused."""

import ipaddress
from typing import NotRequired, TypedDict

import pulumi

from accelstack.contracts import ClusterPool, InferenceServiceArgs, ModelVersion, StoreAccess
from accelstack.k8s import engines
from accelstack.k8s.engines import Engine
from accelstack.k8s.gang import RuntimeArgs
from accelstack.k8s.quantity import amount

MOST_SECONDS = 3600


class Canary(TypedDict):
    """A second model version that gets a share of the requests."""

    model: ModelVersion
    """The model version, pinned: it keeps its pods when it is promoted."""
    percent: int
    """Share of the requests, 0 to 100. At any of them, requests with the header `x-accelstack-canary: always` go to
    it."""


class K8sInferenceServiceArgs(InferenceServiceArgs, RuntimeArgs):
    """Args of `k8s.InferenceService`. `image` or `base_image` gets models from the store, and is the server too where
    the engine is `native`. `replicas` are the fewest where they scale."""

    namespace: pulumi.Input[str]
    """Namespace that it runs in, such as a `k8s.Namespace`, whose pods reach the store."""
    service_account: pulumi.Input[str]
    """Service account of its pods, such as the namespace's."""
    pool: ClusterPool
    """The pool that it runs on."""
    store: StoreAccess
    """How pods reach the store that has the models."""
    engine: NotRequired[str]
    """What serves: `native` (the bundled server), `triton`, `tensorflow_serving` or `vllm`; `native` if left out."""
    engine_image: NotRequired[pulumi.Input[str]]
    """Image of the engine, by digest; needed with all but `native`."""
    options: NotRequired[dict[str, str]]
    """Options of the engine, such as `{"max_model_len": "8192"}` of vLLM. One that it would ignore is refused."""
    accelerators: NotRequired[int]
    """Accelerators of each node that a copy has: 1 if left out, all where a copy has several nodes."""
    nodes: NotRequired[int]
    """Nodes of each copy; 1 if left out. More are for models too large for one, with vLLM and LeaderWorkerSet, in a
    namespace whose pods reach each other."""
    cpu: NotRequired[str]
    """Cores of a copy, such as `4`; its part of the node if left out, and up to 2 where the node has more to spare."""
    memory: NotRequired[str]
    """Memory of a copy, such as `16Gi`; its part of the node if left out."""
    timeout_seconds: NotRequired[int]
    """Longest request, after which the Gateway gives up; a server that is replaced stays so long. 30 if left out, 300
    with vLLM."""
    startup_seconds: NotRequired[int]
    """Until the model must be loaded; 600 if left out, 1800 with vLLM."""
    canary: NotRequired[Canary]
    """A version to try out on some of the requests; none if left out. Needs a Gateway."""
    min_replicas: NotRequired[int]
    """Fewest copies while they scale; `replicas` if left out. 0 needs `scale_on: queue` and `wake_query`."""
    max_replicas: NotRequired[int]
    """Most copies: with it they scale."""
    scale_on: NotRequired[str]
    """`cpu`, or `queue`: the requests in the servers, which KEDA reads from Prometheus; `cpu` if left out."""
    scale_at: NotRequired[int]
    """Per cent of a copy's cores, or requests in a copy, that scaling aims at; 70, or what suits the engine."""
    prometheus: NotRequired[pulumi.Input[str]]
    """URL of the Prometheus that reads the servers' metrics; needed with `scale_on: queue`."""
    wake_query: NotRequired[pulumi.Input[str]]
    """PromQL that is above 0 while requests come in at the Gateway, such as a rate of its own metrics, for copies to
    come back from none. Until the first is ready, the Gateway answers 503 and clients must ask again: nothing holds
    requests back meanwhile."""
    hostname: NotRequired[pulumi.Input[str]]
    """Name under which it is reached through the Gateway."""
    grpc_hostname: NotRequired[pulumi.Input[str]]
    """Another name, for gRPC through the Gateway; without it gRPC is for clients in the cluster."""
    gateway: NotRequired[str]
    """An existing Gateway, as `<namespace>/<name>`, that allows routes of this namespace."""
    gateway_tls: NotRequired[bool]
    """Whether clients speak TLS with the existing Gateway; true if left out."""
    listener: NotRequired[str]
    """Listener of the existing Gateway; all that take the name if left out."""
    gateway_class: NotRequired[str]
    """Class of a Gateway of its own."""
    issuer: NotRequired[str]
    """ClusterIssuer of cert-manager that signs the names' certificate for its own Gateway; no TLS if left out."""
    gateway_pods: NotRequired[list[pulumi.Input[str]]]
    """Namespaces that the Gateway's proxies run in; its own if left out, which is not so with all classes."""
    reachable_from: NotRequired[list[pulumi.Input[str]]]
    """Namespaces of clients in the cluster; none if left out."""
    reachable_from_addresses: NotRequired[list[str]]
    """Address ranges of clients, such as `10.0.0.0/16` of load balancers that are outside the cluster."""
    monitoring_namespace: NotRequired[pulumi.Input[str]]
    """Namespace of the Prometheus that reads the servers' metrics."""


def problems(args: K8sInferenceServiceArgs, engine: Engine, accelerators: int) -> list[tuple[str, str] | None]:
    """What is wrong with the args of the servers themselves."""
    pool, nodes, native = args["pool"], args.get("nodes", 1), engine.name == "native"
    replicas = args.get("replicas", 1)
    rules = (
        ("replicas", replicas >= 1, f"is {replicas}; it must be 1 or more"),
        (
            "image",
            ("image" in args) != ("base_image" in args),
            "and base_image: give one of the two, it gets the model",
        ),
        ("engine_image", native or "engine_image" in args, f"is left out; give {engine.name}'s image by digest"),
        ("engine_image", not native or "engine_image" not in args, "is ignored by native, whose image is `image`"),
        ("index_url", "index_url" not in args or "base_image" in args, "is for a base_image; leave it out"),
        *_scale_rules(args),
        *_seconds_rules(args),
        *_quantity_rules(args),
        *_address_rules(args),
    )
    return [
        *((path, reason) for path, kept, reason in rules if not kept),
        engines.ignored(engine, args.get("options", {})),
        _device_problem(pool, accelerators),
        _nodes_problem(args, engine, accelerators) if nodes != 1 else None,
    ]


def _scale_rules(args: K8sInferenceServiceArgs) -> list[tuple[str, bool, str]]:
    scaled = "max_replicas" in args
    names = ("min_replicas", "scale_on", "scale_at", "prometheus", "wake_query")
    return [(each, scaled or each not in args, "is for copies that scale; set max_replicas") for each in names]


def _seconds_rules(args: K8sInferenceServiceArgs) -> list[tuple[str, bool, str]]:
    given = (("timeout_seconds", args.get("timeout_seconds", 1)), ("startup_seconds", args.get("startup_seconds", 1)))
    return [
        (path, 1 <= seconds <= MOST_SECONDS, f"is {seconds}; it must be 1 to {MOST_SECONDS}") for path, seconds in given
    ]


def _quantity_rules(args: K8sInferenceServiceArgs) -> list[tuple[str, bool, str]]:
    found: list[tuple[str, bool, str]] = []
    for path in ("cpu", "memory"):
        try:
            amount(args.get(path, "1"))
        except ValueError as error:
            found.append((path, False, str(error)))
    return found


def _address_rules(args: K8sInferenceServiceArgs) -> list[tuple[str, bool, str]]:
    found: list[tuple[str, bool, str]] = []
    for each in args.get("reachable_from_addresses", []):
        try:
            ipaddress.ip_network(each)
        except ValueError:
            found.append(("reachable_from_addresses", False, f"has {each!r}; use ranges such as 10.0.0.0/16"))
    return found


def _device_problem(pool: ClusterPool, accelerators: int) -> tuple[str, str] | None:
    if not pool["resource"]:
        reason = f"is {accelerators}, and the pool {pool['name']} has none; leave it out"
        return ("accelerators", reason) if accelerators else None
    if 1 <= accelerators <= pool["per_node"]:
        return None
    return "accelerators", f"is {accelerators}; a node of {pool['name']} has {pool['per_node']}, use 1 to as many"


def _nodes_problem(args: K8sInferenceServiceArgs, engine: Engine, accelerators: int) -> tuple[str, str] | None:
    """What is wrong with copies of several nodes."""
    pool, nodes = args["pool"], args.get("nodes", 1)
    fabric = pool["pod_fabric"]
    if nodes < 1:
        return "nodes", f"is {nodes}; it must be 1 or more"
    if not engine.leader:
        able = " or ".join(each.name for each in engines.ENGINES.values() if each.leader)
        return "nodes", f"is {nodes}, and {engine.name} serves from one node only; use 1, or engine {able}"
    if not pool["resource"] or accelerators != pool["per_node"]:
        return "accelerators", f"is {accelerators}; copies of several nodes have all accelerators of each, leave it out"
    if fabric["compute_domain"]:
        return "nodes", f"is {nodes}, and {pool['fabric']} would need a ComputeDomain for each copy; use 1"
    if "daemon" in fabric and "daemon_image" not in args:
        daemon = fabric["daemon"]["component"]
        return "daemon_image", f"is left out, and {pool['fabric']} has a daemon in every pod; give {daemon} by digest"
    return None
