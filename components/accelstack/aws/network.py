"""A network of one's own: private and GPU subnets in each zone, and the ways out of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from ipaddress import IPv4Network, IPv6Network
from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws import ec2

from accelstack.aws.endpoints import Endpoints
from accelstack.aws.flow_logs import A_YEAR, FlowLogs, FlowLogsArgs, check_days
from accelstack.aws.refusals import refuse
from accelstack.plan.findings import one_of
from accelstack.plan.network import home_zones, zone_subnets
from accelstack.plan.platform import ENDPOINTS

NAT = ("per_zone", "single")
LOAD_BALANCERS = {
    "public": {"kubernetes.io/role/elb": "1"},
    "private": {"kubernetes.io/role/internal-elb": "1"},
    "gpu": {},
}
"""Tags by which Kubernetes finds the subnets of its load balancers; they shall not take addresses from GPU nodes
(https://docs.aws.amazon.com/eks/latest/userguide/network-load-balancing.html)."""
IPV6_SUBNETS = 64
"""Of the 256 subnets in Amazon's IPv6 range, those that lie as the IPv4 subnets do, in 64ths of the network."""


class NetworkArgs(TypedDict):
    """Args of `aws.Network`."""

    cidr: str
    """Private IPv4 range, /16 to /21, such as `10.0.0.0/16`. Each zone has an eighth of it, whatever the others."""
    zones: list[str]
    """2 to 6 zones by id, such as `use1-az1`: names mean other zones in other accounts."""
    gpu_zones: NotRequired[list[str]]
    """Those of the zones that have a subnet for GPU nodes; all if left out."""
    nat: NotRequired[str]
    """`per_zone`, or `single`: one gateway for all, cheaper but for traffic between zones, and all are cut off if its
    zone is lost. `per_zone` if left out. Each gateway takes an Elastic IP, of which a new account may have 5."""
    ipv6: NotRequired[bool]
    """Whether subnets have an IPv6 range too (dual stack), and machines in them an address and a way out that costs no
    NAT and is closed inwards. Pods have IPv6 only on a cluster made for it. False if left out."""
    endpoints: NotRequired[list[str]]
    """AWS services that are called without leaving the network, by short name; `plan.platform.ENDPOINTS` if left out.
    S3 is always one."""
    endpoint_zones: NotRequired[list[str]]
    """Those of the zones in which the endpoints have addresses and cost money; the first three that EKS uses if left
    out."""
    log_days: NotRequired[int]
    """Days to keep the flow logs; 365 if left out."""
    key_arn: NotRequired[pulumi.Input[str]]
    """Key that encrypts the flow logs, opened to `logs`; left out, one is made."""
    protect: NotRequired[bool]
    """Whether the flow logs, and the key if one is made, are kept from deletion; true if left out."""


class Network(pulumi.ComponentResource):
    """A VPC in which nothing has a public address but its NAT gateways, with flow logs and private ways to AWS.

    Subnets have the default network ACL, which admits all: who may talk to whom is said by security groups, which
    follow connections, and the default one is empty. GPU nodes need every port among themselves.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    vpc_id: pulumi.Output[str]
    """Id of the VPC."""
    cidrs: pulumi.Output[list[str]]
    """Its address ranges: the IPv4 one, then the IPv6 one if there is one."""
    public_subnet_ids: pulumi.Output[dict[str, str]]
    """Subnets of load balancers that face the internet, by zone id; each known when its routes are there."""
    private_subnet_ids: pulumi.Output[dict[str, str]]
    """Subnets of the control plane, nodes without GPUs, endpoints and storage, likewise."""
    gpu_subnet_ids: pulumi.Output[dict[str, str]]
    """Subnets of GPU nodes, likewise."""

    def __init__(self, name: str, args: NetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        zones = args["zones"]
        nat = args.get("nat", NAT[0])
        endpoint_zones = args.get("endpoint_zones", home_zones(zones))
        subnets, findings = zone_subnets(args["cidr"], zones, args.get("gpu_zones", zones))
        refuse(
            [
                *findings,
                one_of("nat", nat, NAT, "layout of NAT gateways"),
                *(one_of("endpoint_zones", each, zones, "zone of the network") for each in endpoint_zones),
                check_days("log_days", args.get("log_days", A_YEAR)),
            ]
        )
        super().__init__("accelstack:index:AwsNetwork", name, None, opts)
        ipv6 = args.get("ipv6", False)
        child = pulumi.ResourceOptions(parent=self)
        vpc = ec2.Vpc(
            name,
            cidr_block=args["cidr"],
            assign_generated_ipv6_cidr_block=ipv6,
            enable_dns_support=True,
            enable_dns_hostnames=True,
            tags={"Name": name},
            opts=child,
        )
        ec2.DefaultSecurityGroup(
            name, vpc_id=vpc.id, ingress=[], egress=[], tags={"Name": f"{name}-unused"}, opts=child
        )
        FlowLogs(f"{name}-flow", _flow_logs(args, vpc.id), child)

        # Public subnets have the VPC's id from its gateway: NAT gateways need it, and it must not go before them.
        # Another VPC has another gateway: AWS does not take one away from a network that is in use.
        apart = pulumi.ResourceOptions(parent=self, replace_on_changes=["vpcId"])
        internet = ec2.InternetGateway(name, vpc_id=vpc.id, tags={"Name": name}, opts=apart)
        homes = {"public": internet.vpc_id, "private": vpc.id, "gpu": vpc.id}
        made = {
            (each.name, each.zone): ec2.Subnet(
                f"{name}-{each.name}-{each.zone}",
                vpc_id=homes[each.name],
                availability_zone_id=each.zone,
                cidr_block=each.cidr,
                ipv6_cidr_block=vpc.ipv6_cidr_block.apply(partial(ipv6_subnet, network=args["cidr"], cidr=each.cidr))
                if ipv6
                else None,
                assign_ipv6_address_on_creation=ipv6,
                map_public_ip_on_launch=False,
                tags={"Name": f"{name}-{each.name}-{each.zone}", **LOAD_BALANCERS[each.name]},
                opts=child,
            ).id
            for each in subnets
        }

        way = {"gateway_id": internet.id}
        table = _table(f"{name}-public", vpc.id, way, way if ipv6 else None, child)
        tables = [table.id]
        ids = {
            "public": {zone: _associate(f"{name}-public-{zone}", made["public", zone], table, child) for zone in zones},
            "private": {},
            "gpu": {},
        }
        serving = nat_zones(zones, nat)
        gateways = {
            zone: _nat_gateway(f"{name}-{zone}", ids["public"][zone], child) for zone in sorted({*serving.values()})
        }
        outward = ec2.EgressOnlyInternetGateway(name, vpc_id=vpc.id, tags={"Name": name}, opts=child) if ipv6 else None
        for zone in zones:
            table = _table(
                f"{name}-private-{zone}",
                vpc.id,
                {"nat_gateway_id": gateways[serving[zone]]},
                {"egress_only_gateway_id": outward.id} if outward else None,
                child,
            )
            tables.append(table.id)
            for kind in ("private", "gpu"):
                if (kind, zone) in made:
                    ids[kind][zone] = _associate(f"{name}-{kind}-{zone}", made[kind, zone], table, child)

        self.vpc_id = vpc.id
        self.cidrs = pulumi.Output.all(vpc.cidr_block, *([vpc.ipv6_cidr_block] if ipv6 else []))
        self.public_subnet_ids = pulumi.Output.all(**ids["public"])
        self.private_subnet_ids = pulumi.Output.all(**ids["private"])
        self.gpu_subnet_ids = pulumi.Output.all(**ids["gpu"])
        Endpoints(
            f"{name}-endpoints",
            {
                "vpc_id": vpc.id,
                "cidrs": self.cidrs,
                "subnet_ids": pulumi.Output.all(*(made["private", zone] for zone in endpoint_zones)),
                "route_table_ids": pulumi.Output.all(*tables),
                "services": args.get("endpoints", [*ENDPOINTS]),
            },
            child,
        )
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "cidrs": self.cidrs,
                "public_subnet_ids": self.public_subnet_ids,
                "private_subnet_ids": self.private_subnet_ids,
                "gpu_subnet_ids": self.gpu_subnet_ids,
            }
        )


def nat_zones(zones: Sequence[str], nat: str) -> dict[str, str]:
    """For each zone, the zone whose NAT gateway serves it; Local Zones have none, since not all of them can."""
    regular = [zone for zone in zones if zone.count("-") == 1]
    return {zone: zone if nat == "per_zone" and zone in regular else regular[0] for zone in zones}


def ipv6_subnet(ipv6_cidr: str, network: str, cidr: str) -> str:
    """The /64 of a subnet in the network's IPv6 range: it lies there as the subnet lies in the IPv4 range."""
    whole = IPv4Network(network)
    place = (int(IPv4Network(cidr).network_address) - int(whole.network_address)) * IPV6_SUBNETS // whole.num_addresses
    return str(IPv6Network((int(IPv6Network(ipv6_cidr).network_address) + (place << 64), 64)))


def _flow_logs(args: NetworkArgs, vpc_id: pulumi.Output[str]) -> FlowLogsArgs:
    logs: FlowLogsArgs = {
        "vpc_id": vpc_id,
        "log_days": args.get("log_days", A_YEAR),
        "protect": args.get("protect", True),
    }
    if "key_arn" in args:
        logs["key_arn"] = args["key_arn"]
    return logs


@dataclass(frozen=True, slots=True)
class _Table:
    id: pulumi.Output[str]
    ready: pulumi.Output[str]
    """The id too, known when the table's routes are there."""


def _table(
    name: str,
    vpc_id: pulumi.Output[str],
    ipv4: Mapping[str, pulumi.Output[str]],
    ipv6: Mapping[str, pulumi.Output[str]] | None,
    child: pulumi.ResourceOptions,
) -> _Table:
    """A route table with a way to the internet for each address family."""
    table = ec2.RouteTable(name, vpc_id=vpc_id, tags={"Name": name}, opts=child)
    ready = ec2.Route(
        name, route_table_id=table.id, destination_cidr_block="0.0.0.0/0", opts=child, **ipv4
    ).route_table_id
    if ipv6:
        ready = ec2.Route(
            f"{name}-ipv6", route_table_id=ready, destination_ipv6_cidr_block="::/0", opts=child, **ipv6
        ).route_table_id
    return _Table(table.id, ready)


def _associate(
    name: str, subnet_id: pulumi.Output[str], table: _Table, child: pulumi.ResourceOptions
) -> pulumi.Output[str]:
    """The subnet's id, known when its routes are there."""
    made = ec2.RouteTableAssociation(name, subnet_id=subnet_id, route_table_id=table.ready, opts=child)
    return made.subnet_id.apply(lambda each: each or "")


def _nat_gateway(name: str, subnet_id: pulumi.Output[str], child: pulumi.ResourceOptions) -> pulumi.Output[str]:
    """A way out under an address that stays when the gateway is replaced, which it therefore cannot outlive."""
    address = ec2.Eip(name, domain="vpc", tags={"Name": name}, opts=child)
    first = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(delete_before_replace=True))
    return ec2.NatGateway(name, allocation_id=address.id, subnet_id=subnet_id, tags={"Name": name}, opts=first).id
