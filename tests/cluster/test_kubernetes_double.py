"""The double of provider `kubernetes`: the real engine on the one side, a real API server on the other."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from tests.cluster.control_plane import ControlPlane, running
from tests.cluster.nodes import nodes
from tests.cluster.programs import folder
from tests.cluster.setting import AT_ONCE, HEADER, POOL, QUEUE, QUEUES, Setting, config_map, deployment, fine
from tests.engine import programs


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running(tmp_path_factory.mktemp("plane")) as made:
        made.apply(nodes(POOL, 1))
        yield made


@pytest.fixture
def setting(plane: ControlPlane, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Setting]:
    namespace = f"{request.node.name.removeprefix('test_').replace('_', '-')[:50].rstrip('-')}-{uuid4().hex[:5]}"
    plane.kubectl("create", "namespace", namespace)
    charts = {"jobset": folder("jobset") / "charts" / "jobset"}
    with programs.attached(tmp_path / "p", ("kubernetes",), kubernetes=plane.kubeconfig, charts=charts) as program:
        yield Setting(program, plane, namespace)
    plane.kubectl("delete", "namespace", namespace, "--wait=false")


def test_an_object_lives_through_create_no_op_change_and_destroy(setting: Setting) -> None:
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "a", "namespace": setting.namespace}}
    setting.write(("a", account))
    fine(setting.program.up())
    assert setting.program.outputs()["ids"] == [f"{setting.namespace}/a"]
    again = fine(setting.program.up())
    assert again.steps == []
    setting.write(("a", {**account, "metadata": {**account["metadata"], "labels": {"tier": "b"}}}))
    changed = setting.program.up()
    assert changed.steps == [("update", "a")], changed.output
    assert changed.detail("a") == {"metadata.labels": "add"}
    assert setting.get("serviceaccount", "a")["metadata"]["labels"] == {"tier": "b"}
    setting.write(("a", account))
    fine(setting.program.up())
    assert "labels" not in setting.get("serviceaccount", "a")["metadata"]
    fine(setting.program.destroy())
    assert setting.kubectl("get", "serviceaccount", "a", "--ignore-not-found", "-o", "name") == ""


def test_data_of_a_config_map_replaces_it_and_what_has_no_name_gets_one(setting: Setting) -> None:
    unnamed = config_map("", setting.namespace, key="1")
    del unnamed["metadata"]["name"]
    setting.write(("fixed", config_map("fixed", setting.namespace, key="1")), ("named", unnamed))
    fine(setting.program.up())
    before = setting.program.outputs()["ids"]
    assert before[1].startswith(f"{setting.namespace}/named-")
    assert len(before[1].rpartition("-")[2]) == 7
    assert fine(setting.program.up()).steps == []
    unnamed["data"]["key"] = "2"
    setting.write(("fixed", config_map("fixed", setting.namespace, key="2")), ("named", unnamed))
    changed = fine(setting.program.up())
    assert changed.steps.index(("delete-replaced", "fixed")) < changed.steps.index(("create-replacement", "fixed"))
    assert changed.steps.index(("create-replacement", "named")) < changed.steps.index(("delete-replaced", "named"))
    after = setting.program.outputs()["ids"]
    assert after[0] == before[0]
    assert after[1] != before[1]
    assert setting.get("configmap", "fixed")["data"] == {"key": "2"}


def test_a_deployment_is_up_when_its_pods_are(setting: Setting) -> None:
    made = deployment("web", setting.namespace)
    made["spec"]["template"]["spec"]["containers"][0]["resources"] = {"requests": {"cpu": "1000m"}, "limits": {}}
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "web", "namespace": setting.namespace},
        "spec": {"selector": {"app": "web"}, "ports": [{"port": 80}]},
    }
    setting.write(("web", made), ("service", service))
    fine(setting.program.up())
    assert setting.get("deployment", "web")["status"]["availableReplicas"] == 2
    assert fine(setting.program.up()).steps == []  # 1000m and 1 are the same
    made["spec"]["replicas"] = 3
    setting.write(("web", made), ("service", service))
    assert fine(setting.program.up()).steps == [("update", "web")]
    assert setting.get("deployment", "web")["status"]["availableReplicas"] == 3
    made["spec"]["selector"]["matchLabels"]["app"] = made["spec"]["template"]["metadata"]["labels"]["app"] = "other"
    service["spec"]["selector"]["app"] = "other"
    setting.write(("web", made), ("service", service))
    assert fine(setting.program.up()).changes["delete-replaced"] == 1


def test_pods_that_never_start_leave_the_deployment_half_made(setting: Setting) -> None:
    lost = deployment("web", setting.namespace, nodeSelector={"accelstack/pool": "none"})
    setting.write(("web", lost, "custom_timeouts=timeouts(4)['create']"))
    failed = setting.program.up()
    assert not failed.ok
    assert "0 of 2 replicas are available" in failed.output
    assert "[Unschedulable]" in failed.output
    assert [entry.name for entry in setting.program.state() if entry.type.endswith("Deployment")] == ["web"]
    setting.write(("web", deployment("web", setting.namespace)))
    mended = fine(setting.program.up())
    assert mended.steps == [("update", "web")]


def test_jobs_claims_and_clusters_of_clouds_are_waited_for_too(setting: Setting) -> None:
    where = {"namespace": setting.namespace}
    pod = {
        "containers": [{"name": "main", "image": "example.org/job:1"}],
        "nodeSelector": POOL["labels"],
        "restartPolicy": "Never",
    }
    job = {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": "job", **where},
        "spec": {"template": {"spec": pod}, "backoffLimit": 0},
    }
    storage = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": setting.namespace},
        "provisioner": "double.test/none",
        "volumeBindingMode": "WaitForFirstConsumer",
    }
    claim = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "claim", **where},
        "spec": {
            "accessModes": ["ReadWriteOnce"],
            "resources": {"requests": {"storage": "1024Mi"}},
            "storageClassName": setting.namespace,
        },
    }
    far = {  # as the double of a cloud gives it: the control plane answers in its place
        "clusters": [{"name": "far", "cluster": {"server": "https://cluster.example"}}],
        "users": [{"name": "me", "user": {"exec": {"command": "no-such-program"}}}],
        "contexts": [{"name": "far", "context": {"cluster": "far", "user": "me"}}],
        "current-context": "far",
    }
    everything = (("job", job), ("storage", storage), ("claim", claim))
    setting.write(*everything, kubeconfig=json.dumps(far))
    fine(setting.program.up())
    assert setting.get("job", "job")["status"]["succeeded"] == 1
    assert fine(setting.program.up()).steps == []  # 1024Mi and 1Gi are the same
    claim["spec"]["storageClassName"] = "no-such-class"
    late = "depends_on=storage, custom_timeouts=timeouts(2)['create']"
    setting.write(*everything[:2], ("claim", claim, late), kubeconfig=json.dumps(far))
    failed = setting.program.up()
    assert not failed.ok
    assert "there is no storage class 'no-such-class'" in failed.output
    fine(setting.program.destroy())


def test_a_custom_object_follows_its_definition_in_the_same_update(setting: Setting) -> None:
    setting.write(("definition", QUEUES), ("queue", QUEUE))  # neither waits for the other
    fine(setting.program.preview())
    fine(setting.program.up())
    assert setting.program.outputs()["ids"] == ["queues.double.test", "q"]
    assert fine(setting.program.up()).steps == []
    setting.write(("definition", QUEUES), ("queue", {**QUEUE, "spec": {"size": 2}}))
    assert fine(setting.program.up()).steps == [("update", "queue")]
    fine(setting.program.destroy())


def test_annotations_say_what_to_wait_for(setting: Setting) -> None:
    setting.write(("definition", QUEUES))
    fine(setting.program.up())
    wanted = '["condition=Active", "jsonpath={.status.seats[?(@.row==\\"2\\")].free}=3"]'
    queue = {**QUEUE, "metadata": {"name": "q", "annotations": {**AT_ONCE, "pulumi.com/waitFor": wanted}}}
    setting.write(("definition", QUEUES), ("queue", queue, "custom_timeouts=timeouts(2)['create']"))
    failed = setting.program.up()
    assert not failed.ok
    assert "waiting for condition=Active" in failed.output
    status = {"conditions": [{"type": "Active", "status": "True"}], "seats": [{"row": "2", "free": 3}]}
    setting.kubectl(
        "patch",
        "queues.double.test",
        "q",
        "--field-manager=controller",
        "--type=merge",
        "-p",
        json.dumps({"status": status}),
    )
    setting.write(("definition", QUEUES), ("queue", queue))
    fine(setting.program.up())
    fine(setting.program.destroy())


def test_what_is_deleted_or_changed_by_hand_is_seen_by_refresh_and_set_right(setting: Setting) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota", "namespace": setting.namespace},
        "spec": {"hard": {"pods": "10", "requests.cpu": "4000m"}},
    }
    setting.write(("gone", config_map("gone", setting.namespace, key="1")), ("quota", quota))
    fine(setting.program.up())
    setting.kubectl("delete", "configmap", "gone")
    setting.kubectl("patch", "resourcequota", "quota", "-p", '{"spec": {"hard": {"pods": "99"}}}')
    fine(setting.program.refresh())
    assert "gone" not in {entry.name for entry in setting.program.state()}
    mended = fine(setting.program.up())
    assert set(mended.steps) == {("create", "gone"), ("update", "quota")}
    assert mended.detail("quota") == {"spec.hard.pods": "update"}
    assert setting.get("resourcequota", "quota")["spec"]["hard"]["pods"] == "10"


def test_replicas_that_someone_else_sets_stay_when_they_are_ignored(setting: Setting) -> None:
    made = deployment("web", setting.namespace)
    setting.write(("web", made, "ignore_changes=['spec.replicas']"))
    fine(setting.program.up())
    setting.kubectl("scale", "deployment", "web", "--replicas=4")
    setting.kubectl("rollout", "status", "deployment", "web", "--timeout=60s")
    fine(setting.program.refresh())
    assert fine(setting.program.up()).steps == []
    made["metadata"]["labels"] = {"changed": "yes"}
    setting.write(("web", made, "ignore_changes=['spec.replicas']"))
    assert fine(setting.program.up()).steps == [("update", "web")]
    assert setting.get("deployment", "web")["spec"]["replicas"] == 4


def test_fields_of_another_manager_are_a_conflict_unless_forced(setting: Setting) -> None:
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "quota", "namespace": setting.namespace},
        "spec": {"hard": {"pods": "10"}},
    }
    setting.write(("quota", quota))
    fine(setting.program.up())
    patch = ["patch", "resourcequota", "quota", "--field-manager=somebody", "-p"]
    setting.kubectl(*patch, '{"spec": {"hard": {"pods": "99"}}}')
    fine(setting.program.refresh())
    refused = setting.program.up()
    assert not refused.ok
    assert "conflict" in refused.output
    assert "somebody" in refused.output
    quota["metadata"]["annotations"] = {"pulumi.com/patchForce": "true"}
    setting.write(("quota", quota))
    fine(setting.program.up())
    assert setting.get("resourcequota", "quota")["spec"]["hard"]["pods"] == "10"


def test_an_object_that_exists_is_not_overwritten(setting: Setting) -> None:
    setting.kubectl("create", "configmap", "theirs", "--from-literal=key=theirs")
    setting.write(("theirs", config_map("theirs", setting.namespace, key="ours")))
    refused = setting.program.up()
    assert not refused.ok
    assert "already exists" in refused.output
    assert setting.get("configmap", "theirs")["data"] == {"key": "theirs"}
    setting.write(
        ("theirs", config_map("theirs", setting.namespace, key="theirs"), f"import_='{setting.namespace}/theirs'")
    )
    assert fine(setting.program.up()).changes["import"] == 1


def test_a_misspelt_field_is_found_in_the_preview(setting: Setting) -> None:
    wrong = deployment("web", setting.namespace, restartPolicies="Always")
    setting.write(("web", wrong))
    preview = setting.program.preview()
    assert not preview.ok
    assert 'unknown field "spec.template.spec.restartPolicies"' in preview.output
    assert setting.kubectl("get", "deployments", "-o", "name") == ""


def test_a_finalizer_that_nobody_answers_is_named(setting: Setting) -> None:
    held = config_map("held", setting.namespace, key="1")
    held["metadata"]["finalizers"] = ["double.test/hold"]
    setting.write(("held", held, "custom_timeouts=timeouts(2)['delete']"))
    fine(setting.program.up())
    failed = setting.program.destroy()
    assert not failed.ok
    assert "double.test/hold" in failed.output
    assert "held" in {entry.name for entry in setting.program.state()}
    setting.kubectl("patch", "configmap", "held", "--type=merge", "-p", '{"metadata": {"finalizers": null}}')
    fine(setting.program.destroy())


def test_what_a_secret_holds_is_secret_in_the_state(setting: Setting) -> None:
    secret = {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": "s", "namespace": setting.namespace},
        "stringData": {"password": "correct horse"},
    }
    setting.write(("s", secret))
    fine(setting.program.up())
    kept = json.dumps(setting.program.export())
    assert "correct horse" not in kept
    assert "Y29ycmVjdCBob3JzZQ==" not in kept
    assert setting.get("secret", "s")["data"] == {"password": "Y29ycmVjdCBob3JzZQ=="}
    assert fine(setting.program.up()).steps == []


def test_a_cluster_out_of_reach_leaves_everything_as_it_is(setting: Setting, tmp_path: Path) -> None:
    setting.write(("kept", config_map("kept", setting.namespace, key="1")), skip_update_unreachable=True)
    fine(setting.program.up())
    nowhere = tmp_path / "nowhere"
    nowhere.write_text(setting.plane.kubeconfig.read_text())
    away = setting.plane.kubeconfig.read_text().replace(
        "127.0.0.1", "127.254.254.254"
    )  # the same machine; nobody there
    nowhere.write_text(away)
    moved = {"kubeconfig": str(nowhere), "cluster_identifier": "the-same"}
    changed = config_map("kept", setting.namespace, key="2")
    setting.write(("kept", changed), skip_update_unreachable=True, cluster_identifier="the-same")
    fine(setting.program.up())
    setting.write(("kept", config_map("kept", setting.namespace, key="3")), skip_update_unreachable=True, **moved)
    for operation in (setting.program.preview, setting.program.up, setting.program.refresh):
        done = operation()
        assert done.ok, done.output
        assert "unreachable" in done.diagnostics
        assert done.changes["delete"] == done.changes["replace"] == 0
    assert "kept" in {entry.name for entry in setting.program.state()}
    setting.write(
        ("kept", changed),
        ("new", config_map("new", setting.namespace, key="1")),
        skip_update_unreachable=True,
        **moved,
    )
    fine(setting.program.preview())
    failed = setting.program.up()
    assert not failed.ok
    assert "configured Kubernetes cluster is unreachable: https://127.254.254.254" in failed.output
    assert setting.get("configmap", "kept")["data"] == {"key": "2"}


def test_a_chart_at_hand_is_installed_by_helm_and_another_is_recorded(setting: Setting) -> None:
    def write(values: dict[str, Any]) -> None:
        setting.program.write(
            f"""
            cluster = kubernetes.Provider("cluster", kubeconfig={str(setting.plane.kubeconfig)!r})

            def release(name, chart, values):
                return kubernetes.helm.v3.Release(
                    name,
                    name=name,
                    chart=chart,
                    version="1.2.3",
                    namespace={setting.namespace!r},
                    values=values,
                    skip_crds=True,
                    opts=options(),
                )

            jobs = release("jobs", "oci://registry.example/charts/jobset", {values!r})
            release("other", "oci://registry.example/charts/other", {{}})
            pulumi.export("status", jobs.status.status)
            """,
            HEADER,
        )

    values = {"controller": {"replicas": 1, "resources": {}}, "image": {"tag": "v1"}}
    write(values)
    fine(setting.program.preview())
    refused = setting.program.up()
    assert not refused.ok  # the control plane has its own JobSet, which is not helm's to change
    assert "cannot be imported into the current release" in refused.output
    for kind in ("mutatingwebhookconfiguration", "validatingwebhookconfiguration"):
        setting.kubectl("delete", kind, f"jobset-{kind.removesuffix('webhookconfiguration')}-webhook-configuration")
    fine(setting.program.up())
    assert setting.program.outputs()["status"] == "deployed"
    controller = setting.kubectl("get", "deployments", "-o", "name").strip().removeprefix("deployment.apps/")
    assert setting.get("deployment", controller)["status"]["availableReplicas"] == 1  # helm waited
    assert setting.get("configmap", "helm-release-other")["data"]["version"] == "1.2.3"
    assert fine(setting.program.up()).steps == []
    write({**values, "image": {"tag": "v2"}})
    changed = fine(setting.program.up())
    assert changed.steps == [("update", "jobs")]
    assert changed.detail("jobs") == {"values.image.tag": "update"}
    assert setting.get("deployment", controller)["spec"]["template"]["spec"]["containers"][0]["image"].endswith(":v2")
    fine(setting.program.refresh())
    assert fine(setting.program.up()).steps == []
    fine(setting.program.destroy())
    assert setting.kubectl("get", "deployments,secrets", "-o", "name") == ""


def test_three_hundred_objects_go_up_in_seconds(setting: Setting) -> None:
    setting.program.write(
        f"""
        cluster = kubernetes.Provider("cluster", kubeconfig={str(setting.plane.kubeconfig)!r})
        for number in range(150):
            about = {{"name": f"o-{{number}}", "namespace": {setting.namespace!r}}}
            data = {{"number": str(number)}}
            made = {{"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": data}}
            KubernetesObject(f"c-{{number}}", made, options())
            spec = {{"clusterIP": "None", "ports": [{{"port": 80}}]}}
            made = {{"apiVersion": "v1", "kind": "Service", "metadata": about, "spec": spec}}
            KubernetesObject(f"s-{{number}}", made, options())
        """,
        HEADER,
    )
    begin = time.monotonic()
    made = setting.program.up()
    seconds = time.monotonic() - begin
    assert made.ok, made.output
    assert made.changes["create"] == 301  # with the stack itself
    spent = setting.program.cluster.seen
    assert len([one for one in spent if one.operation == "create"]) == 300
    print(f"300 objects in {seconds:.1f} s")
    assert seconds < 60
