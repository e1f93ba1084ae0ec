"""Who talked to whom in a network, kept in CloudWatch."""

from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws import cloudwatch, ec2

from accelstack.aws.identity import ServiceRole
from accelstack.aws.keys import Key
from accelstack.aws.policies import Statement, document
from accelstack.aws.refusals import refuse
from accelstack.plan.findings import Finding, Severity

DAYS = (1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653)
"""How long CloudWatch keeps a log
(https://docs.aws.amazon.com/AmazonCloudWatchLogs/latest/APIReference/API_PutRetentionPolicy.html)."""
A_YEAR = 365
"""Default for logs, as CKV_AWS_338 wants it."""


class FlowLogsArgs(TypedDict):
    """Args of `aws.FlowLogs`."""

    vpc_id: pulumi.Input[str]
    """Id of the VPC."""
    log_days: NotRequired[int]
    """Days to keep the logs, one of CloudWatch's own steps; 365 if left out."""
    key_arn: NotRequired[pulumi.Input[str]]
    """Key that encrypts the logs, opened to `logs`; left out, one is made."""
    protect: NotRequired[bool]
    """Whether the logs, and the key if one is made, are kept from deletion; true if left out."""


class FlowLogs(pulumi.ComponentResource):
    """Accepted and rejected connections of a VPC, encrypted, in a log group that its role alone may write to.

    Raises:
        pulumi.InputPropertyError: CloudWatch keeps nothing for so many days.
    """

    log_group: pulumi.Output[str]
    """Name of the log group."""

    def __init__(self, name: str, args: FlowLogsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        days = args.get("log_days", A_YEAR)
        refuse([check_days("log_days", days)])
        super().__init__("accelstack:index:AwsFlowLogs", name, None, opts)
        protect = args.get("protect", True)
        child = pulumi.ResourceOptions(parent=self)
        if "key_arn" in args:
            key_arn = args["key_arn"]
        else:
            key = Key(name, {"description": f"Logs of {name}", "services": ["logs"], "protect": protect}, child)
            key_arn = key.arn
        group = cloudwatch.LogGroup(
            name,
            kms_key_id=key_arn,
            retention_in_days=days,
            opts=pulumi.ResourceOptions(parent=self, protect=protect),
        )
        policy = group.arn.apply(lambda arn: document(log_writing(arn)))
        role = ServiceRole(name, {"service": "vpc-flow-logs.amazonaws.com", "policy": policy}, child)
        ec2.FlowLog(
            name,
            vpc_id=args["vpc_id"],
            traffic_type="ALL",
            log_destination_type="cloud-watch-logs",
            log_destination=group.arn,
            iam_role_arn=role.arn,
            tags={"Name": name},
            opts=child,
        )
        self.log_group = group.name
        self.register_outputs({"log_group": self.log_group})


def check_days(path: str, days: int) -> Finding | None:
    """The finding that CloudWatch keeps no log for so many days; None if it does."""
    if days in DAYS:
        return None
    longer = next((each for each in DAYS if each > days), DAYS[-1])
    rule = f"logs are kept for one of {', '.join(map(str, DAYS))} days"
    return Finding(Severity.INVALID, path, str(days), rule, f"use {longer}")


def log_writing(group_arn: str) -> list[Statement]:
    """Writing to the streams of one log group."""
    actions = ["logs:CreateLogStream", "logs:DescribeLogGroups", "logs:DescribeLogStreams", "logs:PutLogEvents"]
    return [Statement("Write", actions, [group_arn, f"{group_arn}:*"])]
