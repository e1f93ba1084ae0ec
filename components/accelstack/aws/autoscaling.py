"""How Cluster Autoscaler works node groups: what it must know of nodes that are not there yet, and what it may do."""

from accelstack.aws import pools
from accelstack.aws.policies import Place, Statement, document
from accelstack.plan.accelerators import KINDS
from accelstack.plan.pool import PoolPlan

PREFIX = "k8s.io/cluster-autoscaler/node-template"
"""Tags of an autoscaling group from which the autoscaler learns what a new node will be
(https://github.com/kubernetes/autoscaler/tree/master/cluster-autoscaler/cloudprovider/aws)."""
USABLE = 0.9
"""Of a disk: the rest is the file system's and the node's own."""


def node_template_tags(pool: PoolPlan, root_gib: int) -> dict[str, str]:
    """Tags of the autoscaling group: labels, taints and resources of a node, the fabric's among them.

    EKS copies none of them there, so without these a pool at zero nodes is not started for pods that ask for GPUs, EFA
    or huge pages, or is started for pods that it cannot hold.
    """
    machine = pool.machine
    disk = machine.local_storage_gib or root_gib
    resources = {"ephemeral-storage": f"{int(disk * USABLE)}Gi", **dict(pool.fabric.requests)}
    if resource := KINDS[machine.accelerator].resource:
        resources[resource] = str(machine.per_node)
    return {
        **{f"{PREFIX}/label/{key}": value for key, value in pools.labels(pool).items()},
        **{f"{PREFIX}/taint/{key}": f"{value}:{effect}" for key, value, effect in pools.taints(pool)},
        **{f"{PREFIX}/resources/{name}": amount for name, amount in resources.items()},
    }


def permissions(here: Place, cluster: str) -> str:
    """The policy of the autoscaler's role: it sees every group, and changes the size of this cluster's alone.

    EKS tags the groups of managed node groups for it
    (https://docs.aws.amazon.com/eks/latest/userguide/managed-node-groups.html).
    """
    ours = {"StringEquals": {f"aws:ResourceTag/k8s.io/cluster-autoscaler/{cluster}": ["owned"]}}
    return document(
        [
            Statement(
                "Resize",
                ["autoscaling:SetDesiredCapacity", "autoscaling:TerminateInstanceInAutoScalingGroup"],
                [here.arn("autoscaling", "autoScalingGroup:*:autoScalingGroupName/*")],
                conditions=ours,
                reason="EKS names the groups itself; the condition keeps it to those that are tagged for this cluster",
            ),
            Statement(
                "Groups",
                [
                    "autoscaling:DescribeAutoScalingGroups",
                    "autoscaling:DescribeAutoScalingInstances",
                    "autoscaling:DescribeLaunchConfigurations",
                    "autoscaling:DescribeScalingActivities",
                    "ec2:DescribeImages",
                    "ec2:DescribeInstanceTypes",
                    "ec2:DescribeLaunchTemplateVersions",
                    "ec2:GetInstanceTypesFromInstanceRequirements",
                ],
                ["*"],
                reason="these only describe, and take no resource",
            ),
            Statement(
                "NodeGroups",
                ["eks:DescribeNodegroup"],
                [here.arn("eks", f"nodegroup/{cluster}/*")],
                reason="the node groups of this one cluster, as they come and go",
            ),
        ]
    )
