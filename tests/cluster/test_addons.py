"""Add-ons on a real API server: real charts with our values, and definitions that outlive them."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from accelstack.k8s import addon_values
from accelstack.k8s.addons import namespace
from accelstack.plan import addons

from tests.cluster.control_plane import ControlPlane, running
from tests.cluster.crds import crds
from tests.cluster.nodes import cpu_pool, nodes
from tests.cluster.programs import folder
from tests.engine import programs

CHARTS = {"jobset": "charts/jobset", "kueue": "charts/kueue", "leader_worker_set": "charts/lws"}
VERSIONS = addons.pins(list(CHARTS), "private", {})
CHOSEN = ("waitForPodsReady", "fairSharing", "resources", "integrations", "manageJobsWithoutQueueName")
"""What of Kueue's configuration is our choice, beside its addresses."""


def rendered(component: str, values: dict[str, Any]) -> list[dict[str, Any]]:
    """What helm makes of the real chart with these values."""
    own = addons.addons()[component]
    done = subprocess.run(
        [
            folder("helm") / "helm",
            "template",
            own.release,
            folder(component) / CHARTS[component],
            f"--namespace={own.namespace}",
            "--kube-version=1.36.3",
            "--values=-",
        ],
        input=json.dumps(values),
        capture_output=True,
        text=True,
        check=True,
    )
    return [each for each in yaml.safe_load_all(done.stdout) if each]


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """An API server alone, with the definitions and namespaces of the charts."""
    with running(
        tmp_path_factory.mktemp("bare"), controllers=False, components=("jobset", "leader_worker_set")
    ) as made:
        made.apply(namespace(addons.addons()[component], "inside") for component in CHARTS)
        yield made


@pytest.mark.parametrize("component", CHARTS)
def test_the_api_server_takes_the_real_chart_with_our_values(
    bare: ControlPlane, component: str, tmp_path: Path
) -> None:
    own = addons.addons()[component]
    found = rendered(component, addon_values.values(component, VERSIONS, installed=list(CHARTS)))
    deployments = [each for each in found if each["kind"] == "Deployment"]
    assert deployments
    for each in deployments:
        template = each["spec"]["template"]
        pod = {"name": each["metadata"]["name"], "namespace": own.namespace, "labels": template["metadata"]["labels"]}
        found.append({"apiVersion": "v1", "kind": "Pod", "metadata": pod, "spec": template["spec"]})
        bare.apply([_account(template["spec"], own.namespace)])
        for container in template["spec"]["containers"]:
            assert container["image"].startswith("registry.k8s.io/")
            assert container["image"].endswith(f":v{VERSIONS[component]}")
            assert container["resources"]["limits"]["memory"]
    file = tmp_path / "objects.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}))
    strictly = ("--server-side", "--dry-run=server", "--validate=strict", "--force-conflicts", "--warnings-as-errors")
    told = bare.kubectl("apply", *strictly, "--filename", str(file), "--output", "name")
    assert len(told.split()) == len(found)


def test_kueue_starts_with_our_configuration(tmp_path: Path) -> None:
    own = {key: value for key, value in addon_values.kueue_configuration(groups=True).items() if key in CHOSEN}
    with running(tmp_path, kueue=own) as plane:
        plane.apply([{"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": "a"}}])
        assert plane.get("resourceflavor", "a")
        plane.check()


PROGRAM = """
    inside = pulumi.ResourceOptions(
        providers=[kubernetes.Provider("cluster", kubeconfig={kubeconfig!r}, upsert_existing_objects=True)]
    )
    made = AddOns(
        "inside",
        {{
            "versions": {versions!r},
            "crds": {crds!r},
            "values": {{"jobset": {{"controller": {{"tolerations": [{{"operator": "Exists"}}]}}}}}},
            "manifests": [{manifest!r}],
        }},
        inside,
    )
    pulumi.export("releases", made.releases)
    pulumi.export("ready", made.ready)
"""
HEADER = """
import pulumi
import pulumi_kubernetes as kubernetes
from accelstack.k8s.addons import AddOns

"""


def test_addons_come_stay_and_go_in_one_go_and_leave_definitions_behind(tmp_path: Path) -> None:
    versions = addons.pins(["jobset", "gateway_api"], "private", {})
    mirror = tmp_path / "crds"
    mirror.mkdir()
    for component in ("jobset", "gateway_api"):
        (mirror / f"{component}-{versions[component]}.yaml").write_text(yaml.safe_dump_all(crds(component)))
    route = {  # nothing serves JobSet's own webhook here
        "apiVersion": "gateway.networking.k8s.io/v1",
        "kind": "HTTPRoute",
        "metadata": {
            "name": "way",
            "namespace": "default",
            "annotations": {"pulumi.com/deletionPropagationPolicy": "background"},
        },
        "spec": {"parentRefs": [{"name": "none"}]},
    }
    charts = {"jobset": folder("jobset") / CHARTS["jobset"]}
    with (
        running(tmp_path) as plane,
        programs.attached(tmp_path / "p", ("kubernetes",), kubernetes=plane.kubeconfig, charts=charts) as program,
    ):
        plane.apply(nodes(cpu_pool("cpu"), 1))
        _without_jobset(plane)
        given = {"kubeconfig": str(plane.kubeconfig), "versions": versions, "crds": str(mirror), "manifest": route}
        program.write(PROGRAM.format(**given), HEADER)
        first = program.up()
        assert first.ok, first.output
        assert program.outputs() == {"releases": ["jobset"], "ready": "inside"}
        assert plane.get("httproute", "way", "default")
        assert plane.get("deployment", "jobset-controller", "jobset-system")["status"]["availableReplicas"] == 1
        assert program.up().steps == []
        gone = program.destroy()
        assert gone.ok, gone.output
        assert plane.get("httproute", "way", "default") is None
        assert plane.get("namespace", "jobset-system") is None
        for kind in ("jobsets.jobset.x-k8s.io", "httproutes.gateway.networking.k8s.io"):
            assert plane.get("crd", kind)
        again = program.up()
        assert again.ok, again.output


def _without_jobset(plane: ControlPlane) -> None:
    """Without what the control plane's own JobSet has, which is not helm's to change."""
    for kind in ("mutating", "validating"):
        name = f"jobset-{kind}-webhook-configuration"
        plane.kubectl("delete", f"{kind}webhookconfiguration", name, "--ignore-not-found")
    plane.kubectl("delete", "crd", "jobsets.jobset.x-k8s.io")


def _account(pod: dict[str, Any], where: str) -> dict[str, Any]:
    about = {"name": pod.get("serviceAccountName", "default"), "namespace": where}
    return {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": about}
