"""What the components of an existing cluster register, and refuse before anything is."""

import asyncio
import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pulumi
import pytest
import yaml
from accelstack.private.cluster import Cluster
from accelstack.private.images import ImageRegistry
from accelstack.private.kubeconfig import server
from accelstack.private.storage import ObjectStore

from tests.unit.test_private_reading import config, written


class Recorded(pulumi.runtime.Mocks):
    """Keeps what is registered. An object of Kubernetes has the id that the provider gives it."""

    def __init__(self) -> None:
        self.made: dict[str, dict[str, Any]] = {}

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        if args.resource_id:  # one that is there already
            return args.resource_id, {"data": {"token": "dG9rZW4="}, "metadata": {"name": "theirs"}}
        if not args.typ.startswith("accelstack:"):  # components are no resources of a cluster
            self.made[args.name] = args.inputs
        metadata = args.inputs.get("metadata") or {}
        within = f"{metadata['namespace']}/" if "namespace" in metadata else ""
        return f"{within}{metadata.get('name', args.name)}", args.inputs

    def call(self, _: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        return {}


def run(program: Callable[[], Any]) -> tuple[dict[str, dict[str, Any]], Any]:
    """What a program registers, and what it returns with outputs in it resolved."""
    mocks, result = Recorded(), list[Any]()
    asyncio.set_event_loop(asyncio.new_event_loop())
    pulumi.runtime.set_mocks(mocks, project="test", stack="dev", preview=False)

    @pulumi.runtime.test
    def within() -> Any:
        return pulumi.Output.from_input(program()).apply(result.append)

    within()
    return mocks.made, result[0]


def refused(program: Callable[[], Any]) -> str:
    """The property for which a component is refused, before anything is registered."""
    with pytest.raises(pulumi.InputPropertyError) as error:
        run(program)
    return error.value.property_path


def secret(given: Any) -> Any:
    """What a secret input holds; one that is not marked as such has no `value`."""
    return given["value"]


def access(args: Any) -> tuple[dict[str, dict[str, Any]], dict[str, Any]]:
    """What a store registers, and how each namespace's pods reach it."""
    return run(lambda: ObjectStore("store", args).access)


def test_a_cluster_is_reached_by_one_context_and_makes_nothing(tmp_path: Path) -> None:
    def program() -> list[Any]:
        cluster = Cluster("lab", {"kubeconfig": written(tmp_path, config("https://api:6443")), "pools": []})
        return [cluster.name, cluster.server, cluster.kubeconfig, cluster.kubeconfig.is_secret()]

    made, (name, url, given, is_secret) = run(program)
    assert (name, url, is_secret) == ("lab", "https://api:6443", True)
    assert server(yaml.safe_load(given)) == "https://api:6443"
    assert set(made) == {"lab"}
    assert made["lab"]["skipUpdateUnreachable"] == "true"
    assert made["lab"]["clusterIdentifier"] == "https://api:6443"
    assert "deleteUnreachable" not in made["lab"]


def test_a_kubeconfig_may_come_out_of_another_resource() -> None:
    def program() -> Any:
        text = pulumi.Output.from_input(yaml.safe_dump(config("https://made:6443")))
        return Cluster("made", {"kubeconfig": text, "pools": []}).server

    assert run(program)[1] == "https://made:6443"


@pytest.mark.parametrize(("context", "path"), [("prod", "context"), ("other", "kubeconfig")])
def test_a_kubeconfig_that_cannot_be_used_is_refused(tmp_path: Path, context: str, path: str) -> None:
    given = written(tmp_path, config("https://api"))
    assert refused(lambda: Cluster("lab", {"kubeconfig": given, "context": context, "pools": []})) == path


def test_a_bucket_of_any_maker_is_reached_with_credentials_in_each_namespace() -> None:
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
    namespaces = {"a": "team-a", "b": "team-b"}
    made, found = access(
        {"uri": "s3://runs/lab/", "endpoint": "https://minio:9000", "credentials": keys, "namespaces": namespaces}
    )
    assert found["a"]["uri"] == "s3://runs/lab"
    assert found["b"].pop("secret") == "store-credentials"
    assert found["b"]["environment"]["AWS_ENDPOINT_URL"] == "https://minio:9000"
    assert found["b"]["environment"]["AWS_REQUEST_CHECKSUM_CALCULATION"] == "when_required"
    assert made["store-b-credentials"]["metadata"]["namespace"] == "team-b"
    assert secret(made["store-b-credentials"]["stringData"]) == keys


def test_a_bucket_without_credentials_leaves_them_to_the_pods_identity() -> None:
    made, found = access({"uri": "s3://runs", "namespaces": {"a": "team-a"}})
    assert found == {"a": {"uri": "s3://runs", "environment": {}}}
    assert not made


def test_an_existing_secret_is_copied_to_each_namespace() -> None:
    namespaces = {"a": "team-a", "b": "team-b"}
    made, found = access({"uri": "s3://runs", "namespaces": namespaces, "secret": "vault/minio"})
    assert {each["secret"] for each in found.values()} == {"store-credentials"}
    assert set(made) == {"store-a-credentials", "store-b-credentials"}
    assert secret(made["store-a-credentials"]["data"]) == {"token": "dG9rZW4="}


def test_an_nfs_export_is_a_volume_that_one_claim_alone_may_have() -> None:
    made, found = access({"uri": "nfs://filer.example.com/exports/runs", "namespaces": {"a": "team-a"}})
    assert found == {"a": {"uri": "file:///store", "environment": {}, "claim": "store"}}
    volume, claim = made["store-a-volume"], made["store-a-claim"]
    assert volume["spec"]["nfs"] == {"server": "filer.example.com", "path": "/exports/runs"}
    assert volume["spec"]["claimRef"]["namespace"] == claim["metadata"]["namespace"] == "team-a"
    assert claim["spec"]["volumeName"] == volume["metadata"]["name"] == "team-a-store"
    assert claim["spec"]["accessModes"] == ["ReadWriteMany"]
    assert (claim["spec"]["storageClassName"], volume["spec"]["persistentVolumeReclaimPolicy"]) == ("", "Retain")


def test_an_existing_claim_is_used_as_it_is() -> None:
    made, found = access({"uri": "pvc://runs", "namespaces": {"a": "team-a"}})
    assert found["a"]["claim"] == "runs"
    assert not made


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ({"uri": "gs://runs"}, "uri"),
        ({"uri": "nfs://filer"}, "uri"),
        ({"uri": "s3://runs", "namespaces": {}}, "namespaces"),
        ({"uri": "pvc://runs", "endpoint": "https://minio"}, "endpoint"),
        ({"uri": "s3://runs", "secret": "minio"}, "secret"),
        ({"uri": "s3://runs", "secret": "a/b", "credentials": {}}, "secret"),
    ],
)
def test_a_store_that_means_nothing_is_refused(args: dict[str, Any], path: str) -> None:
    given: Any = {"namespaces": {"a": "team-a"}, **args}
    assert refused(lambda: ObjectStore("store", given)) == path


REGISTRY: Any = {"prefix": "registry.example.com:5000/ai", "namespaces": {"a": "team-a"}}


def test_a_registry_has_a_pull_secret_in_each_namespace() -> None:
    made, found = run(
        lambda: ImageRegistry("images", {**REGISTRY, "username": "robot", "password": "token"}).pull_secrets
    )
    assert found == {"a": "images-pull"}
    assert made["images-a-pull"]["type"] == "kubernetes.io/dockerconfigjson"
    config = json.loads(secret(made["images-a-pull"]["stringData"])[".dockerconfigjson"])
    assert base64.b64decode(config["auths"]["registry.example.com:5000"]["auth"]) == b"robot:token"


def test_a_registry_may_be_open_or_have_a_pull_secret_already() -> None:
    made, found = run(lambda: ImageRegistry("open", REGISTRY).pull_secrets)
    assert (made, found) == ({}, {})
    made, _ = run(lambda: ImageRegistry("theirs", {**REGISTRY, "pull_secret": "vault/pull"}).pull_secrets)
    assert secret(made["theirs-a-pull"]["data"]) == {"token": "dG9rZW4="}


@pytest.mark.parametrize(
    ("args", "path"),
    [
        ({"prefix": "https://registry.example.com"}, "prefix"),
        ({"username": "robot"}, "password"),
        ({"username": "robot", "password": "t", "pull_secret": "a/b"}, "pull_secret"),
        ({"pull_secret": "pull"}, "pull_secret"),
    ],
)
def test_a_registry_that_means_nothing_is_refused(args: dict[str, Any], path: str) -> None:
    assert refused(lambda: ImageRegistry("images", {**REGISTRY, **args})) == path
