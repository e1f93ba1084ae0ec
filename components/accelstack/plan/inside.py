"""What runs inside a stack's cluster, as asked for: training, the model in service, queues, and images' origin."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from accelstack.plan import images, readers
from accelstack.plan.findings import Finding, Severity, one_of
from accelstack.plan.readers import AMOUNT, SWITCH, TABLE, TEXT, WHOLE, WORDS, Keys

PROBES = ("gate", "warn", "off")
PRIORITIES = ("low", "normal", "high")
ENGINES = ("native", "triton", "tensorflow_serving", "vllm")
SCALE_ON = ("cpu", "queue")
MODEL_KEYS = ("version", "digest", "uri")
"""What pins a model version, as `accelstack status` and a registry tell it."""
TEAM = r"[a-z]([a-z0-9-]{0,40}[a-z0-9])?"
BUCKET = r"s3://[a-z0-9][a-z0-9.-]+[a-z0-9](/[^\s?#]*)?"
USUAL_TEAM = "training"
LABEL = "accelstack/pool"
"""With which a user says which pool a node is for."""
SERVING, REGISTRY = "serving", "registry"
"""What the stack's own namespaces are called, beside the teams'."""
TEAM_KEYS = ("share", "borrow", "lend", "weight")

KEYS: Keys = {
    "train_on": (TEXT, ""),
    "serve_on": (TEXT, ""),
    "wait_minutes": (AMOUNT, 0.0),
    "probe": (TEXT, "gate"),
    "probe_floor": (AMOUNT, 0.0),
    "teams": (TABLE, {}),
    "team": (TEXT, ""),
    "priority": (TEXT, "normal"),
    "engine": (TEXT, "native"),
    "serving": (TABLE, {}),
    "canary": (TABLE, {}),
    "replica_nodes": (WHOLE, 1),
    "replica_accelerators": (WHOLE, 0),
    "min_replicas": (WHOLE, 1),
    "max_replicas": (WHOLE, 0),
    "scale_on": (TEXT, "cpu"),
    "prometheus": (TEXT, ""),
    "wake_query": (TEXT, ""),
    "engine_options": (TABLE, {}),
    "hostname": (TEXT, ""),
    "grpc_hostname": (TEXT, ""),
    "gateway": (TEXT, ""),
    "gateway_class": (TEXT, ""),
    "gateway_pods": (WORDS, ()),
    "gateway_addresses": (WORDS, ()),
    "issuer": (TEXT, ""),
    "registry": (SWITCH, False),
    "observability": (SWITCH, False),
    "backup": (TEXT, ""),
    "backup_schedule": (TEXT, "0 3 * * *"),
    "backup_endpoint": (TEXT, ""),
    "images": (TABLE, {}),
    "mirror": (TEXT, ""),
    "crds": (TEXT, ""),
    "storage_class": (TEXT, ""),
}
"""Settings of what runs inside a cluster, with their defaults."""


@dataclass(frozen=True, slots=True)
class Inside:
    """What runs inside a cluster, as asked for."""

    train_on: str
    """Pool that trains; empty for `train`, or the first with accelerators."""
    serve_on: str
    """Pool that serves; empty for `serve`, or the one that trains."""
    wait_minutes: float
    """How long `up` waits for training; 0 returns at submission."""
    probe: str
    """`gate` (training waits for a fabric that passes), `warn` or `off`."""
    probe_floor: float
    """Bus bandwidth in GB/s to hold the probe against; 0 for the floor of the machine's table."""
    teams: dict[str, Any]
    """Queues by team: each a table with `share` (0 to 1), `borrow`, `lend`, `weight`; one team `training` if left
    out."""
    team: str
    """The team that this stack's job is queued for; the first if left out."""
    priority: str
    """Its priority: `low`, `normal` or `high`."""
    engine: str
    """What serves: `native`, `triton`, `tensorflow_serving` or `vllm`."""
    serving: dict[str, Any]
    """The model version to serve (`version`, `digest`, `uri`); left out, the one that this stack trained and waited
    for."""
    canary: dict[str, Any]
    """Another model version, and the `percent` of requests that it gets."""
    replica_nodes: int
    """Nodes that one copy of the server spans, which engine vllm can."""
    replica_accelerators: int
    """Accelerators of one copy on each of its nodes; 0 for 1, or all where it spans several nodes."""
    min_replicas: int
    """Fewest copies of the server while they scale; 0 scales to none."""
    max_replicas: int
    """Most copies; 0 keeps `replicas`."""
    scale_on: str
    """`cpu`, or `queue`: requests that wait, through KEDA."""
    prometheus: str
    """URL of the Prometheus that tells of waiting requests; empty for the one of `observability`."""
    wake_query: str
    """PromQL that is above 0 while requests come in, for copies to come back from none."""
    engine_options: dict[str, Any]
    """Options of the engine, such as `max_model_len` of vLLM."""
    hostname: str
    """Name under which the service is reached from outside the cluster; empty for none."""
    grpc_hostname: str
    """Another name, for gRPC from outside; empty for none."""
    gateway: str
    """Existing Gateway, as `<namespace>/<name>`."""
    gateway_class: str
    """Class of the Gateway that is made where none is named."""
    gateway_pods: tuple[str, ...]
    """Namespaces that the Gateway's proxies run in, where that is not the Gateway's own."""
    gateway_addresses: tuple[str, ...]
    """Address ranges that its requests come from, where its proxies are no pods, such as `130.211.0.0/22`."""
    issuer: str
    """ClusterIssuer of cert-manager that signs the hostname's certificate."""
    registry: bool
    """Whether the cluster has a model registry of its own."""
    observability: bool
    """Whether dashboards, alerts and what they need are installed."""
    backup: str
    """Bucket URI that Velero backs up to; empty for none."""
    backup_schedule: str
    """When, as cron says it."""
    backup_endpoint: str
    """URL of an S3 for backups that is not AWS's."""
    images: dict[str, Any]
    """Images by digest, by what they are for: `base`, `mlflow`, `postgres`, `engine`, and fabric daemons."""
    mirror: str
    """Registry and prefix that add-ons' charts and images come from; empty for their own."""
    crds: str
    """Folder or URL that custom resource definitions are read from; empty for their projects' releases."""
    storage_class: str
    """Storage class of volumes; empty for the cluster's default."""


USUAL = Inside(**readers.defaults(KEYS))


def check(asked: Inside, pools: Sequence[str]) -> list[Finding]:
    """What settings of a cluster's inside break.

    Args:
        pools: names of the stack's pools.
    """
    found: list[Finding | None] = [
        one_of("probe", asked.probe, PROBES, "way to take the probe"),
        one_of("priority", asked.priority, PRIORITIES, "priority"),
        one_of("engine", asked.engine, ENGINES, "engine"),
        one_of("scale_on", asked.scale_on, SCALE_ON, "load to scale on"),
        *(one_of(key, name, pools, "pool") for key, name in _pools(asked) if name),
        *_teams(asked),
        _room(asked, pools),
        *_model("serving", asked.serving, MODEL_KEYS),
        *_model("canary", asked.canary, (*MODEL_KEYS, "percent")),
        *_images(asked.images),
        *_needed_images(asked),
        _percent(asked.canary),
        _mirror(asked.mirror),
        _backup(asked.backup),
        _replicas(asked),
        _span(asked),
        _outside(asked),
    ]
    return [finding for finding in found if finding]


def pool_for(names: Sequence[str], asked: str, usual: str) -> str:
    """The pool for a use: the one asked for, else the one usually named so, else the first that is for workloads."""
    if asked:
        return asked
    return usual if usual in names else next((name for name in names if name != "system"), "")


def _pools(asked: Inside) -> tuple[tuple[str, str], ...]:
    return (("train_on", asked.train_on), ("serve_on", asked.serve_on))


def _teams(asked: Inside) -> list[Finding]:
    found: list[Finding] = []
    for name, own in asked.teams.items():
        if name in (SERVING, REGISTRY):
            fix = "choose another name"
            found.append(Finding(Severity.INVALID, "teams", name, "is what the stack calls its own namespace", fix))
        if not re.fullmatch(TEAM, name):
            fix = "use small letters, digits and hyphens, a letter first, 42 at most"
            found.append(Finding(Severity.INVALID, "teams", repr(name), "is no name of a team", fix))
        elif not isinstance(own, Mapping):
            fix = "use one such as {share: 0.5}"
            found.append(Finding(Severity.INVALID, f"teams.{name}", repr(own), "is no table", fix))
        else:
            keys = [str(key) for key in cast(Mapping[str, Any], own)]
            wrong = [one_of(f"teams.{name}.{key}", key, TEAM_KEYS, "part of a team") for key in keys]
            found += [each for each in wrong if each]
    teams = [*asked.teams] or [USUAL_TEAM]
    if asked.team and (wrong := one_of("team", asked.team, teams, "team")):
        found.append(wrong)
    return found


def _room(asked: Inside, pools: Sequence[str]) -> Finding | None:
    """Training takes nodes whole: a server on one would keep every later run waiting."""
    serves = pool_for(pools, asked.serve_on, "serve")
    if not (asked.serving or asked.wait_minutes) or serves != pool_for(pools, asked.train_on, "train"):
        return None
    reason = "is the pool that trains too, on whole nodes: a server there would keep every later run waiting"
    fix = f"add a pool `serve`, or name another in serve_on (`kubectl label node … {LABEL}=serve` tells nodes apart)"
    return Finding(Severity.ERROR, "serve_on", serves, reason, fix)


def _model(key: str, given: dict[str, Any], keys: Sequence[str]) -> list[Finding]:
    """What is wrong with a pinned model version."""
    if not given:
        return []
    found = [wrong for each in given if (wrong := one_of(f"{key}.{each}", str(each), keys, "part of a model version"))]
    for part in keys:
        if given.get(part) in (None, ""):
            fix = "give version, digest and uri as `accelstack status` or the registry shows them"
            found.append(Finding(Severity.INVALID, f"{key}.{part}", "", "is not given", fix))
    digest = str(given.get("digest") or "")
    if digest and not re.fullmatch(r"sha256:[0-9a-f]{64}", digest):
        fix = "use sha256: and 64 hexadecimal digits"
        found.append(Finding(Severity.INVALID, f"{key}.digest", digest, "is no digest of a model", fix))
    return found


def _percent(canary: dict[str, Any]) -> Finding | None:
    percent = canary.get("percent", 0)
    if isinstance(percent, int) and not isinstance(percent, bool) and 0 <= percent <= 100:
        return None
    fix = "use a whole number from 0, which takes it out of service, to 100"
    return Finding(Severity.INVALID, "canary.percent", str(percent), "is no share of the requests", fix)


def _images(images: dict[str, Any]) -> list[Finding]:
    fix = "give it by digest, such as registry.example/image@sha256:…; `accelstack addons lock` finds digests"
    return [
        Finding(Severity.INVALID, f"images.{name}", str(image), "is no image by digest", fix)
        for name, image in images.items()
        if not re.fullmatch(r"[^\s@]+@sha256:[0-9a-f]{64}", str(image))
    ]


def _needed_images(asked: Inside) -> list[Finding]:
    """Images that nothing else brings, and that are not named."""
    needed = {"mlflow": asked.registry, "postgres": asked.registry, "engine": asked.engine != "native"}
    why = {"engine": f"engine {asked.engine}", "mlflow": "registry", "postgres": "registry"}
    fix = "give it by digest; `docker buildx imagetools inspect` shows it"
    return [
        Finding(Severity.ERROR, f"images.{name}", "", f"is not given, and {why[name]} needs it", fix)
        for name, wanted in needed.items()
        if wanted and not asked.images.get(name)
    ]


def _mirror(mirror: str) -> Finding | None:
    wrong = images.mirror_problem(mirror)
    fix = "use one such as registry.example.com/mirror, without https://"
    return Finding(Severity.INVALID, "mirror", mirror, "is no mirror", fix) if wrong else None


def _backup(bucket: str) -> Finding | None:
    if not bucket or re.fullmatch(BUCKET, bucket):
        return None
    return Finding(
        Severity.INVALID, "backup", bucket, "is no bucket that Velero can use here", "use s3://bucket/folder"
    )


def _replicas(asked: Inside) -> Finding | None:
    if asked.max_replicas < asked.min_replicas and (asked.max_replicas or asked.min_replicas > 1):
        reason = f"is less than min_replicas, {asked.min_replicas}"
        return Finding(Severity.ERROR, "max_replicas", str(asked.max_replicas), reason, "raise it")
    if asked.max_replicas and not asked.min_replicas and asked.scale_on != "queue":
        reason = "scales to none, which the processor load of no server can undo"
        return Finding(Severity.ERROR, "min_replicas", "0", reason, "use 1 or more, or scale_on: queue")
    return None


def _span(asked: Inside) -> Finding | None:
    if asked.replica_nodes == 1 or (asked.replica_nodes > 1 and asked.engine == "vllm"):
        return None
    fix = "use engine vllm" if asked.replica_nodes > 1 else "use 1 or more"
    return Finding(Severity.ERROR, "replica_nodes", str(asked.replica_nodes), f"engine {asked.engine} cannot span", fix)


def _outside(asked: Inside) -> Finding | None:
    """What is asked of a way in that there is not."""
    way = asked.gateway or asked.gateway_class
    if asked.gateway and not re.fullmatch(r"[a-z0-9-]+/[a-z0-9.-]+", asked.gateway):
        fix = "use <namespace>/<name>"
        return Finding(Severity.INVALID, "gateway", asked.gateway, "is no name of a Gateway", fix)
    if asked.gateway and asked.gateway_class:
        reason = "names a class for a Gateway that is there already"
        return Finding(
            Severity.ERROR, "gateway_class", asked.gateway_class, reason, "give one of gateway, gateway_class"
        )
    if asked.canary and not way:
        reason = "needs a Gateway, since a Service alone cannot weigh"
        fix = "set gateway (an existing one) or gateway_class (`kubectl get gatewayclass` lists them)"
        return Finding(Severity.ERROR, "canary", f"{asked.canary.get('percent', '')} %", reason, fix)
    if way and not asked.hostname:
        reason = "would take the requests for every name"
        return Finding(Severity.ERROR, "hostname", "", f"is not given, and a Gateway without {reason}", "set hostname")
    if asked.issuer and not asked.hostname:
        reason = "has no name to sign a certificate for"
        return Finding(Severity.ERROR, "issuer", asked.issuer, reason, "set hostname")
    return None


def model(name: str, pinned: Mapping[str, Any]) -> dict[str, str]:
    """A pinned model version under its name."""
    return {"name": name, **{key: str(pinned[key]) for key in MODEL_KEYS}}
