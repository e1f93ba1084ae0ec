"""Customer keys: who may use one besides the account's own roles is written in its policy."""

from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws import kms

from accelstack.aws.identity import place
from accelstack.aws.policies import KEY_USE, Place, Statement, document
from accelstack.aws.refusals import refuse
from accelstack.plan.findings import one_of

SERVICES = ("autoscaling", "budgets", "ec2", "events", "logs", "lustre")
"""What a key can be opened to. Others, such as S3, ECR, EKS, EFS and SageMaker, use it with the rights of whoever calls
them, and need no word here."""
THIS_KEY = "in a key's policy, `*` is this key"
WINDOW = {True: 30, False: 7}
"""Days until a deleted key is gone: the most and the least that KMS takes
(https://docs.aws.amazon.com/kms/latest/APIReference/API_ScheduleKeyDeletion.html)."""


class KeyArgs(TypedDict):
    """Args of `aws.Key`."""

    description: str
    """What the key encrypts, for people."""
    services: NotRequired[list[str]]
    """AWS services that use it on their own: `logs` (log groups), `autoscaling` (volumes of groups of instances),
    `ec2` (volumes of instances that others start, such as Karpenter), `lustre` (file systems linked to a bucket under
    the key), `events` and `budgets` (messages to encrypted queues and topics); none if left out."""
    region: NotRequired[str]
    """Region of the key, such as `us-west-2`; the provider's if left out."""
    protect: NotRequired[bool]
    """Whether it is kept from deletion, and waits 30 days when it is deleted all the same; true if left out."""


class Key(pulumi.ComponentResource):
    """A symmetric KMS key of this account, rotated each year.

    Raises:
        pulumi.InputPropertyError: a service is not known.
    """

    arn: pulumi.Output[str]
    """ARN of the key."""
    key_id: pulumi.Output[str]
    """Id of the key."""

    def __init__(self, name: str, args: KeyArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        services = args.get("services", [])
        refuse(one_of(f"services[{index}]", each, SERVICES, "user of keys") for index, each in enumerate(services))
        super().__init__("accelstack:index:AwsKey", name, None, opts)
        protect = args.get("protect", True)
        key = kms.Key(
            name,
            description=args["description"],
            enable_key_rotation=True,
            deletion_window_in_days=WINDOW[protect],
            policy=place(self, args.get("region")).apply(lambda here: document(key_policy(here, services))),
            region=args.get("region"),
            opts=pulumi.ResourceOptions(parent=self, protect=protect),
        )
        self.arn = key.arn
        self.key_id = key.key_id
        self.register_outputs({"arn": self.arn, "key_id": self.key_id})


def key_policy(here: Place, services: list[str]) -> list[Statement]:
    """The account's roles, as their own policies say, and the named services, each for this account's things alone."""
    root = f"arn:{here.partition}:iam::{here.account}:root"
    account = Statement(
        "Account",
        ["kms:*"],
        ["*"],
        principals={"AWS": [root]},
        reason=f"{THIS_KEY}, and without its account's full rights nobody could change or delete it",
    )
    return [account, *(each for service in services for each in _service(here, service))]


def _service(here: Place, service: str) -> list[Statement]:
    if service == "autoscaling":
        return _autoscaling(here)
    if service == "lustre":
        return [_lustre(here)]
    if service == "ec2":
        return [_ec2(here)]
    if service == "logs":
        name = f"logs.{here.region}.{here.domain}"
        groups = here.arn("logs", "log-group:*")
        return [
            Statement(
                "Logs",
                KEY_USE,
                ["*"],
                principals={"Service": [name]},
                conditions={"ArnLike": {"kms:EncryptionContext:aws:logs:arn": [groups]}},
                reason=THIS_KEY,
            )
        ]
    return [
        Statement(
            service.capitalize(),
            ["kms:Decrypt", "kms:GenerateDataKey"],
            ["*"],
            principals={"Service": [f"{service}.amazonaws.com"]},
            conditions={"StringEquals": {"aws:SourceAccount": [here.account]}},
            reason=THIS_KEY,
        )
    ]


def _autoscaling(here: Place) -> list[Statement]:
    """What groups of instances need for encrypted volumes
    (https://docs.aws.amazon.com/autoscaling/ec2/userguide/key-policy-requirements-EBS-encryption.html).

    The role is named by a condition: a principal must exist, and a new account gets this role with its first group.
    """
    role = f"arn:{here.partition}:iam::{here.account}:role/aws-service-role/autoscaling.amazonaws.com/"
    caller = {"ArnEquals": {"aws:PrincipalArn": [f"{role}AWSServiceRoleForAutoScaling"]}}
    for_service = {"Bool": {"kms:GrantIsForAWSResource": ["true"]}}
    anyone = {"AWS": ["*"]}
    reason = f"{THIS_KEY}, and the condition leaves one role of all principals"
    return [
        Statement("Autoscaling", KEY_USE, ["*"], anyone, caller, reason),
        Statement("AutoscalingGrants", ["kms:CreateGrant"], ["*"], anyone, {**caller, **for_service}, reason),
    ]


def _ec2(here: Place) -> Statement:
    """What EC2 needs for encrypted volumes of instances that others than autoscaling groups start, spot ones with the
    role of spot among them (https://karpenter.sh/docs/troubleshooting/)."""
    way = {"kms:CallerAccount": [here.account], "kms:ViaService": [f"ec2.{here.region}.{here.domain}"]}
    return Statement(
        "Ec2",
        [*KEY_USE, "kms:CreateGrant"],
        ["*"],
        principals={"AWS": ["*"]},
        conditions={"StringEquals": way},
        reason=f"{THIS_KEY}, and the condition leaves this account's volumes",
    )


def _lustre(here: Place) -> Statement:
    """What FSx needs to move files between Lustre and a bucket, through S3 alone: its own role has no rights on keys
    (https://docs.aws.amazon.com/fsx/latest/LustreGuide/s3-server-side-encryption-support.html)."""
    role = f"arn:{here.partition}:iam::{here.account}:role/aws-service-role/s3.data-source.lustre.fsx.amazonaws.com/"
    conditions = {
        "StringEquals": {
            "kms:CallerAccount": [here.account],
            "kms:ViaService": [f"s3.{here.region}.{here.domain}"],
        },
        "ArnLike": {"aws:PrincipalArn": [f"{role}AWSServiceRoleForFSxS3Access_*"]},
    }
    reason = f"{THIS_KEY}, and the condition leaves one kind of role, named after each file system"
    return Statement("Lustre", KEY_USE, ["*"], {"AWS": ["*"]}, conditions, reason)
