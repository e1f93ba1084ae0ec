"""FSx for Lustre.

Capacities, throughput, EFA, metadata and logs follow
https://docs.aws.amazon.com/fsx/latest/APIReference/API_CreateFileSystem.html; backups of a linked file system and the
rights on an encrypted bucket follow the Lustre guide (using-backups-fsx.html, s3-server-side-encryption-support.html).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.engine.double.aws.ec2 import GROUPS
from tests.engine.double.aws.s3 import BUCKET, ENCRYPTION
from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import many, pairs
from tests.engine.double.types import Inputs, Problem, Situation, Type, values
from tests.engine.double.wire import UNKNOWN

LUSTRE = "aws:fsx/lustreFileSystem:LustreFileSystem"
LINK = "aws:fsx/dataRepositoryAssociation:DataRepositoryAssociation"
SUBNET = "aws:ec2/subnet:Subnet"
GROUP = "aws:ec2/securityGroup:SecurityGroup"
EFA_STEPS = {125: 38400, 250: 19200, 500: 9600, 1000: 4800}
S3_ROLE = "s3.data-source.lustre.fsx.amazonaws.com"
"""The service whose linked role of an account reads and writes a linked bucket."""


def _figures(inputs: Inputs) -> Iterator[Problem]:
    if UNKNOWN in (inputs.get("storageCapacity"), inputs.get("perUnitStorageThroughput")):
        return
    if inputs.get("deploymentType") != "PERSISTENT_2":
        yield Problem("deploymentType", "the double knows PERSISTENT_2 alone")
        return
    capacity, throughput = inputs["storageCapacity"], inputs.get("perUnitStorageThroughput")
    if throughput not in EFA_STEPS:
        yield Problem("perUnitStorageThroughput", f"BadRequest: {throughput} is not 125, 250, 500 or 1000")
        return
    efa = inputs.get("efaEnabled")
    step = EFA_STEPS[throughput] if efa else 2400
    if capacity % step and (efa or capacity != 1200):
        yield Problem("storageCapacity", f"BadRequest: {capacity} is no multiple of {step}")
    if efa and "metadataConfiguration" not in inputs:
        yield Problem("efaEnabled", "BadRequest: EFA needs PERSISTENT_2 with a metadata configuration")
    if "metadataConfiguration" in inputs and inputs.get("fileSystemTypeVersion", "2.15") != "2.15":
        yield Problem("fileSystemTypeVersion", "BadRequest: a metadata configuration needs 2.15")
    metadata = inputs.get("metadataConfiguration", {})
    if metadata.get("mode") == "AUTOMATIC" and "iops" in metadata:
        yield Problem("metadataConfiguration.iops", "BadRequest: AUTOMATIC takes no figure")


def _efa_group(situation: Situation) -> Iterator[Problem]:
    """EFA passes only through groups that let everything through between their members, both ways."""
    if not situation.inputs.get("efaEnabled"):
        return
    groups = [situation.cloud.find(GROUP, one) for one in situation.inputs.get("securityGroupIds", [])]

    def opens(rules: list[dict[str, Any]]) -> bool:
        return any(rule["protocol"] == "-1" and rule.get("self") for rule in rules)

    if not any(one and opens(one.inputs.get("ingress", [])) and opens(one.inputs.get("egress", [])) for one in groups):
        yield Problem("securityGroupIds", "BadRequest: no security group is enabled for EFA")


def _logs(situation: Situation) -> Iterator[Problem]:
    destination = situation.inputs.get("logConfiguration", {}).get("destination", "")
    if destination and not destination.split(":", 6)[6].startswith("/aws/fsx"):
        yield Problem("logConfiguration.destination", "BadRequest: the log group's name must begin with /aws/fsx")


def _linked(situation: Situation) -> Iterator[Problem]:
    files = situation.cloud.find(LUSTRE, situation.inputs["fileSystemId"])
    if files and files.inputs.get("automaticBackupRetentionDays", 0):
        yield Problem("fileSystemId", "BadRequest: a file system with backups cannot be linked to a data repository")
    others = [
        one.inputs for one in situation.others(LINK) if one.inputs["fileSystemId"] == situation.inputs["fileSystemId"]
    ]
    mine = situation.inputs.get("fileSystemPath", "/").rstrip("/") + "/"
    for path in [other.get("fileSystemPath", "/").rstrip("/") + "/" for other in others]:
        if mine.startswith(path) or path.startswith(mine):
            yield Problem("fileSystemPath", f"BadRequest: it overlaps {path}")


def _reaches_bucket(situation: Situation) -> Iterator[Problem]:
    """AWS accepts the link and leaves it MISCONFIGURED where FSx may not use the bucket or its key."""
    path = situation.inputs["dataRepositoryPath"]
    bucket = situation.cloud.find(BUCKET, path.removeprefix("s3://").split("/")[0])
    if bucket is None or not path.startswith("s3://"):
        yield Problem("dataRepositoryPath", f"BadRequest: there is no bucket behind {path}")
        return
    if bucket.config["region"] != situation.config["region"]:
        yield Problem("dataRepositoryPath", "BadRequest: the bucket is in another region")
    settings = [one.inputs for one in situation.cloud.of(ENCRYPTION) if one.inputs["bucket"] == bucket.id]
    for default in values(settings, "rules.applyServerSideEncryptionByDefault"):
        key = situation.cloud.find("aws:kms/key:Key", default.get("kmsMasterKeyId", ""))
        if key and S3_ROLE not in key.inputs.get("policy", ""):
            yield Problem("dataRepositoryPath", f"MISCONFIGURED: the policy of {key.id} does not admit FSx")


TYPES = {
    LUSTRE: Type(
        calls=[
            Call(
                "fsx.CreateFileSystem",
                same="storageCapacity storageType securityGroupIds kmsKeyId fileSystemTypeVersion",
                moved={
                    "subnetIds": Put("SubnetIds", many),
                    "tags": Put("Tags", pairs()),
                    "automaticBackupRetentionDays": "LustreConfiguration.AutomaticBackupRetentionDays",
                    "copyTagsToBackups": "LustreConfiguration.CopyTagsToBackups",
                    "dailyAutomaticBackupStartTime": "LustreConfiguration.DailyAutomaticBackupStartTime",
                    "dataCompressionType": "LustreConfiguration.DataCompressionType",
                    "deploymentType": "LustreConfiguration.DeploymentType",
                    "efaEnabled": "LustreConfiguration.EfaEnabled",
                    "logConfiguration": "LustreConfiguration.LogConfiguration",
                    "metadataConfiguration": "LustreConfiguration.MetadataConfiguration",
                    "perUnitStorageThroughput": "LustreConfiguration.PerUnitStorageThroughput",
                    "rootSquashConfiguration": "LustreConfiguration.RootSquashConfiguration",
                    "weeklyMaintenanceStartTime": "LustreConfiguration.WeeklyMaintenanceStartTime",
                },
                always={"FileSystemType": "LUSTRE"},
            ),
            Call(
                "fsx.DeleteFileSystem",
                moved={"skipFinalBackup": "LustreConfiguration.SkipFinalBackup"},
                always={"FileSystemId": UNKNOWN},
            ),
        ],
        id="fs-{hex17}",
        outputs={
            "arn": "arn:{partition}:fsx:{region}:{account}:file-system/{id}",
            "dnsName": "{id}.fsx.{region}.{dns_suffix}",
            "mountName": "{hex8}",
            "networkInterfaceIds": ["eni-0123456789abcdef0"],
            "ownerId": "{account}",
            "vpcId": lambda made: _vpc(made),
        },
        defaults={"storageType": "SSD"},
        replace="subnetIds securityGroupIds deploymentType efaEnabled kmsKeyId storageType",
        refers={
            "subnetIds": SUBNET,
            "securityGroupIds": GROUPS,
            "kmsKeyId": "aws:kms/key:Key",
            "logConfiguration.destination": "aws:cloudwatch/logGroup:LogGroup",
        },
        held_by=LINK,
        checks=[_figures],
        rules=[_efa_group, _logs],
    ),
    LINK: Type(
        calls=[
            Call(
                "fsx.CreateDataRepositoryAssociation",
                same="fileSystemId fileSystemPath dataRepositoryPath importedFileChunkSize s3",
                moved={
                    "batchImportMetaDataOnCreate": "BatchImportMetaDataOnCreate",
                    "tags": Put("Tags", pairs()),
                },
            ),
            Call(
                "fsx.DeleteDataRepositoryAssociation",
                moved={"deleteDataInFilesystem": "DeleteDataInFileSystem"},
                always={"AssociationId": UNKNOWN},
            ),
        ],
        id="dra-{hex17}",
        outputs={
            "arn": "arn:{partition}:fsx:{region}:{account}:association/{fileSystemId}/{id}",
            "associationId": "{id}",
        },
        replace="fileSystemId fileSystemPath dataRepositoryPath batchImportMetaDataOnCreate",
        refers={"fileSystemId": LUSTRE},
        rules=[_linked, _reaches_bucket],
    ),
}


def _vpc(made: Situation) -> str:
    subnet = made.cloud.find(SUBNET, made.inputs["subnetIds"])
    return subnet.inputs["vpcId"] if subnet else ""
