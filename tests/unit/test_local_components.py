"""The local components over Pulumi's mocks: what they ask the engine for, and what they refuse before they ask."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import pulumi
import pytest
from accelstack import local
from pulumi.runtime import mocks, stack

MADE_UP = {
    "LocalMachine": {"processes": 2, "accelerator": "cpu", "pools": [{"accelerator": "cpu", "per_node": 2}]},
    "LocalPorts": {"rest_port_used": 8001, "grpc_port_used": 8002},
    "LocalTrainingRun": {"run_id": "r1", "run_folder": "/runs/r1", "metrics": {"accuracy": 0.99}},
    "LocalModelVersion": {"version": "3", "digest": "sha256:0", "uri": "file:///models/m", "public_key": "MFkw"},
    "LocalService": {"rest": "http://r", "grpc": "g:1", "console": "http://r/", "logs": "/logs"},
}

TRAINING: dict[str, Any] = {
    "workload": "vision",
    "dataset": "digits",
    "epochs": 3,
    "batch_size": 64,
    "learning_rate": 0.003,
    "seed": 0,
    "model": "digits",
    "store": "file:///store",
    "accelerator": "cpu",
    "processes": 2,
}
SERVICE: dict[str, Any] = {
    "model": {"name": "m", "version": "3", "digest": "sha256:0", "uri": "file:///models/m"},
    "rest_port": 8001,
    "grpc_port": 8002,
    "folder": "/run",
}


class RecordingMocks(pulumi.runtime.Mocks):
    """Accepts each resource, fills in made-up outputs and remembers the inputs."""

    def __init__(self) -> None:
        self.inputs: dict[str, dict[str, Any]] = {}
        self.monitor: RecordingMonitor | None = None

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        kind = args.typ.rpartition(":")[2]
        self.inputs[kind] = dict(args.inputs)
        return f"{args.name}-id", {**args.inputs, **MADE_UP.get(kind, {})}

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        raise AssertionError(f"no component here calls a function, but {args.token} was called")


class RecordingMonitor(mocks.MockMonitor):
    """Remembers each resource's parent, and the outputs that each component registers."""

    def __init__(self, recorder: RecordingMocks) -> None:
        super().__init__(recorder)
        self.parents: dict[str, str] = {}
        self.outputs: dict[str, set[str]] = {}

    def RegisterResource(self, request: Any) -> Any:  # noqa: N802 - the protocol's own name
        self.parents[request.type] = request.parent.split("::")[-2] if request.parent else ""
        return super().RegisterResource(request)

    def RegisterResourceOutputs(self, request: Any) -> Any:  # noqa: N802
        self.outputs[request.urn.split("::")[-2].split("$")[-1]] = {*request.outputs.fields}
        return super().RegisterResourceOutputs(request)


@pytest.fixture
def engine() -> Iterator[RecordingMocks]:
    recorder = RecordingMocks()
    loop = asyncio.new_event_loop()  # the SDK's outputs are futures of the current loop
    asyncio.set_event_loop(loop)
    recorder.monitor = RecordingMonitor(recorder)
    mocks.set_mocks(recorder, project="accelstack", stack="test", monitor=recorder.monitor)
    yield recorder
    loop.run_until_complete(stack.wait_for_rpcs())
    pulumi.runtime.settings.reset_options()
    asyncio.set_event_loop(None)
    loop.close()


def run(program: Callable[[], dict[str, pulumi.Output[Any]]]) -> dict[str, Any]:
    """Runs a program of components; the values of the outputs that it returns."""
    values: dict[str, Any] = {}

    def wrapped() -> None:
        for name, output in program().items():
            output.apply(lambda value, name=name: values.__setitem__(name, value))

    asyncio.get_event_loop().run_until_complete(stack.run_pulumi_func(wrapped))
    return values


def test_the_cluster_offers_this_machine_as_a_pool(engine: RecordingMocks) -> None:
    def program() -> dict[str, pulumi.Output[Any]]:
        cluster = local.Cluster("here", {"folder": "/run", "accelerator": "cpu:2"})
        return {"name": cluster.name, "pools": cluster.pools, "processes": cluster.processes, "k": cluster.kubeconfig}

    found = run(program)
    assert found == {"name": "here", "pools": [{"accelerator": "cpu", "per_node": 2}], "processes": 2, "k": None}
    assert engine.inputs["LocalMachine"]["request"] == "cpu:2"


def test_the_network_is_loopback_with_the_ports_in_force(engine: RecordingMocks) -> None:
    def program() -> dict[str, pulumi.Output[Any]]:
        network = local.Network("net", {"rest_port": 8001})
        return {"address": network.address, "rest": network.rest_port, "grpc": network.grpc_port}

    assert run(program) == {"address": "127.0.0.1", "rest": 8001, "grpc": 8002}
    assert engine.inputs["LocalPorts"]["rest_port"] == 8001
    assert engine.inputs["LocalPorts"]["grpc_port"] == 0


def test_the_store_is_a_folder_by_its_uri(engine: RecordingMocks) -> None:
    assert run(lambda: {"uri": local.ObjectStore("store", {"folder": "/data/my store"}).uri}) == {
        "uri": "file:///data/my store"
    }


def test_a_training_job_registers_the_model_of_its_run(engine: RecordingMocks) -> None:
    def program() -> dict[str, pulumi.Output[Any]]:
        job = local.TrainingJob("job", TRAINING)
        return {"run_id": job.run_id, "metrics": job.metrics, "model": job.model}

    found = run(program)
    assert found["run_id"] == "r1"
    assert found["metrics"]["accuracy"] == 0.99
    assert found["model"] == {
        "name": "digits",
        "version": "3",
        "digest": "sha256:0",
        "uri": "file:///models/m",
        "public_key": "MFkw",
    }
    assert engine.inputs["LocalModelVersion"]["run_folder"] == "/runs/r1"
    assert engine.inputs["LocalModelVersion"]["name"] == "digits"


def test_a_service_serves_the_model_on_the_ports(engine: RecordingMocks) -> None:
    def program() -> dict[str, pulumi.Output[Any]]:
        service = local.InferenceService("svc", SERVICE)
        return {"rest": service.rest, "grpc": service.grpc, "console": service.console, "logs": service.logs}

    assert run(program) == {"rest": "http://r", "grpc": "g:1", "console": "http://r/", "logs": "/logs"}
    assert engine.inputs["LocalService"]["model"]["digest"] == "sha256:0"
    assert engine.inputs["LocalService"]["replicas"] == 1


@pytest.mark.parametrize(
    ("component", "args", "children"),
    [
        (local.Network, {}, ["LocalPorts"]),
        (local.Cluster, {"folder": "/run"}, ["LocalMachine"]),
        (local.ObjectStore, {"folder": "/store"}, ["LocalFolder"]),
        (local.TrainingJob, TRAINING, ["LocalTrainingRun", "LocalModelVersion"]),
        (local.InferenceService, SERVICE, ["LocalService"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_children_have_the_component_as_parent_and_every_output_is_registered(
    engine: RecordingMocks, component: Any, args: dict[str, Any], children: list[str]
) -> None:
    run(lambda: {"urn": component("one", args).urn})
    assert engine.monitor
    own = f"accelstack:index:Local{component.__name__}"
    made = {kind for kind in engine.monitor.parents if kind.startswith("pulumi-python:")}
    assert made == {f"pulumi-python:dynamic/accelstack:{child}" for child in children}
    assert {engine.monitor.parents[kind].split("$")[-1] for kind in made} == {own}
    # an output that is None, as a kubeconfig here, is not sent
    assert engine.monitor.outputs[own] | {"kubeconfig"} == {*component.__annotations__, "kubeconfig"}


@pytest.mark.parametrize(
    ("build", "property_path"),
    [
        (lambda: local.Network("n", {"rest_port": 70000}), "rest_port"),
        (lambda: local.Network("n", {"rest_port": 8001, "grpc_port": 8001}), "grpc_port"),
        (lambda: local.ObjectStore("s", {"folder": "relative"}), "folder"),
        (lambda: local.Cluster("c", {"folder": "relative"}), "folder"),
        (lambda: local.TrainingJob("t", {**TRAINING, "epochs": 0}), "epochs"),
        (lambda: local.TrainingJob("t", {**TRAINING, "learning_rate": -1.0}), "learning_rate"),
        (lambda: local.InferenceService("i", {**SERVICE, "replicas": 0}), "replicas"),
    ],
)
def test_a_bad_arg_is_refused_before_any_resource(
    engine: RecordingMocks, build: Callable[[], object], property_path: str
) -> None:
    with pytest.raises(pulumi.InputPropertyError) as refused:
        build()
    assert refused.value.property_path == property_path
    assert refused.value.reason
    assert engine.inputs == {}
