"""What an existing cluster cannot be asked for, and what it lacks."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, cast

from accelstack.plan.findings import Finding, Severity, one_of
from accelstack.plan.inventory import Inventory
from accelstack.plan.node_groups import Group
from accelstack.plan.node_matching import some
from accelstack.plan.platform import IMAGE
from accelstack.plan.request import Request

STORES = r"s3://[a-z0-9][a-z0-9.-]+(/[^\s?#]+)?|nfs://[\w.:\[\]-]+(/[^\s?#]*)+|pvc://[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
NAMESPACED = r"[a-z0-9]([a-z0-9-]*[a-z0-9])?/[a-z0-9]([a-z0-9.-]*[a-z0-9])?"
NAME = r"[a-z]([a-z0-9-]{0,38}[a-z0-9])?"
"""Leaves room for what is put behind it, in the 63 characters of a label's value."""
MEANINGLESS = (
    *("region", "cidr", "storage_gib", "egress_gib"),
    *("runs_on", "network", "private_subnets", "gpu_subnets", "public_subnets", "nat", "ipv6", "api_access", "admins"),
    *("autoscaler", "lustre_gib", "lustre_throughput", "shared_files", "replica_region", "alerts"),
)
"""Settings of what a cloud's stack makes. Any budget holds: nobody bills an existing cluster's nodes to the stack."""
MEANINGLESS_OF_POOLS = ("zones", "reservation", "placement_group")
CAPACITY = ("on_demand", "spot")
READ = ("kubernetes", "driver")
"""Versions that the cluster has already."""
DEVICE_PLUGINS = {
    "nvidia": "the NVIDIA GPU Operator, or its device plug-in and feature discovery where nodes have the driver",
    "amd": "the AMD GPU Operator",
}


def meaningless(given: Mapping[str, Any]) -> list[Finding]:
    """Settings of what only a cloud's stack makes, refused by name."""
    tables = {"": given, **{f"pools.{name}.": own for name, own in _table(given.get("pools")).items()}}
    found = [
        Finding(
            Severity.INVALID,
            f"{path}{key}",
            str(own[key]),
            "means nothing on target private, whose cluster is there already",
            "leave it out, or choose a cloud as target",
        )
        for path, own in ((path, _table(own)) for path, own in tables.items())
        for key in (*(() if path else MEANINGLESS), *MEANINGLESS_OF_POOLS)
        if own.get(key) is not None
    ]
    versions = _table(given.get("versions"))
    for key in READ:
        if key in versions:
            reason, fix = "is the cluster's own, and read from it", "leave it out"
            found.append(Finding(Severity.INVALID, f"versions.{key}", str(versions[key]), reason, fix))
    return found


def _table(value: Any) -> Mapping[str, Any]:
    """A table of settings; none where it is something else, which is told elsewhere."""
    return cast(Mapping[str, Any], value) if isinstance(value, Mapping) else {}


def check_settings(asked: Request) -> list[Finding]:
    """What settings of an existing cluster break."""
    platform, found = asked.platform, list[Finding | None]()
    if not re.fullmatch(NAME, asked.name):
        fix = "use small letters, digits and hyphens, a letter first, 40 at most"
        found.append(Finding(Severity.ERROR, "name", asked.name, "is no name of Kubernetes objects", fix))
    stores = "s3://bucket/prefix, nfs://server/path or pvc://claim"
    if not platform.store:
        reason = "is not given, and a cluster keeps no runs and models by itself"
        found.append(Finding(Severity.ERROR, "store", "", reason, f"use {stores}"))
    elif not re.fullmatch(STORES, platform.store):
        found.append(Finding(Severity.INVALID, "store", platform.store, "is no store", f"use {stores}"))
    for key in ("store_endpoint", "store_secret"):
        value = getattr(platform, key)
        if value and platform.store and not platform.store.startswith("s3://"):
            reason = f"is of an S3 store, and the store is {platform.store}"
            found.append(Finding(Severity.ERROR, key, value, reason, "leave it out, or use s3://bucket/prefix"))
    if platform.store_endpoint and not re.fullmatch(r"https?://[^\s/?#@]+/?", platform.store_endpoint):
        fix = "use one such as https://minio.example.com:9000"
        found.append(Finding(Severity.INVALID, "store_endpoint", platform.store_endpoint, "is no endpoint", fix))
    for key in ("store_secret", "pull_secret"):
        value = getattr(platform, key)
        if value and not re.fullmatch(NAMESPACED, value):
            found.append(Finding(Severity.INVALID, key, value, "is no name of a Secret", "use <namespace>/<name>"))
    if platform.image and not re.fullmatch(IMAGE, platform.image):
        fix = "give it with its registry and by digest, such as registry.example/workloads@sha256:…"
        found.append(Finding(Severity.INVALID, "image", platform.image, "is no image by digest", fix))
    if asked.inside.registry and platform.store and not platform.store.startswith("s3://"):
        reason = f"takes models in object stores alone, and the store is {platform.store}"
        found.append(Finding(Severity.ERROR, "registry", "true", reason, "leave it out, or use s3://bucket/prefix"))
    if platform.store_namespace and not platform.store_endpoint:
        reason = "is of an S3 in the cluster, and store_endpoint does not say where"
        found.append(Finding(Severity.ERROR, "store_namespace", platform.store_namespace, reason, "set store_endpoint"))
    for pool in asked.pools:
        found.append(one_of(f"{pool.path}capacity", pool.capacity, CAPACITY, "capacity of an existing cluster"))
    return [finding for finding in found if finding]


def check_nodes(inventory: Inventory, groups: Sequence[Group]) -> list[Finding]:
    """What the nodes tell that a user would want to know: GPUs that no pool can have, and why."""
    found = [_warning("cluster", "", text, "have the right to list it granted") for text in inventory.warnings]
    for group in groups:
        names = some(node.name for node in group.nodes)
        if group.slices:
            fix = "have whole GPUs offered on them: jobs and their fabric take nodes whole"
            found.append(_warning("nodes", names, f"GPUs are cut by {group.slices}, and left out", fix))
        elif not group.accelerator and (group.offered or group.product not in DEVICE_PLUGINS):
            reason = f"{group.product} is in no table of accelerators, and left out"
            found.append(_warning("nodes", names, reason, "see `accelstack gpus` for those that are known"))
        elif group.accelerator != "cpu" and not group.offered:
            reason = "have GPUs that no device plug-in offers to pods"
            found.append(_warning("nodes", names, reason, f"install {DEVICE_PLUGINS.get(group.vendor, 'one')}"))
    return found


def check_classes(asked: Request, inventory: Inventory) -> list[Finding]:
    """Whether volumes and routes that are asked for can be had."""
    wanted, within = asked.inside.storage_class, asked.inside
    names = [each.name for each in inventory.storage_classes]
    default = [each.name for each in inventory.storage_classes if each.default]
    found: list[Finding | None] = []
    if "storageclasses" not in inventory.unread:
        needing = [key for key in ("registry", "observability") if getattr(within, key)]
        if wanted:
            found.append(_there("storage_class", wanted, names))
        elif needing and not default:
            fix = (
                f"set storage_class to one of: {', '.join(names)}" if names else "install a storage class, or leave out"
            )
            reason = f"the cluster has no default storage class, and {' and '.join(needing)} keep data on volumes"
            found.append(Finding(Severity.ERROR, "storage_class", "", reason, fix))
        elif needing and len(default) > 1:
            reason = f"the cluster has several default storage classes ({', '.join(default)}); the newest is taken"
            found.append(_warning("storage_class", "", reason, "set storage_class to the one that is meant"))
    if within.gateway_class and "gatewayclasses" not in inventory.unread:
        found.append(_there("gateway_class", within.gateway_class, inventory.gateway_classes))
    return [finding for finding in found if finding]


def _there(path: str, value: str, names: Sequence[str]) -> Finding | None:
    if value in names:
        return None
    reason, what = "is not in the cluster", path.replace("_", " ")
    fix = f"use one of: {', '.join(names)}" if names else f"install it first: the cluster has no {what} at all"
    return Finding(Severity.ERROR, path, value, reason, fix)


def _warning(path: str, value: str, reason: str, fix: str) -> Finding:
    return Finding(Severity.WARNING, path, value, reason, fix)
