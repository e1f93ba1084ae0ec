"""Private ways to AWS's own services. Without them, image layers and data pass the NAT gateways and are paid for there.

Endpoints have no policies of their own: who may do what is said by roles, buckets and keys. A policy that admits this
account's things alone would keep nodes from image layers, packages and models that AWS or others publish.
"""

from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws import ec2

from accelstack.aws.identity import place
from accelstack.plan.platform import ENDPOINTS


def service_name(region: str, service: str) -> str:
    """Full name of a service's endpoint; a full name stays as it is."""
    return service if service.startswith(("com.", "cn.")) else f"com.amazonaws.{region}.{service}"


class EndpointsArgs(TypedDict):
    """Args of `aws.Endpoints`."""

    vpc_id: pulumi.Input[str]
    """Id of the VPC; its DNS support and DNS host names must be on."""
    cidrs: pulumi.Input[list[str]]
    """Address ranges that may call the services: those of the VPC."""
    subnet_ids: pulumi.Input[list[str]]
    """Subnets that hold the endpoints' addresses, one in each zone that pays for some."""
    route_table_ids: pulumi.Input[list[str]]
    """Route tables that lead to S3 without a NAT gateway."""
    services: NotRequired[list[str]]
    """Services with an endpoint in the subnets, by short name such as `ecr.api` or by full name, as some need in China;
    `plan.platform.ENDPOINTS` if left out."""


class Endpoints(pulumi.ComponentResource):
    """A gateway to S3, and an address in the subnets for each of the services, under the service's own DNS name."""

    security_group_id: pulumi.Output[str]
    """Security group of the endpoints: HTTPS from the ranges, and nothing out."""

    def __init__(self, name: str, args: EndpointsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("accelstack:index:AwsEndpoints", name, None, opts)
        region = place(self).apply(lambda here: here.region)
        ec2.VpcEndpoint(
            f"{name}-s3",
            vpc_id=args["vpc_id"],
            vpc_endpoint_type="Gateway",
            service_name=region.apply(lambda each: service_name(each, "s3")),
            route_table_ids=args["route_table_ids"],
            tags={"Name": f"{name}-s3"},
            opts=pulumi.ResourceOptions(parent=self),
        )
        cidrs = pulumi.Output.from_input(args["cidrs"])
        group = ec2.SecurityGroup(
            name,
            description="Calls of AWS services from inside the network",
            vpc_id=args["vpc_id"],
            ingress=[
                ec2.SecurityGroupIngressArgs(
                    description="HTTPS from the network",
                    protocol="tcp",
                    from_port=443,
                    to_port=443,
                    cidr_blocks=cidrs.apply(lambda ranges: [each for each in ranges if ":" not in each]),
                    ipv6_cidr_blocks=cidrs.apply(lambda ranges: [each for each in ranges if ":" in each]),
                )
            ],
            egress=[],
            tags={"Name": name},
            opts=pulumi.ResourceOptions(parent=self),
        )
        for service in args.get("services", ENDPOINTS):
            if service == "s3":
                continue  # has its gateway
            ec2.VpcEndpoint(
                f"{name}-{service.replace('.', '-')}",
                vpc_id=args["vpc_id"],
                vpc_endpoint_type="Interface",
                service_name=region.apply(lambda each, service=service: service_name(each, service)),
                private_dns_enabled=True,
                subnet_ids=args["subnet_ids"],
                security_group_ids=[group.id],
                tags={"Name": f"{name}-{service}"},
                opts=pulumi.ResourceOptions(parent=self),
            )
        self.security_group_id = group.id
        self.register_outputs({"security_group_id": self.security_group_id})
