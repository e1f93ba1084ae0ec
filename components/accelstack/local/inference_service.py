"""A model version in service on this machine."""

import hashlib
import json
import sys
from pathlib import Path
from typing import Any

import psutil
import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from accelstack import fingerprint
from accelstack.contracts import InferenceServiceArgs
from accelstack.dynamic import DynamicProvider, UserError, changed, child_of
from accelstack.local import ports, processes, steps, supervision

IDENTITY = ["name", "model", "replicas", "rest_port", "grpc_port", "folder", "code_digest"]


class LocalInferenceServiceArgs(InferenceServiceArgs):
    """Args of `local.InferenceService`."""

    rest_port: pulumi.Input[int]
    """Loopback port of the REST protocol and the page."""
    grpc_port: pulumi.Input[int]
    """Loopback port of the gRPC protocol."""
    folder: pulumi.Input[str]
    """Folder for settings and logs, such as the cluster's."""


class ServiceProvider(DynamicProvider):
    """Runs replicas under supervisord in a folder that their identity names.

    A change starts the new replicas beside the old ones, on the same ports, and ends the old ones once the new answer;
    new ones that do not come up leave the old ones in service.
    """

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        return CheckResult({**news, "code_digest": fingerprint.serving_code()}, [])

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=changed(_olds, _news, IDENTITY))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("service", _serve(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(_serve(_news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        own = Path(props["logs"])
        strays = processes.below(own.parent) - processes.below(own)  # of an update whose engine was killed
        return ReadResult(id_ if supervision.alive(_expected(props, own)) and not strays else "", props)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        folder = Path(_props["logs"])
        processes.stop_all_below(folder)
        processes.remove_folder(folder)


def _expected(props: dict[str, Any], folder: Path) -> supervision.Service:
    model = props["model"]
    return supervision.Service(
        folder=folder,
        replicas=int(props["replicas"]),
        rest_port=int(props["rest_port"]),
        grpc_port=int(props["grpc_port"]),
        health=f"/v2/models/{model['name']}/versions/{model['version']}/ready",
    )


def _serve(props: dict[str, Any]) -> dict[str, Any]:
    """Brings the service to what the props say; ends what served before."""
    identity = json.dumps([props[name] for name in IDENTITY], sort_keys=True)
    folder = Path(props["folder"]) / "services" / props["name"]
    own = folder / hashlib.sha256(identity.encode()).hexdigest()[:12]
    processes.stop_all_below(own)  # the same service, half-way up or dead
    former = processes.below(folder)
    service = _expected(props, own)
    for name in ("rest_port", "grpc_port"):
        _refuse_foreign(name, int(props[name]), former)
    model = props["model"]
    command = [
        *(sys.executable, *steps.MODULE, "serve"),
        *("--model", str(steps.path_of(model["uri"]))),
        *("--name", model["name"], "--version", model["version"], "--digest", model["digest"]),
        *(("--public-key", model["public_key"]) if model.get("public_key") else ()),
        *("--host", ports.HOST, "--rest-port", str(service.rest_port), "--grpc-port", str(service.grpc_port)),
        "--share-ports",
    ]
    supervision.start(supervision.write(own, command, service.replicas))
    try:
        supervision.wait_ready(service)
    except UserError:
        processes.stop_all_below(own)
        raise
    processes.stop(former)
    for stale in folder.iterdir():
        if stale != own:
            processes.remove_folder(stale)
    address = f"http://{ports.HOST}:{service.rest_port}"
    print(f"serving {model['name']} version {model['version']} at {address}")
    return {
        **props,
        "rest": address,
        "grpc": f"{ports.HOST}:{service.grpc_port}",
        "console": f"{address}/",
        "logs": str(own),
    }


def _refuse_foreign(name: str, port: int, own: set[psutil.Process]) -> None:
    taken = ports.holder(port)
    if taken and not any(supervision.listening(process, {port}) for process in own):
        raise UserError(f"{name}: port {port} is taken by {taken}; end that, or set {name} to another port")


class _Service(Resource, module="accelstack", name="LocalService"):
    rest: pulumi.Output[str]
    grpc: pulumi.Output[str]
    console: pulumi.Output[str]
    logs: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        outputs = dict.fromkeys(["rest", "grpc", "console", "logs"])
        super().__init__(ServiceProvider(), name, {**props, "code_digest": None, **outputs}, opts)


class InferenceService(pulumi.ComponentResource):
    """A model version in service on loopback, over the Open Inference Protocol v2 (REST and gRPC), with a page.

    Replicas are processes that share the ports. They outlive the command line, are restarted when they die, and count
    as created once they answer. Works from Python programs alone, since it stands on a dynamic resource.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    rest: pulumi.Output[str]
    """Base URL of the REST protocol; metrics are at `/metrics` there."""
    grpc: pulumi.Output[str]
    """`host:port` of the gRPC protocol."""
    console: pulumi.Output[str]
    """URL of the page for people."""
    logs: pulumi.Output[str]
    """Folder with a log for each replica and one of their supervisor."""

    def __init__(self, name: str, args: LocalInferenceServiceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        replicas = args.get("replicas", 1)
        if not 1 <= replicas <= 64:
            raise pulumi.InputPropertyError("replicas", f"is {replicas}; it must be 1 to 64")
        super().__init__("accelstack:index:LocalInferenceService", name, None, opts)
        service = _Service(name, {**args, "name": name, "replicas": replicas}, child_of(self))
        self.rest = service.rest
        self.grpc = service.grpc
        self.console = service.console
        self.logs = service.logs
        self.register_outputs({"rest": self.rest, "grpc": self.grpc, "console": self.console, "logs": self.logs})
