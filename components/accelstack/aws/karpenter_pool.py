"""Nodes of one accelerator that Karpenter starts: its EC2NodeClass and NodePool as data, and what these stand on."""

from collections.abc import Sequence
from typing import Any

import pulumi

from accelstack.aws import launch_template, pools
from accelstack.aws.pools import PoolArgs
from accelstack.contracts import Pool
from accelstack.plan.accelerators import KINDS
from accelstack.plan.pool import PoolPlan

CAPACITY = {"on_demand": "on-demand", "spot": "spot", "reservation": "reserved", "block": "reserved"}
"""Karpenter's words for how capacity is bought."""
ARCHITECTURES = {"x86_64": "amd64", "arm64": "arm64"}
KNOWN = ("vpc.amazonaws.com/efa",)
"""Resources of the fabric that Karpenter works out itself, from the interfaces."""
DRAIN = "30m"
"""Until pods of a node that is to go are ended: time to save, as the longest grace of a training job."""
TRAINING: dict[str, Any] = {
    "consolidationPolicy": "WhenEmpty",
    "consolidateAfter": "10m",
    "budgets": [{"nodes": "100%", "reasons": ["Empty"]}, {"nodes": "0", "reasons": ["Drifted", "Underutilized"]}],
}
"""Nodes with accelerators end only when they are empty: neither a newer image nor a cheaper packing stops a run."""
SERVICES: dict[str, Any] = {
    "consolidationPolicy": "WhenEmptyOrUnderutilized",
    "consolidateAfter": "1m",
    "budgets": [{"nodes": "10%"}],
}


class KarpenterPoolArgs(PoolArgs):
    """Args of `aws.KarpenterPool`."""

    instance_profile: pulumi.Input[str]
    """The nodes' instance profile: take it from `Karpenter`."""
    key_arn: pulumi.Input[str]
    """KMS key of the nodes' volumes: take it from `Karpenter`, whose controller may use it."""


class KarpenterPool(pulumi.ComponentResource):
    """A pool whose nodes Karpenter starts for pods that wait, and ends when they are empty.

    Makes the fabric's security group and the placement group, and gives the manifests, which the stack puts into the
    cluster.

    Raises:
        pulumi.InputPropertyError: the plan finds an error, or nodes are to be there without pods.
    """

    manifests: list[dict[str, Any]]
    """EC2NodeClass, NodePool and, where pods ask for huge pages, NodeOverlay; their specs may hold outputs."""
    pool: pulumi.Output[Pool]
    """What it offers."""

    def __init__(self, name: str, args: KarpenterPoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        pool = pools.decide(name, args)
        if pool.min_nodes:
            reason = (
                f"is {pool.min_nodes}; Karpenter has nodes only while pods need them; set it to 0, or use a NodePool"
            )
            raise pulumi.InputPropertyError("min_nodes", reason)
        super().__init__("accelstack:index:AwsKarpenterPool", name, None, opts)
        spec = pulumi.Output.all(
            pools.subnets(pool, args),
            pulumi.Output.all(*pools.security_groups(self, name, pool, args)),
            args["instance_profile"],
            args["key_arn"],
            pools.placement_group(self, name, pool),
        ).apply(
            lambda parts: node_class_spec(
                pool,
                *parts,
                root_gib=pools.root_gib(pool, args),
                max_pods=pools.max_pods(pool, args),
                tags=args.get("tags", {}),
            )
        )
        self.manifests = [node_class(pool, spec), node_pool(pool), *node_overlays(pool)]
        self.pool = pulumi.Output.from_input(pools.described(pool))
        self.register_outputs({"manifests": self.manifests, "pool": self.pool})


def node_class(pool: PoolPlan, spec: pulumi.Input[dict[str, Any]]) -> dict[str, Any]:
    """The EC2NodeClass with that spec."""
    return {
        "apiVersion": "karpenter.k8s.aws/v1",
        "kind": "EC2NodeClass",
        "metadata": {"name": pool.name},
        "spec": spec,
    }


def node_class_spec(
    pool: PoolPlan,
    subnet_ids: Sequence[str],
    group_ids: Sequence[str],
    instance_profile: str,
    key_arn: str,
    placement_group: str | None,
    *,
    root_gib: int,
    max_pods: int,
    tags: dict[str, str],
) -> dict[str, Any]:
    """What EC2 is told for each node. New nodes have the newest image of EKS for the machine."""
    spec: dict[str, Any] = {
        "amiSelectorTerms": [{"alias": "al2023@latest"}],
        "instanceProfile": instance_profile,
        "subnetSelectorTerms": [{"id": each} for each in subnet_ids],
        "securityGroupSelectorTerms": [{"id": each} for each in group_ids],
        "associatePublicIPAddress": False,
        "metadataOptions": {"httpEndpoint": "enabled", "httpTokens": "required", "httpPutResponseHopLimit": 1},
        "blockDeviceMappings": [
            {
                "deviceName": launch_template.ROOT_DEVICE,
                "rootVolume": True,
                "ebs": {
                    "volumeType": "gp3",
                    "volumeSize": f"{root_gib}Gi",
                    "encrypted": True,
                    "kmsKeyID": key_arn,
                    "deleteOnTermination": True,
                },
            }
        ],
        "kubelet": {"maxPods": max_pods},
        "detailedMonitoring": True,
        "tags": launch_template.instance_tags(pool, tags),
    }
    if pool.machine.local_storage_gib:
        spec["instanceStorePolicy"] = "RAID0"
    if pool.fabric.interfaces:
        spec["networkInterfaces"] = [
            {"networkCardIndex": each.card, "deviceIndex": each.device, "interfaceType": each.kind}
            for each in pool.fabric.interfaces
        ]
    if reservation := pool.terms.launch.get("capacity_reservation_id"):
        spec["capacityReservationSelectorTerms"] = [{"id": reservation}]
    if placement_group is not None:
        spec["placementGroupSelector"] = {"name": placement_group}
    return spec


def node_pool(pool: PoolPlan) -> dict[str, Any]:
    """The NodePool: which machines, for which pods, how many, and when they may be ended."""
    machine = pool.machine
    accelerated = machine.accelerator != "cpu"
    requirements = {
        "node.kubernetes.io/instance-type": [machine.name],
        "karpenter.sh/capacity-type": [CAPACITY[pool.terms.capacity]],
        "kubernetes.io/arch": [ARCHITECTURES[machine.architecture]],
        "kubernetes.io/os": ["linux"],
    }
    if pool.terms.zones:
        requirements["topology.k8s.aws/zone-id"] = [*pool.terms.zones]
    spec: dict[str, Any] = {
        "nodeClassRef": {"group": "karpenter.k8s.aws", "kind": "EC2NodeClass", "name": pool.name},
        "requirements": [{"key": key, "operator": "In", "values": values} for key, values in requirements.items()],
        "expireAfter": "Never" if accelerated else "720h",  # an old node is ended with whatever runs on it
    }
    if accelerated:
        spec["terminationGracePeriod"] = DRAIN  # else a pod that will not go keeps a pool from being removed for ever
    if taints := pools.taints(pool):
        spec["taints"] = [{"key": key, "value": value, "effect": effect} for key, value, effect in taints]
    resource = KINDS[machine.accelerator].resource
    limit = {resource: str(pool.gpus)} if resource else {"cpu": str(machine.vcpus * pool.nodes)}
    return {
        "apiVersion": "karpenter.sh/v1",
        "kind": "NodePool",
        "metadata": {"name": pool.name},
        "spec": {
            "template": {"metadata": {"labels": pools.labels(pool)}, "spec": spec},
            "limits": limit,
            "disruption": TRAINING if accelerated else SERVICES,
        },
    }


def node_overlays(pool: PoolPlan) -> list[dict[str, Any]]:
    """What nodes have besides, and Karpenter does not know: without it, no node is started for pods that ask for huge
    pages, as those with EFA do."""
    capacity = {name: amount for name, amount in pool.fabric.requests if name not in KNOWN}
    if not capacity:
        return []
    here = {"key": "karpenter.sh/nodepool", "operator": "In", "values": [pool.name]}
    return [
        {
            "apiVersion": "karpenter.sh/v1alpha1",
            "kind": "NodeOverlay",
            "metadata": {"name": pool.name},
            "spec": {"requirements": [here], "capacity": capacity},
        }
    ]
