"""What EC2 refuses of networks although its model does not say so: address space, zones, ways out, ports.

Sources: https://docs.aws.amazon.com/vpc/latest/userguide/vpc-cidr-blocks.html, …/subnet-sizing.html,
…/vpc-nat-gateway.html,
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_CreateRoute.html.
"""

from __future__ import annotations

import ipaddress
import zlib
from collections.abc import Iterator
from typing import Any

from tests.engine.double.aws import facts
from tests.engine.double.cloud import Cloud
from tests.engine.double.types import Check, Inputs, Problem, Rule, Situation
from tests.engine.double.wire import UNKNOWN

_VPC, _SUBNET, _EIP = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/eip:Eip"
_GATEWAY = "aws:ec2/internetGateway:InternetGateway"
_NAT, _ROUTE = "aws:ec2/natGateway:NatGateway", "aws:ec2/route:Route"
_ASSOCIATION = "aws:ec2/routeTableAssociation:RouteTableAssociation"
_MORE_RANGES = "aws:ec2/vpcIpv4CidrBlockAssociation:VpcIpv4CidrBlockAssociation"
_WAYS = (
    "gatewayId",
    "natGatewayId",
    "egressOnlyGatewayId",
    "networkInterfaceId",
    "transitGatewayId",
    "vpcPeeringConnectionId",
)
_SOURCES = ("cidrIpv4", "cidrIpv6", "prefixListId", "referencedSecurityGroupId")


def ranges(name: str, widest: int, narrowest: int) -> Check:
    """The property is an IPv4 range on its own boundary, between two prefix lengths."""

    def check(inputs: Inputs) -> Iterator[Problem]:
        value = inputs.get(name, UNKNOWN)
        if value is UNKNOWN:
            return
        try:
            network = ipaddress.IPv4Network(value)
        except ValueError as error:
            yield Problem(name, str(error))
            return
        if not widest <= network.prefixlen <= narrowest:
            yield Problem(name, f"a range is a /{widest} to a /{narrowest}, not {value}")

    return check


def one_zone(inputs: Inputs) -> Iterator[Problem]:
    """A zone is given by name or by id, and in the right one of the two."""
    name, zone = inputs.get("availabilityZone"), inputs.get("availabilityZoneId")
    if name and zone:
        yield Problem("availabilityZone", "give the zone's name or its id, not both")
    if isinstance(name, str) and "-az" in name:
        yield Problem("availabilityZone", f"{name} is a zone's id: give it as availabilityZoneId")
    if isinstance(zone, str) and "-az" not in zone:
        yield Problem("availabilityZoneId", f"{zone} is a zone's name: give it as availabilityZone")


def zone_exists(situation: Situation) -> Iterator[Problem]:
    """The region has the zone."""
    region = situation.config["region"]
    for name in ("availabilityZone", "availabilityZoneId"):
        given = situation.inputs.get(name)
        if given and not facts.zone_name(region, given):
            yield Problem(name, f"{region} has no zone {given}, only {facts.zone_ids(region)}")


def zone(made: Situation) -> str:
    """The name of a subnet's zone: AWS chooses where none is given."""
    region = made.config["region"]
    given = made.inputs.get("availabilityZone") or made.inputs.get("availabilityZoneId")
    return facts.zone_name(region, given) if given else next(iter(facts.zone_ids(region)), "")


def zone_id(made: Situation) -> str:
    """The id of a subnet's zone."""
    return facts.zone_ids(made.config["region"]).get(zone(made), "")


def vpc_ipv6(made: Situation) -> str:
    """The IPv6 range that Amazon provides, where one is asked for."""
    if not made.inputs.get("assignGeneratedIpv6CidrBlock"):
        return made.inputs.get("ipv6CidrBlock", "")
    return f"2600:1f18:{zlib.crc32(made.id.encode()) & 0xFFF:x}:{zlib.crc32(made.id.encode()) >> 24:x}00::/56"


def subnet_in_vpc(situation: Situation) -> Iterator[Problem]:
    """A subnet lies within its VPC's ranges, beside its other subnets."""
    vpc = situation.cloud.find(_VPC, situation.inputs["vpcId"])
    given = situation.inputs.get("cidrBlock")
    if vpc is None:
        return
    if given:
        more = [one.inputs for one in situation.cloud.of(_MORE_RANGES) if one.inputs["vpcId"] == vpc.id]
        room = [ipaddress.IPv4Network(one["cidrBlock"]) for one in [vpc.inputs, *more] if "cidrBlock" in one]
        network = ipaddress.IPv4Network(given)
        if not any(network.subnet_of(one) for one in room):
            yield Problem("cidrBlock", f"InvalidSubnet.Range: {network} is outside {', '.join(map(str, room))}")
    beside = [one for one in situation.others(_SUBNET) if one.inputs.get("vpcId") == vpc.id]
    for name in ("cidrBlock", "ipv6CidrBlock"):
        for other in beside:
            ours, theirs = situation.inputs.get(name), other.inputs.get(name)
            if ours and theirs and _overlap(ours, theirs):
                yield Problem(name, f"InvalidSubnet.Conflict: {ours} overlaps {theirs} of {other.name or other.id}")
    six = situation.inputs.get("ipv6CidrBlock")
    if six and vpc.outputs.get("ipv6CidrBlock"):
        if not ipaddress.IPv6Network(six).subnet_of(ipaddress.IPv6Network(vpc.outputs["ipv6CidrBlock"])):
            yield Problem("ipv6CidrBlock", f"{six} is outside {vpc.outputs['ipv6CidrBlock']}")
    elif six:
        yield Problem("ipv6CidrBlock", f"{vpc.id} has no IPv6 range")


def _overlap(one: str, other: str) -> bool:
    first, second = ipaddress.ip_network(one), ipaddress.ip_network(other)
    return first.version == second.version and first.overlaps(second)


def nat_address(inputs: Inputs) -> Iterator[Problem]:
    """A public NAT gateway has an address, a private one has none."""
    public = inputs.get("connectivityType", "public") == "public"
    if public and "allocationId" not in inputs:
        yield Problem("allocationId", "a public NAT gateway needs an Elastic IP address")
    if not public and "allocationId" in inputs:
        yield Problem("allocationId", "a private NAT gateway takes no Elastic IP address")


def nat_has_way_out(situation: Situation) -> Iterator[Problem]:
    """A public NAT gateway's VPC has an internet gateway attached, or its creation fails (Gateway.NotAttached)."""
    subnet = situation.cloud.find(_SUBNET, situation.inputs["subnetId"])
    vpc = subnet.inputs["vpcId"] if subnet else ""
    attached = any(gateway.inputs.get("vpcId") == vpc for gateway in situation.cloud.of(_GATEWAY))
    if situation.inputs.get("connectivityType", "public") == "public" and not attached:
        yield Problem("subnetId", f"Gateway.NotAttached: {vpc} has no internet gateway attached")


def way_out(cloud: Cloud, subnet: str) -> str:
    """Where a subnet's default route leads: `internet`, `nat` (in a subnet that leads to the internet), or nowhere."""
    for association in cloud.of(_ASSOCIATION):
        for route in cloud.of(_ROUTE) if association.inputs.get("subnetId") == subnet else []:
            given = route.inputs
            if (given["routeTableId"], given.get("destinationCidrBlock")) != (
                association.inputs["routeTableId"],
                "0.0.0.0/0",
            ):
                continue
            if cloud.find(_GATEWAY, given.get("gatewayId", "")):
                return "internet"
            through = cloud.find(_NAT, given.get("natGatewayId", ""))
            if through and way_out(cloud, through.inputs["subnetId"]) == "internet":
                return "nat"
    return ""


def public_ip(made: Situation) -> str:
    """The address of a NAT gateway's Elastic IP."""
    address = made.cloud.find(_EIP, made.inputs.get("allocationId", ""))
    return address.outputs["publicIp"] if address else ""


def one_way(inputs: Inputs) -> Iterator[Problem]:
    """A route has one destination and one target."""
    targets = [name for name in _WAYS if name in inputs]
    if len(targets) != 1:
        yield Problem("", f"a route takes exactly one of {', '.join(_WAYS)}, not {targets}")
    found = [
        name
        for name in ("destinationCidrBlock", "destinationIpv6CidrBlock", "destinationPrefixListId")
        if name in inputs
    ]
    if len(found) != 1:
        yield Problem("", f"a route takes exactly one destination, not {found}")
    for name in found[:1]:
        value = inputs[name]
        if name != "destinationPrefixListId" and isinstance(value, str):
            try:
                ipaddress.ip_network(value)
            except ValueError as error:
                yield Problem(name, str(error))


def same_vpc(one: str, one_type: str, other: str, other_type: str) -> Rule:
    """Two properties name resources of the same VPC."""

    def rule(situation: Situation) -> Iterator[Problem]:
        first = situation.cloud.find(one_type, situation.inputs.get(one, ""))
        second = situation.cloud.find(other_type, situation.inputs.get(other, ""))
        if first and second and first.inputs["vpcId"] != second.inputs["vpcId"]:
            yield Problem(other, f"{second.id} is in {second.inputs['vpcId']}, {first.id} in {first.inputs['vpcId']}")

    return rule


def group_name(inputs: Inputs) -> Iterator[Problem]:
    """`sg-` is kept for ids."""
    if str(inputs.get("name", "")).startswith("sg-"):
        yield Problem("name", "a security group's name may not begin with sg-")


def ports(inputs: Inputs) -> Iterator[Problem]:
    """All traffic has no ports; TCP and UDP have both."""
    protocol: Any = inputs.get("ipProtocol")
    given = [name for name in ("fromPort", "toPort") if name in inputs]
    if protocol == "-1" and given:
        yield Problem(given[0], "all traffic (-1) takes no ports")
    if protocol in ("tcp", "udp") and len(given) != 2:
        yield Problem("fromPort", f"{protocol} needs fromPort and toPort")
    first, last = inputs.get("fromPort"), inputs.get("toPort")
    if (
        isinstance(first, int)
        and isinstance(last, int)
        and protocol in ("tcp", "udp")
        and not 0 <= first <= last <= 65535
    ):
        yield Problem("fromPort", f"{first} to {last} is no range of ports")


def one_source(inputs: Inputs) -> Iterator[Problem]:
    """A rule is for one range, prefix list or group."""
    given = [name for name in _SOURCES if name in inputs]
    if len(given) != 1:
        yield Problem("", f"a rule takes exactly one of {', '.join(_SOURCES)}, not {given}")
