"""Files that pods of all zones share: EFS."""

from collections.abc import Iterator
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi_aws import ec2, efs

from accelstack.aws.keys import Key, KeyArgs
from accelstack.aws.policies import Statement, document
from accelstack.aws.refusals import refuse
from accelstack.plan.findings import Finding, Severity

USER = 10001
"""User and group that every client acts as, and that own the shared directory: those of the workloads' image."""
DIRECTORY = "/shared"
NFS = 2049
"""TCP port of NFS (https://docs.aws.amazon.com/efs/latest/ug/network-access.html)."""
NAMED_CAPACITY = "1Ti"
"""What the volume says of its capacity: Kubernetes wants a figure, and EFS has no bound."""


class SharedFilesArgs(TypedDict):
    """Args of `aws.SharedFiles`."""

    vpc_id: pulumi.Input[str]
    """Id of the VPC."""
    zones: list[str]
    """Ids of the zones whose pods mount it."""
    subnet_ids: pulumi.Input[dict[str, str]]
    """Ids of a private subnet in each of these zones, by zone id."""
    client_security_group_ids: pulumi.Input[list[str]]
    """Ids of the security groups whose members may mount it: those of the nodes."""
    key_arn: NotRequired[pulumi.Input[str]]
    """ARN of the KMS key that encrypts it; one of its own if left out."""
    protect: NotRequired[bool]
    """Whether it is kept from deletion; true if left out."""


class SharedFiles(pulumi.ComponentResource):
    """A directory that pods of all zones share over NFS, encrypted at rest and under way, and backed up daily.

    Every client acts as user and group 10001, which own the directory; nobody is root.

    Raises:
        pulumi.InputPropertyError: there is no zone, or one is named twice.
    """

    file_system_id: pulumi.Output[str]
    """Id of the file system."""
    volume: pulumi.Output[dict[str, Any]]
    """The `spec` of a Kubernetes PersistentVolume for it, known when it can be mounted in all zones; needs the add-on
    aws-efs-csi-driver."""

    def __init__(self, name: str, args: SharedFilesArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        refuse(problems(args))
        super().__init__("accelstack:index:AwsSharedFiles", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        protect = args.get("protect", True)
        held = pulumi.ResourceOptions(parent=self, protect=protect)
        key_arn = args.get("key_arn") or self._key(name, protect)
        files = efs.FileSystem(
            name,
            encrypted=True,
            kms_key_id=key_arn,
            performance_mode="generalPurpose",
            throughput_mode="elastic",
            lifecycle_policies=[
                efs.FileSystemLifecyclePolicyArgs(transition_to_ia="AFTER_30_DAYS"),
                efs.FileSystemLifecyclePolicyArgs(transition_to_archive="AFTER_90_DAYS"),
                efs.FileSystemLifecyclePolicyArgs(transition_to_primary_storage_class="AFTER_1_ACCESS"),
            ],
            opts=held,
        )
        efs.BackupPolicy(
            name,
            file_system_id=files.id,
            backup_policy=efs.BackupPolicyBackupPolicyArgs(status="ENABLED"),
            opts=held,
        )
        entry = efs.AccessPoint(
            name,
            file_system_id=files.id,
            posix_user=efs.AccessPointPosixUserArgs(uid=USER, gid=USER),
            root_directory=efs.AccessPointRootDirectoryArgs(
                path=DIRECTORY,
                creation_info=efs.AccessPointRootDirectoryCreationInfoArgs(
                    owner_uid=USER, owner_gid=USER, permissions="0750"
                ),
            ),
            opts=held,
        )
        policy = efs.FileSystemPolicy(
            name,
            file_system_id=files.id,
            policy=pulumi.Output.all(files.arn, entry.arn).apply(lambda arns: document(access(arns[0], arns[1]))),
            opts=held,
        )
        group = ec2.SecurityGroup(
            name,
            description=f"File system {name}",
            vpc_id=args["vpc_id"],
            ingress=[
                ec2.SecurityGroupIngressArgs(
                    protocol="tcp",
                    from_port=NFS,
                    to_port=NFS,
                    security_groups=args["client_security_group_ids"],
                    description="NFS from clients",
                )
            ],
            opts=child,
        )
        subnets = pulumi.Output.from_input(args["subnet_ids"])
        targets = [
            efs.MountTarget(
                f"{name}-{zone}",
                file_system_id=files.id,
                subnet_id=subnets[zone],
                security_groups=[group.id],
                opts=child,
            )
            for zone in args["zones"]
        ]
        self.file_system_id = files.id
        ready = [each.file_system_id for each in (policy, *targets)]
        self.volume = pulumi.Output.all(files.id, entry.id, *ready).apply(lambda known: volume(known[0], known[1]))
        self.register_outputs({"file_system_id": self.file_system_id, "volume": self.volume})

    def _key(self, name: str, protect: bool) -> pulumi.Output[str]:
        wanted = KeyArgs(description=f"Files of {name}", protect=protect)
        return Key(name, wanted, pulumi.ResourceOptions(parent=self)).arn


def access(file_system_arn: str, access_point_arn: str) -> list[Statement]:
    """Clients mount and write through the access point alone, over TLS; root's rights are given to nobody."""
    use = ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    anyone = {"AWS": ["*"]}
    return [
        Statement(
            "Clients",
            use,
            [file_system_arn],
            principals=anyone,
            conditions={
                "Bool": {"elasticfilesystem:AccessedViaMountTarget": ["true"]},
                "StringEquals": {"elasticfilesystem:AccessPointArn": [access_point_arn]},
            },
            reason="NFS clients have no IAM identity; the mount targets' security group says who they are",
        ),
        Statement(
            "EncryptedTransport",
            [*use, "elasticfilesystem:ClientRootAccess"],
            [file_system_arn],
            principals=anyone,
            conditions={"Bool": {"aws:SecureTransport": ["false"]}},
            deny=True,
        ),
    ]


def volume(file_system_id: str, access_point_id: str) -> dict[str, Any]:
    """The spec of a PersistentVolume that all nodes mount, kept when its claim goes."""
    return {
        "capacity": {"storage": NAMED_CAPACITY},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "mountOptions": ["tls"],
        "csi": {"driver": "efs.csi.aws.com", "volumeHandle": f"{file_system_id}::{access_point_id}"},
    }


def problems(args: SharedFilesArgs) -> Iterator[Finding]:
    """What is wrong with the args."""
    zones = args["zones"]
    if not zones:
        yield Finding(
            Severity.INVALID, "zones", "", "files need a zone to be mounted in", "name the zones of the nodes"
        )
    if len({*zones}) < len(zones):
        rule = "a zone has one mount target, and is named twice"
        yield Finding(Severity.INVALID, "zones", ", ".join(zones), rule, "name each zone once")
