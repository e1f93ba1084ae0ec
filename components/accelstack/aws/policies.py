"""IAM policies as pure data: statements made by functions, and `document` that turns them into JSON.

A statement that allows a wildcard carries the reason for it, or `document` refuses it.
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

BOUNDED = re.compile(r"arn:[^:*]+:(s3:::[^*/]+/[^*]*|logs:[^:*]+:[^:*]+:log-group:[^:*]+:)\*")
"""Resources whose wildcard stays inside one named thing: objects of a bucket, streams of a log group."""
NO_SOURCE = ("ec2.amazonaws.com", "s3.amazonaws.com")
"""Services that are not documented to say for which account they take on a role: instances, and S3's replication, which
would stop without a word. Roles for them are safe all the same, since only this account may pass its roles."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a component lands: what the ARNs of its account begin with."""

    partition: str
    """`aws`, `aws-cn` or `aws-us-gov`."""
    domain: str
    """Domain of the partition's services, such as `amazonaws.com`."""
    region: str
    account: str
    """The account's 12 digits."""

    def arn(self, service: str, resource: str) -> str:
        """The ARN of something in this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account}:{resource}"


@dataclass(frozen=True, slots=True)
class Statement:
    """One statement of an IAM policy, of a role's trust, or of a resource's own policy."""

    sid: str
    actions: Sequence[str]
    resources: Sequence[str] = ()
    """ARNs; none in a role's trust."""
    principals: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    """Who, by kind (`AWS`, `Service`, `Federated`); none in a role's own policy."""
    conditions: Mapping[str, Mapping[str, Sequence[str]]] = field(
        default_factory=dict[str, Mapping[str, Sequence[str]]]
    )
    """Values by operator and key, such as `{"StringEquals": {"aws:SourceAccount": ["123456789012"]}}`."""
    reason: str = ""
    """Why a wildcard among actions, resources or principals is needed; it stays in the code."""
    deny: bool = False

    def wildcards(self) -> list[str]:
        """The actions, resources and principals in it that a wildcard leaves open; none where it denies."""
        if self.deny:
            return []
        resources = [each for each in self.resources if "*" in each and not BOUNDED.fullmatch(each)]
        named = [*self.actions, *(each for group in self.principals.values() for each in group)]
        return [*resources, *(each for each in named if "*" in each)]


def document(statements: Sequence[Statement]) -> str:
    """The policy in IAM's JSON, the same text for the same statements.

    Raises:
        ValueError: a statement has a wildcard and no reason for it.
    """
    for each in statements:
        if each.wildcards() and not each.reason:
            raise ValueError(f"{each.sid}: {', '.join(each.wildcards())}: a wildcard without a reason")
    return json.dumps({"Version": "2012-10-17", "Statement": [_as_json(each) for each in statements]})


def _as_json(statement: Statement) -> dict[str, Any]:
    """One statement as IAM spells it; a single value stands without a list, as IAM gives it back."""
    parts = {
        "Sid": statement.sid,
        "Effect": "Deny" if statement.deny else "Allow",
        "Principal": {kind: _short(names) for kind, names in statement.principals.items()},
        "Action": _short(statement.actions),
        "Resource": _short(statement.resources),
        "Condition": {
            operator: {key: _short(values) for key, values in keys.items()}
            for operator, keys in statement.conditions.items()
        },
    }
    return {name: part for name, part in parts.items() if part}


def _short(values: Sequence[str]) -> str | list[str]:
    return values[0] if len(values) == 1 else list(values)


def service_trust(service: str, account: str) -> list[Statement]:
    """Lets an AWS service take a role on, for things of this account alone."""
    source = {} if service in NO_SOURCE else {"StringEquals": {"aws:SourceAccount": [account]}}
    return [Statement("Service", ["sts:AssumeRole"], principals={"Service": [service]}, conditions=source)]


def pod_trust(cluster_arn: str, namespace: str, service_account: str) -> list[Statement]:
    """Lets pods of one service account of one cluster take a role on, through EKS Pod Identity.

    The tags are those that Pod Identity sends (https://docs.aws.amazon.com/eks/latest/userguide/pod-id-role.html).
    """
    tags = {
        "aws:RequestTag/eks-cluster-arn": [cluster_arn],
        "aws:RequestTag/kubernetes-namespace": [namespace],
        "aws:RequestTag/kubernetes-service-account": [service_account],
    }
    return [
        Statement(
            "Pods",
            ["sts:AssumeRole", "sts:TagSession"],
            principals={"Service": ["pods.eks.amazonaws.com"]},
            conditions={"StringEquals": tags},
        )
    ]


def bucket_access(bucket_arn: str, prefixes: Sequence[str], write: bool) -> list[Statement]:
    """Reading, or reading and writing, what lies under some prefixes of a bucket (`""`: all of it).

    All names can be listed: with a condition on the prefix, S3 answers 403 instead of 404 about what does not exist,
    and fsspec takes that for an error.
    """
    actions = ["s3:GetObject"]
    if write:
        actions += ["s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload", "s3:ListMultipartUploadParts"]
    return [
        Statement("Bucket", ["s3:GetBucketLocation", "s3:ListBucket"], [bucket_arn]),
        Statement("Objects", actions, [f"{bucket_arn}/{prefix}*" for prefix in prefixes]),
    ]


KEY_USE = (
    "kms:Encrypt",
    "kms:Decrypt",
    "kms:ReEncryptFrom",
    "kms:ReEncryptTo",
    "kms:GenerateDataKey",
    "kms:GenerateDataKeyWithoutPlaintext",
    "kms:DescribeKey",
)
"""All that a service does with a key for somebody."""


def key_use(key_arn: str, write: bool = True) -> list[Statement]:
    """Reading, or reading and writing, what a KMS key encrypts."""
    return [Statement("Key", ["kms:Decrypt", *(["kms:GenerateDataKey"] if write else [])], [key_arn])]


def registry_read(repository_arns: Sequence[str]) -> list[Statement]:
    """Pulling the images of some ECR repositories."""
    actions = ["ecr:BatchCheckLayerAvailability", "ecr:BatchGetImage", "ecr:GetDownloadUrlForLayer"]
    return [
        Statement(
            "RegistryLogin",
            ["ecr:GetAuthorizationToken"],
            ["*"],
            reason="the login is to the account's registry, and the action takes no resource",
        ),
        Statement("Images", actions, repository_arns),
    ]


def sagemaker_execution(place: Place, bucket_arn: str, key_arn: str, repository_arns: Sequence[str]) -> list[Statement]:
    """What SageMaker does for a training job or an endpoint: data, keys, images, logs and metrics. Without repositories
    it may pull AWS's own PyTorch images, whose account differs from region to region."""
    metrics = {"StringLike": {"cloudwatch:namespace": ["/aws/sagemaker/*", "aws/sagemaker/*"]}}
    public = f"arn:{place.partition}:ecr:{place.region}:*:repository/pytorch-*"
    images = registry_read(repository_arns or [public])
    if not repository_arns:
        images[-1] = replace(images[-1], reason="AWS's own images, of which the registries decide who pulls them")
    return [
        *bucket_access(bucket_arn, [""], write=True),
        # volumes are encrypted through a grant, which SageMaker does not mark as being for an AWS resource
        Statement("Key", [*KEY_USE, "kms:CreateGrant"], [key_arn]),
        *images,
        Statement(
            "Logs",
            ["logs:CreateLogGroup", "logs:CreateLogStream", "logs:DescribeLogStreams", "logs:PutLogEvents"],
            [place.arn("logs", "log-group:/aws/sagemaker/*")],
            reason="SageMaker names its log groups itself, one for each kind of job and for each endpoint",
        ),
        Statement(
            "Metrics",
            ["cloudwatch:PutMetricData"],
            ["*"],
            conditions=metrics,
            reason="the action takes no resource; the condition keeps it to SageMaker's own namespaces",
        ),
    ]


def sagemaker_network(place: Place, subnet_ids: Sequence[str], security_group_ids: Sequence[str]) -> list[Statement]:
    """What SageMaker does besides to run inside a VPC: network interfaces in these subnets and groups
    (https://docs.aws.amazon.com/sagemaker/latest/dg/sagemaker-roles.html)."""
    named = [place.arn("ec2", f"subnet/{each}") for each in subnet_ids]
    named += [place.arn("ec2", f"security-group/{each}") for each in security_group_ids]
    described = ["DhcpOptions", "NetworkInterfaces", "SecurityGroups", "Subnets", "Vpcs"]
    interface = ["CreateNetworkInterfacePermission", "DeleteNetworkInterface", "DeleteNetworkInterfacePermission"]
    return [
        Statement("Attach", ["ec2:CreateNetworkInterface"], named),
        Statement(
            "Interfaces",
            [f"ec2:{each}" for each in ("CreateNetworkInterface", *interface)],
            [place.arn("ec2", "network-interface/*")],
            reason="the interfaces do not exist yet, so they have no ids to name",
        ),
        Statement(
            "Describe",
            [f"ec2:Describe{each}" for each in described],
            ["*"],
            reason="EC2's describe actions take no resource",
        ),
    ]
