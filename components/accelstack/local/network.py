"""Loopback as a network: two ports for the stack's services."""

from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, Resource, UpdateResult

from accelstack.dynamic import DynamicProvider, UserError, changed, child_of, failed
from accelstack.local import ports

PORTS = ("rest_port", "grpc_port")


class NetworkArgs(TypedDict):
    """Args of `local.Network`."""

    rest_port: NotRequired[int]
    """Loopback port of the REST protocol and the page; 0 or left out: a free one, kept from then on."""
    grpc_port: NotRequired[int]
    """Loopback port of the gRPC protocol, likewise."""


class PortsProvider(DynamicProvider):
    """Keeps two ports: those asked for, or free ones. `ports` in its state has the ones in force."""

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        problems: dict[str, str] = {}
        for name in PORTS:
            port = int(news[name])
            if port and not ports.held_by_service(port) and (by := ports.holder(port)):
                problems[name] = f"port {port} is taken by {by}; choose another, or 0 for a free one"
        return failed(news, problems)

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=changed(_olds, _news, [*PORTS]))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("loopback", {**props, **_resolved(props, {})})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult({**_news, **_resolved(_news, _olds)})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        for name in PORTS:
            port = int(props[f"{name}_used"])
            if not int(props[name]) and not ports.held_by_service(port) and ports.holder(port):
                return ReadResult("", {})  # a free port that somebody else has taken since: choose anew
        return ReadResult(id_, props)


def _resolved(props: dict[str, Any], olds: dict[str, Any]) -> dict[str, int]:
    """The ports in force: the one asked for, else the former free one, else a new free one."""
    used: dict[str, int] = {}
    for name in PORTS:
        asked = int(props[name])
        former = 0 if int(olds.get(name) or 0) else int(olds.get(f"{name}_used") or 0)
        used[f"{name}_used"] = asked or former or ports.free()
    if len({*used.values()}) < len(used):
        raise UserError("rest_port and grpc_port fell on the same port; choose them, or run this again")
    return used


class _Ports(Resource, module="accelstack", name="LocalPorts"):
    rest_port_used: pulumi.Output[int]
    grpc_port_used: pulumi.Output[int]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(PortsProvider(), name, props, opts)


class Network(pulumi.ComponentResource):
    """Loopback: services are reached from this machine alone, on two ports.

    Works from Python programs alone, since it stands on a dynamic resource.

    Raises:
        pulumi.InputPropertyError: a port is out of range, or both are the same.
    """

    address: pulumi.Output[str]
    """127.0.0.1."""
    cidrs: pulumi.Output[list[str]]
    """The loopback range."""
    rest_port: pulumi.Output[int]
    """Port of the REST protocol and the page."""
    grpc_port: pulumi.Output[int]
    """Port of the gRPC protocol."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        asked = {port: args.get(port, 0) for port in PORTS}
        for port, number in asked.items():
            if not 0 <= number <= 65535:
                raise pulumi.InputPropertyError(port, f"is {number}; it must be 1 to 65535, or 0 for a free port")
        if asked["rest_port"] and asked["rest_port"] == asked["grpc_port"]:
            raise pulumi.InputPropertyError("grpc_port", f"is {asked['grpc_port']}, as is rest_port; choose another")
        super().__init__("accelstack:index:LocalNetwork", name, None, opts)
        props = {**asked, "rest_port_used": None, "grpc_port_used": None}
        kept = _Ports(name, props, child_of(self))
        self.address = pulumi.Output.from_input(ports.HOST)
        self.cidrs = pulumi.Output.from_input(["127.0.0.0/8"])
        self.rest_port = kept.rest_port_used
        self.grpc_port = kept.grpc_port_used
        self.register_outputs(
            {"address": self.address, "cidrs": self.cidrs, "rest_port": self.rest_port, "grpc_port": self.grpc_port}
        )
