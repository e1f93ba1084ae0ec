"""What is in the way of a stack on AWS."""

import shutil
from collections.abc import Sequence
from typing import Any
from urllib.parse import urlsplit

import boto3  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import BotoCoreError, ClientError, EndpointConnectionError  # pyright: ignore[reportMissingTypeStubs]
from botocore.parsers import ResponseParserError  # pyright: ignore[reportMissingTypeStubs]

from accelstack.aws.account import PATIENT
from accelstack.checks import Check, State, reachable
from accelstack.plan import naming
from accelstack.plan.pool import PoolPlan

ACTIONS = (
    "ec2:CreateVpc",
    "ec2:CreateLaunchTemplate",
    "ec2:RunInstances",
    "eks:CreateCluster",
    "eks:CreateNodegroup",
    "iam:CreateRole",
    "iam:PassRole",
    "kms:CreateKey",
    "s3:CreateBucket",
    "fsx:CreateFileSystem",
    "ecr:CreateRepository",
    "servicequotas:GetServiceQuota",
)
"""What making a stack needs first."""


UNANSWERED = (BotoCoreError, ClientError, ResponseParserError)
"""Calls without the answer asked for; the last is what a proxy's own page in place of AWS's answer leads to."""
PROGRAMS = (
    ("aws", "signs in to the cluster", "install the AWS CLI (https://docs.aws.amazon.com/cli)"),
    ("docker", "builds the workload image, unless `image` names one", "install Docker, or set image to one by digest"),
)
"""Programs on PATH, what they do for an update, and what to do where one is missing."""


def checks(region: str, pools: Sequence[PoolPlan], stack: str, session: Any = None) -> list[Check]:
    """Credentials, permissions, region, machine types, the role of spot, the cluster's API and programs on this
    machine, in that order. `stack` is the plan's name."""
    machines = [pool.machine.name for pool in pools]
    spot = any(pool.terms.capacity == "spot" for pool in pools)
    clients: Any = session or boto3.Session(region_name=region)
    first, arn = _credentials(clients)
    if first.state is not State.OK:
        reason = "needs credentials that work"
        rest = ("permissions", "region", "machine types", *(["spot role"] if spot else []), "cluster API")
        return [first, *(Check(name, State.UNCHECKED, reason) for name in rest), *programs()]
    found = [first, _permissions(clients, arn), _region(clients, region)]
    if machines:
        found.append(_machines(clients, region, machines))
    if spot:
        found.append(_spot_role(clients))
    return [*found, _cluster(clients, naming.physical("aws", "cluster", stack, naming.CLUSTER)), *programs()]


def programs() -> list[Check]:
    """What an update starts besides the engine."""
    found: list[Check] = []
    for program, use, fix in PROGRAMS:
        path = shutil.which(program)
        state = State.OK if path else State.UNCHECKED
        found.append(
            Check(program, state, f"{path} {use}" if path else f"is not on PATH; it {use}", "" if path else fix)
        )
    return found


def _credentials(clients: Any) -> tuple[Check, str]:
    name, fix = "credentials", "aws configure sso, or set AWS_PROFILE"
    try:
        caller = clients.client("sts", config=PATIENT).get_caller_identity()
    except EndpointConnectionError as error:
        return Check(name, State.UNCHECKED, f"AWS cannot be reached from here ({error})"), ""
    except UNANSWERED as error:
        return Check(name, State.FAILED, str(error), fix), ""
    return Check(name, State.OK, f"account {caller['Account']}, {caller['Arn']}"), caller["Arn"]


def _permissions(clients: Any, arn: str) -> Check:
    """As the policies of the caller say; what an organisation's policies forbid may still be refused."""
    name = "permissions"
    source = arn
    if ":assumed-role/" in arn:  # a session's ARN names the role only in part
        account, role = arn.split(":")[4], arn.split("/")[1]
        source = f"arn:aws:iam::{account}:role/{role}"
    try:
        answer = clients.client("iam", config=PATIENT).simulate_principal_policy(
            PolicySourceArn=source, ActionNames=list(ACTIONS)
        )
    except UNANSWERED as error:
        return Check(name, State.UNCHECKED, f"cannot be simulated: {error}")
    denied = [each["EvalActionName"] for each in answer["EvaluationResults"] if each["EvalDecision"] != "allowed"]
    if denied:
        return Check(name, State.FAILED, f"{source} may not: {', '.join(denied)}", "have them added to its policies")
    return Check(name, State.OK, f"{len(ACTIONS)} actions that a stack begins with are allowed")


def _region(clients: Any, region: str) -> Check:
    try:
        answer = clients.client("ec2", config=PATIENT).describe_regions(RegionNames=[region], AllRegions=True)
    except UNANSWERED as error:
        return Check("region", State.UNCHECKED, str(error))
    if answer["Regions"][0]["OptInStatus"] == "not-opted-in":
        fix = f"aws account enable-region --region-name {region}"
        return Check("region", State.FAILED, f"{region} is not enabled in this account", fix)
    return Check("region", State.OK, f"{region} is enabled")


def _machines(clients: Any, region: str, machines: Sequence[str]) -> Check:
    try:
        answer = clients.client("ec2", config=PATIENT).describe_instance_type_offerings(
            LocationType="availability-zone-id", Filters=[{"Name": "instance-type", "Values": sorted(set(machines))}]
        )
    except UNANSWERED as error:
        return Check("machine types", State.UNCHECKED, str(error))
    zones: dict[str, list[str]] = {machine: [] for machine in machines}
    for offering in answer["InstanceTypeOfferings"]:
        zones[offering["InstanceType"]].append(offering["Location"])
    missing = [machine for machine, where in zones.items() if not where]
    if missing:
        fix = f"accelstack plan --compare --accelerator … lists where {missing[0]} is"
        return Check("machine types", State.FAILED, f"{', '.join(missing)} not offered in {region}", fix)
    detail = "; ".join(f"{machine} in {', '.join(sorted(where))}" for machine, where in zones.items())
    return Check("machine types", State.OK, detail)


def _spot_role(clients: Any) -> Check:
    role = "AWSServiceRoleForEC2Spot"
    try:
        clients.client("iam", config=PATIENT).get_role(RoleName=role)
    except ClientError as error:
        if error.response["Error"]["Code"] != "NoSuchEntity":
            return Check("spot role", State.UNCHECKED, str(error))
        fix = "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"
        return Check("spot role", State.FAILED, f"the account has no {role}, so spot launches fail", fix)
    except (BotoCoreError, ResponseParserError) as error:
        return Check("spot role", State.UNCHECKED, str(error))
    return Check("spot role", State.OK, f"{role} is there")


def _cluster(clients: Any, cluster: str) -> Check:
    name = "cluster API"
    try:
        described: Any = clients.client("eks", config=PATIENT).describe_cluster(name=cluster)["cluster"]
    except ClientError as error:
        if error.response["Error"]["Code"] == "ResourceNotFoundException":
            return Check(name, State.UNCHECKED, f"there is no cluster {cluster} yet")
        return Check(name, State.UNCHECKED, str(error))
    except (BotoCoreError, ResponseParserError) as error:
        return Check(name, State.UNCHECKED, str(error))
    if not described.get("endpoint"):
        return Check(name, State.UNCHECKED, f"{cluster} is {described['status']}")
    fix = "run inside its network (VPN, bastion, CI runner in the VPC), or widen api_access"
    return reachable(name, str(urlsplit(str(described["endpoint"])).hostname), 443, fix)
