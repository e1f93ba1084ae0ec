"""The way in from outside the cluster: a Gateway, its certificate, and routes that share requests out by weight."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pulumi

from accelstack.k8s.serving_manifests import metadata_of
from accelstack.k8s.serving_pod import Serving

API = "gateway.networking.k8s.io/v1"
TRY_HEADER, TRY_VALUE = "x-accelstack-canary", "always"
"""Header of requests that go to the canary whatever its share."""
HTTP_PORT, HTTPS_PORT = 80, 443
HOSTNAME = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+"
KEY = {"algorithm": "ECDSA", "size": 256, "rotationPolicy": "Always"}


@dataclass(frozen=True, slots=True)
class Entrance:
    """How requests come in."""

    hostname: pulumi.Input[str]
    grpc_hostname: pulumi.Input[str]
    """Another name, for gRPC: a listener's name has routes of HTTP or of gRPC, not of both
    (https://gateway-api.sigs.k8s.io/reference/spec/#grpcroute). Empty for none."""
    gateway: str
    """An existing Gateway, `<namespace>/<name>`; empty for one of the service's own."""
    gateway_class: str
    """Class of its own."""
    issuer: str
    """ClusterIssuer of cert-manager for its own; empty for no TLS."""
    tls: bool
    """Whether clients speak TLS with it."""
    listener: str
    """Listener of an existing Gateway; empty for all that take the hostname."""

    @property
    def scheme(self) -> str:
        """Of URLs."""
        return "https" if self.tls else "http"

    @property
    def port(self) -> int:
        """That clients speak to."""
        return HTTPS_PORT if self.tls else HTTP_PORT


@dataclass(frozen=True, slots=True)
class Backend:
    """A revision's Service and its share of the requests."""

    service: pulumi.Input[str]
    percent: int


def own_gateway(asked: Serving, entrance: Entrance) -> dict[str, Any]:
    """A Gateway for this service alone. With TLS, port 80 is there to point to port 443, and for an issuer to prove the
    name by."""
    names = {"http": entrance.hostname, **({"grpc": entrance.grpc_hostname} if entrance.grpc_hostname != "" else {})}
    listeners = [_listener(asked, key, hostname, secure=False) for key, hostname in names.items()]
    if entrance.issuer:
        listeners = [_listener(asked, key, hostname, secure=True) for key, hostname in names.items()] + listeners
    return {
        "apiVersion": API,
        "kind": "Gateway",
        "metadata": metadata_of(asked, asked.name),
        "spec": {"gatewayClassName": entrance.gateway_class, "listeners": listeners},
    }


def network_policy(asked: Serving) -> dict[str, Any]:
    """Lets the Gateway's proxies do their work where they run beside the servers, as some classes have it: requests
    come from anywhere, and their control plane is elsewhere. They carry a label of the Gateway's name
    (https://gateway-api.sigs.k8s.io/geps/gep-1762/)."""
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata_of(asked, f"{asked.name}-gateway"),
        "spec": {
            "podSelector": {"matchLabels": {"gateway.networking.k8s.io/gateway-name": asked.name}},
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{}],
            "egress": [{}],
        },
    }


def certificate(asked: Serving, entrance: Entrance) -> dict[str, Any]:
    """What cert-manager signs. It is not waited for: proving the name may need the Gateway."""
    names = [each for each in (entrance.hostname, entrance.grpc_hostname) if each != ""]
    metadata = metadata_of(asked, asked.name)
    metadata["annotations"] = {"pulumi.com/skipAwait": "true"}
    return {
        "apiVersion": "cert-manager.io/v1",
        "kind": "Certificate",
        "metadata": metadata,
        "spec": {
            "secretName": _secret(asked),
            "dnsNames": names,
            "issuerRef": {"group": "cert-manager.io", "kind": "ClusterIssuer", "name": entrance.issuer},
            "privateKey": KEY,
        },
    }


def redirect(asked: Serving, entrance: Entrance, gateway: pulumi.Input[str]) -> dict[str, Any]:
    """From plain HTTP to the same place with TLS."""
    to = {"scheme": "https", "statusCode": 301}
    return {
        "apiVersion": API,
        "kind": "HTTPRoute",
        "metadata": metadata_of(asked, f"{asked.name}-redirect"),
        "spec": {
            "parentRefs": [_parent(gateway, asked.namespace, "http")],
            "hostnames": [entrance.hostname],
            "rules": [{"filters": [{"type": "RequestRedirect", "requestRedirect": to}]}],
        },
    }


def http_route(
    asked: Serving, entrance: Entrance, gateway: pulumi.Input[str], backends: Sequence[Backend]
) -> dict[str, Any]:
    """Requests to the paths that the engine has for clients, shared out.

    Args:
        gateway: name of the service's own Gateway; not looked at where there is one.
        backends: the stable one first, then the canary where there is one.
    """
    timeouts = {"timeouts": {"request": f"{asked.timeout_seconds}s"}}
    paths: list[dict[str, Any]] = [{"path": {"type": kind, "value": path}} for kind, path in asked.engine.paths]
    rules = [
        {"matches": [{**path, **match} for path in paths], "backendRefs": chosen, **timeouts}
        for match, chosen in _shares(asked, "rest", backends)
    ]
    return _route(asked, "HTTPRoute", entrance, gateway, entrance.hostname, rules)


def grpc_route(
    asked: Serving, entrance: Entrance, gateway: pulumi.Input[str], backends: Sequence[Backend]
) -> dict[str, Any]:
    """The same for gRPC, whose calls carry their own deadlines."""
    rules = [
        {**({"matches": [match]} if match else {}), "backendRefs": chosen}
        for match, chosen in _shares(asked, "grpc", backends)
    ]
    return _route(asked, "GRPCRoute", entrance, gateway, entrance.grpc_hostname, rules)


def _route(
    asked: Serving,
    kind: str,
    entrance: Entrance,
    gateway: pulumi.Input[str],
    hostname: pulumi.Input[str],
    rules: list[dict[str, Any]],
) -> dict[str, Any]:
    if entrance.gateway:
        namespace, _, name = entrance.gateway.partition("/")
        parent = _parent(name, namespace, entrance.listener)
    else:
        word = "grpc" if kind == "GRPCRoute" else "http"
        parent = _parent(gateway, asked.namespace, f"{word}s" if entrance.tls else word)
    return {
        "apiVersion": API,
        "kind": kind,
        "metadata": metadata_of(asked, asked.name),
        "spec": {"parentRefs": [parent], "hostnames": [hostname], "rules": rules},
    }


def _shares(
    asked: Serving, port: str, backends: Sequence[Backend]
) -> list[tuple[Mapping[str, Any], list[dict[str, Any]]]]:
    """Which requests go to which backends: those that ask for the canary, then all others."""

    def reference(backend: Backend) -> dict[str, Any]:
        number = asked.engine.ports[port]
        return {"group": "", "kind": "Service", "name": backend.service, "port": number, "weight": backend.percent}

    shares: list[tuple[Mapping[str, Any], list[dict[str, Any]]]] = []
    for canary in backends[1:]:
        match = {"headers": [{"type": "Exact", "name": TRY_HEADER, "value": TRY_VALUE}]}
        shares.append((match, [{**reference(canary), "weight": 100}]))
    return [*shares, ({}, [reference(each) for each in backends])]


def _parent(name: pulumi.Input[str], namespace: pulumi.Input[str], listener: str) -> dict[str, Any]:
    found: dict[str, Any] = {"group": API.partition("/")[0], "kind": "Gateway", "name": name, "namespace": namespace}
    return {**found, "sectionName": listener} if listener else found


def _listener(asked: Serving, word: str, hostname: pulumi.Input[str], *, secure: bool) -> dict[str, Any]:
    own = {"from": "Same"}
    if not secure:
        found = {"name": word, "port": HTTP_PORT, "protocol": "HTTP"}
        return {**found, "hostname": hostname, "allowedRoutes": {"namespaces": own}}
    secret = {"group": "", "kind": "Secret", "name": _secret(asked)}
    return {
        "name": f"{word}s",
        "port": HTTPS_PORT,
        "protocol": "HTTPS",
        "hostname": hostname,
        "tls": {"mode": "Terminate", "certificateRefs": [secret]},
        "allowedRoutes": {"namespaces": own},
    }


def _secret(asked: Serving) -> str:
    return f"{asked.name}-tls"


def _no_name(hostname: pulumi.Input[str]) -> bool:
    """Whether it is known, and no name of a host."""
    return isinstance(hostname, str) and hostname != "" and not re.fullmatch(HOSTNAME, hostname)


def refusal(entrance: Entrance, *, canary: bool, speaks_grpc: bool, engine: str) -> tuple[str, str] | None:
    """What is wrong with the entrance asked for: the property, and why; None if nothing is."""
    outside = entrance.gateway or entrance.gateway_class
    for path, hostname in (("hostname", entrance.hostname), ("grpc_hostname", entrance.grpc_hostname)):
        if _no_name(hostname):
            return path, f"is {hostname!r}, no name of a host; use one such as models.example.org"
    if entrance.gateway and entrance.gateway_class:
        return (
            "gateway_class",
            "is for a Gateway that is made, and `gateway` names one that is there; give one of the two",
        )
    if entrance.gateway and not all(entrance.gateway.partition("/")):
        return "gateway", f"is {entrance.gateway!r}; use <namespace>/<name>"
    if canary and not outside:
        return "canary", (
            "needs a Gateway, since a Service alone cannot weigh; set gateway, or gateway_class (`kubectl get "
            "gatewayclass` lists them)"
        )
    if entrance.issuer and entrance.hostname == "":
        return "issuer", "has no name to sign a certificate for; set hostname"
    if outside and entrance.hostname == "":
        return "hostname", "is left out, and a route without a name takes every request; give the service's name"
    if not outside and (entrance.hostname != "" or entrance.grpc_hostname != ""):
        return "hostname", "is given, and there is no Gateway that knows it; set gateway or gateway_class"
    if entrance.issuer and not entrance.gateway_class:
        return "issuer", f"is given, and the Gateway {entrance.gateway} has its own listeners and certificates"
    if entrance.listener and not entrance.gateway:
        return "listener", "is one of an existing Gateway; set gateway, or leave it out"
    if entrance.grpc_hostname != "" and not speaks_grpc:
        return "grpc_hostname", f"is given, and {engine} speaks no gRPC; leave it out"
    if (
        isinstance(entrance.grpc_hostname, str)
        and entrance.grpc_hostname
        and entrance.grpc_hostname == entrance.hostname
    ):
        return "grpc_hostname", "is hostname too, and a Gateway takes HTTP or gRPC under one name; give another"
    return None
