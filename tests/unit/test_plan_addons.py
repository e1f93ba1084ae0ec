"""Which add-ons a cluster needs, and where they come from."""

from __future__ import annotations

import re
from pathlib import Path
from string import Formatter
from typing import Any

import pytest
from accelstack.plan import addons, compatibility, tables
from accelstack.plan import plan as plans
from accelstack.plan.plan import Plan

PINS = Path(__file__).resolve().parents[2] / "tools"
ADD_ONS = addons.addons()
MODULES = {"kueue": "sigs.k8s.io/kueue", "jobset": "sigs.k8s.io/jobset", "leader_worker_set": "sigs.k8s.io/lws"}
ARCHIVES = ("gateway_api", "cert_manager", "keda", "prometheus_operator", "velero", "karpenter", "dra_driver")


def planned(**own: Any) -> Plan:
    pools = {"train": {"accelerator": "H100", "per_node": 8, "nodes": 2, "role": "train"}}
    given = {"name": "a-b", "target": "aws", "region": "us-east-1", "pools": pools}
    return plans.plan({**given, **own})


def version(component: str) -> str:
    return next(row["version"] for row in tables.rows("versions") if row["component"] == component)


def test_a_cluster_that_trains_has_queues_alone() -> None:
    assert addons.needed(pools=(), versions=("kubernetes", "kueue", "jobset")) == ("jobset", "kueue")
    assert addons.needed(pools=(), versions=(), trains=False) == ()


@pytest.mark.parametrize(
    ("asked", "added"),
    [
        ({"several_nodes": True}, "leader_worker_set"),
        ({"scale_on_queue": True}, "keda"),
        ({"gateway": True}, "gateway_api"),
        ({"issuer": True}, "cert_manager"),
        ({"observability": True}, "kube_prometheus_stack"),
        ({"backup": True}, "velero"),
    ],
    ids=str,
)
def test_what_is_asked_for_adds_what_it_needs(asked: dict[str, bool], added: str) -> None:
    few = set(addons.needed(pools=(), versions=(), serves=True))
    assert set(addons.needed(pools=(), versions=(), serves=True, **asked)) - few == {added}


def test_devices_are_those_of_the_plan_but_for_what_the_cloud_brings() -> None:
    decided = planned()
    components = ("device_plugin", "efa_device_plugin")
    assert set(components) <= decided.versions.keys()
    found = addons.needed(pools=decided.pools, versions=decided.versions, observability=True)
    assert {*components, "dcgm_exporter"} <= set(found)
    assert "tcpx_daemon" not in found
    brought = addons.needed(pools=decided.pools, versions=decided.versions, brought=components)
    assert not set(brought) & set(components)


def test_the_gpu_operator_has_an_exporter_of_its_own() -> None:
    decided = planned()
    found = addons.needed(pools=decided.pools, versions=("gpu_operator",), observability=True)
    assert "gpu_operator" in found
    assert "dcgm_exporter" not in found


def test_the_amd_operator_brings_cert_manager_along() -> None:
    assert "cert_manager" in addons.needed(pools=(), versions=("amd_gpu_operator",))


def test_each_addon_goes_after_what_it_needs_where_it_is_installed_in_the_tables_order() -> None:
    order = list(ADD_ONS)
    for name, each in ADD_ONS.items():
        assert all(order.index(other) < order.index(name) for other in each.needs), name
    found = addons.needed(pools=(), versions=("amd_gpu_operator",))
    assert found.index("cert_manager") < found.index("amd_gpu_operator")


@pytest.mark.parametrize("component", ADD_ONS)
def test_each_addon_comes_from_somewhere_in_an_exact_version(component: str) -> None:
    own = ADD_ONS[component]
    target = "aws" if component == "efa_device_plugin" else "private"
    versions = addons.pins([component], target, {})
    assert all(versions.values())
    assert set(versions) <= set(compatibility.components())
    assert own.chart or own.crds
    if own.chart:
        assert own.chart.startswith("oci://") != own.repository.startswith("https://")
        assert re.fullmatch(r"v?\d+\.\d+\.\d+", addons.chart(component, versions).version)
        assert own.namespace != "kube-system"  # there, nothing tells ours from others'
        assert own.level in ("restricted", "privileged")
    assert not own.switch or own.crds
    urls = addons.definitions(component, versions)
    assert len(set(urls)) == len(own.crds)
    for url in urls:
        assert url.startswith("https://")
        assert url.count(versions[own.defined_by]) >= 1
        assert not [part for _, part, _, _ in Formatter().parse(url) if part]


def test_definitions_are_read_from_elsewhere_under_one_name() -> None:
    versions = {"kube_prometheus_stack": "87.21.0", "prometheus_operator": "0.92.1", "kueue": "0.18.3"}
    found = addons.definitions("kube_prometheus_stack", versions, "s3://mirror/crds/")
    assert found == ("s3://mirror/crds/prometheus_operator-0.92.1.yaml",)
    assert addons.definitions("kueue", versions, "s3://mirror/crds") == ()  # its chart's own


def test_a_users_version_goes_before_the_tables_and_may_move_the_chart() -> None:
    versions = addons.pins(["velero", "gpu_operator"], "azure", {"gpu_operator": "26.3.0"})
    assert versions["velero_chart"] == version("velero_chart")
    assert addons.chart("gpu_operator", versions).version == "v26.3.0"
    assert addons.chart("velero", versions).version == version("velero_chart")


@pytest.mark.parametrize("component", MODULES)
def test_what_is_installed_is_what_is_tested(component: str) -> None:
    pinned = (PINS / "control_plane" / component / "go.mod").read_text()
    assert f"{MODULES[component]} v{version(component)} " in pinned


@pytest.mark.parametrize("component", ARCHIVES)
def test_definitions_are_those_that_are_tested(component: str) -> None:
    archives = (PINS / "control_plane.py").read_text().partition("ARCHIVES = {")[2]
    assert re.search(rf'"{component}": Archive\(\s+"[^"]+",\s+"v{re.escape(version(component))}"', archives)
