"""The Kubernetes half of a stack on AWS: cluster, pools, file systems, and what AWS needs inside the cluster."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pulumi
import pulumi_kubernetes as kubernetes
from accelstack import aws, k8s
from accelstack.aws import in_cluster, policies, pools
from accelstack.contracts import Chart, StoreAccess
from accelstack.plan.accelerators import KINDS
from accelstack.plan.naming import CLUSTER
from accelstack.plan.plan import USUAL_SYSTEM, Plan
from accelstack.plan.pool import PoolPlan
from accelstack.plan.request import SYSTEM
from settings import Settings

from blueprints import kubernetes as workloads
from blueprints.kubernetes import Access, Ground
from blueprints.outputs import Outputs, of_cluster
from blueprints.planning import Planned

if TYPE_CHECKING:
    from blueprints.aws import Base

POD_IDENTITY = "169.254.170.23/32"
"""Where EKS Pod Identity gives pods their credentials
(https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html)."""


def build(chosen: Settings, planned: Planned, base: Base) -> tuple[Outputs, Outputs]:
    """The outputs of the cluster and its workloads, and those of its file systems."""
    decided, asked = planned.plan, base.request.platform
    cluster = aws.Cluster(
        CLUSTER,
        {
            "version": decided.versions["kubernetes"],
            "vpc_id": base.network.vpc_id,
            "subnet_ids": base.home,
            "api_access": [*asked.api_access],
            "admins": [*asked.admins],
            "protect": asked.production,
        },
        base.opts,
    )
    joined = aws.NodeAddons(
        "node-addons", {"cluster": cluster.name, "oidc_provider_arn": cluster.oidc_provider_arn}, base.opts
    ).cluster
    elastic = [pool for pool in decided.pools if asked.autoscaler == "karpenter" and not pool.min_nodes]
    groups = {
        pool.name: aws.NodePool(
            pool.name,
            {**_pool(pool, decided, base, cluster), "cluster": joined, "node_role_arn": cluster.node_role_arn},
            base.opts,
        )
        for pool in decided.pools
        if pool not in elastic
    }
    drivers = ["ebs", *(["fsx"] if asked.lustre_gib else []), *(["efs"] if asked.shared_files else [])]
    served = aws.ClusterAddons("addons", {"cluster": groups[SYSTEM].cluster, "drivers": drivers}, base.opts).cluster
    files = _files(decided, base, cluster)
    # what AWS's API alone makes comes first: the cluster's own may be out of reach from here
    before = [served, *(group.cluster for group in groups.values()), *files.values()]
    reached = pulumi.Output.all(cluster.kubeconfig, *before).apply(lambda parts: parts[0])
    provider = kubernetes.Provider(
        "inside", kubeconfig=reached, skip_update_unreachable=True, upsert_existing_objects=True
    )
    inside = pulumi.ResourceOptions(providers=[provider])
    charts, manifests = _in_cluster(decided, base, cluster, served, elastic)
    ground = Ground(
        name=base.request.name,
        opts=inside,
        kubeconfig=reached,
        pools=[pools.in_kubernetes(pool) for pool in decided.pools],
        store=base.store.uri,
        access=lambda spaces: _access(base, served, spaces),
        add_ons=planned.add_ons,
        egress=[{"cidr": POD_IDENTITY, "ports": [80]}],
        image=base.images.image.apply(str),  # the workload image is built, or named: there always is one
        charts=charts,
        manifests=manifests,
    )
    described = [{"name": pool.name, **pools.described(pool)} for pool in decided.pools]
    return {**of_cluster(cluster, described), **workloads.build(chosen, base.request.inside, ground)}, files


def _access(base: Base, cluster: pulumi.Output[str], spaces: Mapping[str, k8s.Namespace]) -> Mapping[str, Access]:
    """The stack's bucket, by a role for the pods of each namespace."""
    allowed = pulumi.Output.all(base.store.arn, base.store.key_arn).apply(
        lambda arns: policies.document([*policies.bucket_access(arns[0], [""], write=True), *policies.key_use(arns[1])])
    )
    access: StoreAccess = {"uri": base.store.uri, "environment": {}}
    return {
        use: Access(
            aws.Role(
                f"{use}-pods",
                {
                    "cluster": cluster,
                    "namespace": space.namespace,
                    "service_account": space.service_account,
                    "policy": allowed,
                },
                base.opts,
            ).service_account,
            access,
        )
        for use, space in spaces.items()
    }


def _pool(pool: PoolPlan, decided: Plan, base: Base, cluster: aws.Cluster) -> aws.PoolArgs:
    """The args of a pool as the plan decided it: what another pool's plan would choose changes nothing here."""
    asked = next((each for each in base.request.pools if each.name == pool.name), USUAL_SYSTEM)
    gpu = KINDS[pool.machine.accelerator].kind == "gpu"
    subnets = base.network.gpu_subnet_ids if gpu else base.network.private_subnet_ids
    return {
        "region": base.request.region,
        "version": decided.versions["kubernetes"],
        "vpc_id": base.network.vpc_id,
        # zone by zone, so that a preview which adds a zone knows the others
        "subnet_ids": pulumi.Output.all(**{zone: subnets[zone] for zone in pool.terms.zones}),
        "security_group_id": cluster.security_group_id,
        "accelerator": pool.machine.accelerator,
        "per_node": pool.machine.per_node,
        "machine": pool.machine.name,
        "nodes": pool.nodes,
        "min_nodes": pool.min_nodes,
        "capacity": pool.terms.capacity,
        "zones": [*pool.terms.zones],
        "fabric": pool.fabric.name,
        "reservation": asked.reservation,
        "placement_group": asked.placement_group,
        "tags": base.tags,
    }


def _in_cluster(
    decided: Plan, base: Base, cluster: aws.Cluster, served: pulumi.Output[str], elastic: list[PoolPlan]
) -> tuple[list[Chart], list[dict[str, Any]]]:
    """Device plugins and the autoscaler as charts and manifests, with what they need of AWS made."""
    charts = in_cluster.device_plugins(decided.pools, decided.versions)
    manifests: list[dict[str, Any]] = []
    if base.request.platform.autoscaler == "karpenter":
        karpenter = aws.Karpenter("karpenter", {"cluster": served, "node_role_arn": cluster.node_role_arn}, base.opts)
        charts.append(
            in_cluster.karpenter(served, karpenter.queue, karpenter.service_account, decided.versions["karpenter"])
        )
        for pool in elastic:
            made = aws.KarpenterPool(
                pool.name,
                {
                    **_pool(pool, decided, base, cluster),
                    "instance_profile": karpenter.instance_profile,
                    "key_arn": karpenter.key_arn,
                },
                base.opts,
            )
            manifests += made.manifests
    else:
        autoscaler = aws.ClusterAutoscaler("autoscaler", {"cluster": served}, base.opts)
        charts.append(
            in_cluster.cluster_autoscaler(served, base.request.region, autoscaler.service_account, decided.versions)
        )
    return charts, manifests


def _files(decided: Plan, base: Base, cluster: aws.Cluster) -> Outputs:
    """The file systems that the stack asks for: Lustre in the zone of the first pool with accelerators."""
    asked = base.request.platform
    files: dict[str, pulumi.Input[Any]] = {}
    if asked.lustre_gib:
        first = next(
            (pool for pool in decided.pools if KINDS[pool.machine.accelerator].kind == "gpu"), decided.pools[0]
        )
        zone = first.terms.zones[0]
        lustre = aws.Lustre(
            "lustre",
            {
                "vpc_id": base.network.vpc_id,
                "subnet_id": base.network.private_subnet_ids[zone],
                "client_security_group_ids": pulumi.Output.all(cluster.security_group_id),
                "capacity_gib": asked.lustre_gib,
                "throughput": asked.lustre_throughput,
                "store": base.store.uri,
                "protect": asked.production,
            },
            base.opts,
        )
        files["lustre"] = lustre.volume
    if asked.shared_files:
        shared = aws.SharedFiles(
            "files",
            {
                "vpc_id": base.network.vpc_id,
                "zones": sorted({zone for pool in decided.pools for zone in pool.terms.zones}),
                "subnet_ids": base.network.private_subnet_ids,
                "client_security_group_ids": pulumi.Output.all(cluster.security_group_id),
                "protect": asked.production,
            },
            base.opts,
        )
        files["shared_files"] = shared.volume
    return files
