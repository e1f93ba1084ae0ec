"""What is in the way of a stack on an existing cluster."""

from collections.abc import Mapping, Sequence
from typing import Any

import urllib3

from accelstack.checks import PATIENCE, Check, State
from accelstack.plan import compatibility, node_groups, private
from accelstack.plan.findings import errors
from accelstack.plan.inventory import Inventory
from accelstack.plan.node_matching import some
from accelstack.plan.private_checks import DEVICE_PLUGINS
from accelstack.private import kubeconfig, reading
from accelstack.private.kubeconfig import ClusterError

RIGHTS = (
    ("list", "", "nodes"),
    ("create", "", "namespaces"),
    ("create", "", "secrets"),
    ("create", "", "persistentvolumes"),
    ("create", "apps", "deployments"),
    ("create", "networking.k8s.io", "networkpolicies"),
    ("create", "rbac.authorization.k8s.io", "clusterroles"),
    ("create", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("create", "admissionregistration.k8s.io", "mutatingwebhookconfigurations"),
    ("create", "jobset.x-k8s.io", "jobsets"),
    ("create", "kueue.x-k8s.io", "clusterqueues"),
)
"""Verb, group and resource of what a stack begins with, the queue's and the jobs' among them."""
NAMES = ("cluster API", "rights", "version", "nodes", "accelerators", "storage classes", "add-ons", "plan")


def checks(given: Mapping[str, Any]) -> list[Check]:
    """Kubeconfig, credentials, the API, rights, version, nodes, accelerators, storage classes, add-ons, the plan of the
    settings, and their mirror, in that order."""
    try:
        config = kubeconfig.standing_alone(str(given.get("kubeconfig") or ""), str(given.get("context") or ""))
    except ClusterError as error:
        first = Check("kubeconfig", State.FAILED, error.reason, error.fix)
        return [first, *_unchecked("needs a kubeconfig", "credentials", *NAMES), *_mirror(given)]
    found = [Check("kubeconfig", State.OK, f"context {config['current-context']}, {kubeconfig.server(config)}")]
    try:
        api = reading.connected(config)
    except ClusterError as error:
        failed = Check("credentials", State.FAILED, error.reason, error.fix)
        return [*found, failed, *_unchecked("needs credentials", *NAMES), *_mirror(given)]
    found.append(Check("credentials", State.OK, "are there; whether they are taken, the next checks tell"))
    try:
        inventory = reading.inventory(api)
        found += [Check("cluster API", State.OK, f"{kubeconfig.server(config)} answers"), _rights(api)]
    except ClusterError as error:
        failed = Check("cluster API", State.FAILED, error.reason, error.fix)
        return [*found, failed, *_unchecked("needs an answer", *NAMES[1:]), *_mirror(given)]
    return [*found, *of(inventory), _plan(given, inventory), *_mirror(given)]


def of(inventory: Inventory) -> list[Check]:
    """What a cluster's inventory tells: version, nodes, accelerators, storage classes and add-ons."""
    return [_version(inventory), *_nodes(inventory), _storage_classes(inventory), _add_ons(inventory)]


def _unchecked(reason: str, *names: str) -> list[Check]:
    return [Check(name, State.UNCHECKED, reason) for name in names]


def _rights(api: reading.Clients) -> Check:
    missing = [
        f"{verb} {resource}{'.' if group else ''}{group}"
        for verb, group, resource in RIGHTS
        if not reading.allowed(api, verb, group, resource)
    ]
    if missing:
        fix = "kubectl create clusterrolebinding … --clusterrole=cluster-admin --user=… (by one who may)"
        return Check("rights", State.FAILED, f"may not: {', '.join(missing)}", fix)
    return Check("rights", State.OK, f"{len(RIGHTS)} that a stack begins with are granted")


def _version(inventory: Inventory) -> Check:
    found = compatibility.check({"target": private.TARGET}, {"kubernetes": inventory.version})
    if wrong := errors(found):
        return Check("version", State.FAILED, f"{inventory.version}: {wrong[0].rule}", wrong[0].fix)
    return Check("version", State.OK, f"Kubernetes {inventory.version}")


def _nodes(inventory: Inventory) -> list[Check]:
    if "nodes" in inventory.unread:
        return _unchecked("nodes may not be listed", "nodes", "accelerators")
    away = [node.name for node in inventory.nodes if not node.usable]
    ready = len(inventory.nodes) - len(away)
    detail = f"{ready} of {len(inventory.nodes)} are ready" + (f"; not {some(away)}" if away else "")
    fix = "" if ready else "add nodes, or look at `kubectl describe nodes`"
    return [Check("nodes", State.OK if ready else State.FAILED, detail, fix), _accelerators(inventory)]


def _accelerators(inventory: Inventory) -> Check:
    name = "accelerators"
    groups = node_groups.groups(inventory.nodes)
    with_them = [group for group in groups if group.accelerator != "cpu"]
    for group in with_them:
        if not group.offered and not group.slices:
            detail = f"{some(node.name for node in group.nodes)} have GPUs that no device plug-in offers"
            return Check(name, State.FAILED, detail, f"install {DEVICE_PLUGINS.get(group.vendor, 'one')}")
    if not with_them:
        return Check(name, State.OK, "none: training runs on processors")
    told = [
        f"{len(group.usable)} nodes of {group}{f' cut by {group.slices}' * bool(group.slices)}" for group in with_them
    ]
    return Check(name, State.OK, ", ".join(told))


def _storage_classes(inventory: Inventory) -> Check:
    name = "storage classes"
    if "storageclasses" in inventory.unread:
        return Check(name, State.UNCHECKED, "they may not be listed")
    default = [each.name for each in inventory.storage_classes if each.default]
    if not inventory.storage_classes:
        return Check(name, State.UNCHECKED, "there is none: no registry and no dashboards", "install one to have them")
    if len(default) != 1:
        names = ", ".join(each.name for each in inventory.storage_classes)
        detail = f"defaults: {', '.join(default) or 'none'}; there are {names}"
        return Check(name, State.UNCHECKED, detail, "set storage_class to the one that is meant")
    return Check(name, State.OK, f"{default[0]} is the default")


def _add_ons(inventory: Inventory) -> Check:
    if unread := {"deployments", "daemonsets"} & inventory.unread:
        return Check("add-ons", State.UNCHECKED, f"{' and '.join(sorted(unread))} may not be listed")
    there = [f"{each.component} {each.version}".strip() for each in inventory.installed]
    return Check("add-ons", State.OK, f"there already: {', '.join(there) or 'none'}")


def _plan(given: Mapping[str, Any], inventory: Inventory) -> Check:
    if not any(given.get(key) for key in ("accelerator", "pools", "store")):
        return Check("plan", State.UNCHECKED, "nothing is asked for", "name a stack with --stack")
    decided = private.decide(given, inventory).plan
    wrong = errors(decided.findings)
    if not wrong:
        pools = ", ".join(f"{pool.name}: {pool.nodes} nodes of {pool.machine.accelerator}" for pool in decided.pools)
        return Check("plan", State.OK, pools)
    return Check("plan", State.FAILED, "; ".join(map(str, wrong)), "see `accelstack plan --stack …`")


def _mirror(given: Mapping[str, Any]) -> Sequence[Check]:
    """Whether the mirror of images answers as registries do
    (https://github.com/opencontainers/distribution-spec/blob/main/spec.md#endpoints, end-1)."""
    mirror = str(given.get("mirror") or "")
    if not mirror:
        return ()
    name, host = "mirror", mirror.removeprefix("oci://").partition("/")[0]
    fix = "mend the address, or run where it can be reached; nodes must reach it too"
    try:
        answer = urllib3.request("GET", f"https://{host}/v2/", timeout=PATIENCE, retries=False)
    except urllib3.exceptions.HTTPError as error:
        return (Check(name, State.FAILED, f"https://{host}/v2/ cannot be reached from here ({error})", fix),)
    if answer.status not in (200, 401):  # 401: it wants a login, which nodes have
        return (Check(name, State.FAILED, f"https://{host}/v2/ answers with {answer.status}, no registry", fix),)
    return (Check(name, State.OK, f"{host} answers"),)
