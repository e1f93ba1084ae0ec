"""Roles: of pods, through EKS Pod Identity, and of AWS services."""

from dataclasses import replace
from typing import NotRequired, TypedDict
from weakref import WeakKeyDictionary

import pulumi
import pulumi_aws as aws
from pulumi_aws import eks, iam

from accelstack.aws.policies import Place, document, pod_trust, service_trust

_PLACES: WeakKeyDictionary[pulumi.Resource, pulumi.Output[Place]] = WeakKeyDictionary()
"""Where each provider works: asked once, however many components stand on it."""


def place(parent: pulumi.Resource, region: str | None = None) -> pulumi.Output[Place]:
    """The partition, region and account that a component's provider works in; or another region of that partition."""
    asked = parent.get_provider("aws:index/getRegion:getRegion") or pulumi.runtime.get_root_resource()
    here = _PLACES.get(asked) if asked else None
    if here is None:
        opts = pulumi.InvokeOutputOptions(parent=parent)
        partition = aws.get_partition_output(opts=opts)
        here = pulumi.Output.all(
            partition.partition,
            partition.dns_suffix,
            aws.get_region_output(opts=opts).region,
            aws.get_caller_identity_output(opts=opts).account_id,
        ).apply(lambda parts: Place(*parts))
        if asked:
            _PLACES[asked] = here
    return here if region is None else here.apply(lambda known: replace(known, region=region))


def after(value: pulumi.Output[str], *ready: pulumi.Output[str]) -> pulumi.Output[str]:
    """The value, known only when others are too: so what takes it comes after them, and goes before them.

    Let the others be outputs that echo inputs, not ids: these are known in a preview that makes something anew.
    """
    return pulumi.Output.all(value, *ready).apply(lambda parts: parts[0])


class RoleArgs(TypedDict):
    """Args of `aws.Role`."""

    cluster: pulumi.Input[str]
    """Name of the EKS cluster."""
    namespace: pulumi.Input[str]
    """Kubernetes namespace of the service account."""
    service_account: pulumi.Input[str]
    """Name of the Kubernetes service account; it need not exist yet."""
    policy: pulumi.Input[str]
    """What its pods may do: IAM's JSON, such as `policies.document` makes."""


class Role(pulumi.ComponentResource):
    """What the pods of one Kubernetes service account may do in AWS, through EKS Pod Identity.

    Pods get credentials only if they start after it; so take the service account's name from its outputs.
    """

    arn: pulumi.Output[str]
    """ARN of the role, known when its policy is in force."""
    service_account: pulumi.Output[str]
    """Name of the service account, known when new pods get the role's credentials."""

    def __init__(self, name: str, args: RoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("accelstack:index:AwsRole", name, None, opts)
        trust = pulumi.Output.all(place(self), args["cluster"], args["namespace"], args["service_account"]).apply(
            lambda parts: document(pod_trust(parts[0].arn("eks", f"cluster/{parts[1]}"), parts[2], parts[3]))
        )
        role = iam.Role(
            name, assume_role_policy=trust, force_detach_policies=True, opts=pulumi.ResourceOptions(parent=self)
        )
        allowed = iam.RolePolicy(name, role=role.name, policy=args["policy"], opts=pulumi.ResourceOptions(parent=self))
        self.arn = after(role.arn, allowed.role)
        association = eks.PodIdentityAssociation(
            name,
            cluster_name=args["cluster"],
            namespace=args["namespace"],
            service_account=args["service_account"],
            role_arn=self.arn,
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.service_account = association.service_account
        self.register_outputs({"arn": self.arn, "service_account": self.service_account})


class ServiceRoleArgs(TypedDict):
    """Args of `aws.ServiceRole`."""

    service: str
    """The AWS service that takes it on, such as `sagemaker.amazonaws.com`."""
    policy: NotRequired[pulumi.Input[str]]
    """What the service may do with it: IAM's JSON, such as `policies.document` makes."""
    managed_policies: NotRequired[list[str]]
    """Policies of AWS that it has too, by name and path, such as `AmazonEKSClusterPolicy`."""


class ServiceRole(pulumi.ComponentResource):
    """What an AWS service may do in this account, for things of this account alone."""

    arn: pulumi.Output[str]
    """ARN of the role, known when its policies are in force."""
    role_name: pulumi.Output[str]
    """Name of the role, likewise."""

    def __init__(self, name: str, args: ServiceRoleArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("accelstack:index:AwsServiceRole", name, None, opts)
        here = place(self)
        role = iam.Role(
            name,
            assume_role_policy=here.apply(lambda each: document(service_trust(args["service"], each.account))),
            force_detach_policies=True,
            opts=pulumi.ResourceOptions(parent=self),
        )
        ready: list[pulumi.Output[str]] = []
        if "policy" in args:
            allowed = iam.RolePolicy(
                name, role=role.name, policy=args["policy"], opts=pulumi.ResourceOptions(parent=self)
            )
            ready.append(allowed.role)
        for policy in args.get("managed_policies", []):
            attached = iam.RolePolicyAttachment(
                f"{name}-{policy.rpartition('/')[2]}",
                role=role.name,
                policy_arn=here.apply(lambda each, policy=policy: f"arn:{each.partition}:iam::aws:policy/{policy}"),
                opts=pulumi.ResourceOptions(parent=self),
            )
            ready.append(attached.role)
        self.arn = after(role.arn, *ready)
        self.role_name = after(role.name, *ready)
        self.register_outputs({"arn": self.arn, "role_name": self.role_name})
