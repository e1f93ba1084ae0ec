"""An own image registry: where images are, and the credentials with which nodes pull them."""

import base64
import json
import re
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from accelstack.k8s.names import checked_name
from accelstack.k8s.objects import KubernetesObject
from accelstack.k8s.pod import labels
from accelstack.plan.private_checks import NAMESPACED

PREFIX = r"[a-z0-9.-]+(:[0-9]+)?(/[a-z0-9._-]+)*"
"""A registry's host, and what its images' names begin with."""
KIND = "kubernetes.io/dockerconfigjson"


class ImageRegistryArgs(TypedDict):
    """Args of `private.ImageRegistry`."""

    prefix: NotRequired[str]
    """Host and path that images' names begin with, such as `registry.example.com/ai`. Only a Secret that is there
    already needs none, since it names its registries itself."""
    namespaces: dict[str, pulumi.Input[str]]
    """Namespaces whose pods pull from it, by names of your own choice."""
    username: NotRequired[pulumi.Input[str]]
    """Who pulls; nobody in particular if left out."""
    password: NotRequired[pulumi.Input[str]]
    """Password or token of that user."""
    pull_secret: NotRequired[str]
    """Existing Secret of type kubernetes.io/dockerconfigjson, as `<namespace>/<name>`, instead of user and password."""


class ImageRegistry(pulumi.ComponentResource):
    """An image registry that is there already, and a pull secret for it in each namespace.

    Raises:
        pulumi.InputPropertyError: the prefix is none, or the credentials are given by half or twice.
    """

    prefix: pulumi.Output[str]
    """What images' names begin with, without a trailing slash; empty where it was not given."""
    pull_secrets: dict[str, pulumi.Output[str]]
    """Name of the pull secret in each namespace, by the names given; empty where anybody may pull."""

    def __init__(self, name: str, args: ImageRegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        checked_name(name, 40)
        _check(args)
        super().__init__("accelstack:index:PrivateImageRegistry", name, None, opts)
        self.prefix = pulumi.Output.from_input(args.get("prefix", ""))
        self.pull_secrets = {}
        data = self._data(name, args)
        for key, namespace in args["namespaces"].items() if data else ():
            metadata = {"name": f"{name}-pull", "namespace": namespace, "labels": labels(name, "pull")}
            manifest = {"apiVersion": "v1", "kind": "Secret", "metadata": metadata, "type": KIND, **data}
            made = KubernetesObject(f"{name}-{key}-pull", manifest, pulumi.ResourceOptions(parent=self))
            self.pull_secrets[key] = made.id.apply(lambda identity: identity.rpartition("/")[2])
        self.register_outputs({"prefix": self.prefix, "pull_secrets": self.pull_secrets})

    def _data(self, name: str, args: ImageRegistryArgs) -> dict[str, Any]:
        """What the pull secrets hold; nothing where none is needed."""
        if "pull_secret" in args:
            theirs = pulumi.ResourceOptions(parent=self)
            read = kubernetes.core.v1.Secret.get(f"{name}-pull", args["pull_secret"], theirs)
            return {"data": pulumi.Output.secret(read.data)}
        if "username" not in args or "password" not in args:
            return {}
        host = args.get("prefix", "").partition("/")[0]
        text = pulumi.Output.all(args["username"], args["password"]).apply(lambda pair: docker_config(host, *pair))
        return {"stringData": {".dockerconfigjson": pulumi.Output.secret(text)}}


def docker_config(host: str, username: str, password: str) -> str:
    """What a pull secret holds for one registry
    (https://kubernetes.io/docs/tasks/configure-pod-container/pull-image-private-registry/)."""
    both = base64.b64encode(f"{username}:{password}".encode()).decode()
    return json.dumps({"auths": {host: {"username": username, "password": password, "auth": both}}})


def _check(args: ImageRegistryArgs) -> None:
    prefix = args.get("prefix", "")
    if not re.fullmatch(PREFIX, prefix) and (prefix or "pull_secret" not in args):
        reason = f"{prefix!r} is no registry; use one such as registry.example.com/ai, without https://"
        raise pulumi.InputPropertyError("prefix", reason)
    if ("username" in args) != ("password" in args):
        missing = "password" if "username" in args else "username"
        raise pulumi.InputPropertyError(missing, "is not given, and the other is; give both or none")
    if "pull_secret" in args and "username" in args:
        raise pulumi.InputPropertyError("pull_secret", "is given beside a user and password; give one of both")
    if not re.fullmatch(NAMESPACED, args.get("pull_secret", "a/a")):
        reason = f"{args.get('pull_secret')!r} is no name of a Secret; use <namespace>/<name>"
        raise pulumi.InputPropertyError("pull_secret", reason)
