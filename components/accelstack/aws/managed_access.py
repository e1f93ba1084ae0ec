"""What SageMaker needs to work for a stack: a role, and a security group in its network."""

from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws import ec2, vpc

from accelstack.aws.identity import ServiceRole, place
from accelstack.aws.images import repository
from accelstack.aws.policies import document, sagemaker_execution, sagemaker_network


class ManagedAccessArgs(TypedDict):
    """Args of `aws.ManagedAccess`."""

    vpc_id: pulumi.Input[str]
    """The network that jobs and endpoints run in."""
    subnet_ids: pulumi.Input[list[str]]
    """Its private subnets."""
    bucket_arn: pulumi.Input[str]
    """The bucket of data, checkpoints and models."""
    key_arn: pulumi.Input[str]
    """The key that encrypts it."""
    images: NotRequired[pulumi.Input[list[str]]]
    """The images in ECR that run, by digest; none if left out, where AWS's own serve."""


class ManagedAccess(pulumi.ComponentResource):
    """The role that SageMaker takes on for training jobs and endpoints, and the security group of their interfaces:
    open to itself, for machines that train together, and to HTTPS outwards."""

    role_arn: pulumi.Output[str]
    """The role, known when it may do what it must."""
    security_group_id: pulumi.Output[str]
    """The security group, known when its rules are there."""

    def __init__(self, name: str, args: ManagedAccessArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("accelstack:index:AwsManagedAccess", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        group = ec2.SecurityGroup(
            name, vpc_id=args["vpc_id"], description="Training jobs and endpoints of SageMaker", opts=child
        )
        arriving = vpc.SecurityGroupIngressRule(
            name,
            security_group_id=group.id,
            referenced_security_group_id=group.id,
            ip_protocol="-1",
            description="Machines that train together",
            opts=child,
        )
        leaving = vpc.SecurityGroupEgressRule(
            name,
            security_group_id=group.id,
            referenced_security_group_id=group.id,
            ip_protocol="-1",
            description="Machines that train together",
            opts=child,
        )
        outwards = vpc.SecurityGroupEgressRule(
            f"{name}-https",
            security_group_id=group.id,
            cidr_ipv4="0.0.0.0/0",
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            description="AWS's services, whose addresses change; answers alone come back",
            opts=child,
        )
        self.security_group_id = pulumi.Output.all(
            arriving.security_group_id, leaving.security_group_id, outwards.security_group_id
        ).apply(lambda ids: ids[0])
        policy = pulumi.Output.all(
            place(self),
            args["bucket_arn"],
            args["key_arn"],
            args.get("images", []),
            args["subnet_ids"],
            self.security_group_id,
        ).apply(
            lambda parts: document(
                [
                    *sagemaker_execution(
                        parts[0], parts[1], parts[2], [repository(each, parts[0].partition) for each in parts[3]]
                    ),
                    *sagemaker_network(parts[0], parts[4], [parts[5]]),
                ]
            )
        )
        self.role_arn = ServiceRole(name, {"service": "sagemaker.amazonaws.com", "policy": policy}, child).arn
        self.register_outputs({"role_arn": self.role_arn, "security_group_id": self.security_group_id})
