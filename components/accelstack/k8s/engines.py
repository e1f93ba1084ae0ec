"""The servers that can put a model into service, as data: what they listen on, what they are started with, what they
honour."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import pulumi

from accelstack.contracts import ModelVersion
from accelstack.k8s.pod import GRPC_PORT, REST_PORT
from accelstack.plan.findings import one_of

MODEL = "/model"
RENDEZVOUS_PORT = 29500
NAMES = ("name", "version", "digest")


@dataclass(frozen=True, slots=True)
class Engine:
    """A server. Texts may hold `{name}`, `{version}` and `{digest}` of the model, `{accelerators}`, `{nodes}` and
    `{drain}`."""

    name: str
    command: tuple[str, ...]
    ports: Mapping[str, int]
    """By what they are for: `rest`, `grpc` where it speaks that, `metrics` where they have a port of their own."""
    ready: str
    """Path on the REST port that answers 200 once the model is loaded."""
    live: str
    """Path that answers 200 while the server runs; empty: an open port is all there is to see."""
    metrics: str
    """Path of its Prometheus metrics; empty for none."""
    load: str
    """What PromQL sums up to the requests that are in the server, of pods chosen by `%s`; empty where it does not
    count them."""
    usual_load: int
    """How many of those a replica should have before there is another."""
    paths: tuple[tuple[str, str], ...]
    """What a Gateway passes on, by kind of match: no metrics, and nothing that manages the server."""
    files: str = MODEL
    """Where the model's files must lie."""
    layout: str = "the model directory as it was registered"
    """What must be at a model version's URI."""
    drain_seconds: int = 0
    """How long it lets requests end after SIGTERM."""
    timeout_seconds: int = 30
    """Longest request, if nothing else is asked for."""
    startup_seconds: int = 600
    """Until a model must be loaded, its files fetched before, if nothing else is asked for."""
    options: Mapping[str, str] = field(default_factory=dict[str, str])
    """Flags by option, to which the value is appended."""
    environment: Mapping[str, str] = field(default_factory=dict[str, str])
    shared_memory: bool = False
    """Whether its processes meet in `/dev/shm`."""
    page: bool = False
    """Whether it has a page for people."""
    whole_version: bool = False
    """Whether versions must be whole numbers."""
    leader: tuple[str, ...] = ()
    """What the command goes on with where a replica has several nodes; empty where it cannot."""
    worker: tuple[str, ...] = ()
    """The same on each node but the first."""


_SPREAD = (
    "--pipeline-parallel-size={nodes}",
    "--nnodes={nodes}",
    "--node-rank=$(LWS_WORKER_INDEX)",
    "--master-addr=$(LWS_LEADER_ADDRESS)",
    f"--master-port={RENDEZVOUS_PORT}",
)
"""Processes of vLLM without Ray (https://docs.vllm.ai/en/latest/serving/parallelism_scaling/); the variables are
LeaderWorkerSet's, put before all others so that the kubelet fills them in."""

_NATIVE = Engine(
    name="native",
    command=(
        *("python", "-m", "accelstack_workloads", "serve", "--model", MODEL),
        *("--name", "{name}", "--version", "{version}", "--digest", "{digest}"),
        *("--host", "0.0.0.0", "--rest-port", str(REST_PORT), "--grpc-port", str(GRPC_PORT)),  # noqa: S104
    ),
    ports={"rest": REST_PORT, "grpc": GRPC_PORT},
    ready="/v2/health/ready",
    live="/v2/health/live",
    metrics="/metrics",
    load="accelstack_inference_waiting{%s}",
    usual_load=8,  # it refuses from 256 on (serve/predictor.py), and a model of its size answers within milliseconds
    paths=(("Exact", "/"), ("PathPrefix", "/v2"), ("PathPrefix", "/page"), ("Exact", "/predict")),
    drain_seconds=5,  # serve/server.py: 4 and a last resort
    page=True,
)

_TRITON = Engine(
    name="triton",
    command=(
        *("tritonserver", f"--model-repository={MODEL}", "--exit-timeout-secs={drain}"),
        *("--http-port=8000", "--grpc-port=8001", "--metrics-port=8002"),
    ),
    ports={"rest": 8000, "grpc": 8001, "metrics": 8002},
    ready="/v2/health/ready",
    live="/v2/health/live",
    metrics="/metrics",
    load="nv_inference_pending_request_count{%s}",
    usual_load=8,
    paths=(("Exact", "/v2"), ("PathPrefix", "/v2/health"), ("PathPrefix", "/v2/models")),
    files=f"{MODEL}/{{name}}",
    layout="a model of Triton's repository: config.pbtxt and numbered folders",
    drain_seconds=30,
    options={"rate_limit": "--rate-limit=", "cache_bytes": "--cache-config=local,size="},
    shared_memory=True,
)

_TENSORFLOW_SERVING = Engine(
    name="tensorflow_serving",
    command=(
        *("tensorflow_model_server", "--model_name={name}", f"--model_base_path={MODEL}"),
        *(
            "--port=8500",
            "--rest_api_port=8501",
            "--file_system_poll_wait_seconds=0",
        ),  # versions are replaced, not found
    ),
    ports={"rest": 8501, "grpc": 8500},
    ready="/v1/models/{name}/versions/{version}",
    live="",
    metrics="",
    load="",
    usual_load=0,
    paths=(("PathPrefix", "/v1/models"),),
    files=f"{MODEL}/{{version}}",
    layout="a SavedModel: saved_model.pb and variables/",
    # It ignores SIGTERM (https://github.com/tensorflow/serving/issues/1853).
    options={
        "batching": "--enable_batching=",
        "intra_op_threads": "--tensorflow_intra_op_parallelism=",
        "inter_op_threads": "--tensorflow_inter_op_parallelism=",
    },
    whole_version=True,
)

_VLLM = Engine(
    name="vllm",
    command=(
        *("vllm", "serve", MODEL, "--served-model-name={name}", "--host=0.0.0.0", "--port=8000"),
        "--tensor-parallel-size={accelerators}",
    ),
    ports={"rest": 8000},
    ready="/health",
    live="/health",
    metrics="/metrics",
    load="vllm:num_requests_running{%s} + vllm:num_requests_waiting{%s}",
    usual_load=32,
    paths=(("PathPrefix", "/v1"),),
    layout="a model as transformers saves it: config.json, tokenizer, safetensors",
    # Without a flag that older releases lack it drops its requests at SIGTERM (https://github.com/vllm-project/vllm/issues/24885).
    timeout_seconds=300,
    startup_seconds=1800,
    options={
        "max_model_len": "--max-model-len=",
        "max_num_seqs": "--max-num-seqs=",
        "gpu_memory_utilization": "--gpu-memory-utilization=",
        "dtype": "--dtype=",
        "quantization": "--quantization=",
        "kv_cache_dtype": "--kv-cache-dtype=",
    },
    environment={
        "HF_HUB_OFFLINE": "1",
        "VLLM_NO_USAGE_STATS": "1",
        "USER": "accelstack",  # its user has no name in the image, and torch asks for one
    },
    shared_memory=True,
    leader=_SPREAD,
    worker=(*_SPREAD, "--headless"),
)

ENGINES = {each.name: each for each in (_NATIVE, _TRITON, _TENSORFLOW_SERVING, _VLLM)}


def engine(name: str) -> Engine:
    """The engine of that name.

    Raises:
        pulumi.InputPropertyError: there is none.
    """
    if wrong := one_of("engine", name, ENGINES, "engine"):
        raise pulumi.InputPropertyError(wrong.property, f"{wrong.value!r} {wrong.rule}; {wrong.fix}")
    return ENGINES[name]


def ignored(asked: Engine, options: Mapping[str, str]) -> tuple[str, str] | None:
    """The first option that the engine would ignore, and why that is refused; None if it honours all."""
    for option in options:
        if option not in asked.options:
            others = [each.name for each in ENGINES.values() if option in each.options]
            fix = (
                f"{' and '.join(others)} honours it" if others else f"it honours: {', '.join(asked.options) or 'none'}"
            )
            return f"options.{option}", f"is ignored by {asked.name}; {fix}"
    return None


def command(
    asked: Engine,
    model: Mapping[str, pulumi.Input[str]],
    options: Mapping[str, str],
    accelerators: int,
    drain_seconds: int,
    nodes: int = 1,
    *,
    worker: bool = False,
) -> list[pulumi.Input[str]]:
    """The command line that serves a model version.

    Args:
        accelerators: on each node.
        drain_seconds: how long it may let requests end.
        nodes: of each replica.
        worker: for the nodes of a replica but the first.
    """
    several = () if nodes == 1 else asked.worker if worker else asked.leader
    values = {
        **{key: model[key] for key in NAMES},
        "accelerators": str(max(accelerators, 1)),
        "nodes": str(nodes),
        "drain": str(drain_seconds),
    }
    chosen = [f"{asked.options[option]}{value}" for option, value in options.items()]
    return [*(filled_in(part, values) for part in (*asked.command, *several)), *chosen]


def filled_in(text: str, values: Mapping[str, pulumi.Input[str]]) -> pulumi.Input[str]:
    """The text with values for its names: plain where the values are."""
    used = {key: value for key, value in values.items() if f"{{{key}}}" in text}
    plain = {key: value for key, value in used.items() if isinstance(value, str)}
    if len(plain) == len(used):
        return text.format(**plain)
    return pulumi.Output.format(text, **used)


def model_problem(asked: Engine, model: ModelVersion) -> str:
    """Why a model version cannot be served, and the fix; empty if it can."""
    missing = [key for key in ("name", "version", "digest", "uri") if not model.get(key)]
    if missing:
        fix = "give name, version, digest and uri as `accelstack status` or the registry shows them"
        return f"is no model version that exists: {' and '.join(missing)} is empty; {fix}"
    kind, _, digits = model["digest"].partition(":")
    if kind != "sha256" or len(digits) != 64 or not {*digits} <= {*"0123456789abcdef"}:
        return f"has the digest {model['digest']!r}; use sha256: and 64 hexadecimal digits"
    if asked.whole_version and not model["version"].isdecimal():
        return f"has the version {model['version']!r}; {asked.name} counts versions in whole numbers, use one"
    return ""
