"""Machines: launch templates, what places and reserves them, and the managed node groups that use them."""

import zlib
from typing import Any

from tests.engine.double.aws import launch_rules
from tests.engine.double.aws.ec2 import GROUPS, SUBNET, resource_tags
from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import block, flag, pairs, within
from tests.engine.double.types import Autoname, Situation, Type

TEMPLATE, PLACEMENT = "aws:ec2/launchTemplate:LaunchTemplate", "aws:ec2/placementGroup:PlacementGroup"
RESERVATION, NODES = "aws:ec2/capacityReservation:CapacityReservation", "aws:eks/nodeGroup:NodeGroup"

_DATA = "LaunchTemplateData"
_DISK = block(
    ebs=Put("Ebs", block(encrypted=Put("Encrypted", flag), deleteOnTermination=Put("DeleteOnTermination", flag)))
)
_INTERFACE = block(
    securityGroups="Groups",
    ipv4AddressCount="SecondaryPrivateIpAddressCount",
    ipv4Addresses=Put("PrivateIpAddresses", within("PrivateIpAddress")),
    ipv6Addresses=Put("Ipv6Addresses", within("Ipv6Address")),
    associatePublicIpAddress=Put("AssociatePublicIpAddress", flag),
    associateCarrierIpAddress=Put("AssociateCarrierIpAddress", flag),
    deleteOnTermination=Put("DeleteOnTermination", flag),
    primaryIpv6=Put("PrimaryIpv6", flag),
)
_STRAIGHT = (
    "capacityReservationSpecification cpuOptions creditSpecification disableApiStop disableApiTermination"
    " enclaveOptions hibernationOptions iamInstanceProfile imageId instanceInitiatedShutdownBehavior"
    " instanceMarketOptions instanceType instanceRequirements kernelId keyName licenseSpecifications"
    " maintenanceOptions metadataOptions monitoring"
    " networkPerformanceOptions placement privateDnsNameOptions ramDiskId userData"
)


def _groups(made: Situation) -> list[dict[str, Any]]:
    """The autoscaling group that EKS makes, whose name keeps while the node group does."""
    name = f"eks-{made.inputs['nodeGroupName']}-{zlib.crc32(made.id.encode()):08x}"
    return [{"autoscalingGroups": [{"name": name}], "remoteAccessSecurityGroupId": ""}]


def _version(made: Situation) -> int:
    """Every change makes a new version."""
    return made.old.outputs["latestVersion"] + 1 if made.old else 1


def _default_version(made: Situation) -> int:
    """Follows only where it is told to."""
    latest = _version(made)
    kept = made.old.outputs["defaultVersion"] if made.old else 1
    return latest if made.inputs.get("updateDefaultVersion") else made.inputs.get("defaultVersion", kept)


TYPES = {
    TEMPLATE: Type(
        calls=[
            Call(
                "ec2.CreateLaunchTemplate",
                moved={name: f"{_DATA}.{name}" for name in _STRAIGHT.split()}
                | {
                    "name": "LaunchTemplateName",
                    "description": "VersionDescription",
                    "tags": resource_tags("launch-template"),
                    "blockDeviceMappings": Put(f"{_DATA}.BlockDeviceMappings", _DISK),
                    "ebsOptimized": Put(f"{_DATA}.EbsOptimized", flag),
                    "networkInterfaces": Put(f"{_DATA}.NetworkInterfaces", _INTERFACE),
                    "securityGroupNames": f"{_DATA}.SecurityGroups",
                    "tagSpecifications": Put(f"{_DATA}.TagSpecifications", block(tags=Put("Tags", pairs()))),
                    "vpcSecurityGroupIds": f"{_DATA}.SecurityGroupIds",
                },
                always={_DATA: {}},
            ),
        ],
        id="lt-{hex17}",
        outputs={
            "arn": "arn:{partition}:ec2:{region}:{account}:launch-template/{id}",
            "latestVersion": _version,
            "defaultVersion": _default_version,
            "metadataOptions": lambda made: made.inputs.get("metadataOptions", {}),
        },
        replace="name namePrefix",
        own={
            "updateDefaultVersion": "chooses whether ModifyLaunchTemplate follows",
            "defaultVersion": "goes into ModifyLaunchTemplate",
        },
        name=Autoname(limit=125),
        unique="name",
        refers={
            "vpcSecurityGroupIds": GROUPS,
            "networkInterfaces.securityGroups": GROUPS,
            "networkInterfaces.subnetId": SUBNET,
            "placement.groupName": PLACEMENT,
            "iamInstanceProfile.arn": "aws:iam/instanceProfile:InstanceProfile",
            "iamInstanceProfile.name": "aws:iam/instanceProfile:InstanceProfile",
        },
        changing="latestVersion",
        checks=[launch_rules.interfaces, launch_rules.user_data, launch_rules.market],
        rules=[launch_rules.reservation_in_group],
    ),
    PLACEMENT: Type(
        calls=[
            Call(
                "ec2.CreatePlacementGroup",
                same="strategy partitionCount spreadLevel",
                moved={"name": "GroupName", "tags": resource_tags("placement-group")},
            )
        ],
        id="{name}",
        outputs={
            "arn": "arn:{partition}:ec2:{region}:{account}:placement-group/{name}",
            "placementGroupId": "pg-{hex17}",
        },
        defaults={"partitionCount": 0, "spreadLevel": ""},
        replace="name strategy partitionCount spreadLevel",
        name=Autoname(limit=255),
        held_by=NODES,
    ),
    RESERVATION: Type(
        calls=[
            Call(
                "ec2.CreateCapacityReservation",
                same="availabilityZone ebsOptimized endDate endDateType ephemeralStorage instanceCount"
                " instanceMatchCriteria instancePlatform instanceType outpostArn placementGroupArn tenancy",
                moved={"tags": resource_tags("capacity-reservation")},
            )
        ],
        id="cr-{hex17}",
        outputs={
            "arn": "arn:{partition}:ec2:{region}:{account}:capacity-reservation/{id}",
            "ownerId": "{account}",
        },
        defaults={"instanceMatchCriteria": "open", "endDateType": "unlimited", "tenancy": "default"},
        replace="availabilityZone ebsOptimized ephemeralStorage instanceMatchCriteria instancePlatform instanceType"
        " outpostArn placementGroupArn tenancy",
        checks=[launch_rules.known_machine],
    ),
    NODES: Type(
        calls=[
            Call(
                "eks.CreateNodegroup",
                same="amiType capacityType clusterName diskSize instanceTypes labels launchTemplate nodeRepairConfig"
                " releaseVersion scalingConfig tags taints updateConfig version warmPoolConfig",
                moved={
                    "nodeGroupName": "nodegroupName",
                    "nodeRoleArn": "nodeRole",
                    "subnetIds": "subnets",
                    "remoteAccess": Put("remoteAccess", block(sourceSecurityGroupIds="sourceSecurityGroups")),
                },
            )
        ],
        id="{clusterName}:{nodeGroupName}",
        outputs={
            "arn": "arn:{partition}:eks:{region}:{account}:nodegroup/{clusterName}/{nodeGroupName}/{hex8}-{hex4}",
            "status": "ACTIVE",
            "amiType": lambda made: made.inputs.get("amiType", "AL2023_x86_64_STANDARD"),
            "resources": _groups,
        },
        defaults={"capacityType": "ON_DEMAND", "diskSize": 0, "releaseVersion": "", "nodeGroupNamePrefix": ""},
        replace="amiType capacityType clusterName diskSize instanceTypes nodeGroupName nodeGroupNamePrefix nodeRoleArn"
        " remoteAccess subnetIds launchTemplate.id launchTemplate.name",
        own={"forceUpdateVersion": "goes into UpdateNodegroupVersion"},
        name=Autoname("nodeGroupName", limit=63, unless="nodeGroupNamePrefix"),
        refers={
            "clusterName": "aws:eks/cluster:Cluster",
            "nodeRoleArn": "aws:iam/role:Role",
            "subnetIds": SUBNET,
            "launchTemplate.id": TEMPLATE,
            "launchTemplate.name": TEMPLATE,
        },
        checks=[launch_rules.sizes, launch_rules.node_group],
        rules=[launch_rules.node_group_template, launch_rules.offered, launch_rules.reserved],
        comes_up=[launch_rules.joins],
        failed={"status": "CREATE_FAILED"},
    ),
    "aws:autoscaling/tag:Tag": Type(
        calls=[
            Call(
                "autoscaling.CreateOrUpdateTags",
                moved={"autoscalingGroupName": "Tags.0.ResourceId", "tag": "Tags.0"},
                always={"Tags": [{"ResourceType": "auto-scaling-group"}]},
            )
        ],
        id="{autoscalingGroupName},{tag[key]}",
        replace="autoscalingGroupName tag.key",
    ),
}
