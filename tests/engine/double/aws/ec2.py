"""EC2's network. Its model has hardly a pattern, so the rules of `network_rules` carry the weight."""

from tests.engine.double.aws import network_rules
from tests.engine.double.judge import Call, Node, Put
from tests.engine.double.shaping import block, pairs, within
from tests.engine.double.types import Autoname, Type
from tests.engine.double.wire import UNKNOWN

VPC, SUBNET, GATEWAY = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/internetGateway:InternetGateway"
EIP, NAT, EGRESS = (
    "aws:ec2/eip:Eip",
    "aws:ec2/natGateway:NatGateway",
    "aws:ec2/egressOnlyInternetGateway:EgressOnlyInternetGateway",
)
TABLE, ROUTE, ASSOCIATION = (
    "aws:ec2/routeTable:RouteTable",
    "aws:ec2/route:Route",
    "aws:ec2/routeTableAssociation:RouteTableAssociation",
)
GROUP, INGRESS, OUTGRESS = (
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule",
)
ENDPOINT, INTERFACE = "aws:ec2/vpcEndpoint:VpcEndpoint", "aws:ec2/networkInterface:NetworkInterface"
GROUPS = f"{GROUP} aws:ec2/defaultSecurityGroup:DefaultSecurityGroup {VPC} aws:eks/cluster:Cluster"
"""What has a security group: also VPCs, which come with a default one, and clusters, for which EKS makes one."""


def resource_tags(kind: str) -> Put:
    """Tags given with the creation of an EC2 resource."""
    listed = pairs()

    def shape(node: Node) -> Node:
        specification = {"ResourceType": Node(node.steps, kind), "Tags": listed(node)}
        return Node(node.steps, [Node(node.steps, specification)])

    return Put("TagSpecifications", shape)


def attribute(names: str) -> dict[str, str]:
    """Properties that an attribute call takes as `{Value: …}`."""
    return {name: f"{name}.Value" for name in names.split()}


_PERMISSION = block(
    protocol="IpProtocol",
    cidrBlocks=Put("IpRanges", within("CidrIp")),
    ipv6CidrBlocks=Put("Ipv6Ranges", within("CidrIpv6")),
    prefixListIds=Put("PrefixListIds", within("PrefixListId")),
    securityGroups=Put("UserIdGroupPairs", within("GroupId")),
    self=None,
    description=None,
)
_RULE = {
    "fromPort": "IpPermissions.0.FromPort",
    "toPort": "IpPermissions.0.ToPort",
    "ipProtocol": "IpPermissions.0.IpProtocol",
    "cidrIpv4": "IpPermissions.0.IpRanges.0.CidrIp",
    "cidrIpv6": "IpPermissions.0.Ipv6Ranges.0.CidrIpv6",
    "prefixListId": "IpPermissions.0.PrefixListIds.0.PrefixListId",
    "referencedSecurityGroupId": "IpPermissions.0.UserIdGroupPairs.0.GroupId",
    "securityGroupId": "GroupId",
    "tags": resource_tags("security-group-rule"),
}
_RULE_OWN = {"description": "goes into whichever of the ranges and groups is given"}


def _arn(kind: str) -> str:
    return f"arn:{{partition}}:ec2:{{region}}:{{account}}:{kind}/{{id}}"


TYPES = {
    VPC: Type(
        calls=[
            Call(
                "ec2.CreateVpc",
                same="cidrBlock instanceTenancy ipv4IpamPoolId ipv4NetmaskLength ipv6IpamPoolId ipv6NetmaskLength"
                " ipv6CidrBlock",
                moved={"assignGeneratedIpv6CidrBlock": "AmazonProvidedIpv6CidrBlock", "tags": resource_tags("vpc")},
            ),
            Call(
                "ec2.ModifyVpcAttribute",
                moved=attribute("enableDnsHostnames enableDnsSupport enableNetworkAddressUsageMetrics"),
                always={"VpcId": UNKNOWN},
            ),
        ],
        id="vpc-{hex17}",
        outputs={
            "arn": _arn("vpc"),
            "ownerId": "{account}",
            "mainRouteTableId": "rtb-{hex17}",
            "defaultRouteTableId": "{mainRouteTableId}",
            "defaultNetworkAclId": "acl-{hex17}",
            "defaultSecurityGroupId": "sg-{hex17}",
            "dhcpOptionsId": "dopt-{hex17}",
            "ipv6CidrBlock": network_rules.vpc_ipv6,
            "ipv6AssociationId": "vpc-cidr-assoc-{hex17}",
        },
        defaults={
            "enableDnsSupport": True,
            "enableDnsHostnames": False,
            "enableNetworkAddressUsageMetrics": False,
            "instanceTenancy": "default",
            "assignGeneratedIpv6CidrBlock": False,
        },
        replace="cidrBlock ipv4IpamPoolId ipv4NetmaskLength",
        handles="defaultSecurityGroupId defaultRouteTableId defaultNetworkAclId",
        held_by=f"{SUBNET} {GATEWAY} {EGRESS} {GROUP} {ENDPOINT}",
        checks=[network_rules.ranges("cidrBlock", 16, 28)],
    ),
    SUBNET: Type(
        calls=[
            Call(
                "ec2.CreateSubnet",
                same="vpcId cidrBlock availabilityZone availabilityZoneId ipv6CidrBlock ipv6Native outpostArn",
                moved={"tags": resource_tags("subnet")},
            ),
            Call(
                "ec2.ModifySubnetAttribute",
                same="privateDnsHostnameTypeOnLaunch",
                moved=attribute(
                    "mapPublicIpOnLaunch assignIpv6AddressOnCreation enableDns64"
                    " enableResourceNameDnsARecordOnLaunch enableResourceNameDnsAaaaRecordOnLaunch"
                ),
                always={"SubnetId": UNKNOWN},
            ),
        ],
        id="subnet-{hex17}",
        outputs={
            "arn": _arn("subnet"),
            "ownerId": "{account}",
            "availabilityZone": network_rules.zone,
            "availabilityZoneId": network_rules.zone_id,
            "ipv6CidrBlockAssociationId": "subnet-cidr-assoc-{hex17}",
        },
        defaults={
            "mapPublicIpOnLaunch": False,
            "assignIpv6AddressOnCreation": False,
            "enableDns64": False,
            "enableResourceNameDnsARecordOnLaunch": False,
            "enableResourceNameDnsAaaaRecordOnLaunch": False,
            "ipv6Native": False,
            "ipv6CidrBlock": "",
            "privateDnsHostnameTypeOnLaunch": "ip-name",
        },
        replace="vpcId cidrBlock availabilityZone availabilityZoneId ipv6Native outpostArn",
        refers={"vpcId": VPC},
        held_by=f"{NAT} {ENDPOINT} aws:eks/cluster:Cluster aws:eks/nodeGroup:NodeGroup aws:efs/mountTarget:MountTarget"
        f" aws:fsx/lustreFileSystem:LustreFileSystem {INTERFACE}",
        checks=[network_rules.ranges("cidrBlock", 16, 28), network_rules.one_zone],
        rules=[network_rules.subnet_in_vpc, network_rules.zone_exists],
    ),
    GATEWAY: Type(
        calls=[
            Call("ec2.CreateInternetGateway", moved={"tags": resource_tags("internet-gateway")}),
            Call("ec2.AttachInternetGateway", same="vpcId", always={"InternetGatewayId": UNKNOWN}),
        ],
        id="igw-{hex17}",
        outputs={"arn": _arn("internet-gateway"), "ownerId": "{account}"},
        refers={"vpcId": VPC},
        unique="vpcId",
        held_by=NAT,
    ),
    EIP: Type(
        calls=[
            Call(
                "ec2.AllocateAddress",
                same="address domain networkBorderGroup publicIpv4Pool customerOwnedIpv4Pool",
                moved={"tags": resource_tags("elastic-ip")},
            ),
            Call(
                "ec2.AssociateAddress",
                moved={
                    "instance": "InstanceId",
                    "networkInterface": "NetworkInterfaceId",
                    "associateWithPrivateIp": "PrivateIpAddress",
                },
            ),
        ],
        id="eipalloc-{hex17}",
        handles="allocationId",
        outputs={
            "arn": _arn("elastic-ip"),
            "allocationId": "{id}",
            "publicIp": "198.51.100.{digits2}",
            "publicDns": "ec2-198-51-100.compute.amazonaws.com",
        },
        defaults={
            "domain": "vpc",
            "networkBorderGroup": "",
            "instance": "",
            "networkInterface": "",
            "associationId": "",
        },
        replace="address domain networkBorderGroup publicIpv4Pool",
        held_by=NAT,
    ),
    NAT: Type(
        calls=[
            Call(
                "ec2.CreateNatGateway",
                same="allocationId subnetId connectivityType secondaryAllocationIds secondaryPrivateIpAddressCount",
                moved={
                    "privateIp": "PrivateIpAddress",
                    "secondaryPrivateIpAddresses": "SecondaryPrivateIpAddresses",
                    "tags": resource_tags("natgateway"),
                },
            )
        ],
        id="nat-{hex17}",
        outputs={
            "networkInterfaceId": "eni-{hex17}",
            "publicIp": network_rules.public_ip,
            "privateIp": "10.0.0.{digits2}",
        },
        defaults={"connectivityType": "public"},
        replace="allocationId subnetId connectivityType privateIp",
        refers={"allocationId": EIP, "subnetId": SUBNET},
        unique="allocationId",
        checks=[network_rules.nat_address],
        rules=[network_rules.nat_has_way_out],
    ),
    EGRESS: Type(
        calls=[
            Call(
                "ec2.CreateEgressOnlyInternetGateway",
                same="vpcId",
                moved={"tags": resource_tags("egress-only-internet-gateway")},
            )
        ],
        id="eigw-{hex17}",
        replace="vpcId",
        refers={"vpcId": VPC},
    ),
    TABLE: Type(
        calls=[Call("ec2.CreateRouteTable", same="vpcId", moved={"tags": resource_tags("route-table")})],
        id="rtb-{hex17}",
        outputs={"arn": _arn("route-table"), "ownerId": "{account}", "routes": [], "propagatingVgws": []},
        replace="vpcId",
        refers={"vpcId": VPC},
        held_by=ASSOCIATION,
    ),
    ROUTE: Type(
        calls=[
            Call(
                "ec2.CreateRoute",
                same="destinationCidrBlock destinationIpv6CidrBlock destinationPrefixListId routeTableId gatewayId"
                " natGatewayId networkInterfaceId transitGatewayId vpcPeeringConnectionId",
                moved={"egressOnlyGatewayId": "EgressOnlyInternetGatewayId"},
            )
        ],
        id="r-{routeTableId}{hex8}",
        outputs={"origin": "CreateRoute", "state": "active"},
        replace="routeTableId destinationCidrBlock destinationIpv6CidrBlock destinationPrefixListId",
        refers={
            "routeTableId": TABLE,
            "gatewayId": f"{GATEWAY} {ENDPOINT}",
            "natGatewayId": NAT,
            "egressOnlyGatewayId": EGRESS,
        },
        unique="routeTableId destinationCidrBlock destinationIpv6CidrBlock destinationPrefixListId",
        imports="{routeTableId}_{destinationCidrBlock}{destinationIpv6CidrBlock}",
        checks=[network_rules.one_way],
    ),
    ASSOCIATION: Type(
        calls=[Call("ec2.AssociateRouteTable", same="routeTableId subnetId gatewayId")],
        id="rtbassoc-{hex17}",
        replace="subnetId gatewayId",
        refers={"routeTableId": f"{TABLE} {VPC}", "subnetId": SUBNET},
        unique="subnetId gatewayId",
        imports="{subnetId}{gatewayId}/{routeTableId}",
        rules=[network_rules.same_vpc("routeTableId", TABLE, "subnetId", SUBNET)],
    ),
    GROUP: Type(
        calls=[
            Call(
                "ec2.CreateSecurityGroup",
                same="description vpcId",
                moved={"name": "GroupName", "tags": resource_tags("security-group")},
            ),
            Call("ec2.AuthorizeSecurityGroupIngress", moved={"ingress": Put("IpPermissions", _PERMISSION)}),
            Call(
                "ec2.AuthorizeSecurityGroupEgress",
                moved={"egress": Put("IpPermissions", _PERMISSION)},
                always={"GroupId": UNKNOWN},
            ),
        ],
        id="sg-{hex17}",
        outputs={"arn": _arn("security-group"), "ownerId": "{account}"},
        defaults={"description": "Managed by Pulumi", "ingress": [], "egress": [], "namePrefix": ""},
        replace="name namePrefix description vpcId",
        own={"revokeRulesOnDelete": "calls made before deletion"},
        name=Autoname(),
        unique="vpcId name",
        refers={"vpcId": VPC},
        held_by=f"{ENDPOINT} {INGRESS} {OUTGRESS} aws:eks/cluster:Cluster aws:efs/mountTarget:MountTarget"
        f" aws:fsx/lustreFileSystem:LustreFileSystem {INTERFACE}",
        checks=[network_rules.group_name],
    ),
    INGRESS: Type(
        calls=[Call("ec2.AuthorizeSecurityGroupIngress", moved=_RULE)],
        id="sgr-{hex17}",
        outputs={"arn": _arn("security-group-rule"), "securityGroupRuleId": "{id}"},
        replace="securityGroupId",
        own=_RULE_OWN,
        refers={"securityGroupId": GROUPS, "referencedSecurityGroupId": GROUPS},
        checks=[network_rules.ports, network_rules.one_source],
    ),
    OUTGRESS: Type(
        calls=[Call("ec2.AuthorizeSecurityGroupEgress", moved=_RULE)],
        id="sgr-{hex17}",
        outputs={"arn": _arn("security-group-rule"), "securityGroupRuleId": "{id}"},
        replace="securityGroupId",
        own=_RULE_OWN,
        refers={"securityGroupId": GROUPS, "referencedSecurityGroupId": GROUPS},
        checks=[network_rules.ports, network_rules.one_source],
    ),
}
