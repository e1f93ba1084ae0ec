"""An existing cluster on a real control plane: read with all rights and with few, adopted, and left as it was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelstack.checks import State
from accelstack.private import doctor, kubeconfig, reading
from accelstack.private.planning import decide
from accelstack.private.storage import volume_of

from tests.cluster.control_plane import ControlPlane, running
from tests.engine import programs
from tests.engine.programs import Program
from tests.unit.existing_clusters import bare_metal, storage_class

HEADER = """
import json
import pulumi
from accelstack.k8s.objects import KubernetesObject
from accelstack.private import Cluster, ImageRegistry, ObjectStore

"""
HOMES = ("private-a", "private-b")
LIMITED = "private-limited"


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running(tmp_path_factory.mktemp("private")) as made:
        classes = {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", **storage_class("disk", True)}
        nodes = [{"apiVersion": "v1", "kind": "Node", **each} for each in bare_metal()]
        secret = {"apiVersion": "v1", "kind": "Secret", "type": "Opaque", "stringData": {"AWS_ACCESS_KEY_ID": "a"}}
        homes = [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": each}} for each in (*HOMES, LIMITED)]
        theirs = {**secret, "metadata": {"name": "theirs", "namespace": LIMITED}}
        made.apply([*homes, classes, *nodes, theirs])
        yield made


@pytest.fixture
def asked(plane: ControlPlane) -> dict[str, Any]:
    given = {"target": "private", "name": "lab", "store": "nfs://filer/runs", "accelerator": "H100:8", "nodes": 4}
    return {**given, "kubeconfig": str(plane.kubeconfig)}


@pytest.fixture
def limited(plane: ControlPlane, tmp_path: Path) -> str:
    """A kubeconfig of somebody who may list nodes and nothing else."""
    plane.kubectl("create", "serviceaccount", "reader", "--namespace", LIMITED)
    plane.kubectl("create", "clusterrole", "private-reader", "--verb=list", "--resource=nodes")
    bound = f"--serviceaccount={LIMITED}:reader"
    plane.kubectl("create", "clusterrolebinding", "private-reader", "--clusterrole=private-reader", bound)
    token = plane.kubectl("create", "token", "reader", "--namespace", LIMITED).strip()
    config = kubeconfig.standing_alone(str(plane.kubeconfig))
    config["users"][0]["user"] = {"token": token}
    path = tmp_path / "limited"
    path.write_text(yaml.safe_dump(config))
    return str(path)


def test_what_is_there_is_read_and_planned(asked: dict[str, Any]) -> None:
    decided = decide(asked)
    assert decided.plan.fits, decided.plan.findings
    assert decided.inventory
    assert decided.inventory.version == decided.plan.versions["kubernetes"]
    assert [each.name for each in decided.inventory.storage_classes if each.default] == ["disk"]
    (pool,) = decided.pools
    assert (pool["per_node"], pool["labels"]) == (8, {"nvidia.com/gpu.product": "NVIDIA-H100-80GB-HBM3"})


def test_few_rights_are_told_one_by_one(limited: str, asked: dict[str, Any]) -> None:
    inventory = reading.read(kubeconfig.standing_alone(limited))
    assert len(inventory.nodes) == 6
    assert {"storageclasses", "customresourcedefinitions", "deployments"} <= inventory.unread
    assert "forbidden" in inventory.warnings[0]
    found = {check.name: check for check in doctor.checks({**asked, "kubeconfig": limited})}
    assert found["rights"].state is State.FAILED
    assert "create namespaces" in found["rights"].detail
    assert "list nodes" not in found["rights"].detail
    well = {check.name: check.state for check in doctor.checks(asked)}
    assert well["rights"] is well["plan"] is State.OK


def test_the_volumes_of_a_shared_folder_are_admitted(plane: ControlPlane, tmp_path: Path) -> None:
    for each in volume_of("a-folder", "folder", "filer.example.com/exports", HOMES[0]):
        file = tmp_path / "object.json"
        file.write_text(json.dumps(each))
        strictly = ("--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors")
        plane.kubectl("apply", *strictly, "--filename", str(file))


@pytest.fixture
def program(plane: ControlPlane, tmp_path: Path) -> Iterator[Program]:
    with programs.attached(tmp_path / "p", ("kubernetes",), kubernetes=plane.kubeconfig) as made:
        yield made


def test_a_cluster_is_adopted_used_and_left_as_it_was(plane: ControlPlane, program: Program) -> None:
    homes = {each: each for each in HOMES}
    program.write(
        f"""
        cluster = Cluster("lab", {{"kubeconfig": {str(plane.kubeconfig)!r}, "pools": []}})
        inside = pulumi.ResourceOptions(providers=[cluster.provider])
        bucket = {{"uri": "s3://runs", "namespaces": {homes!r}, "secret": "{LIMITED}/theirs"}}
        ObjectStore("bucket", bucket, inside)
        folder = ObjectStore("folder", {{"uri": "nfs://filer/runs", "namespaces": {homes!r}}}, inside)
        registry = {{"prefix": "registry.example.com", "namespaces": {homes!r}, "username": "u", "password": "p"}}
        ImageRegistry("images", registry, inside)
        pulumi.export("claims", {{key: each["claim"] for key, each in folder.access.items()}})
        """,
        HEADER,
    )
    assert (run := program.up()).ok, run.output
    assert program.outputs()["claims"] == dict.fromkeys(HOMES, "folder")
    for home in HOMES:
        copied = json.loads(plane.kubectl("--namespace", home, "get", "secret", "bucket-credentials", "-o", "json"))
        assert copied["data"] == {"AWS_ACCESS_KEY_ID": "YQ=="}
        claim = json.loads(plane.kubectl("--namespace", home, "get", "pvc", "folder", "-o", "json"))
        assert (claim["status"]["phase"], claim["spec"]["volumeName"]) == ("Bound", f"{home}-folder")
    again = program.up()
    assert again.ok, again.output
    assert again.steps == []
    assert (run := program.destroy()).ok, run.output
    assert "theirs" in plane.kubectl("--namespace", LIMITED, "get", "secrets")
    assert "folder" not in plane.kubectl("get", "persistentvolumes")
