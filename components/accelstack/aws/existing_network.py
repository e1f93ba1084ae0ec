"""A network that exists already, with the outputs of one's own. Nothing is made in it."""

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws import ec2

from accelstack.aws.refusals import refuse
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.platform import IDS

LEAST_ZONES = 2
"""Zones that EKS needs (https://docs.aws.amazon.com/eks/latest/userguide/network-reqs.html)."""


class ExistingNetworkArgs(TypedDict):
    """Args of `aws.ExistingNetwork`."""

    vpc_id: str
    """Id of the VPC; its DNS support and DNS host names must be on."""
    private_subnets: list[str]
    """Ids of private subnets, one in each of 2 or more zones, with a way to the internet or to AWS's services."""
    gpu_subnets: NotRequired[list[str]]
    """Ids of the subnets of GPU nodes, one in each zone; the private ones if left out."""
    public_subnets: NotRequired[list[str]]
    """Ids of the subnets of load balancers that face the internet, one in each zone; none if left out."""


class ExistingNetwork(pulumi.ComponentResource):
    """A VPC and subnets of it, made elsewhere; their zones are read from AWS.

    What AWS says about them is checked when it is read, in a preview too, and what does not fit ends the run with a
    message. The outputs are known only after that, so nothing is ever made in a network that does not fit.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    vpc_id: pulumi.Output[str]
    """Id of the VPC."""
    cidrs: pulumi.Output[list[str]]
    """Its address ranges: the IPv4 ones, then the IPv6 ones if there are some."""
    public_subnet_ids: pulumi.Output[dict[str, str]]
    """Subnets of load balancers that face the internet, by zone id."""
    private_subnet_ids: pulumi.Output[dict[str, str]]
    """Subnets of the control plane, nodes without GPUs, endpoints and storage, by zone id."""
    gpu_subnet_ids: pulumi.Output[dict[str, str]]
    """Subnets of GPU nodes, by zone id."""

    def __init__(self, name: str, args: ExistingNetworkArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        given = {
            "private_subnets": args["private_subnets"],
            "public_subnets": args.get("public_subnets", []),
            **({"gpu_subnets": args["gpu_subnets"]} if "gpu_subnets" in args else {}),
        }
        refuse(_check_ids(args["vpc_id"], given))
        super().__init__("accelstack:index:AwsExistingNetwork", name, None, opts)
        reading = pulumi.InvokeOutputOptions(parent=self)
        vpc = ec2.get_vpc_output(id=args["vpc_id"], opts=reading).apply(usable)
        found = {
            path: pulumi.Output.all(vpc, *(ec2.get_subnet_output(id=each, opts=reading) for each in ids)).apply(
                lambda parts, path=path: by_zone(path, parts[0], parts[1:])
            )
            for path, ids in given.items()
        }
        # any output waits for all the checks
        checked = pulumi.Output.all(vpc=vpc, **found)
        self.vpc_id = checked.apply(lambda parts: parts["vpc"].id)
        self.cidrs = checked.apply(lambda parts: _cidrs(parts["vpc"]))
        self.public_subnet_ids = checked.apply(lambda parts: parts["public_subnets"])
        self.private_subnet_ids = checked.apply(lambda parts: parts["private_subnets"])
        self.gpu_subnet_ids = checked.apply(lambda parts: parts.get("gpu_subnets", parts["private_subnets"]))
        self.register_outputs(
            {
                "vpc_id": self.vpc_id,
                "cidrs": self.cidrs,
                "public_subnet_ids": self.public_subnet_ids,
                "private_subnet_ids": self.private_subnet_ids,
                "gpu_subnet_ids": self.gpu_subnet_ids,
            }
        )


def by_zone(path: str, vpc: ec2.GetVpcResult, subnets: Sequence[ec2.GetSubnetResult]) -> dict[str, str]:
    """The subnets' ids by the ids of their zones.

    Raises:
        pulumi.RunError: one is not of the VPC, or they do not have a zone each.
    """
    found: dict[str, str] = {}
    for index, subnet in enumerate(subnets):
        at, zone = f"{path}[{index}]", subnet.availability_zone_id
        if subnet.vpc_id != vpc.id:
            raise pulumi.RunError(f"{at}: {subnet.id}: is of {subnet.vpc_id}, not of {vpc.id}; name subnets of one VPC")
        if zone in found:
            raise pulumi.RunError(f"{at}: {subnet.id}: is in {zone}, as {found[zone]} is; name one for each zone")
        found[zone] = subnet.id
    return found


def usable(vpc: ec2.GetVpcResult) -> ec2.GetVpcResult:
    """The VPC, if EKS's private API and AWS's private endpoints can work in it.

    Raises:
        pulumi.RunError: they cannot.
    """
    for setting, on in (("DNS support", vpc.enable_dns_support), ("DNS host names", vpc.enable_dns_hostnames)):
        if not on:
            raise pulumi.RunError(f"vpc_id: {vpc.id}: has {setting} off, and EKS's private API needs it; turn it on")
    return vpc


def _cidrs(vpc: ec2.GetVpcResult) -> list[str]:
    ipv6 = [each.ipv6_cidr_block for each in vpc.ipv6_cidr_block_associations]
    return [*(each.cidr_block for each in vpc.cidr_block_associations), *ipv6]


def _check_ids(vpc_id: str, given: Mapping[str, Sequence[str]]) -> Iterator[Finding]:
    if not re.fullmatch(IDS["vpc"], vpc_id):
        yield Finding(Severity.INVALID, "vpc_id", vpc_id, "is no id of a VPC", "use one such as vpc-0123456789abcdef0")
    for path, ids in given.items():
        for index, each in enumerate(ids):
            if not re.fullmatch(IDS["subnet"], each):
                fix = "use one such as subnet-0123456789abcdef0"
                yield Finding(Severity.INVALID, f"{path}[{index}]", each, "is no id of a subnet", fix)
    if len(given["private_subnets"]) < LEAST_ZONES:
        rule = f"a network has private subnets in {LEAST_ZONES} or more zones, as EKS's control plane does"
        value = " ".join(given["private_subnets"])
        yield Finding(Severity.ERROR, "private_subnets", value, rule, "name one in each of its zones")
