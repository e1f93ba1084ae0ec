"""Nodes of one accelerator: a managed node group, its launch template, and what lets it scale from zero."""

from typing import NotRequired

import pulumi
from pulumi_aws import autoscaling, ec2, eks

from accelstack.aws import launch_template, pools
from accelstack.aws.autoscaling import node_template_tags
from accelstack.aws.keys import Key
from accelstack.aws.pools import PoolArgs
from accelstack.contracts import Pool
from accelstack.plan.capacity import LAUNCH
from accelstack.plan.pool import PoolPlan

EFFECTS = {"NoSchedule": "NO_SCHEDULE", "PreferNoSchedule": "PREFER_NO_SCHEDULE", "NoExecute": "NO_EXECUTE"}
AT_ONCE = 25
"""Per cent of a pool's nodes that an update changes at a time."""


class NodePoolArgs(PoolArgs):
    """Args of `aws.NodePool`."""

    cluster: pulumi.Input[str]
    """Name of the EKS cluster, known when nodes can join: take it from `NodeAddons`."""
    node_role_arn: pulumi.Input[str]
    """The role of nodes."""
    key_arn: NotRequired[pulumi.Input[str]]
    """KMS key of the nodes' volumes, opened to `autoscaling`. One is made if left out."""


class NodePool(pulumi.ComponentResource):
    """A managed node group of one accelerator, from a launch template of its own.

    The autoscaler works it where `min_nodes` is less than `nodes`, and its size is then left alone; AWS refuses to
    raise `min_nodes` above the nodes that there are at that moment. A capacity block starts with no nodes, since it may
    begin later, and EKS takes them away before it ends: the autoscaler fills it when pods wait.

    In place, node by node: Kubernetes version, labels, taints, sizes, volume, tags, placement, reservation. Another
    machine type, capacity type or zone replaces the group. One with accelerators is then deleted first: there is seldom
    capacity, quota or reservation for two.

    Raises:
        pulumi.InputPropertyError: the plan finds an error.
    """

    cluster: pulumi.Output[str]
    """The cluster's name, known when the pool's nodes are there: give it to `ClusterAddons`."""
    node_group: pulumi.Output[str]
    """Name of the node group."""
    autoscaling_group: pulumi.Output[str]
    """Name of its autoscaling group."""
    pool: pulumi.Output[Pool]
    """What it offers."""

    def __init__(self, name: str, args: NodePoolArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        pool = pools.decide(name, args)
        super().__init__("accelstack:index:AwsNodePool", name, None, opts)
        accelerated = pool.machine.accelerator != "cpu"
        key_arn = args.get("key_arn")
        if key_arn is None:
            key_arn = volume_key(self, name).arn
        root_gib = pools.root_gib(pool, args)
        template = ec2.LaunchTemplate(
            name,
            args=launch_template.template(
                pool,
                pools.security_groups(self, name, pool, args),
                pools.placement_group(self, name, pool),
                key_arn,
                root_gib,
                pools.max_pods(pool, args),
                args.get("tags", {}),
            ),
            opts=pulumi.ResourceOptions(parent=self),
        )
        group = eks.NodeGroup(
            name,
            cluster_name=args["cluster"],
            node_role_arn=args["node_role_arn"],
            version=args["version"],
            subnet_ids=pools.subnets(pool, args),
            # that of a block is in the template
            instance_types=None if pool.terms.capacity == "block" else [pool.machine.name],
            ami_type=pool.machine.image,
            capacity_type=LAUNCH["aws", pool.terms.capacity]["capacity_type"],
            launch_template=eks.NodeGroupLaunchTemplateArgs(id=template.id, version=template.latest_version.apply(str)),
            scaling_config=scaling(pool),
            update_config=eks.NodeGroupUpdateConfigArgs(
                max_unavailable_percentage=AT_ONCE,
                # an update that starts nodes before it stops others needs capacity that there seldom is
                update_strategy="MINIMAL" if accelerated else "DEFAULT",
            ),
            # of scarce machines one at a time: for those that are given back there may be no others
            node_repair_config=eks.NodeGroupNodeRepairConfigArgs(
                enabled=True, max_parallel_nodes_repaired_count=1 if accelerated else None
            ),
            labels=pools.labels(pool),
            taints=[
                eks.NodeGroupTaintArgs(key=key, value=value, effect=EFFECTS[effect])
                for key, value, effect in pools.taints(pool)
            ],
            opts=pulumi.ResourceOptions(
                parent=self,
                delete_before_replace=accelerated,
                ignore_changes=["scalingConfig.desiredSize"] if autoscaled(pool) else None,
            ),
        )
        self.node_group = pulumi.Output.all(
            cluster=group.cluster_name, name=group.node_group_name, status=group.status, urn=group.urn
        ).apply(lambda made: working(**made))
        self.cluster = pulumi.Output.all(group.cluster_name, self.node_group).apply(lambda made: made[0])
        self.autoscaling_group = group.resources[0].autoscaling_groups[0].name
        self.pool = pulumi.Output.from_input(pools.described(pool))
        for key, value in node_template_tags(pool, root_gib).items() if autoscaled(pool) else ():
            autoscaling.Tag(
                f"{name}-{key.rpartition('node-template/')[2].replace('/', '-')}",
                autoscaling_group_name=self.autoscaling_group,
                tag=autoscaling.TagTagArgs(key=key, value=value, propagate_at_launch=False),
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.register_outputs(
            {
                "cluster": self.cluster,
                "node_group": self.node_group,
                "autoscaling_group": self.autoscaling_group,
                "pool": self.pool,
            }
        )


def working(cluster: str, name: str, status: str | None, urn: str) -> str:
    """The name of a node group that came up. The engine takes a broken one for made once it has refreshed its state.

    Raises:
        pulumi.RunError: it did not come up, and nothing but another one will.
    """
    if status != "CREATE_FAILED":
        return name
    raise pulumi.RunError(
        f"node group {name} of {cluster} is CREATE_FAILED, and stays so. Look up why (aws eks describe-nodegroup "
        f"--cluster-name {cluster} --nodegroup-name {name} --query nodegroup.health), put that right, mark the node "
        f"group for replacement (pulumi state taint '{urn}'), and update again"
    )


def volume_key(parent: pulumi.Resource, name: str) -> Key:
    """A key for the volumes of a pool's nodes, which hold nothing that outlives them."""
    described = f"Volumes of the nodes of pool {name}"
    return Key(
        name,
        {"description": described, "services": ["autoscaling"], "protect": False},
        pulumi.ResourceOptions(parent=parent),
    )


def scaling(pool: PoolPlan) -> eks.NodeGroupScalingConfigArgs:
    """The sizes of a node group: it begins with the fewest nodes."""
    least = 0 if pool.terms.capacity == "block" else pool.min_nodes
    return eks.NodeGroupScalingConfigArgs(min_size=least, desired_size=least, max_size=pool.nodes)


def autoscaled(pool: PoolPlan) -> bool:
    """Whether the autoscaler decides how many nodes there are."""
    return pool.min_nodes < pool.nodes or pool.terms.capacity == "block"
