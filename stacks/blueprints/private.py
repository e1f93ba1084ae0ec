"""A stack on a cluster that is there already: its storage and registry adopted, its workloads put in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import pulumi
from accelstack import k8s, private
from accelstack.k8s.nic_cluster_policy import nic_cluster_policy
from accelstack.plan.request import Request
from settings import Settings

from blueprints import kubernetes
from blueprints.kubernetes import Access, Ground
from blueprints.outputs import Outputs, of_cluster
from blueprints.planning import Planned

ANYWHERE = "0.0.0.0/0"
PORTS = {"https": 443, "http": 80}


def build(chosen: Settings, planned: Planned) -> Outputs:
    """The stack, in the cluster of the kubeconfig's context."""
    request, existing = planned.plan.request, planned.existing
    if request is None or existing is None:
        raise pulumi.RunError("the plan has no request")
    if existing.inventory is None and not pulumi.runtime.is_dry_run():
        raise pulumi.RunError(
            "the cluster could not be read, so nothing was changed; `accelstack doctor --target private` tells why"
        )
    kubernetes.check(chosen, request.inside, existing.pools)
    platform = request.platform
    if not platform.image and not request.inside.images.get("base"):
        fix = "give one with the workloads, or as images.base one with Python and torch, by digest"
        raise pulumi.InputPropertyError("image", f"is not given, and images.base neither; {fix}")
    cluster = private.Cluster(
        "cluster",
        {
            "kubeconfig": existing.kubeconfig,
            "pools": existing.pools,
            "version": existing.inventory.version if existing.inventory else "",
        },
    )
    opts = pulumi.ResourceOptions(providers=[cluster.provider])
    store = platform.store.rstrip("/") if platform.store.startswith("s3://") else "file:///store"
    ground = Ground(
        name=request.name,
        opts=opts,
        kubeconfig=cluster.kubeconfig.apply(str),
        pools=existing.pools,
        store=store,
        access=lambda spaces: _access(request, spaces, opts),
        add_ons=planned.add_ons,
        adopted=planned.adopted,
        homes=planned.homes,
        keeps=True,
        manifests=_manifests(request, planned.add_ons),
        egress=_egress(platform.store_endpoint),
        reaches=[platform.store_namespace] if platform.store_namespace else [],
        image=platform.image,
    )
    described = [{**pool} for pool in existing.pools]
    return {
        **of_cluster(cluster, described),
        "storage": {"uri": store},
        **kubernetes.build(chosen, request.inside, ground),
    }


def _access(
    request: Request, spaces: Mapping[str, k8s.Namespace], opts: pulumi.ResourceOptions
) -> Mapping[str, Access]:
    """The store and the registry that there are, as pods of each namespace reach them."""
    platform = request.platform
    namespaces: dict[str, pulumi.Input[str]] = {use: space.namespace for use, space in spaces.items()}
    wanted: private.ObjectStoreArgs = {"uri": platform.store, "namespaces": namespaces}
    if platform.store_endpoint:
        wanted["endpoint"] = platform.store_endpoint
    if platform.store_secret:
        wanted["secret"] = platform.store_secret
    store = private.ObjectStore("store", wanted, opts)
    pulled: Mapping[str, pulumi.Output[str]] = {}
    if platform.pull_secret:
        pulled = private.ImageRegistry(
            "images", {"namespaces": namespaces, "pull_secret": platform.pull_secret}, opts
        ).pull_secrets
    return {
        use: Access(space.service_account, store.access[use], [pulled[use]] if use in pulled else [])
        for use, space in spaces.items()
    }


def _manifests(request: Request, add_ons: Mapping[str, str]) -> list[dict[str, Any]]:
    """What operators that are installed here are told to do."""
    if "network_operator" not in add_ons:
        return []
    return [nic_cluster_policy(request.name, add_ons, request.inside.mirror)]


def _egress(endpoint: str) -> list[k8s.Egress]:
    """What pods must reach for an object store of one's own: its port, at any address, since names have no policies."""
    if not endpoint:
        return []
    address = urlsplit(endpoint)
    port = address.port or PORTS[address.scheme]
    return [] if port == PORTS["https"] else [{"cidr": ANYWHERE, "ports": [port]}]
