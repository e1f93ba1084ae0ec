"""What the double refuses because of what exists beside a resource."""

from __future__ import annotations

from typing import Any

import pytest

from tests.engine import programs
from tests.engine.double.aws import network_rules
from tests.engine.double.types import Provider, Refusal

AWS = Provider.load("aws")
VPC, SUBNET, ROLE = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:iam/role:Role"
P5 = [{"networkCardIndex": card, "deviceIndex": 0} for card in range(32)]


def test_what_something_needs_cannot_be_deleted(program: programs.Program) -> None:
    cloud = program.cloud
    vpc = cloud.add(VPC, {"cidrBlock": "10.0.0.0/16"}, region="us-east-1")
    subnet = cloud.add(SUBNET, {"vpcId": vpc.id, "cidrBlock": "10.0.0.0/24"}, region="us-east-1")

    with pytest.raises(Refusal, match="DependencyViolation"):
        cloud.delete(vpc)
    cloud.delete(subnet)
    cloud.delete(vpc)
    assert cloud.resources == []


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"cidrBlock": "10.1.0.0/24"}, "InvalidSubnet.Range"),
        ({"cidrBlock": "10.0.0.128/25"}, "InvalidSubnet.Conflict"),
        ({"cidrBlock": "10.0.1.0/24", "availabilityZoneId": "usw2-az1"}, "us-east-1 has no zone usw2-az1"),
        ({"cidrBlock": "10.0.1.0/24", "vpcId": "vpc-0"}, "NotFound"),
    ],
)
def test_subnets_are_refused_by_what_exists(program: programs.Program, inputs: dict[str, Any], reason: str) -> None:
    cloud, config = program.cloud, AWS.surroundings({"region": "us-east-1"})
    vpc = cloud.create(VPC, "net", {"cidrBlock": "10.0.0.0/16"}, config)
    cloud.create(SUBNET, "one", {"vpcId": vpc.id, "cidrBlock": "10.0.0.0/24"}, config)

    with pytest.raises(Refusal, match=reason):
        cloud.create(SUBNET, "two", {"vpcId": vpc.id, **inputs}, config)


def test_a_subnet_leads_out_through_a_gateway_or_through_a_nat_gateway_that_does(program: programs.Program) -> None:
    ways = """
    vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16")
    gateway = aws.ec2.InternetGateway("gateway", vpc_id=vpc.id)
    address = aws.ec2.Eip("address")
    def subnet(number):
        return aws.ec2.Subnet(f"sub{number}", vpc_id=vpc.id, cidr_block=f"10.0.{number}.0/24")
    subnets = [subnet(number) for number in range(3)]
    nat = aws.ec2.NatGateway("nat", subnet_id=subnets[PLACE].id, allocation_id=address.id,
                             opts=pulumi.ResourceOptions(depends_on=[gateway], delete_before_replace=True))
    for number, target in enumerate([{"gateway_id": gateway.id}, {"nat_gateway_id": nat.id}]):
        table = aws.ec2.RouteTable(f"table{number}", vpc_id=vpc.id)
        aws.ec2.Route(f"out{number}", route_table_id=table.id, destination_cidr_block="0.0.0.0/0", **target)
        aws.ec2.RouteTableAssociation(f"join{number}", route_table_id=table.id, subnet_id=subnets[number].id)
    """
    for place, expected in (("0", ["internet", "nat", ""]), ("2", ["internet", "", ""])):
        program.write(ways.replace("PLACE", place))
        run = program.up()
        assert run.ok, run.output
        subnets = [program.cloud.one(SUBNET, f"sub{number}").id for number in range(3)]
        assert [network_rules.way_out(program.cloud, one) for one in subnets] == expected


CLUSTER, TEMPLATE, NODES = (
    "aws:eks/cluster:Cluster",
    "aws:ec2/launchTemplate:LaunchTemplate",
    "aws:eks/nodeGroup:NodeGroup",
)
RESERVED = {"capacityReservationTarget": {"capacityReservationId": "cr-1"}}


@pytest.mark.parametrize(
    ("template", "group", "reason"),
    [
        ({}, {}, ""),
        ({"instanceType": "p5.48xlarge"}, {}, "given in the launch template already"),
        ({"networkInterfaces": [{"deviceIndex": 0, "subnetId": "subnet-1"}]}, {}, "may not name a subnet"),
        ({"networkInterfaces": P5}, {"instanceTypes": ["p5en.48xlarge"]}, "no network card 16"),
        ({}, {"instanceTypes": ["p6-b200.48xlarge"]}, "use1-az1 of .* has no p6-b200"),
        ({"instanceMarketOptions": {"marketType": "spot"}}, {}, "spot is asked for by capacityType"),
        ({}, {"capacityType": "CAPACITY_BLOCK"}, "go together"),
        ({"capacityReservationSpecification": RESERVED}, {}, "cr-1 is in us-east-1c, not"),
        ({"userData": "eA=="}, {}, "MIME multipart"),
    ],
)
def test_node_groups_fit_their_launch_template(
    program: programs.Program, template: dict[str, Any], group: dict[str, Any], reason: str
) -> None:
    cloud, config = program.cloud, AWS.surroundings({"region": "us-east-1"})
    role = cloud.add(ROLE, {"name": "nodes"}, region="us-east-1")
    vpc = cloud.add(VPC, {"cidrBlock": "10.0.0.0/16"}, region="us-east-1")
    place = {"vpcId": vpc.id, "cidrBlock": "10.0.0.0/24", "availabilityZoneId": "use1-az1"}
    subnet = cloud.add(SUBNET, place, region="us-east-1")
    main = {"name": "main", "roleArn": role.outputs["arn"], "vpcConfig": {"subnetIds": [subnet.id]}}
    cluster = cloud.add(CLUSTER, main, region="us-east-1")
    block = {"availabilityZone": "us-east-1c", "instanceType": "p5.48xlarge", "instanceCount": 1}
    cloud.add("aws:ec2/capacityReservation:CapacityReservation", block, id="cr-1", region="us-east-1")
    launch = cloud.add(TEMPLATE, {"name": "lt", **template}, region="us-east-1")
    inputs = {
        "clusterName": cluster.inputs["name"],
        "nodeGroupName": "h100",
        "nodeRoleArn": role.outputs["arn"],
        "subnetIds": [subnet.id],
        "instanceTypes": ["p5.48xlarge"],
        "launchTemplate": {"id": launch.id, "version": "1"},
        **group,
    }

    if reason:
        with pytest.raises(Refusal, match=reason):
            cloud.create(NODES, "h100", inputs, config)
    else:
        assert cloud.create(NODES, "h100", inputs, config).outputs["status"] == "ACTIVE"
