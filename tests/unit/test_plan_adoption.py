"""What becomes of add-ons that are in a cluster already."""

import pytest
from accelstack.plan.addons import addons
from accelstack.plan.adoption import BUNDLE, HELM_NAMESPACE, KINDS, Adoption, compatible, decide
from accelstack.plan.findings import Severity
from accelstack.plan.inventory import MANAGED_BY, Crd, Installed, Inventory

WANTED = {"jobset": "0.12.0", "kueue": "0.18.3"}
OURS = {MANAGED_BY: "accelstack"}


def installed(component: str, version: str, namespace: str = "theirs", managed_by: str = "Helm") -> Installed:
    return Installed(component, version, managed_by, namespace)


def crd(component: str, *versions: str, labels: dict[str, str] | None = None, **annotations: str) -> Crd:
    name, served = KINDS[component]
    return Crd(name, versions or (served,), labels or {}, annotations)


def decided(
    wanted: dict[str, str], *found: Installed, crds: tuple[Crd, ...] = (), own: tuple[str, ...] = ()
) -> Adoption:
    return decide(Inventory("1.34.2", crds=crds, installed=found), wanted, own)


def test_a_cluster_without_add_ons_gets_all_of_them_in_order() -> None:
    assert decided(dict(reversed(WANTED.items()))) == Adoption(("jobset", "kueue"), {}, (), ())


def test_anothers_add_on_in_a_compatible_version_is_used_as_it_is_and_said() -> None:
    found = decided(WANTED, installed("jobset", "0.12.1"), crds=(crd("jobset"),))
    assert (found.install, found.adopted) == (("kueue",), {"jobset": "0.12.1"})
    (finding,) = found.findings
    assert (finding.severity, finding.property) == (Severity.WARNING, "versions.jobset")
    assert "jobset 0.12.1 in namespace theirs is not accelstack's and is used as it is" in str(finding)


@pytest.mark.parametrize("version", ["0.10.1", "0.13.0", ""])
def test_anothers_add_on_that_does_not_do_is_refused_with_both_versions(version: str) -> None:
    found = decided(WANTED, installed("jobset", version))
    assert (found.install, found.adopted) == (("kueue",), {})
    (finding,) = found.findings
    assert (finding.severity, finding.value) == (Severity.ERROR, version)
    assert "in namespace theirs" in finding.rule
    assert "0.12.0" in finding.rule + finding.fix
    assert version in finding.rule


def test_what_is_refused_passes_once_its_version_is_the_one_asked_for() -> None:
    assert decided({"jobset": "0.10.1"}, installed("jobset", "0.10.1")).adopted == {"jobset": "0.10.1"}


@pytest.mark.parametrize("version", ["0.12.0", "0.10.1"])
@pytest.mark.parametrize(("managed_by", "own"), [("Helm", ("jobset-system",)), ("accelstack", ())])
def test_a_stacks_own_add_on_stays_the_stacks(version: str, managed_by: str, own: tuple[str, ...]) -> None:
    found = decided({"jobset": "0.12.0"}, installed("jobset", version, "jobset-system", managed_by), own=own)
    assert found == Adoption(("jobset",), {}, (), ())


def test_helms_labels_make_nothing_a_stacks_own() -> None:
    assert decided({"jobset": "0.12.0"}, installed("jobset", "0.12.0", "jobset-system")).install == ()


def test_definitions_of_another_version_without_a_controller_are_an_error() -> None:
    found = decided(WANTED, crds=(crd("kueue", "v1alpha1", "v1beta1"),))
    assert found.install == ("jobset",)
    (finding,) = found.findings
    assert finding.severity is Severity.ERROR
    assert finding.rule.startswith("CRDs of another version: clusterqueues.kueue.x-k8s.io serves v1alpha1, v1beta1")
    assert "v1beta2" in finding.fix


def test_a_controller_does_not_do_without_the_api_version_that_stacks_use() -> None:
    found = decided(WANTED, installed("kueue", "0.18.3"), crds=(crd("kueue", "v1beta1"),))
    assert (found.install, found.adopted) == (("jobset",), {})
    assert [each.severity for each in found.findings] == [Severity.ERROR]


def test_definitions_that_somebody_left_behind_are_taken_over_and_said() -> None:
    found = decided(WANTED, crds=(crd("jobset"),))
    assert found.install == ("jobset", "kueue")
    assert [each.severity for each in found.findings] == [Severity.WARNING]


@pytest.mark.parametrize(
    "left", [crd("kueue", "v1beta1", labels=OURS), crd("kueue", "v1beta1", **{HELM_NAMESPACE: "kueue-system"})]
)
def test_definitions_that_a_stack_left_behind_are_its_own(left: Crd) -> None:
    assert decided({"kueue": "0.18.3"}, crds=(left,), own=("kueue-system",)) == Adoption(("kueue",), {}, (), ())


def test_a_stacks_definitions_under_anothers_controller_leave_it_anothers() -> None:
    found = decided({"jobset": "0.12.0"}, installed("jobset", "0.12.1"), crds=(crd("jobset", labels=OURS),))
    assert found.adopted == {"jobset": "0.12.1"}


@pytest.mark.parametrize(
    ("version", "adopted"), [("v1.6.3", {"gateway_api": "1.6.3"}), ("v1.7.0", {"gateway_api": "1.7.0"}), ("v1.4.0", {})]
)
def test_gateway_api_tells_its_version_in_its_definitions(version: str, adopted: dict[str, str]) -> None:
    found = decided({"gateway_api": "1.6.3"}, crds=(crd("gateway_api", **{BUNDLE: version}),))
    assert (found.install, found.adopted) == ((), adopted)
    assert [each.severity for each in found.findings] == [Severity.WARNING if adopted else Severity.ERROR]


def test_an_operator_of_prometheus_stands_for_the_chart_that_brings_it() -> None:
    wanted = {"kube_prometheus_stack": "87.21.0", "prometheus_operator": "0.92.1"}
    there = installed("prometheus_operator", "0.92.0", "monitoring")
    assert decided(wanted, there).adopted == {"kube_prometheus_stack": "0.92.0"}
    (finding,) = decided(wanted, installed("prometheus_operator", "0.70.0", "monitoring")).findings
    assert finding.property == "versions.prometheus_operator"


def test_a_prometheus_elsewhere_is_refused_since_the_stacks_objects_would_miss_it() -> None:
    wanted = {"kube_prometheus_stack": "87.21.0", "prometheus_operator": "0.92.1"}
    (finding,) = decided(wanted, installed("prometheus_operator", "0.92.1")).findings
    assert (finding.severity, finding.property, finding.value) == (Severity.ERROR, "observability", "theirs")
    assert "leave observability out" in finding.fix


def test_anothers_namespace_is_used_and_not_taken_over() -> None:
    spaces = ("kueue-system", "jobset-system", "default")
    found = decide(Inventory("1.34.2", namespaces=spaces), WANTED, ("jobset-system",))
    assert (found.install, found.homes) == (("jobset", "kueue"), ("kueue-system",))
    (finding,) = found.findings
    assert (finding.severity, finding.value) == (Severity.WARNING, "kueue-system")
    assert "neither changed nor removed" in finding.rule


@pytest.mark.parametrize("kind", ["deployments", "daemonsets", "customresourcedefinitions", "namespaces"])
def test_nothing_is_installed_where_nobody_knows_what_is_there(kind: str) -> None:
    found = decide(Inventory("1.34.2", unread=frozenset({kind, "nodes"})), WANTED)
    assert (found.install, found.adopted) == ((), {})
    (finding,) = found.findings
    assert (finding.severity, finding.value) == (Severity.ERROR, kind)


@pytest.mark.parametrize(
    ("found", "wanted", "does"),
    [
        ("0.18.0", "0.18.3", True),
        ("0.19.0", "0.18.3", False),
        ("1.18.3", "1.18.3", True),
        ("1.19.0", "1.18.3", True),
        ("1.18.2", "1.18.3", False),
        ("2.0.0", "1.18.3", False),
        ("1.0.0", "0.18.3", False),
        ("26.7", "26.7.0", True),
        ("", "1.0.0", False),
        ("main", "1.0.0", False),
    ],
)
def test_versions_that_do_for_one_another(found: str, wanted: str, does: bool) -> None:
    assert compatible(found, wanted) is does


def test_the_definitions_are_of_add_ons_of_the_table() -> None:
    assert KINDS.keys() <= addons().keys()
    assert {name for name, each in addons().items() if each.crds} <= KINDS.keys()
