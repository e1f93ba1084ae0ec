"""A namespace for workloads: held to a Pod Security Standard, and closed to the network but for what is stated."""

from typing import Any, NotRequired, TypedDict

import pulumi

from accelstack.k8s.names import checked_name
from accelstack.k8s.objects import KubernetesObject
from accelstack.k8s.pod import labels
from accelstack.plan.findings import one_of

LEVELS = ("restricted", "baseline", "privileged")
ACCOUNT = "workload"
PULL_SECRET = "registry"  # noqa: S105
LINK_LOCAL = "169.254.0.0/16"
"""Where clouds answer for DNS on the node, and for machines' own credentials."""
NAME = "kubernetes.io/metadata.name"
DNS = [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]


class Egress(TypedDict):
    """Addresses that pods may reach."""

    cidr: str
    """Address range, such as `10.0.0.0/16`."""
    ports: list[int]
    """TCP ports there."""


class NamespaceArgs(TypedDict):
    """Args of `k8s.Namespace`."""

    level: NotRequired[str]
    """Pod Security Standard that its pods are held to: `restricted`, `baseline` or `privileged`; `restricted` if left
    out. `pod.standard` tells which one a fabric needs."""
    quota: NotRequired[dict[str, str]]
    """Most that all its pods may ask for, such as `{"requests.nvidia.com/gpu": "16"}`; no limit if left out."""
    defaults: NotRequired[dict[str, str]]
    """What a container gets that asks for nothing, such as `{"cpu": "100m", "memory": "128Mi"}`."""
    internal: NotRequired[bool]
    """Whether its pods reach each other, as those of a training job must; false if left out."""
    reachable_from: NotRequired[list[pulumi.Input[str]]]
    """Namespaces whose pods are let in."""
    reaches: NotRequired[list[pulumi.Input[str]]]
    """Namespaces whose pods its own may reach, such as a registry's."""
    egress: NotRequired[bool]
    """Whether its pods may reach any address on port 443, as object stores and APIs of clouds need; false if left
    out."""
    egress_to: NotRequired[list[Egress]]
    """Addresses that they may reach besides, such as those of an object store of one's own, or of the service that
    gives pods their cloud's credentials."""
    identity: NotRequired[dict[str, pulumi.Input[str]]]
    """Annotations of the service account by which a cloud knows it."""
    kept: NotRequired[bool]
    """Whether it stays, with the volumes in it, when the stack goes; false if left out."""
    registry_auth: NotRequired[pulumi.Input[str]]
    """Content of a Docker `config.json` that images are pulled with."""


class Namespace(pulumi.ComponentResource):
    """A namespace named as the component, with a service account `workload` for its pods.

    Network policies deny what they do not name, both ways, where the cluster's network keeps to them. Names are looked
    up in `kube-system` or on the node.

    Raises:
        pulumi.InputPropertyError: the name is none of a namespace's, or the level none of Pod Security's.
    """

    namespace: pulumi.Output[str]
    """Its name, known when its policies and service account are there."""
    service_account: pulumi.Output[str]
    """Name of the service account, which carries no token."""

    def __init__(self, name: str, args: NamespaceArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        checked_name(name)
        if wrong := one_of("level", args.get("level", "restricted"), LEVELS, "Pod Security Standard"):
            raise pulumi.InputPropertyError(wrong.property, f"{wrong.value!r} {wrong.rule}; {wrong.fix}")
        super().__init__("accelstack:index:K8sNamespace", name, None, opts)
        kept = pulumi.ResourceOptions(parent=self, retain_on_delete=args.get("kept", False) or None)
        namespace = KubernetesObject(name, manifest(name, args), kept)
        inside = pulumi.ResourceOptions(parent=self, depends_on=[namespace])
        made = [KubernetesObject(f"{name}-{key}", each, inside) for key, each in contents(name, args).items()]
        known = pulumi.Output.all(namespace.id, *(each.id for each in made))
        self.namespace = known.apply(lambda _: name)
        self.service_account = known.apply(lambda _: ACCOUNT)
        self.register_outputs({"namespace": self.namespace, "service_account": self.service_account})


def manifest(name: str, args: NamespaceArgs) -> dict[str, Any]:
    """The namespace itself."""
    level = args.get("level", "restricted")
    security = {f"pod-security.kubernetes.io/{mode}": level for mode in ("enforce", "warn", "audit")}
    versions = {f"{key}-version": "latest" for key in security}
    return {
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "labels": {**labels(name), **security, **versions}},
    }


def contents(name: str, args: NamespaceArgs) -> dict[str, dict[str, Any]]:
    """What lies in the namespace, by what it is for."""
    found = {
        "account": _account(name, args),
        **{f"network-{key}": each for key, each in policies(name, args).items()},
    }
    if quota := args.get("quota"):
        found["quota"] = _object(name, "v1", "ResourceQuota", "quota", spec={"hard": quota})
    if defaults := args.get("defaults"):
        limits = [{"type": "Container", "default": defaults, "defaultRequest": defaults}]
        found["defaults"] = _object(name, "v1", "LimitRange", "defaults", spec={"limits": limits})
    if "registry_auth" in args:
        content = {".dockerconfigjson": pulumi.Output.secret(args["registry_auth"])}
        kind = {"type": "kubernetes.io/dockerconfigjson", "stringData": content}
        found["registry"] = _object(name, "v1", "Secret", PULL_SECRET, **kind)
    return found


def policies(name: str, args: NamespaceArgs) -> dict[str, dict[str, Any]]:
    """Network policies: one that denies all, and one for each thing that is stated."""
    here: list[dict[str, Any]] = [{"podSelector": {}}]
    on_node = {"ipBlock": {"cidr": LINK_LOCAL}}
    specs: dict[str, dict[str, Any]] = {
        "deny": {"policyTypes": ["Ingress", "Egress"]},
        "dns": {
            "policyTypes": ["Egress"],
            "egress": [{"to": [_namespace("kube-system"), on_node], "ports": DNS}],
        },
    }
    if args.get("internal", False):
        specs["internal"] = {
            "policyTypes": ["Ingress", "Egress"],
            "ingress": [{"from": here}],
            "egress": [{"to": here}],
        }
    if let_in := args.get("reachable_from"):
        specs["in"] = {"policyTypes": ["Ingress"], "ingress": [{"from": [_namespace(each) for each in let_in]}]}
    reaches = args.get("reaches", [])
    out: list[dict[str, Any]] = [{"to": [_namespace(each) for each in reaches]}] if reaches else []
    if args.get("egress", False):
        anywhere = {"ipBlock": {"cidr": "0.0.0.0/0", "except": [LINK_LOCAL]}}
        anywhere_6 = {"ipBlock": {"cidr": "::/0", "except": ["fe80::/10"]}}
        out.append({"to": [anywhere, anywhere_6], "ports": [{"port": 443, "protocol": "TCP"}]})
    for each in args.get("egress_to", []):
        ports = [{"port": port, "protocol": "TCP"} for port in each["ports"]]
        out.append({"to": [{"ipBlock": {"cidr": each["cidr"]}}], "ports": ports})
    if out:
        specs["out"] = {"policyTypes": ["Egress"], "egress": out}
    return {
        key: _object(name, "networking.k8s.io/v1", "NetworkPolicy", key, spec={"podSelector": {}, **spec})
        for key, spec in specs.items()
    }


def _account(name: str, args: NamespaceArgs) -> dict[str, Any]:
    pull = {"imagePullSecrets": [{"name": PULL_SECRET}]} if "registry_auth" in args else {}
    account = _object(name, "v1", "ServiceAccount", ACCOUNT, automountServiceAccountToken=False, **pull)
    if identity := args.get("identity"):
        account["metadata"]["annotations"] = identity
    return account


def _namespace(name: pulumi.Input[str]) -> dict[str, Any]:
    return {"namespaceSelector": {"matchLabels": {NAME: name}}}


def _object(namespace: str, api: str, kind: str, name: str, **rest: Any) -> dict[str, Any]:
    metadata = {"name": name, "namespace": namespace, "labels": labels(namespace)}
    return {"apiVersion": api, "kind": kind, "metadata": metadata, **rest}
