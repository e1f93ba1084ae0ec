"""Karpenter: what its controller may do in AWS, and how it hears that nodes will be taken away."""

import json
from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws import cloudwatch, iam, sqs

from accelstack.aws.cluster_addons import volume_key
from accelstack.aws.identity import Role, place
from accelstack.aws.keys import Key
from accelstack.aws.policies import Place, Statement, document

NAMESPACE = "kube-system"
ACCOUNT = "karpenter"
"""Service account of the controller."""
EVENTS = {
    "aws.ec2": (
        "EC2 Capacity Reservation Instance Interruption Warning",
        "EC2 Instance Rebalance Recommendation",
        "EC2 Instance State-change Notification",
        "EC2 Spot Instance Interruption Warning",
    ),
    "aws.health": ("AWS Health Event",),
}
"""What Karpenter acts on, by source
(https://github.com/aws/karpenter-provider-aws/tree/main/pkg/controllers/interruption/messages)."""
MADE = ("fleet", "instance", "launch-template", "network-interface", "spot-instances-request", "volume")
"""Kinds of things that it makes, and tags as it makes them."""
USED = ("capacity-reservation", "placement-group", "security-group", "subnet")
"""Kinds of things of this account that nodes are started with."""
READ = (
    "CapacityReservations",
    "Images",
    "InstanceStatus",
    "InstanceTypeOfferings",
    "InstanceTypes",
    "Instances",
    "LaunchTemplates",
    "PlacementGroups",
    "SecurityGroups",
    "SpotPriceHistory",
    "Subnets",
)


class KarpenterArgs(TypedDict):
    """Args of `aws.Karpenter`."""

    cluster: pulumi.Input[str]
    """Name of the EKS cluster. Karpenter runs on nodes of a `NodePool` there."""
    node_role_arn: pulumi.Input[str]
    """The role of nodes, which that pool's group has given access to the cluster."""
    key_arn: NotRequired[pulumi.Input[str]]
    """KMS key of the volumes of its nodes. One is made if left out."""


class Karpenter(pulumi.ComponentResource):
    """What Karpenter needs of AWS: its controller's role, its nodes' instance profile, a queue of interruptions, a key.

    The controller touches only what it has tagged for this cluster, and makes no roles or profiles.
    """

    service_account: pulumi.Output[str]
    """Service account of the controller in `kube-system`, known when its pods get credentials."""
    queue: pulumi.Output[str]
    """Name of the queue."""
    instance_profile: pulumi.Output[str]
    """Name of the nodes' instance profile."""
    key_arn: pulumi.Output[str]
    """KMS key of the nodes' volumes."""

    def __init__(self, name: str, args: KarpenterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("accelstack:index:AwsKarpenter", name, None, opts)
        role_arn = pulumi.Output.from_input(args["node_role_arn"])
        profile = iam.InstanceProfile(
            name,
            role=role_arn.apply(lambda arn: arn.rpartition("/")[2]),
            opts=pulumi.ResourceOptions(parent=self),
        )
        key_arn = args.get("key_arn")
        if key_arn is None:
            described = "Volumes of the nodes that Karpenter starts"
            key_arn = Key(name, {"description": described, "services": ["ec2"], "protect": False}, _child(self)).arn
        queue = _interruptions(self, name)
        here = place(self)
        policy = pulumi.Output.all(here, args["cluster"], role_arn, profile.arn, queue.arn, key_arn).apply(
            lambda parts: document(permissions(*parts))
        )
        role = Role(
            name,
            {"cluster": args["cluster"], "namespace": NAMESPACE, "service_account": ACCOUNT, "policy": policy},
            _child(self),
        )
        self.service_account = role.service_account
        self.queue = queue.name
        self.instance_profile = profile.name
        self.key_arn = pulumi.Output.from_input(key_arn)
        self.register_outputs(
            {
                "service_account": self.service_account,
                "queue": self.queue,
                "instance_profile": self.instance_profile,
                "key_arn": self.key_arn,
            }
        )


def _child(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(parent=parent)


def _interruptions(parent: pulumi.Resource, name: str) -> sqs.Queue:
    """The queue to which EventBridge sends what Karpenter acts on."""
    queue = sqs.Queue(
        name,
        message_retention_seconds=300,  # a warning that is older has come true
        sqs_managed_sse_enabled=True,
        opts=_child(parent),
    )
    pattern = {"source": [*EVENTS], "detail-type": [kind for kinds in EVENTS.values() for kind in kinds]}
    rule = cloudwatch.EventRule(
        name, description="What will end nodes", event_pattern=json.dumps(pattern), opts=_child(parent)
    )
    policy = pulumi.Output.all(queue.arn, rule.arn).apply(lambda arns: document(queue_policy(*arns)))
    allowed = sqs.QueuePolicy(name, queue_url=queue.id, policy=policy, opts=_child(parent))
    cloudwatch.EventTarget(
        name,
        rule=rule.name,
        arn=pulumi.Output.all(queue.arn, allowed.queue_url).apply(lambda parts: parts[0]),  # sent once it may be
        opts=_child(parent),
    )
    return queue


def queue_policy(queue_arn: str, rule_arn: str) -> list[Statement]:
    """Lets the one rule send, and nobody without TLS."""
    return [
        Statement(
            "Rule",
            ["sqs:SendMessage"],
            [queue_arn],
            principals={"Service": ["events.amazonaws.com"]},
            conditions={"ArnEquals": {"aws:SourceArn": [rule_arn]}},
        ),
        Statement(
            "Tls",
            ["sqs:*"],
            [queue_arn],
            principals={"AWS": ["*"]},
            conditions={"Bool": {"aws:SecureTransport": ["false"]}},
            deny=True,
        ),
    ]


def permissions(
    here: Place, cluster: str, role_arn: str, profile_arn: str, queue_arn: str, key_arn: str
) -> list[Statement]:
    """What the controller may do, as Karpenter's own documents bound it by tags
    (https://karpenter.sh/docs/reference/cloudformation/)."""

    def ec2(*kinds: str) -> list[str]:
        return [here.arn("ec2", f"{kind}/*") for kind in kinds]

    def tagged(by: str) -> dict[str, dict[str, list[str]]]:
        return {
            "StringEquals": {f"aws:{by}/kubernetes.io/cluster/{cluster}": ["owned"]},
            "StringLike": {f"aws:{by}/karpenter.sh/nodepool": ["*"]},
        }

    requested = tagged("RequestTag")
    requested["StringEquals"]["aws:RequestTag/eks:eks-cluster-name"] = [cluster]
    creations = {"StringEquals": {**requested["StringEquals"], "ec2:CreateAction": ["RunInstances", "CreateFleet"]}}
    creations["StringEquals"]["ec2:CreateAction"].append("CreateLaunchTemplate")
    later = {"aws:TagKeys": ["eks:eks-cluster-name", "karpenter.sh/nodeclaim", "Name"]}
    start = ["ec2:RunInstances", "ec2:CreateFleet"]
    unborn = "what it makes has no name beforehand; the condition keeps it to what it tags for this cluster"
    chosen = "node classes name these; nothing of them is changed"
    owned = "the condition keeps it to what is tagged for this cluster"
    read = "these only describe, and take no resource"
    public = f"arn:{here.partition}:ec2:{here.region}"
    return [
        Statement("Use", start, [f"{public}::image/*", f"{public}::snapshot/*", *ec2(*USED)], reason=chosen),
        Statement("Template", start, ec2("launch-template"), conditions=tagged("ResourceTag"), reason=owned),
        Statement("Make", [*start, "ec2:CreateLaunchTemplate"], ec2(*MADE), conditions=requested, reason=unborn),
        Statement(
            "TagNew",
            ["ec2:CreateTags"],
            ec2(*MADE),
            conditions={**creations, "StringLike": requested["StringLike"]},
            reason=unborn,
        ),
        Statement(
            "TagNodes",
            ["ec2:CreateTags"],
            ec2("instance"),
            conditions={**tagged("ResourceTag"), "ForAllValues:StringEquals": later},
            reason=owned,
        ),
        Statement(
            "End",
            ["ec2:TerminateInstances", "ec2:DeleteLaunchTemplate"],
            ec2("instance", "launch-template"),
            conditions=tagged("ResourceTag"),
            reason=owned,
        ),
        Statement(
            "Read",
            [f"ec2:Describe{what}" for what in READ],
            ["*"],
            conditions={"StringEquals": {"aws:RequestedRegion": [here.region]}},
            reason=read,
        ),
        Statement(
            "Images",
            ["ssm:GetParameter"],
            [f"arn:{here.partition}:ssm:{here.region}::parameter/aws/service/*"],
            reason="AWS's public parameters, which name the newest images",
        ),
        Statement("Prices", ["pricing:GetProducts"], ["*"], reason=read),
        Statement("Queue", ["sqs:DeleteMessage", "sqs:GetQueueUrl", "sqs:ReceiveMessage"], [queue_arn]),
        Statement(
            "NodeRole",
            ["iam:PassRole"],
            [role_arn],
            conditions={"StringEquals": {"iam:PassedToService": [f"ec2.{here.domain}"]}},
        ),
        Statement("Profile", ["iam:GetInstanceProfile"], [profile_arn]),
        Statement(
            "Profiles",
            ["iam:ListInstanceProfiles"],
            [f"arn:{here.partition}:iam::{here.account}:instance-profile/*"],
            reason="it looks for profiles that it left behind, and lists all for that",
        ),
        Statement("Cluster", ["eks:DescribeCluster"], [here.arn("eks", f"cluster/{cluster}")]),
        *volume_key(key_arn),
    ]
