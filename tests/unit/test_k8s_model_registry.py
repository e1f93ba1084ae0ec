"""A model registry in the cluster: what runs, who reaches it, and where its passwords are."""

from __future__ import annotations

import re
from typing import Any, cast

import pulumi
import pytest
from accelstack.k8s.model_registry import ModelRegistry, ModelRegistryArgs

from tests.unit.k8s_engine import Cluster, run
from tests.unit.k8s_pools import planned
from tests.unit.k8s_secrets import unwrapped

IMAGE = f"ghcr.io/mlflow/mlflow@sha256:{'a' * 64}"
POSTGRES = f"docker.io/library/postgres@sha256:{'b' * 64}"
URI = "postgresql://mlflow:s3cret@db.example:5432/mlflow"
STORE = {"uri": "s3://ours", "environment": {"AWS_ENDPOINT_URL": "https://objects.example"}, "secret": "store"}
OWN = {"database_image": POSTGRES, "password": "pa$$ word/@"}


def args(**own: Any) -> ModelRegistryArgs:
    given = {
        "namespace": "models",
        "service_account": "workload",
        "pool": planned("aws", "cpu", nodes=1),
        "image": IMAGE,
        "store": STORE,
        "clients": ["team-a", "team-b"],
        **own,
    }
    return cast(ModelRegistryArgs, given)


def made(**own: Any) -> tuple[Cluster, Any]:
    def program() -> Any:
        registry = ModelRegistry("registry", args(**own))
        return pulumi.Output.all(registry.uri, registry.database)

    return run(program)


def one(cluster: Cluster, kind: str, name: str) -> dict[str, Any]:
    (found,) = [each for each in cluster.objects(kind) if each["metadata"]["name"] == name]
    return found


class TestServer:
    def pod(self, **own: Any) -> dict[str, Any]:
        cluster, _ = made(**(own or OWN))
        return one(cluster, "Deployment", "registry")["spec"]["template"]

    def test_is_known_by_the_names_of_its_service_and_by_no_other(self) -> None:
        command = self.pod()["spec"]["containers"][0]["command"]
        hosts = command[command.index("--allowed-hosts") + 1].split(",")
        assert "registry.models.svc:5000" in hosts
        assert "localhost:*" in hosts
        assert "*" not in hosts

    def test_is_known_by_names_that_are_given(self) -> None:
        command = self.pod(**OWN, hosts=["models.example"])["spec"]["containers"][0]["command"]
        assert command[command.index("--allowed-hosts") + 1].endswith(",models.example")

    def test_leaves_files_to_the_object_store(self) -> None:
        command = self.pod()["spec"]["containers"][0]["command"]
        assert "--no-serve-artifacts" in command
        assert command[command.index("--default-artifact-root") + 1] == "s3://ours/mlflow"

    def test_brings_the_database_up_to_date_before_it_starts(self) -> None:
        pod = self.pod()["spec"]
        (upgrade,) = pod["initContainers"]
        assert upgrade["command"] == ["mlflow", "db", "upgrade", "$(MLFLOW_BACKEND_STORE_URI)"]
        assert upgrade["envFrom"] == pod["containers"][0]["envFrom"]

    def test_one_copy_ends_before_the_next_begins(self) -> None:
        cluster, _ = made(**OWN)
        spec = one(cluster, "Deployment", "registry")["spec"]
        assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})

    def test_a_changed_database_replaces_the_pod_without_telling_its_password(self) -> None:
        other = URI.replace("s3cret", "changed")
        marks = [self.pod(database=uri)["metadata"]["annotations"]["accelstack/database"] for uri in (URI, URI, other)]
        assert marks[0] == marks[1] != marks[2]
        assert "s3cret" not in str(marks)


class TestDatabase:
    def test_an_existing_one_is_used_as_it_is(self) -> None:
        cluster, (uri, database) = made(database=URI)
        assert uri == "http://registry.models.svc:5000"
        assert database is None
        assert not cluster.objects("StatefulSet")
        (secret,) = cluster.objects("Secret")
        assert unwrapped(secret["stringData"]) == {"MLFLOW_BACKEND_STORE_URI": URI}

    def test_its_own_is_known_by_a_uri_without_its_password(self) -> None:
        cluster, (_, database) = made(**OWN)
        assert database == "registry-db.models.svc:5432"
        content = unwrapped(one(cluster, "Secret", "registry")["stringData"])
        assert content["MLFLOW_BACKEND_STORE_URI"] == f"postgresql+psycopg2://mlflow@{database}/mlflow"
        assert content["PGPASSWORD"] == OWN["password"]
        assert unwrapped(one(cluster, "Secret", "registry-db")["stringData"]) == {"POSTGRES_PASSWORD": OWN["password"]}

    def test_passwords_stand_in_secrets_alone(self) -> None:
        cluster, _ = made(**OWN)
        others = [inputs for kind, _, inputs in cluster.made if kind != "Secret"]
        assert OWN["password"] not in str(others)

    def test_its_volume_outlives_it(self) -> None:
        cluster, _ = made(**OWN, storage_class="fast", size="50Gi")
        (stateful,) = cluster.objects("StatefulSet")
        assert stateful["spec"]["persistentVolumeClaimRetentionPolicy"]["whenDeleted"] == "Retain"
        (claim,) = stateful["spec"]["volumeClaimTemplates"]
        assert claim["spec"]["storageClassName"] == "fast"
        assert claim["spec"]["resources"]["requests"]["storage"] == "50Gi"

    def test_takes_the_default_storage_class_unless_told(self) -> None:
        cluster, _ = made(**OWN)
        (claim,) = cluster.objects("StatefulSet")[0]["spec"]["volumeClaimTemplates"]
        assert "storageClassName" not in claim["spec"]

    def test_a_dump_is_backed_up_and_not_the_files_of_a_running_database(self) -> None:
        cluster, _ = made(**OWN)
        pod = cluster.objects("StatefulSet")[0]["spec"]["template"]
        notes = pod["metadata"]["annotations"]
        volumes = {volume["name"] for volume in pod["spec"]["volumes"]} | {"data"}
        kept = {*notes["backup.velero.io/backup-volumes"].split(",")}
        left = {*notes["backup.velero.io/backup-volumes-excludes"].split(",")}
        assert kept == {"dump"}
        assert kept | left == volumes
        mounts = {mount["name"]: mount["mountPath"] for mount in pod["spec"]["containers"][0]["volumeMounts"]}
        for hook in ("pre.hook.backup", "post.hook.restore"):
            assert f"{mounts['dump']}/" in notes[f"{hook}.velero.io/command"]
            assert notes[f"{hook}.velero.io/container"] == pod["spec"]["containers"][0]["name"]


class TestNetwork:
    def test_only_clients_reach_the_server_and_only_the_server_its_database(self) -> None:
        cluster, _ = made(**OWN)
        (rule,) = one(cluster, "NetworkPolicy", "registry")["spec"]["ingress"]
        names = [each["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for each in rule["from"]]
        assert (names, rule["ports"]) == (["team-a", "team-b"], [{"port": 5000, "protocol": "TCP"}])
        into = one(cluster, "NetworkPolicy", "registry-db")["spec"]
        assert into["ingress"][0]["ports"] == [{"port": 5432, "protocol": "TCP"}]
        (server,) = into["ingress"][0]["from"]
        labels = one(cluster, "Deployment", "registry")["spec"]["template"]["metadata"]["labels"]
        assert server["podSelector"]["matchLabels"].items() <= labels.items()
        assert set(server) == {"podSelector"}

    def test_services_and_policies_select_the_pods_that_they_are_for(self) -> None:
        cluster, _ = made(**OWN)
        for kind, name in (("Deployment", "registry"), ("StatefulSet", "registry-db")):
            pod = one(cluster, kind, name)["spec"]["template"]["metadata"]["labels"]
            chosen = one(cluster, "Service", name)["spec"]["selector"]
            assert chosen == one(cluster, "NetworkPolicy", name)["spec"]["podSelector"]["matchLabels"]
            assert chosen.items() <= pod.items()
        selectors = [str(each["spec"]["selector"]) for each in cluster.objects("Service")]
        assert len(set(selectors)) == 2


class TestBadInput:
    @pytest.mark.parametrize(
        ("own", "path", "told"),
        [
            ({}, "database_image", "nor is database"),
            ({"database_image": POSTGRES}, "password", "as a secret"),
            ({"database": URI, "password": "x"}, "database", "give one"),
            ({"database": "postgres://u:s3cret@h/d"}, "database", "use postgresql://"),
            ({"database": "sqlite:////models.db"}, "database", "'sqlite' begins no URI"),
            ({**OWN, "image": "ghcr.io/mlflow/mlflow:v3"}, "image", "by digest"),
            ({**OWN, "database_image": "postgres:18"}, "database_image", "by digest"),
            ({**OWN, "clients": []}, "clients", "nobody could use it"),
            ({**OWN, "store": {"uri": "file:///store", "environment": {}}}, "store.uri", "no object store"),
        ],
    )
    def test_is_refused_by_name(self, own: dict[str, Any], path: str, told: str) -> None:
        with pytest.raises(pulumi.InputPropertyError, match=re.escape(told)) as caught:
            ModelRegistry("registry", args(**own))
        assert caught.value.property_path == path
        assert "s3cret" not in str(caught.value)

    @pytest.mark.parametrize("name", ["Registry", "1st", "registry.models", "r" * 58])
    def test_a_name_that_no_service_can_have(self, name: str) -> None:
        with pytest.raises(pulumi.InputPropertyError) as caught:
            ModelRegistry(name, args(**OWN))
        assert caught.value.property_path == "name"
