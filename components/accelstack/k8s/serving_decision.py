"""What follows from the args of a `k8s.InferenceService`: which versions are served, how, and who reaches them."""

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pulumi

from accelstack.contracts import ClusterPool, ModelVersion
from accelstack.k8s import bundle, engines, gateway, scaling
from accelstack.k8s.engines import Engine
from accelstack.k8s.gateway import Entrance
from accelstack.k8s.names import checked_name
from accelstack.k8s.pod import checked_image
from accelstack.k8s.scaling import Scaling
from accelstack.k8s.serving_args import K8sInferenceServiceArgs, problems
from accelstack.k8s.serving_pod import Revision, Serving, share

LONGEST_NAME = 36
"""So short that what Kubernetes makes of it and a digest fits labels."""
FOLLOWED = "latest"
"""Slot of a model that is known when it is trained."""
PARTS = ("name", "version", "digest", "uri")


def serving(name: str, args: K8sInferenceServiceArgs) -> Serving:
    """How model versions are to be served.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """
    engine, pool = engines.engine(args.get("engine", "native")), args["pool"]
    nodes = args.get("nodes", 1)
    accelerators = args.get("accelerators", _usual_accelerators(pool, nodes))
    checked_name(name, LONGEST_NAME)
    _refuse(problems(args, engine, accelerators))
    cpu, most, memory = share(pool, accelerators)
    bundled = "base_image" in args
    fetcher = (
        checked_image("base_image", args["base_image"]) if bundled else checked_image("image", args.get("image", ""))
    )
    scaled = scale(args)
    return Serving(
        name=name,
        namespace=args["namespace"],
        service_account=args["service_account"],
        pool=pool,
        store=args["store"],
        engine=engine,
        image=checked_image("engine_image", args["engine_image"]) if "engine_image" in args else fetcher,
        fetcher=fetcher,
        packages=_packages(args, engine) if bundled else None,
        replicas=max(scaled.fewest, 1) if scaled else args.get("replicas", 1),
        accelerators=accelerators,
        nodes=nodes,
        cpu=args.get("cpu", cpu),
        cpu_limit=args.get("cpu", most),
        memory=args.get("memory", memory),
        timeout_seconds=args.get("timeout_seconds", engine.timeout_seconds),
        startup_seconds=args.get("startup_seconds", engine.startup_seconds),
        options=args.get("options", {}),
        index_url=args.get("index_url", ""),
        daemon_image=checked_image("daemon_image", args["daemon_image"]) if "daemon_image" in args else "",
        pull_secrets=args.get("pull_secrets", []),
    )


def scale(args: K8sInferenceServiceArgs) -> Scaling | None:
    """How copies scale; None where they do not.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """
    if "max_replicas" not in args:
        return None
    engine, pool = engines.engine(args.get("engine", "native")), args["pool"]
    on = args.get("scale_on", "cpu")
    found = Scaling(
        fewest=args.get("min_replicas", args.get("replicas", 1)),
        most=args["max_replicas"],
        on=on,
        at=args.get("scale_at", engine.usual_load if on == "queue" and engine.load else scaling.CPU_PERCENT),
        prometheus=args.get("prometheus", ""),
        wake_query=args.get("wake_query", ""),
    )
    accelerator = pool["accelerator"] if pool["resource"] else ""
    problem = scaling.refusal(found, engine_counts=bool(engine.load), engine=engine.name, accelerator=accelerator)
    _refuse([problem])
    return found


def entrance(args: K8sInferenceServiceArgs) -> Entrance | None:
    """How requests come in from outside the cluster; None where they do not.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """
    engine, existing = engines.engine(args.get("engine", "native")), args.get("gateway", "")
    found = Entrance(
        hostname=args.get("hostname", ""),
        grpc_hostname=args.get("grpc_hostname", ""),
        gateway=existing,
        gateway_class=args.get("gateway_class", ""),
        issuer=args.get("issuer", ""),
        tls=args.get("gateway_tls", True) if existing else bool(args.get("issuer", "")),
        listener=args.get("listener", ""),
    )
    grpc = "grpc" in engine.ports
    _refuse([gateway.refusal(found, canary="canary" in args, speaks_grpc=grpc, engine=engine.name)])
    if "gateway_tls" in args and not existing:
        _refuse([("gateway_tls", "is of an existing Gateway; set gateway, or issuer for TLS with one of its own")])
    return found if existing or found.gateway_class else None


def revisions(name: str, args: K8sInferenceServiceArgs) -> list[Revision]:
    """The model versions in service: the stable one, and the canary where there is one.

    One that is known now is called by its digest, wherever it stands: so it keeps its pods when it is promoted. One
    that is yet to be trained has a place of its own.

    Raises:
        pulumi.InputPropertyError: a model version is incomplete, or the canary's is not pinned, the stable one itself,
            or given no share of requests.
    """
    engine = engines.engine(args.get("engine", "native"))
    stable = _revision(name, engine, "model", args["model"])
    if "canary" not in args:
        return [stable]
    percent = cast(Any, args["canary"]["percent"])
    if isinstance(percent, float) and percent.is_integer():
        percent = int(percent)
    if not isinstance(percent, int) or isinstance(percent, bool) or not 0 <= percent <= 100:
        raise pulumi.InputPropertyError("canary.percent", f"is {percent}; it must be a whole number, 0 to 100")
    canary = _revision(name, engine, "canary.model", args["canary"]["model"])
    if canary.slot == FOLLOWED:
        reason = "is not known yet; pin a version that is registered, since it keeps its pods when it is promoted"
        raise pulumi.InputPropertyError("canary.model", reason)
    if canary.slot == stable.slot:
        raise pulumi.InputPropertyError("canary.model", "is the version in service already; leave canary out")
    return [stable, canary]


def _revision(name: str, engine: Engine, path: str, model: pulumi.Input[ModelVersion]) -> Revision:
    def checked(known: ModelVersion) -> ModelVersion:
        if problem := engines.model_problem(engine, known):
            raise pulumi.InputPropertyError(path, problem)
        return known

    if isinstance(model, Mapping) and all(isinstance(value, str) for value in model.values()):
        pinned = checked(model)
        short = _short(pinned["digest"])
        return Revision(short, f"{name}-{short}", {part: str(pinned[part]) for part in PARTS})
    followed = pulumi.Output.from_input(model).apply(checked)
    called = followed.apply(lambda known: f"{name}-{FOLLOWED}-{_short(known['digest'])}")
    return Revision(FOLLOWED, called, {part: followed[part] for part in PARTS})


def _short(digest: str) -> str:
    return digest.partition(":")[2][:8]


def _usual_accelerators(pool: ClusterPool, nodes: int) -> int:
    return 0 if not pool["resource"] else pool["per_node"] if nodes > 1 else 1


def _packages(args: K8sInferenceServiceArgs, engine: Engine) -> list[str]:
    """What a base image may lack; a URI that is not known yet is taken for one of S3, as most stores speak it."""
    model = args["model"]
    uris = [args["store"]["uri"], model.get("uri", "") if isinstance(model, Mapping) else ""]
    known = [each if isinstance(each, str) else "s3://" for each in uris]
    return bundle.requirements(*known, extra=bundle.SERVING if engine.name == "native" else ())


def _refuse(problems: Sequence[tuple[str, str] | None]) -> None:
    for problem in problems:
        if problem:
            raise pulumi.InputPropertyError(*problem)
