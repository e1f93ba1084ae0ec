"""EFS. Rules: https://docs.aws.amazon.com/efs/latest/ug/API_CreateFileSystem.html, API_CreateMountTarget.html and
API_PutLifecycleConfiguration.html."""

from __future__ import annotations

from collections.abc import Iterator

from tests.engine.double import policies
from tests.engine.double.aws import facts
from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import pairs
from tests.engine.double.types import Inputs, Problem, Situation, Type
from tests.engine.double.wire import UNKNOWN

FILES = "aws:efs/fileSystem:FileSystem"
TARGET = "aws:efs/mountTarget:MountTarget"
ENTRY = "aws:efs/accessPoint:AccessPoint"
SUBNET = "aws:ec2/subnet:Subnet"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
KEY = "aws:kms/key:Key"


def _modes(inputs: Inputs) -> Iterator[Problem]:
    throughput = inputs.get("throughputMode", "bursting")
    if throughput == "elastic" and inputs.get("performanceMode", "generalPurpose") != "generalPurpose":
        yield Problem("performanceMode", "BadRequest: elastic throughput needs generalPurpose")
    if (throughput == "provisioned") != ("provisionedThroughputInMibps" in inputs):
        yield Problem("provisionedThroughputInMibps", "BadRequest: it goes with the throughput mode provisioned")
    if "kmsKeyId" in inputs and not inputs.get("encrypted"):
        yield Problem("kmsKeyId", "BadRequest: a key needs encrypted = true")


def _lifecycle(inputs: Inputs) -> Iterator[Problem]:
    stages = inputs.get("lifecyclePolicies", [])
    if UNKNOWN in (stages, inputs.get("throughputMode")):
        return
    days: dict[str, int] = {}
    for index, stage in enumerate(stages):
        if len(stage) != 1:
            yield Problem(f"lifecyclePolicies[{index}]", "BadRequest: each policy has exactly one transition")
        days |= {name: int(value.split("_")[1]) for name, value in stage.items()}
    if "transitionToArchive" in days:
        if inputs.get("throughputMode") != "elastic":
            yield Problem("lifecyclePolicies", "BadRequest: the archive needs elastic throughput")
        if days["transitionToArchive"] <= days.get("transitionToIa", 0):
            yield Problem("lifecyclePolicies", "BadRequest: files go to the archive after infrequent access")


def _one_in_zone(situation: Situation) -> Iterator[Problem]:
    mine = situation.cloud.find(SUBNET, situation.inputs["subnetId"])
    for other in situation.others(TARGET):
        theirs = situation.cloud.find(SUBNET, other.inputs["subnetId"])
        if not mine or not theirs or other.inputs["fileSystemId"] != situation.inputs["fileSystemId"]:
            continue
        if theirs.outputs["availabilityZone"] == mine.outputs["availabilityZone"]:
            yield Problem("subnetId", f"MountTargetConflict: {other.id} is in that zone already")
        if theirs.inputs["vpcId"] != mine.inputs["vpcId"]:
            yield Problem("subnetId", f"MountTargetConflict: {other.id} is in another VPC")


def _group_in_vpc(situation: Situation) -> Iterator[Problem]:
    subnet = situation.cloud.find(SUBNET, situation.inputs["subnetId"])
    for group in [situation.cloud.find(GROUP, one) for one in situation.inputs.get("securityGroups", [])]:
        if subnet and group and group.inputs.get("vpcId") != subnet.inputs["vpcId"]:
            yield Problem("securityGroups", f"SecurityGroupNotFound: {group.id} is of another VPC than the subnet")


def _zone(made: Situation) -> str:
    subnet = made.cloud.find(SUBNET, made.inputs["subnetId"])
    return subnet.outputs["availabilityZone"] if subnet else ""


def _zone_id(made: Situation) -> str:
    return facts.zone_ids(made.config["region"]).get(_zone(made), "")


TYPES = {
    FILES: Type(
        calls=[
            Call(
                "efs.CreateFileSystem",
                same="performanceMode encrypted kmsKeyId throughputMode provisionedThroughputInMibps creationToken "
                "availabilityZoneName",
                moved={"tags": Put("Tags", pairs())},
                always={"CreationToken": UNKNOWN},
            ),
            Call("efs.PutLifecycleConfiguration", same="lifecyclePolicies", always={"FileSystemId": UNKNOWN}),
        ],
        id="fs-{hex17}",
        outputs={
            "arn": "arn:{partition}:elasticfilesystem:{region}:{account}:file-system/{id}",
            "dnsName": "{id}.efs.{region}.{dns_suffix}",
            "ownerId": "{account}",
            "numberOfMountTargets": 0,
        },
        defaults={"performanceMode": "generalPurpose", "throughputMode": "bursting"},
        replace="performanceMode encrypted kmsKeyId availabilityZoneName creationToken",
        refers={"kmsKeyId": KEY},
        held_by=f"{TARGET} {ENTRY}",
        checks=[_modes, _lifecycle],
    ),
    TARGET: Type(
        calls=[
            Call(
                "efs.CreateMountTarget", same="fileSystemId subnetId ipAddress ipAddressType ipv6Address securityGroups"
            )
        ],
        id="fsmt-{hex17}",
        outputs={
            "availabilityZoneId": _zone_id,
            "availabilityZoneName": _zone,
            "dnsName": "{fileSystemId}.efs.{region}.{dns_suffix}",
            "fileSystemArn": "arn:{partition}:elasticfilesystem:{region}:{account}:file-system/{fileSystemId}",
            "ipAddress": "10.0.0.10",
            "networkInterfaceId": "eni-{hex17}",
            "ownerId": "{account}",
        },
        replace="fileSystemId subnetId ipAddress ipAddressType ipv6Address",
        refers={"fileSystemId": FILES, "subnetId": SUBNET, "securityGroups": GROUP},
        rules=[_one_in_zone, _group_in_vpc],
    ),
    "aws:efs/fileSystemPolicy:FileSystemPolicy": Type(
        calls=[
            Call(
                "efs.PutFileSystemPolicy",
                same="fileSystemId bypassPolicyLockoutSafetyCheck",
                moved={"policy": Put("Policy", check=policies.resource)},
            )
        ],
        id="{fileSystemId}",
        replace="fileSystemId",
        refers={"fileSystemId": FILES},
    ),
    "aws:efs/backupPolicy:BackupPolicy": Type(
        calls=[Call("efs.PutBackupPolicy", same="fileSystemId backupPolicy")],
        id="{fileSystemId}",
        replace="fileSystemId",
        refers={"fileSystemId": FILES},
    ),
    ENTRY: Type(
        calls=[
            Call(
                "efs.CreateAccessPoint",
                same="fileSystemId posixUser rootDirectory",
                moved={"tags": Put("Tags", pairs())},
                always={"ClientToken": UNKNOWN},
            )
        ],
        id="fsap-{hex17}",
        outputs={
            "arn": "arn:{partition}:elasticfilesystem:{region}:{account}:access-point/{id}",
            "fileSystemArn": "arn:{partition}:elasticfilesystem:{region}:{account}:file-system/{fileSystemId}",
            "ownerId": "{account}",
        },
        replace="fileSystemId posixUser rootDirectory",
        refers={"fileSystemId": FILES},
    ),
}
