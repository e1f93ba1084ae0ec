"""What belongs to a VPC beside its subnets: endpoints, interfaces, the default security group, flow logs.

Endpoints: https://docs.aws.amazon.com/vpc/latest/privatelink/create-interface-endpoint.html and
https://docs.aws.amazon.com/vpc/latest/privatelink/vpc-endpoints-s3.html; services:
https://docs.aws.amazon.com/vpc/latest/privatelink/aws-services-privatelink-support.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from tests.engine.double import policies
from tests.engine.double.aws.ec2 import ENDPOINT, GROUP, GROUPS, INTERFACE, SUBNET, TABLE, VPC, resource_tags
from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import block, many, pairs, within
from tests.engine.double.types import Inputs, Problem, Refusal, Situation, Type
from tests.engine.double.wire import UNKNOWN

DEFAULT_GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
FLOW_LOG = "aws:ec2/flowLog:FlowLog"
ROLE, LOG_GROUP = "aws:iam/role:Role", "aws:cloudwatch/logGroup:LogGroup"
GATEWAYS = ("s3", "dynamodb")
INTERFACES = (
    "autoscaling", "dynamodb", "ec2", "ec2messages", "ecr.api", "ecr.dkr", "eks", "eks-auth", "elasticfilesystem",
    "elasticloadbalancing", "events", "fsx", "kms", "logs", "monitoring", "s3", "sagemaker.api", "sagemaker.runtime",
    "secretsmanager", "sns", "sqs", "ssm", "ssmmessages", "sts",
)  # fmt: skip
_PERMISSION = block(
    protocol="IpProtocol",
    cidrBlocks=Put("IpRanges", within("CidrIp")),
    ipv6CidrBlocks=Put("Ipv6Ranges", within("CidrIpv6")),
    prefixListIds=Put("PrefixListIds", within("PrefixListId")),
    securityGroups=Put("UserIdGroupPairs", within("GroupId")),
    self=None,
    description=None,
)


def kind(inputs: Inputs) -> Iterator[Problem]:
    """A gateway lies in route tables, an interface in subnets behind security groups."""
    gateway = inputs.get("vpcEndpointType", "Gateway") == "Gateway"
    foreign = ("subnetIds", "securityGroupIds", "privateDnsEnabled") if gateway else ("routeTableIds",)
    for name in foreign:
        if inputs.get(name):
            what = "a gateway endpoint" if gateway else "an interface endpoint"
            yield Problem(name, f"InvalidParameter: {what} takes no {name}")
    if not gateway and inputs.get("subnetIds") == []:
        yield Problem("subnetIds", "an interface endpoint without subnets has no address")


def service(situation: Situation) -> Iterator[Problem]:
    """The region offers the service as that kind of endpoint."""
    name, region = situation.inputs["serviceName"], situation.config["region"]
    gateway = situation.inputs.get("vpcEndpointType", "Gateway") == "Gateway"
    found = re.fullmatch(rf"com\.amazonaws\.{region}\.(?P<short>.+)", name)
    if not found or found["short"] not in (GATEWAYS if gateway else INTERFACES):
        yield Problem("serviceName", f"InvalidServiceName: the Vpc Endpoint Service '{name}' does not exist")


def endpoint_place(situation: Situation) -> Iterator[Problem]:
    """Subnets, groups and tables are of the VPC, subnets of a zone each; the service's name is taken once in a VPC."""
    inputs, cloud = situation.inputs, situation.cloud
    for name, token in (("subnetIds", SUBNET), ("securityGroupIds", GROUP), ("routeTableIds", TABLE)):
        for one in inputs.get(name, []):
            found = cloud.find(token, one)
            if found and found.inputs["vpcId"] != inputs["vpcId"]:
                yield Problem(name, f"InvalidParameter: {one} is not in {inputs['vpcId']}")
    subnets = [cloud.find(SUBNET, one) for one in inputs.get("subnetIds", [])]
    zones = [one.outputs["availabilityZoneId"] for one in subnets if one]
    if len(zones) != len(set(zones)):
        yield Problem("subnetIds", f"DuplicateSubnetsInSameZone: {sorted(zones)}")
    vpc = cloud.find(VPC, inputs["vpcId"])
    for name in ("enableDnsSupport", "enableDnsHostnames"):
        if inputs.get("privateDnsEnabled") and vpc and not vpc.outputs[name]:
            yield Problem("privateDnsEnabled", f"InvalidParameter: {vpc.id} has {name} off")
    for other in situation.others(ENDPOINT):
        if other.inputs["vpcId"] == inputs["vpcId"] and other.inputs["serviceName"] == inputs["serviceName"]:
            if inputs.get("privateDnsEnabled") and other.inputs.get("privateDnsEnabled"):
                yield Problem("privateDnsEnabled", f"InvalidParameter: conflicting DNS domain, taken by {other.id}")
            if shared := set(inputs.get("routeTableIds", [])) & set(other.inputs.get("routeTableIds", [])):
                yield Problem("routeTableIds", f"RouteAlreadyExists: {sorted(shared)} lead to {other.id}")


def delivery(situation: Situation) -> Iterator[Problem]:
    """Flow logs reach CloudWatch with a role that their service may take on, and that may write."""
    inputs = situation.inputs
    if inputs.get("logDestinationType", "cloud-watch-logs") != "cloud-watch-logs":
        return
    role = situation.cloud.find(ROLE, inputs.get("iamRoleArn", ""))
    if role is None:
        yield Problem("iamRoleArn", "InvalidParameter: DeliverLogsPermissionArn is required for CloudWatch Logs")
        return
    if "vpc-flow-logs.amazonaws.com" not in str(role.inputs["assumeRolePolicy"]):
        yield Problem("iamRoleArn", f"AccessDenied: vpc-flow-logs.amazonaws.com may not assume {role.id}")
    written = [
        str(one.inputs["policy"])
        for one in situation.cloud.of("aws:iam/rolePolicy:RolePolicy")
        if one.inputs["role"] in role.handles
    ]
    if not any("logs:PutLogEvents" in text and inputs["logDestination"] in text for text in written):
        yield Problem("logDestination", f"AccessDenied: {role.id} may not write to {inputs['logDestination']}")


def _vpc(inputs: Inputs, at: Situation) -> dict[str, Any]:
    found = at.cloud.find(VPC, inputs.get("id", ""), at.config["region"])
    if found is None:
        raise Refusal("InvalidVpcID.NotFound", f"no matching EC2 VPC found: {inputs.get('id')}")
    ranges = [{"associationId": "vpc-cidr-assoc-1", "cidrBlock": found.outputs["cidrBlock"], "state": "associated"}]
    six = found.outputs["ipv6CidrBlock"]
    more = [{"associationId": "vpc-cidr-assoc-2", "ipPool": "Amazon", "ipv6CidrBlock": six}] if six else []
    return {
        **found.outputs,
        "id": found.id,
        "cidrBlockAssociations": ranges,
        "ipv6CidrBlockAssociations": more,
        "state": "available",
        "default": False,
    }


def _subnet(inputs: Inputs, at: Situation) -> dict[str, Any]:
    found = at.cloud.find(SUBNET, inputs.get("id", ""), at.config["region"])
    if found is None:
        raise Refusal("InvalidSubnetID.NotFound", f"no matching EC2 Subnet found: {inputs.get('id')}")
    return {**found.outputs, "id": found.id, "state": "available"}


FUNCTIONS = {"aws:ec2/getVpc:getVpc": _vpc, "aws:ec2/getSubnet:getSubnet": _subnet}
TYPES = {
    ENDPOINT: Type(
        calls=[
            Call(
                "ec2.CreateVpcEndpoint",
                same="vpcId serviceName vpcEndpointType routeTableIds subnetIds securityGroupIds privateDnsEnabled"
                " ipAddressType serviceRegion",
                moved={
                    "policy": Put("PolicyDocument", check=policies.resource),
                    "tags": resource_tags("vpc-endpoint"),
                },
            ),
        ],
        id="vpce-{hex17}",
        outputs={
            "arn": "arn:{partition}:ec2:{region}:{account}:vpc-endpoint/{id}",
            "state": "available",
            "ownerId": "{account}",
            "prefixListId": "pl-{hex8}",
            "cidrBlocks": [],
            "dnsEntries": [],
            "networkInterfaceIds": [],
            "requesterManaged": False,
        },
        defaults={"vpcEndpointType": "Gateway", "privateDnsEnabled": False, "ipAddressType": "ipv4"},
        replace="vpcId serviceName vpcEndpointType serviceRegion",
        refers={"vpcId": VPC, "subnetIds": SUBNET, "securityGroupIds": GROUP, "routeTableIds": TABLE},
        checks=[kind],
        rules=[service, endpoint_place],
    ),
    INTERFACE: Type(
        calls=[
            Call(
                "ec2.CreateNetworkInterface",
                same="subnetId description",
                moved={"securityGroups": "Groups", "tags": resource_tags("network-interface")},
            )
        ],
        id="eni-{hex17}",
        outputs={"arn": "arn:{partition}:ec2:{region}:{account}:network-interface/{id}", "ownerId": "{account}"},
        replace="subnetId",
        refers={"subnetId": SUBNET, "securityGroups": GROUPS},
    ),
    DEFAULT_GROUP: Type(
        calls=[
            Call(
                "ec2.AuthorizeSecurityGroupIngress",
                moved={"ingress": Put("IpPermissions", _PERMISSION)},
                always={"GroupId": UNKNOWN},
            ),
            Call(
                "ec2.AuthorizeSecurityGroupEgress",
                moved={"egress": Put("IpPermissions", _PERMISSION)},
                always={"GroupId": UNKNOWN},
            ),
            Call("ec2.CreateTags", moved={"tags": Put("Tags", pairs())}, always={"Resources": [UNKNOWN]}),
        ],
        id="sg-{hex17}",
        outputs={
            "arn": "arn:{partition}:ec2:{region}:{account}:security-group/{id}",
            "ownerId": "{account}",
            "name": "default",
            "description": "default VPC security group",
            "namePrefix": "",
        },
        replace="vpcId",
        own={"vpcId": "finds the group that the VPC came with", "revokeRulesOnDelete": "calls made before deletion"},
        unique="vpcId",
        refers={"vpcId": VPC},
    ),
    FLOW_LOG: Type(
        calls=[
            Call(
                "ec2.CreateFlowLogs",
                same="logDestination logDestinationType trafficType maxAggregationInterval logFormat",
                moved={
                    "vpcId": Put("ResourceIds", many),
                    "iamRoleArn": "DeliverLogsPermissionArn",
                    "tags": resource_tags("vpc-flow-log"),
                },
                always={"ResourceType": "VPC"},
            ),
        ],
        id="fl-{hex17}",
        outputs={"arn": "arn:{partition}:ec2:{region}:{account}:vpc-flow-log/{id}"},
        defaults={"maxAggregationInterval": 600, "logDestinationType": "cloud-watch-logs"},
        replace="vpcId trafficType logDestination logDestinationType iamRoleArn maxAggregationInterval logFormat",
        refers={"vpcId": VPC, "iamRoleArn": ROLE, "logDestination": LOG_GROUP},
        rules=[delivery],
    ),
}
