"""Existing storage: an S3 of any maker, an NFS export, or a claim, as pods of each namespace reach it."""

import re
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from accelstack.contracts import StoreAccess
from accelstack.k8s.names import checked_name
from accelstack.k8s.objects import KubernetesObject
from accelstack.k8s.pod import labels
from accelstack.plan.private_checks import NAMESPACED, STORES

MOUNTED = "file:///store"
"""URI of a store that is mounted in pods."""
ROOM = "1Ti"
"""Size that volumes of an NFS export tell: Kubernetes wants one, and the export is as large as it is."""
OTHER_S3 = {"AWS_REQUEST_CHECKSUM_CALCULATION": "when_required", "AWS_RESPONSE_CHECKSUM_VALIDATION": "when_required"}
"""AWS's SDKs send checksums by default that other makers' S3 may refuse
(https://docs.aws.amazon.com/sdkref/latest/guide/feature-dataintegrity.html)."""


class ObjectStoreArgs(TypedDict):
    """Args of `private.ObjectStore`."""

    uri: str
    """`s3://bucket/prefix`; `nfs://server/path`, which user 10001 must be able to write; or `pvc://claim`, a claim of
    that name that each namespace has already, for many nodes to write."""
    namespaces: dict[str, pulumi.Input[str]]
    """Namespaces whose pods use it, by names of your own choice."""
    endpoint: NotRequired[pulumi.Input[str]]
    """URL of an S3 that is not AWS's."""
    credentials: NotRequired[pulumi.Input[dict[str, str]]]
    """`AWS_ACCESS_KEY_ID` and `AWS_SECRET_ACCESS_KEY`, and what else S3's clients read from the environment."""
    secret: NotRequired[str]
    """Existing Secret with such keys, as `<namespace>/<name>`, instead of credentials."""


class ObjectStore(pulumi.ComponentResource):
    """Storage that is there already: nothing in it is made, and nothing goes when the stack does.

    Raises:
        pulumi.InputPropertyError: the URI is of no such store, or has an endpoint or credentials that mean nothing.
    """

    uri: pulumi.Output[str]
    """fsspec URI of its root as pods see it, without a trailing slash."""
    access: dict[str, StoreAccess]
    """How pods of each namespace reach it, by the names given."""

    def __init__(self, name: str, args: ObjectStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        checked_name(name, 40)
        _check(args)
        super().__init__("accelstack:index:PrivateObjectStore", name, None, opts)
        kind, _, rest = args["uri"].partition("://")
        self.uri = pulumi.Output.from_input(args["uri"].rstrip("/") if kind == "s3" else MOUNTED)
        if kind == "s3":
            self.access = self._buckets(name, args)
        elif kind == "nfs":
            self.access = self._exports(name, rest, args["namespaces"])
        else:
            self.access = {key: _mounted(rest) for key in args["namespaces"]}
        self.register_outputs({"uri": self.uri, "access": self.access})

    def _buckets(self, name: str, args: ObjectStoreArgs) -> dict[str, StoreAccess]:
        environment: dict[str, pulumi.Input[str]] = {}
        if "endpoint" in args:
            environment = {"AWS_ENDPOINT_URL": args["endpoint"], **OTHER_S3}
        secrets = self._secrets(name, args)
        found: dict[str, StoreAccess] = {}
        for key in args["namespaces"]:
            found[key] = StoreAccess(uri=self.uri, environment=environment)
            if key in secrets:
                found[key]["secret"] = secrets[key]
        return found

    def _secrets(self, name: str, args: ObjectStoreArgs) -> dict[str, pulumi.Output[str]]:
        """A Secret in each namespace, of what is given or of one that is there: pods read none of other namespaces."""
        if "credentials" in args:
            data: dict[str, Any] = {"stringData": pulumi.Output.secret(args["credentials"])}
        elif "secret" in args:
            theirs = pulumi.ResourceOptions(parent=self)
            read = kubernetes.core.v1.Secret.get(f"{name}-credentials", args["secret"], theirs)
            data = {"data": pulumi.Output.secret(read.data)}
        else:
            return {}
        found: dict[str, pulumi.Output[str]] = {}
        for key, namespace in args["namespaces"].items():
            metadata = {"name": f"{name}-credentials", "namespace": namespace, "labels": labels(name, "credentials")}
            manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": "Opaque", **data}
            made = KubernetesObject(f"{name}-{key}-credentials", manifest, pulumi.ResourceOptions(parent=self))
            found[key] = made.id.apply(_last)
        return found

    def _exports(self, name: str, rest: str, namespaces: Mapping[str, pulumi.Input[str]]) -> dict[str, StoreAccess]:
        found: dict[str, StoreAccess] = {}
        for key, namespace in namespaces.items():
            # volumes lie in no namespace, so that the claim's is in their names
            volume, claim = volume_of(pulumi.Output.concat(namespace, "-", name), name, rest, namespace)
            made = KubernetesObject(f"{name}-{key}-volume", volume, pulumi.ResourceOptions(parent=self))
            claim["spec"]["volumeName"] = made.id  # of an object without a namespace, it is the name
            bound = KubernetesObject(f"{name}-{key}-claim", claim, pulumi.ResourceOptions(parent=self))
            found[key] = _mounted(bound.id.apply(_last))
        return found


def volume_of(
    volume_name: pulumi.Input[str], name: str, export: str, namespace: pulumi.Input[str]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The volume of an NFS export (`server/path`) and the claim, named `name`, that alone may have it."""
    server, _, path = export.partition("/")
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}  # no class: nobody makes another volume
    volume = {
        "apiVersion": "v1",
        "kind": "PersistentVolume",
        "metadata": {"name": volume_name, "labels": labels(name, "store")},
        "spec": {
            **common,
            "capacity": {"storage": ROOM},
            "claimRef": {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "namespace": namespace, "name": name},
            "nfs": {"server": server, "path": f"/{path}"},
            "persistentVolumeReclaimPolicy": "Retain",
        },
    }
    claim: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": name, "namespace": namespace, "labels": labels(name, "store")},
        "spec": {**common, "resources": {"requests": {"storage": ROOM}}},
    }
    return volume, claim


def _mounted(claim: pulumi.Input[str]) -> StoreAccess:
    return StoreAccess(uri=MOUNTED, environment={}, claim=claim)


def _last(identity: str) -> str:
    """The name in `<namespace>/<name>`."""
    return identity.rpartition("/")[2]


def _check(args: ObjectStoreArgs) -> None:
    uri = args["uri"]
    if not re.fullmatch(STORES, uri):
        reason = f"{uri!r} is no store; use s3://bucket/prefix, nfs://server/path or pvc://claim"
        raise pulumi.InputPropertyError("uri", reason)
    if not args["namespaces"]:
        raise pulumi.InputPropertyError("namespaces", "is empty, so nothing could use the store; name one or more")
    for key in ("endpoint", "credentials", "secret"):
        if key in args and not uri.startswith("s3://"):
            raise pulumi.InputPropertyError(key, f"means nothing for {uri!r}, which is no S3; leave it out")
    if "credentials" in args and "secret" in args:
        raise pulumi.InputPropertyError("secret", f"{args['secret']!r} is given beside credentials; give one of both")
    if not re.fullmatch(NAMESPACED, args.get("secret", "a/a")):
        reason = f"{args.get('secret')!r} is no name of a Secret; use <namespace>/<name>"
        raise pulumi.InputPropertyError("secret", reason)
