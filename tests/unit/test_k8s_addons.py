"""Add-ons: what they ask the engine to make, in which order, and from where."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pulumi
import pytest
import yaml
from accelstack.k8s import addon_values, crds
from accelstack.k8s.addons import AddOns, AddOnsArgs
from accelstack.plan import addons

from tests.unit.k8s_engine import Cluster, run

VERSIONS = addons.pins(list(addons.addons()), "aws", {})


def definition(name: str) -> dict[str, Any]:
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": name, "creationTimestamp": None},
        "spec": {"group": name.partition(".")[2]},
        "status": {"conditions": []},
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Definitions of every add-on, one each, beside an object that is none."""
    for component, each in addons.addons().items():
        if each.crds:
            word = each.defined_by.replace("_", "-")
            objects = [{"kind": "Namespace", "metadata": {"name": component}}, definition(f"things.{word}.example")]
            file = tmp_path / f"{each.defined_by}-{VERSIONS[each.defined_by]}.yaml"
            file.write_text(yaml.safe_dump_all([*objects, None]))
    return tmp_path


@pytest.fixture(autouse=True)
def deployed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Releases are up at once."""
    plainly = Cluster.new_resource

    def new_resource(self: Cluster, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        made, known = plainly(self, args)
        return made, {
            **known,
            "status": {"status": "deployed", "name": args.inputs["name"]},
        } if "chart" in known else known

    monkeypatch.setattr(Cluster, "new_resource", new_resource)


def made(**own: Any) -> tuple[Cluster, Any]:
    def program() -> Any:
        inside = AddOns("inside", cast(AddOnsArgs, own))
        return pulumi.Output.all(inside.releases, inside.ready)

    return run(program)


def test_definitions_namespaces_and_releases_of_what_has_a_version(folder: Path) -> None:
    cluster, (releases, ready) = made(versions=addons.pins(["jobset", "kueue"], "aws", {}), crds=str(folder))
    assert [each["metadata"]["name"] for each in cluster.objects("CustomResourceDefinition")] == [
        "things.jobset.example"
    ]
    spaces = {each["metadata"]["name"]: each["metadata"]["labels"] for each in cluster.objects("Namespace")}
    assert set(spaces) == {"jobset-system", "kueue-system"}
    assert {each["pod-security.kubernetes.io/enforce"] for each in spaces.values()} == {"restricted"}
    skipped = {each["name"]: each.get("skipCrds", False) for each in cluster.objects("Release")}
    assert skipped == {"jobset": True, "kueue": False}  # Kueue's chart alone brings its own
    assert (releases, ready) == (["jobset", "kueue"], "inside")


def test_every_addon_can_be_made(folder: Path) -> None:
    cluster, _ = made(versions=VERSIONS, crds=str(folder))
    releases = {each["name"]: each for each in cluster.objects("Release")}
    assert len(releases) == sum(1 for each in addons.addons().values() if each.chart)
    assert all(each["values"] or name == "keda" for name, each in releases.items() if "operator" not in name)
    kinds = cluster.objects("CustomResourceDefinition")
    assert {each["metadata"]["labels"]["app.kubernetes.io/managed-by"] for each in kinds} == {"accelstack"}
    names = [(kind, name) for kind, name, _ in cluster.made]
    assert len(set(names)) == len(names)


def test_a_release_that_the_target_gives_is_not_installed_twice() -> None:
    chart = {
        "name": "nvidia-device-plugin",
        "repository": "https://charts.example",
        "chart": "nvidia-device-plugin",
        "version": "1.2.3",
        "namespace": "kube-system",
        "values": {},
    }
    cluster, _ = made(components=["device_plugin"], versions={"device_plugin": "9.9.9"}, charts=[chart])
    assert [each["version"] for each in cluster.objects("Release")] == ["1.2.3"]


def test_a_users_values_lie_over_ours() -> None:
    own = {"controllerManager": {"replicas": 2}}
    cluster, _ = made(versions={"kueue": "0.18.3"}, values={"kueue": own})
    values = cluster.objects("Release")[0]["values"]
    assert values["controllerManager"]["replicas"] == 2
    assert values["controllerManager"]["manager"]["image"]["tag"] == "v0.18.3"


def test_charts_come_from_a_mirror() -> None:
    cluster, _ = made(
        versions={"kueue": "0.18.3", "device_plugin": "0.20.0"},
        mirror="registry.example/charts",
        components=["kueue", "device_plugin"],
    )
    found = {(each["chart"], each.get("repositoryOpts")) for each in cluster.objects("Release")}
    prefix = "oci://registry.example/charts"
    plugin = f"{prefix}/nvidia.github.io/k8s-device-plugin/nvidia-device-plugin"
    assert found == {(f"{prefix}/registry.k8s.io/kueue/charts/kueue", None), (plugin, None)}
    values = next(each["values"] for each in cluster.objects("Release") if each["name"] == "kueue")
    image = values["controllerManager"]["manager"]["image"]
    assert image["repository"] == "registry.example/charts/registry.k8s.io/kueue/kueue"


def test_anothers_namespace_is_not_made() -> None:
    cluster, _ = made(versions={"kueue": "0.18.3"}, homes=["kueue-system"])
    assert cluster.objects("Namespace") == []
    assert [each["namespace"] for each in cluster.objects("Release")] == ["kueue-system"]


class TestRefused:
    def test_a_mirror_that_is_none(self) -> None:
        with pytest.raises(pulumi.InputPropertyError, match=r"mirror.*registry"):
            AddOns("inside", {"components": [], "mirror": "https://own.example"})

    def test_an_addon_that_is_not_known(self) -> None:
        with pytest.raises(pulumi.InputPropertyError, match=r"kueu.*add-on"):
            AddOns("inside", {"components": ["kueu"]})

    def test_an_addon_without_a_version(self) -> None:
        with pytest.raises(pulumi.InputPropertyError, match="velero_chart"):
            AddOns("inside", {"components": ["velero"], "versions": {"velero": "1.18.3"}})

    def test_definitions_that_are_not_there(self, tmp_path: Path) -> None:
        where = rf"jobset 0\.12\.0 cannot be read from {tmp_path}/jobset-0\.12\.0\.yaml.*set crds to a folder or URL"
        with pytest.raises(pulumi.InputPropertyError, match=where):
            AddOns("inside", {"versions": {"jobset": "0.12.0"}, "crds": str(tmp_path)})

    def test_a_file_without_definitions(self, tmp_path: Path) -> None:
        (tmp_path / "jobset-0.12.0.yaml").write_text("kind: Namespace\n")
        with pytest.raises(pulumi.InputPropertyError, match="are not in"):
            AddOns("inside", {"versions": {"jobset": "0.12.0"}, "crds": str(tmp_path)})

    def test_definitions_that_the_lock_does_not_know(self, folder: Path) -> None:
        lock = {"crds": {"jobset-0.12.0": "sha256:" + "0" * 64}}
        with pytest.raises(pulumi.InputPropertyError, match="the lock sha256:0000"):
            AddOns("inside", {"versions": {"jobset": "0.12.0"}, "crds": str(folder), "lock": lock})


def test_the_lock_holds_wherever_and_in_however_many_files_definitions_lie(tmp_path: Path) -> None:
    one, two = definition("a.example.org"), definition("b.example.org")
    (tmp_path / "both.yaml").write_text(yaml.safe_dump_all([two, one]))
    for name, each in (("a", one), ("b", two)):
        (tmp_path / f"{name}.yaml").write_text(yaml.safe_dump(each))
    both = crds.read("x", "1", [str(tmp_path / "both.yaml")], {})
    lock = {"crds": {"x-1": crds.digest(both)}}
    assert crds.read("x", "1", [f"file://{tmp_path}/a.yaml", str(tmp_path / "b.yaml")], lock) == both
    assert [each["metadata"] for each in both] == [{"name": "a.example.org"}, {"name": "b.example.org"}]
    assert "status" not in both[0]


def texts(values: object) -> list[str]:
    """Every text in values, but for configuration files."""
    if isinstance(values, dict):
        return [text for each in values.values() for text in texts(each)]
    if isinstance(values, list):
        return [text for each in values for text in texts(each)]
    return [values] if isinstance(values, str) and "\n" not in values else []


class TestValues:
    def test_kueue_takes_all_of_a_job_or_none_and_waits_for_large_nodes(self) -> None:
        values = addon_values.values("kueue", VERSIONS)
        asked = yaml.safe_load(values["managerConfig"]["controllerManagerConfigYaml"])
        assert asked["waitForPodsReady"]["timeout"] == "30m"
        assert asked["integrations"]["frameworks"] == ["batch/job", "jobset.x-k8s.io/jobset"]
        assert asked["manageJobsWithoutQueueName"] is False
        assert asked["metrics"]["enableClusterQueueResources"] is True
        assert asked["fairSharing"]

    def test_kueue_looks_at_pods_where_groups_of_them_serve(self) -> None:
        values = addon_values.values("kueue", VERSIONS, installed=["kueue", "leader_worker_set"])
        frameworks = yaml.safe_load(values["managerConfig"]["controllerManagerConfigYaml"])["integrations"][
            "frameworks"
        ]
        assert {"pod", "leaderworkerset.x-k8s.io/leaderworkerset"} <= set(frameworks)

    def test_the_gpu_operator_installs_the_drivers_that_nodes_lack(self) -> None:
        values = addon_values.values("gpu_operator", VERSIONS)
        assert values["driver"] == values["toolkit"] == {"enabled": True}

    def test_one_operator_of_two_finds_features_and_drivers_for_cards(self) -> None:
        alone = addon_values.values("gpu_operator", VERSIONS)
        both = addon_values.values("gpu_operator", VERSIONS, installed=["gpu_operator", "network_operator"])
        assert "nfd" not in alone
        assert both["nfd"] == {"enabled": False}
        assert both["driver"] == {"enabled": True, "rdma": {"enabled": True}}

    @pytest.mark.parametrize("component", [name for name, each in addons.addons().items() if each.chart])
    def test_every_image_comes_from_the_mirror(self, component: str) -> None:
        moved = texts(addon_values.values(component, VERSIONS, mirror="own.example/m"))
        assert any(text.startswith("own.example") for text in moved)
        hosts = ("nvcr.io", "quay.io", "docker.io", "ghcr.io", "registry.k8s.io", "602401143452", "velero/")
        assert [text for text in moved if text.startswith(hosts)] == []

    def test_registry_and_repository_apart_make_the_same_name(self) -> None:
        image = addon_values.values("keda", VERSIONS, mirror="own.example:5000/m")["image"]["keda"]
        assert f"{image['registry']}/{image['repository']}" == "own.example:5000/m/ghcr.io/kedacore/keda"

    def test_the_device_plugin_finds_nodes_that_nobody_labelled(self) -> None:
        values = addon_values.values("device_plugin", VERSIONS)
        assert values["gfd"] == {"enabled": True}
        assert values["nfd"]["worker"]["tolerations"] == [{"operator": "Exists"}]

    def test_add_ons_get_along_with_others_that_are_there(self) -> None:
        assert "config" not in addon_values.values("cert_manager", VERSIONS)
        routes = addon_values.values("cert_manager", VERSIONS, installed=["gateway_api"])
        assert routes["config"]["enableGatewayAPI"] is True
        claims = addon_values.values("dra_driver", VERSIONS, installed=["gpu_operator"])
        assert claims["nvidiaDriverRoot"] == "/run/nvidia/driver"

    def test_metrics_lie_on_a_volume(self) -> None:
        spec = addon_values.on_volume("fast")["prometheus"]["prometheusSpec"]
        claim = spec["storageSpec"]["volumeClaimTemplate"]["spec"]
        assert (claim["storageClassName"], claim["resources"]["requests"]["storage"]) == ("fast", "50Gi")

    def test_prometheus_reads_monitors_of_every_namespace(self) -> None:
        spec = addon_values.values("kube_prometheus_stack", VERSIONS)["prometheus"]["prometheusSpec"]
        assert spec["podMonitorSelectorNilUsesHelmValues"] is spec["ruleSelectorNilUsesHelmValues"] is False

    def test_velero_has_no_place_of_its_own_to_back_up_to(self) -> None:
        values = addon_values.values("velero", VERSIONS)
        assert values["deployNodeAgent"] is True
        assert values["backupsEnabled"] is values["snapshotsEnabled"] is False
        assert values["initContainers"][0]["image"] == f"velero/velero-plugin-for-aws:v{VERSIONS['velero_aws_plugin']}"

    @pytest.mark.parametrize("component", ["cert_manager", "keda", "kube_prometheus_stack", "velero"])
    def test_charts_leave_their_definitions_to_us(self, component: str) -> None:
        switch = addons.addons()[component].switch
        assert switch
        assert addon_values.merged(addon_values.values(component, VERSIONS), switch) == addon_values.values(
            component, VERSIONS
        )
