"""What becomes of add-ons that a cluster has already: nothing of somebody else is ever overwritten."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from enum import StrEnum

from packaging.version import InvalidVersion, Version

from accelstack.plan.addons import AddOn, addons
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.inventory import Crd, Installed, Inventory

OURS = "accelstack"
"""What the label `app.kubernetes.io/managed-by` says on what a stack has made."""
HELM_NAMESPACE = "meta.helm.sh/release-namespace"
BUNDLE = "gateway.networking.k8s.io/bundle-version"
"""Annotation of Gateway API's definitions (https://gateway-api.sigs.k8s.io/concepts/versioning/)."""
KINDS = {
    "cert_manager": ("certificates.cert-manager.io", "v1"),
    "dra_driver": ("computedomains.resource.nvidia.com", "v1beta1"),
    "gateway_api": ("gateways.gateway.networking.k8s.io", "v1"),
    "jobset": ("jobsets.jobset.x-k8s.io", "v1alpha2"),
    "keda": ("scaledobjects.keda.sh", "v1alpha1"),
    "kube_prometheus_stack": ("podmonitors.monitoring.coreos.com", "v1"),
    "kueue": ("clusterqueues.kueue.x-k8s.io", "v1beta2"),
    "leader_worker_set": ("leaderworkersets.leaderworkerset.x-k8s.io", "v1"),
    "velero": ("schedules.velero.io", "v1"),
}
"""The definition that tells whether an add-on's kinds are there, and the API version that stacks make objects of."""


AT_HOME = ("kube_prometheus_stack", "velero")
"""Add-ons whose objects lie in their own namespace, so that they can be used there alone."""


class Decision(StrEnum):
    """What becomes of an add-on."""

    INSTALL = "install"
    """The cluster has none."""
    OURS = "ours"
    """A stack has installed it, which keeps it up to date."""
    ADOPT = "adopt"
    """Somebody else's is used as it is."""
    REFUSE = "refuse"
    """Somebody else's is there, and cannot be used."""


@dataclass(frozen=True, slots=True)
class Adoption:
    """Add-ons to install, those that others have installed, and what is in the way."""

    install: tuple[str, ...]
    """New ones and a stack's own, in the order of installation."""
    adopted: dict[str, str]
    """Versions of others' that are used, by component."""
    homes: tuple[str, ...]
    """Others' namespaces that add-ons are installed into: they are neither changed nor removed."""
    findings: tuple[Finding, ...]


def decide(inventory: Inventory, versions: Mapping[str, str], own: Collection[str] = ()) -> Adoption:
    """What becomes of the add-ons that a stack needs in a cluster that exists.

    Args:
        inventory: what the cluster has.
        versions: wanted, as `plan.addons.pins` gives them.
        own: namespaces that stacks have made, which have the label `app.kubernetes.io/managed-by: accelstack`: what
            runs there is a stack's. Helm's own labels say nothing of that.
    """
    unread = sorted({"customresourcedefinitions", "daemonsets", "deployments", "namespaces"} & inventory.unread)
    if unread:
        rule = "may not be listed, so that nobody knows which add-ons are another's"
        fix = "use a kubeconfig that may list them in all namespaces"
        return Adoption((), {}, (), (Finding(Severity.ERROR, "kubeconfig", ", ".join(unread), rule, fix),))
    wanted = {name: addon for name, addon in addons().items() if name in versions}
    decided = {name: _decide(addon, inventory, versions, own) for name, addon in wanted.items()}
    install = tuple(name for name, (what, _, _) in decided.items() if what in (Decision.INSTALL, Decision.OURS))
    asked = dict.fromkeys(wanted[name].namespace for name in install if wanted[name].chart)
    homes = tuple(each for each in asked if each in inventory.namespaces and each not in own)
    return Adoption(
        install,
        {name: version for name, (what, version, _) in decided.items() if what is Decision.ADOPT},
        homes,
        (*(finding for _, _, finding in decided.values() if finding), *(_anothers_home(each) for each in homes)),
    )


def compatible(found: str, wanted: str) -> bool:
    """Whether a version that is there does for the one that is wanted: before 1.0 the same minor version, from then on
    the same major version that is not older. What is no version never does."""
    try:
        there, needed = Version(found), Version(wanted)
    except InvalidVersion:
        return False
    if needed.major == 0:
        return (there.major, there.minor) == (0, needed.minor)
    return there.major == needed.major and there >= needed


def _decide(
    addon: AddOn, inventory: Inventory, versions: Mapping[str, str], own: Collection[str]
) -> tuple[Decision, str, Finding | None]:
    """What becomes of one add-on, the version that is there, and what is to be said of it."""
    name, serves = KINDS.get(addon.component, ("", ""))
    defined = next((each for each in inventory.crds if each.name == name), None)
    running = _running(addon, inventory, defined)
    if running and (running.managed_by == OURS or running.namespace in own):
        return Decision.OURS, running.version, None
    # their own labels count for definitions without a controller alone: they may be older than somebody's controller
    if defined and not running and (defined.managed_by == OURS or defined.annotations.get(HELM_NAMESPACE) in own):
        return Decision.OURS, "", None
    if defined and serves not in defined.versions:
        return Decision.REFUSE, "", _other_version(addon, defined, serves, running)
    if running and addon.component in AT_HOME and running.namespace != addon.namespace:
        return Decision.REFUSE, running.version, _elsewhere(addon, running)
    if running:
        return _others(running, versions.get(running.component, versions[addon.component]))
    return Decision.INSTALL, "", _left_behind(addon, defined) if defined else None


def _running(addon: AddOn, inventory: Inventory, defined: Crd | None) -> Installed | None:
    """The add-on as it is in the cluster. One without a chart is its definitions, which tell their version."""
    names = (addon.component, addon.defined_by)
    found = next((each for each in inventory.installed if each.component in names), None)
    if found or addon.chart or defined is None:
        return found
    version = defined.annotations.get(BUNDLE, "").removeprefix("v").partition("-")[0]
    return Installed(addon.component, version, defined.managed_by, "")


def _others(running: Installed, wanted: str) -> tuple[Decision, str, Finding | None]:
    """What becomes of an add-on that somebody else has installed."""
    setting, version = f"versions.{running.component}", running.version
    place = f" in namespace {running.namespace}" if running.namespace else ""
    whose = f"{running.component} {version}".strip() + place
    if compatible(version, wanted):
        rule = f"{whose} is not accelstack's and is used as it is: it is neither changed nor removed"
        fix = f"see that it serves what the stack needs, or remove it for {wanted} to be installed"
        return Decision.ADOPT, version, Finding(Severity.WARNING, setting, version, rule, fix)
    if not version:
        rule = f"{whose} is not accelstack's, and tells no version to hold against {wanted}"
        fix = f"name it in its Deployment's label app.kubernetes.io/version, or remove it for {wanted} to be installed"
    else:
        rule = f"{whose} is not accelstack's, and does not do for {wanted}"
        fix = f"bring it to {wanted}, set {setting}: {version} to use it as it is, or remove it"
    return Decision.REFUSE, version, Finding(Severity.ERROR, setting, version, rule, fix)


def _other_version(addon: AddOn, defined: Crd, serves: str, running: Installed | None) -> Finding:
    served = ", ".join(defined.versions)
    rule = f"CRDs of another version: {defined.name} serves {served or 'none'}, and the stack makes objects of {serves}"
    fix = f"bring them to a version that serves {serves}, with their controller"
    if not running:
        fix += "; none runs here: if nobody uses them, delete them, and the objects of their kinds go with them"
    return Finding(Severity.ERROR, f"versions.{addon.component}", served, rule, fix)


def _elsewhere(addon: AddOn, running: Installed) -> Finding:
    setting = {"kube_prometheus_stack": "observability", "velero": "backup"}[addon.component]
    rule = f"{running.component} runs in namespace {running.namespace}, and the stack's objects go to {addon.namespace}"
    fix = f"leave {setting} out and use it by its own means, or move it to namespace {addon.namespace}"
    return Finding(Severity.ERROR, setting, running.namespace, rule, fix)


def _anothers_home(namespace: str) -> Finding:
    rule = "is there already and not this stack's: an add-on goes into it, and it is neither changed nor removed"
    fix = "see that its Pod Security Standard lets the add-on's pods in"
    return Finding(Severity.WARNING, "namespace", namespace, rule, fix)


def _left_behind(addon: AddOn, defined: Crd) -> Finding:
    rule = f"{defined.name} is there without a controller; the add-on is installed and takes its objects over"
    fix = "see that nobody else means to use them"
    return Finding(Severity.WARNING, f"versions.{addon.component}", ", ".join(defined.versions), rule, fix)
