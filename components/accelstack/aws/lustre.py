"""A parallel file system for training: FSx for Lustre, in step with an object store."""

import re
from collections.abc import Iterator
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi_aws import cloudwatch, ec2, fsx

from accelstack.aws.flow_logs import A_YEAR, check_days
from accelstack.aws.keys import Key, KeyArgs
from accelstack.aws.refusals import refuse
from accelstack.plan.findings import Finding, Severity

CAPACITY_GIB = 1200
STEP_GIB = 2400
"""The smallest file system, and what larger ones are multiples of
(https://docs.aws.amazon.com/fsx/latest/APIReference/API_CreateFileSystem.html)."""
EFA_STEPS_GIB = {125: 38400, 250: 19200, 500: 9600, 1000: 4800}
"""What file systems with EFA are multiples of, by throughput
(https://docs.aws.amazon.com/fsx/latest/LustreGuide/getting-started.html); the keys are all that there are."""
BACKUP_DAYS = 7
MOST_BACKUP_DAYS = 90
"""Longest that FSx keeps automatic backups (API_CreateFileSystem)."""
PORTS = ((988, 988), (1018, 1023))
"""TCP ports between clients and servers
(https://docs.aws.amazon.com/fsx/latest/LustreGuide/limit-access-security-groups.html)."""
CHANGES = ["NEW", "CHANGED", "DELETED"]
PATH = re.compile(r"/|(/[^/\s]+)+/?")


class LustreArgs(TypedDict):
    """Args of `aws.Lustre`."""

    vpc_id: pulumi.Input[str]
    """Id of the VPC."""
    subnet_id: pulumi.Input[str]
    """Id of a subnet in the zone of the nodes that train: another zone costs latency, and money for each byte."""
    client_security_group_ids: pulumi.Input[list[str]]
    """Ids of the security groups whose members may mount it: those of the nodes."""
    capacity_gib: NotRequired[int]
    """Capacity in GiB: 1200, or a multiple of 2400; with `efa` a multiple of 38400, 19200, 9600 or 4800 at a throughput
    of 125, 250, 500 or 1000. 1200 if left out. It can grow later, not shrink."""
    throughput: NotRequired[int]
    """Throughput in MB/s for each TiB of capacity: 125, 250, 500 or 1000; 125 if left out."""
    efa: NotRequired[bool]
    """Whether nodes reach it over EFA, and GPUs read from it directly; false if left out, and fixed for good. The
    nodes' groups must then let everything through from and to `security_group_id`."""
    store: NotRequired[pulumi.Input[str]]
    """URI of an object store, `s3://<bucket>` with or without a prefix, that the directory `path` is kept in step with,
    both ways. A bucket's own KMS key must let FSx use it, as that of `aws.ObjectStore` does. Without a store the file
    system stands alone, and is backed up daily."""
    path: NotRequired[str]
    """Directory that is kept in step with the store; `/store` if left out. What lies elsewhere stays here alone."""
    backup_days: NotRequired[int]
    """Days that daily backups are kept, 0 for none, at most 90; 7 if left out. AWS makes none of a file system with a
    store, whose objects are the copy."""
    log_days: NotRequired[int]
    """Days that the log of what could not be imported or exported is kept, one of CloudWatch's own steps; 365 if
    left out."""
    key_arn: NotRequired[pulumi.Input[str]]
    """ARN of the KMS key that encrypts files and logs, whose policy must let CloudWatch Logs use it; one of its own if
    left out."""
    protect: NotRequired[bool]
    """Whether it is kept from deletion, and a backup is made before; true if left out."""


class Lustre(pulumi.ComponentResource):
    """A file system on SSDs for all nodes of one zone, encrypted and compressed.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    file_system_id: pulumi.Output[str]
    """Id of the file system."""
    dns_name: pulumi.Output[str]
    """Host name that clients mount from."""
    mount_name: pulumi.Output[str]
    """Name of the file system at that host: clients mount `<dns_name>@tcp:/<mount_name>`."""
    security_group_id: pulumi.Output[str]
    """Id of its security group."""
    volume: pulumi.Output[dict[str, Any]]
    """The `spec` of a Kubernetes PersistentVolume for it, known when the store is linked; needs the add-on
    aws-fsx-csi-driver."""

    def __init__(self, name: str, args: LustreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        refuse([*problems(args), check_days("log_days", args.get("log_days", A_YEAR))])
        super().__init__("accelstack:index:AwsLustre", name, None, opts)
        linked = "store" in args
        protect = args.get("protect", True)
        held = pulumi.ResourceOptions(parent=self, protect=protect)
        capacity = args.get("capacity_gib", CAPACITY_GIB)
        key_arn = args.get("key_arn") or self._key(name, protect)
        group = self._security_group(name, args)
        logs = cloudwatch.LogGroup(
            f"/aws/fsx/{name}",  # what it is called in AWS begins so too: FSx writes to no other log groups
            retention_in_days=args.get("log_days", A_YEAR),
            kms_key_id=key_arn,
            opts=held,
        )
        files = fsx.LustreFileSystem(
            name,
            deployment_type="PERSISTENT_2",
            storage_type="SSD",
            file_system_type_version="2.15",
            storage_capacity=capacity,
            per_unit_storage_throughput=args.get("throughput", min(EFA_STEPS_GIB)),
            metadata_configuration=fsx.LustreFileSystemMetadataConfigurationArgs(mode="AUTOMATIC"),
            data_compression_type="LZ4",
            efa_enabled=args.get("efa", False),
            subnet_ids=args["subnet_id"],
            # in the clients' groups too, whose members admit each other: servers also open connections to clients
            security_group_ids=pulumi.Output.all(group.id, args["client_security_group_ids"]).apply(
                lambda groups: [groups[0], *groups[1]]
            ),
            kms_key_id=key_arn,
            automatic_backup_retention_days=0 if linked else args.get("backup_days", BACKUP_DAYS),
            skip_final_backup=linked or not protect,
            log_configuration=fsx.LustreFileSystemLogConfigurationArgs(level="WARN_ERROR", destination=logs.arn),
            opts=held,
        )
        ready: pulumi.Output[str] = files.id
        if "store" in args:
            ready = fsx.DataRepositoryAssociation(
                name,
                file_system_id=files.id,
                file_system_path=args.get("path", "/store"),
                data_repository_path=args["store"],
                batch_import_meta_data_on_create=True,
                s3=fsx.DataRepositoryAssociationS3Args(
                    auto_import_policy=fsx.DataRepositoryAssociationS3AutoImportPolicyArgs(events=CHANGES),
                    auto_export_policy=fsx.DataRepositoryAssociationS3AutoExportPolicyArgs(events=CHANGES),
                ),
                opts=held,
            ).file_system_id
        self.file_system_id = files.id
        self.dns_name = files.dns_name
        self.mount_name = files.mount_name
        self.security_group_id = group.id
        self.volume = pulumi.Output.all(files.id, files.dns_name, files.mount_name, ready).apply(
            lambda known: volume(known[0], known[1], known[2], capacity)
        )
        self.register_outputs(
            {
                "file_system_id": self.file_system_id,
                "dns_name": self.dns_name,
                "mount_name": self.mount_name,
                "security_group_id": self.security_group_id,
                "volume": self.volume,
            }
        )

    def _key(self, name: str, protect: bool) -> pulumi.Output[str]:
        description = f"Files and logs of {name}"
        wanted = KeyArgs(description=description, services=["logs"], protect=protect)
        return Key(name, wanted, pulumi.ResourceOptions(parent=self)).arn

    def _security_group(self, name: str, args: LustreArgs) -> ec2.SecurityGroup:
        """Lustre's ports, or everything for EFA, between the servers, and between them and the clients."""
        clients = args["client_security_group_ids"]
        efa = args.get("efa", False)
        ranges = [("-1", 0, 0)] if efa else [("tcp", *ports) for ports in PORTS]
        about = "EFA with clients and itself" if efa else "Lustre with clients and itself"
        return ec2.SecurityGroup(
            name,
            description=f"File system {name}",
            vpc_id=args["vpc_id"],
            ingress=[
                ec2.SecurityGroupIngressArgs(
                    protocol=protocol,
                    from_port=low,
                    to_port=high,
                    self=True,
                    security_groups=clients,
                    description=about,
                )
                for protocol, low, high in ranges
            ],
            egress=[
                ec2.SecurityGroupEgressArgs(
                    protocol=protocol,
                    from_port=low,
                    to_port=high,
                    self=True,
                    security_groups=clients,
                    description=about,
                )
                for protocol, low, high in ranges
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )


def volume(file_system_id: str, dns_name: str, mount_name: str, capacity_gib: int) -> dict[str, Any]:
    """The spec of a PersistentVolume that all nodes mount, kept when its claim goes."""
    return {
        "capacity": {"storage": f"{capacity_gib}Gi"},
        "accessModes": ["ReadWriteMany"],
        "persistentVolumeReclaimPolicy": "Retain",
        "storageClassName": "",
        "mountOptions": ["flock"],
        "csi": {
            "driver": "fsx.csi.aws.com",
            "volumeHandle": file_system_id,
            "volumeAttributes": {"dnsname": dns_name, "mountname": mount_name},
        },
    }


def problems(args: LustreArgs) -> Iterator[Finding]:
    """What is wrong with the args."""
    capacity = args.get("capacity_gib", CAPACITY_GIB)
    throughput = args.get("throughput", min(EFA_STEPS_GIB))
    if throughput not in EFA_STEPS_GIB:
        rule = f"a throughput is one of {', '.join(map(str, EFA_STEPS_GIB))} MB/s for each TiB"
        nearest = min(EFA_STEPS_GIB, key=lambda each: abs(each - throughput))
        yield Finding(Severity.INVALID, "throughput", str(throughput), rule, f"use {nearest}")
        return
    efa = args.get("efa", False)
    step = EFA_STEPS_GIB[throughput] if efa else STEP_GIB
    if capacity < 1 or (capacity % step and (efa or capacity != CAPACITY_GIB)):
        sizes = f"a multiple of {step} GiB"
        rule = f"with efa at this throughput it is {sizes}" if efa else f"it is {CAPACITY_GIB} or {sizes}"
        larger = max(1, -(-capacity // step)) * step
        yield Finding(Severity.ERROR, "capacity_gib", str(capacity), rule, f"use {larger}")
    days = args.get("backup_days", BACKUP_DAYS)
    if not 0 <= days <= MOST_BACKUP_DAYS:
        rule = f"backups are kept for 0 to {MOST_BACKUP_DAYS} days"
        yield Finding(Severity.INVALID, "backup_days", str(days), rule, f"use {BACKUP_DAYS}")
    if "store" in args and args.get("backup_days", 0):
        rule = "FSx makes no backups of a file system with a store"
        yield Finding(Severity.ERROR, "backup_days", str(days), rule, "leave it out: the store has the files")
    path = args.get("path", "/store")
    if "path" in args and "store" not in args:
        yield Finding(Severity.ERROR, "path", path, "is kept in step with a store, and there is none", "name the store")
    if not PATH.fullmatch(path):
        yield Finding(Severity.INVALID, "path", path, "is no directory's path from the root", "use one such as /store")
