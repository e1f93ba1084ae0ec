"""A model in service on a real control plane: what it admits, and how versions come and go."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from accelstack.k8s import namespace
from accelstack.k8s.pod import standard

from tests.cluster.admission import admitted
from tests.cluster.control_plane import ControlPlane, running
from tests.cluster.nodes import nodes
from tests.engine import programs
from tests.engine.programs import Program, Run
from tests.unit.k8s_serving import ENGINE_IMAGE, IMAGE, WAY_IN, args, pool, serve, version

HEADER = """
import json
import pulumi
import pulumi_kubernetes as kubernetes
from accelstack.k8s.inference_service import InferenceService

"""
COMPONENTS = ("gateway_api", "cert_manager", "keda")
A, B = "digits-aaaaaaaa", "digits-bbbbbbbb"
TLS = {**WAY_IN, "issuer": "letsencrypt", "grpc_hostname": "grpc.example.org"}
GPUS: dict[str, Any] = {"pool": pool("H100:8"), "engine_image": ENGINE_IMAGE}
QUEUE = {"max_replicas": 3, "scale_on": "queue", "prometheus": "http://prometheus.monitoring.svc:9090"}
KINDS: dict[str, dict[str, Any]] = {
    "canary": {"canary": {"model": version("b"), "percent": 10}, "reachable_from_addresses": ["10.0.0.0/16"], **TLS},
    "from none": {**QUEUE, "min_replicas": 0, "wake_query": "sum(rate(requests[1m]))"},
    "cpu": {"max_replicas": 3},
    "bundle": {"image": None, "base_image": IMAGE},
    "triton": {"engine": "triton", **GPUS},
    "tensorflow_serving": {"engine": "tensorflow_serving", **GPUS},
    "vllm": {"engine": "vllm", "accelerators": 4, **GPUS},
    "vllm on two nodes": {"engine": "vllm", "nodes": 2, **QUEUE, **GPUS},
}


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running(tmp_path_factory.mktemp("plane"), components=COMPONENTS) as made:
        made.apply([*nodes(pool(), 3, prefix="cpu-"), *nodes(pool("H100:8"), 4, prefix="gpu-")])
        yield made


class Setting:
    """A program with one service, in a namespace of its own."""

    def __init__(self, program: Program, plane: ControlPlane, home: str) -> None:
        self.program, self.plane, self.home = program, plane, home

    def up(self, before: str = "", **more: Any) -> Run:
        """`pulumi up` with these args, after `before`, which has them as `args`."""
        run = self.tried(before, **more)
        assert run.ok, run.output
        return run

    def tried(self, before: str = "", **more: Any) -> Run:
        """The same, where it may fail."""
        given = args(**{"namespace": self.home, "replicas": 2, **more})
        self.program.write(
            f"""
            cluster = kubernetes.Provider("cluster", kubeconfig={str(self.plane.kubeconfig)!r})
            args = json.loads({json.dumps(given)!r})
            {before}
            service = InferenceService("digits", args, pulumi.ResourceOptions(providers=[cluster]))
            for name in ("rest", "grpc", "console", "deployments", "route"):
                pulumi.export(name, getattr(service, name))
            """,
            HEADER,
        )
        return self.program.up()

    def get(self, *what: str) -> dict[str, Any]:
        return json.loads(self.plane.kubectl("--namespace", self.home, "get", *what, "-o", "json"))

    def pods(self, revision: str) -> dict[str, str]:
        """UIDs of a revision's ready pods, by name."""
        found = self.get("pods", "--selector", f"accelstack/revision={revision}")["items"]
        ready = {"type": "Ready", "status": "True"}
        kept = [each for each in found if any(ready.items() <= one.items() for one in each["status"]["conditions"])]
        return {each["metadata"]["name"]: each["metadata"]["uid"] for each in kept}

    def weights(self) -> dict[str, int]:
        rule = self.get("httproute", "digits")["spec"]["rules"][-1]
        return {each["name"]: each["weight"] for each in rule["backendRefs"]}


@pytest.fixture
def setting(plane: ControlPlane, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Setting]:
    home = f"serving-{request.node.name.removeprefix('test_').replace('_', '-')}"[:60].rstrip("-")
    _home(plane, home, "restricted")
    with programs.attached(tmp_path / "p", ("kubernetes",), kubernetes=plane.kubeconfig) as program:
        yield Setting(program, plane, home)
    plane.kubectl("delete", "namespace", home, "--wait=false")


def _home(plane: ControlPlane, name: str, level: str) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "workload", "namespace": name}}
    plane.apply([namespace.manifest(name, {"level": level}), account])


@pytest.mark.parametrize("kind", KINDS)
def test_every_object_is_admitted_without_a_warning(plane: ControlPlane, kind: str, tmp_path: Path) -> None:
    home = f"admission-{kind.replace(' ', '-').replace('_', '-')}"
    several, fabric = KINDS[kind].get("nodes", 1) > 1, KINDS[kind].get("pool", pool())["pod_fabric"]
    _home(plane, home, standard(fabric) if several else "restricted")
    objects = [*serve(namespace=home, **KINDS[kind]).objects.values()]
    templates = [each["spec"]["template"] for each in objects if each["kind"] == "Deployment"]
    for each in (each for each in objects if each["kind"] == "LeaderWorkerSet"):
        group = each["spec"]["leaderWorkerTemplate"]
        templates += [group["leaderTemplate"], group["workerTemplate"]]
    pods = [
        {
            "apiVersion": "v1",
            "kind": "Pod",
            **each,
            "metadata": {**each["metadata"], "name": f"pod-{n}", "namespace": home},
        }
        for n, each in enumerate(templates)
    ]
    assert templates
    assert admitted(plane, tmp_path, [*objects, *pods]) == len(objects) + len(pods)
    plane.kubectl("delete", "namespace", home, "--wait=false")


def test_versions_come_and_go_by_weights_alone(setting: Setting) -> None:
    first, second = version("a"), version("b", "2")
    setting.up(model=first, **WAY_IN)
    stable = setting.pods(A)
    assert (len(stable), setting.weights()) == (2, {A: 100})
    assert setting.program.outputs()["rest"] == "http://digits.example.org"

    tried = setting.up(model=first, canary={"model": second, "percent": 10}, **WAY_IN)
    assert tried.steps.index(("create", f"{B}-pods")) < tried.steps.index(("update", "digits-http"))
    assert {name for operation, name in tried.steps if operation == "update"} == {"digits-http"}
    canary = setting.pods(B)
    assert (len(canary), setting.weights()) == (2, {A: 90, B: 10})

    for percent in (50, 100, 0, 100):
        moved = setting.up(model=first, canary={"model": second, "percent": percent}, **WAY_IN)
        assert moved.steps == [("update", "digits-http")]
        assert setting.weights() == {A: 100 - percent, B: percent}
    assert (setting.pods(A), setting.pods(B)) == (stable, canary)

    setting.up(model=second, canary={"model": first, "percent": 0}, **WAY_IN)
    assert (setting.pods(A), setting.pods(B), setting.weights()) == (stable, canary, {B: 100, A: 0})
    assert setting.get("service", "digits")["spec"]["selector"]["accelstack/revision"] == B

    promoted = setting.up(model=second, **WAY_IN)
    assert {operation for operation, name in promoted.steps if name.startswith(A)} == {"delete"}
    order = [name for operation, name in promoted.steps if operation == "delete"]
    assert order.index(f"{A}-pods") < order.index(f"{A}-service")
    assert (setting.pods(A), setting.pods(B), setting.weights()) == ({}, canary, {B: 100})
    assert setting.up(model=second, **WAY_IN).steps == []


def test_a_version_that_was_just_trained_follows_the_one_before_without_a_gap(setting: Setting) -> None:
    trained = 'args["model"] = pulumi.Output.from_input(args["model"])'
    setting.up(trained, model=version("a"), **WAY_IN)
    assert setting.weights() == {"digits-latest-aaaaaaaa": 100}
    steps = setting.up(trained, model=version("b", "2"), **WAY_IN).steps
    order = [
        ("create-replacement", "digits-latest-pods"),
        ("update", "digits-http"),
        ("delete-replaced", "digits-latest-pods"),
    ]
    assert [step for step in steps if step in order] == order
    assert setting.weights() == {"digits-latest-bbbbbbbb": 100}
    pinned = setting.up(model=version("b", "2"), **WAY_IN).steps  # the same version, which has pods under both names
    assert pinned.index(("create", f"{B}-pods")) < pinned.index(("update", "digits-http"))
    assert (len(setting.pods(B)), setting.weights()) == (2, {B: 100})


def test_a_version_that_does_not_come_up_gets_no_request(setting: Setting) -> None:
    setting.up(**WAY_IN)
    stable = setting.pods(A)
    soon = "from accelstack.k8s import serving_pod; serving_pod.NODE_SECONDS = 6"
    failed = setting.tried(soon, model=version("b"), startup_seconds=2, cpu="1000", **WAY_IN)
    assert not failed.ok
    assert f"{B}-pods" in failed.output
    assert (setting.pods(A), setting.weights()) == (stable, {A: 100})
    assert setting.get("service", "digits")["spec"]["selector"]["accelstack/revision"] == A
    setting.up(model=version("b"), **WAY_IN)
    assert (len(setting.pods(B)), setting.weights()) == (2, {B: 100})


def test_a_model_over_two_nodes_serves_when_its_group_does(setting: Setting) -> None:
    _home(setting.plane, setting.home, "privileged")  # EFA's pods lock memory
    setting.up(engine="vllm", nodes=2, **GPUS)
    assert len(setting.pods(A)) == 4
    leaders = setting.get("endpointslices", "--selector", "kubernetes.io/service-name=digits")["items"][0]["endpoints"]
    assert {each["targetRef"]["name"] for each in leaders} == {f"{A}-0", f"{A}-1"}
    pods = setting.get("pods")["items"]
    for each in pods:  # what the command line refers to
        known = {variable["name"] for variable in each["spec"]["containers"][0]["env"]}
        assert {"LWS_LEADER_ADDRESS", "LWS_WORKER_INDEX"} <= known
    hosts = {each["spec"]["nodeName"] for each in pods}
    assert len(hosts) == 4  # each has all accelerators of its own
    gone = setting.program.destroy()
    assert gone.ok, gone.output


def test_it_goes_in_one_go_and_leaves_nothing(setting: Setting) -> None:
    setting.up(canary={"model": version("b"), "percent": 10}, max_replicas=3, **TLS)
    gone = setting.program.destroy()
    assert gone.ok, gone.output
    kinds = "deployments,services,poddisruptionbudgets,networkpolicies,horizontalpodautoscalers,httproutes,grpcroutes,"
    assert setting.get(f"{kinds}gateways,certificates")["items"] == []


def test_what_somebody_deleted_comes_back(setting: Setting) -> None:
    setting.up(**WAY_IN)
    setting.plane.kubectl("--namespace", setting.home, "delete", "deployment", A)
    setting.plane.kubectl("--namespace", setting.home, "delete", "httproute", "digits")
    seen = setting.program.refresh()
    assert seen.ok, seen.output
    setting.up(**WAY_IN)
    assert (len(setting.pods(A)), setting.weights()) == (2, {A: 100})


def test_what_scaling_did_stays(setting: Setting) -> None:
    setting.up(max_replicas=4)
    setting.plane.kubectl("--namespace", setting.home, "scale", "deployment", A, "--replicas=3")
    assert setting.up(max_replicas=4).steps == []
    changed = setting.up(max_replicas=4, timeout_seconds=20)
    assert changed.steps == [("update", f"{A}-pods")]
    assert setting.get("deployment", A)["spec"]["replicas"] == 3


def test_nodes_are_drained_one_copy_at_a_time(setting: Setting, tmp_path: Path) -> None:
    setting.up()
    within = ("--namespace", setting.home)
    setting.plane.kubectl(*within, "create", "quota", "full", "--hard=pods=0")  # so that nothing takes a copy's place
    setting.plane.kubectl(*within, "wait", "pdb", A, "--for=jsonpath={.status.disruptionsAllowed}=1", "--timeout=60s")
    first, second = (_eviction(setting, name, tmp_path) for name in setting.pods(A))
    setting.plane.kubectl(*first)
    with pytest.raises(Exception, match="disruption budget"):
        setting.plane.kubectl(*second)


def _eviction(setting: Setting, name: str, folder: Path) -> list[str]:
    metadata = {"name": name, "namespace": setting.home}
    file = folder / f"{name}.json"
    file.write_text(json.dumps({"apiVersion": "policy/v1", "kind": "Eviction", "metadata": metadata}))
    return ["create", "--raw", f"/api/v1/namespaces/{setting.home}/pods/{name}/eviction", "--filename", str(file)]
