"""An EKS cluster: a private, encrypted and logged control plane, and who may use it."""

import re
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws import cloudwatch, ec2, eks, iam, vpc

from accelstack.aws.flow_logs import A_YEAR, check_days
from accelstack.aws.identity import ServiceRole, after, place
from accelstack.aws.keys import Key
from accelstack.aws.policies import Statement, document
from accelstack.aws.refusals import refuse
from accelstack.plan import compatibility, naming, platform
from accelstack.plan.findings import Severity

LOGS = ("api", "audit", "authenticator", "controllerManager", "scheduler")
"""Every log of a control plane (https://docs.aws.amazon.com/eks/latest/userguide/control-plane-logs.html)."""
NODE_POLICIES = ("AmazonEKSWorkerNodePolicy", "AmazonEC2ContainerRegistryPullOnly")
"""What a node itself needs; the VPC CNI has a role of its own
(https://docs.aws.amazon.com/eks/latest/userguide/create-node-role.html)."""
PRIVATE = tuple(map(ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7")))
"""Addresses that EKS takes none of for a public endpoint: those of networks."""
NO_LOG_GROUP = Statement("NoLogGroup", ["logs:CreateLogGroup"], ["*"], deny=True)
"""The log group is made before the cluster. A control plane that could make it would do so again with its last words,
unencrypted and for ever, and the next cluster of the name could not be made
(https://github.com/terraform-aws-modules/terraform-aws-eks/issues/920)."""


class ClusterArgs(TypedDict):
    """Args of `aws.Cluster`."""

    version: str
    """Minor version of Kubernetes, such as `1.35`."""
    vpc_id: pulumi.Input[str]
    """The network that reaches the private API."""
    subnet_ids: pulumi.Input[list[str]]
    """Private subnets for the control plane's interfaces, in two zones or more. EKS never lets the set of zones change,
    and has none in some (`accelstack.plan.network.home_zones`)."""
    api_access: NotRequired[list[str]]
    """Address ranges that reach the API from outside the network: private ones (a VPN, a peered network) over its
    private endpoint, public ones over a public endpoint for them alone. None if left out."""
    admins: NotRequired[list[str]]
    """ARNs of further IAM roles and users that administer the cluster. Who creates it administers it without being
    named, and must not be named."""
    log_days: NotRequired[int]
    """Days for which logs of the control plane are kept; 365 if left out."""
    key_arn: NotRequired[pulumi.Input[str]]
    """KMS key for secrets and logs, opened to `logs`; another one makes another cluster. One is made if left out."""
    protect: NotRequired[bool]
    """Whether cluster, logs and key are kept from deletion; true if left out."""


class Cluster(pulumi.ComponentResource):
    """An EKS cluster without nodes, and with the roles and accesses that nodes and people need.

    Its API is private: reached from the VPC, and from where `api_access` says. Nodes need `NodeAddons` before they
    join. The cluster's name is made of project, stack and component, so a change that replaces the cluster deletes it
    first, which `protect` refuses.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    name: pulumi.Output[str]
    """Name of the cluster in AWS."""
    arn: pulumi.Output[str]
    """ARN of the cluster."""
    kubeconfig: pulumi.Output[str | None]
    """Secret: signs in with the `aws` command and the credentials at hand."""
    endpoint: pulumi.Output[str]
    """URL of the API."""
    certificate_authority: pulumi.Output[str]
    """Certificate of the API's authority, PEM in base64."""
    version: pulumi.Output[str]
    """Minor version of Kubernetes."""
    security_group_id: pulumi.Output[str]
    """The security group that joins control plane and nodes."""
    oidc_provider_arn: pulumi.Output[str]
    """The IAM identity provider that vouches for the cluster's service accounts."""
    node_role_arn: pulumi.Output[str]
    """The role of all nodes; managed node groups give it access."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        _check(args)
        super().__init__("accelstack:index:AwsCluster", name, None, opts)
        protect = args.get("protect", True)
        physical = naming.physical("aws", "cluster", pulumi.get_project(), pulumi.get_stack(), name)
        key_arn = args.get("key_arn")
        if key_arn is None:
            described = f"Secrets and logs of EKS cluster {physical}"
            key_arn = Key(name, {"description": described, "services": ["logs"], "protect": protect}, _child(self)).arn
        logs = cloudwatch.LogGroup(
            name,
            name=f"/aws/eks/{physical}/cluster",
            kms_key_id=key_arn,
            retention_in_days=args.get("log_days", A_YEAR),
            opts=pulumi.ResourceOptions(parent=self, protect=protect, delete_before_replace=True),
        )
        role = ServiceRole(
            f"{name}-control-plane",
            {
                "service": "eks.amazonaws.com",
                "managed_policies": ["AmazonEKSClusterPolicy"],
                "policy": document([NO_LOG_GROUP]),
            },
            _child(self),
        )
        private, public = _ranges(args.get("api_access", []))
        cluster = eks.Cluster(
            name,
            name=physical,
            version=args["version"],
            role_arn=role.arn,
            vpc_config=eks.ClusterVpcConfigArgs(
                subnet_ids=args["subnet_ids"],
                endpoint_private_access=True,
                endpoint_public_access=bool(public),
                public_access_cidrs=public or None,
            ),
            access_config=eks.ClusterAccessConfigArgs(
                authentication_mode="API", bootstrap_cluster_creator_admin_permissions=True
            ),
            encryption_config=eks.ClusterEncryptionConfigArgs(
                provider=eks.ClusterEncryptionConfigProviderArgs(key_arn=key_arn), resources=["secrets"]
            ),
            enabled_cluster_log_types=[*LOGS],
            # extended support costs six times as much: better an upgrade at the end of standard support
            upgrade_policy=eks.ClusterUpgradePolicyArgs(support_type="STANDARD"),
            bootstrap_self_managed_addons=False,
            deletion_protection=protect,
            opts=pulumi.ResourceOptions(
                parent=self,
                protect=protect,
                delete_before_replace=True,  # its name is its own, and the log group knows it
                depends_on=[logs],  # else EKS makes the log group itself
            ),
        )
        self.security_group_id = cluster.vpc_config.cluster_security_group_id
        ways = _open_api(self, name, self.security_group_id, args["vpc_id"], private)
        ways += [_admin(self, name, cluster.name, arn) for arn in dict.fromkeys(args.get("admins", []))]
        provider = iam.OpenIdConnectProvider(
            name,
            url=cluster.identities[0].oidcs[0].issuer,
            client_id_lists=["sts.amazonaws.com"],
            opts=_child(self),
        )
        nodes = ServiceRole(
            f"{name}-node", {"service": "ec2.amazonaws.com", "managed_policies": [*NODE_POLICIES]}, _child(self)
        )
        region = place(self).apply(lambda here: here.region)
        self.name = cluster.name
        self.arn = cluster.arn
        self.endpoint = cluster.endpoint
        self.certificate_authority = cluster.certificate_authority.data
        self.version = cluster.version
        # who uses it comes after the ways in, and goes before them
        self.kubeconfig = kubeconfig(after(self.name, *ways), self.endpoint, self.certificate_authority, region)
        self.oidc_provider_arn = provider.arn
        self.node_role_arn = nodes.arn
        self.register_outputs(
            {
                "name": self.name,
                "arn": self.arn,
                "kubeconfig": self.kubeconfig,
                "endpoint": self.endpoint,
                "certificate_authority": self.certificate_authority,
                "version": self.version,
                "security_group_id": self.security_group_id,
                "oidc_provider_arn": self.oidc_provider_arn,
                "node_role_arn": self.node_role_arn,
            }
        )


def kubeconfig(
    name: pulumi.Input[str], endpoint: pulumi.Input[str], authority: pulumi.Input[str], region: pulumi.Input[str]
) -> pulumi.Output[str | None]:
    """A kubeconfig that holds no credentials: `aws eks get-token` makes a token of those at hand."""
    command = ["--region", region, "eks", "get-token", "--cluster-name", name, "--output", "json"]
    sign_in = {
        "apiVersion": "client.authentication.k8s.io/v1beta1",
        "command": "aws",
        "args": command,
        "interactiveMode": "Never",
    }
    text = pulumi.Output.json_dumps(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{"name": name, "cluster": {"server": endpoint, "certificate-authority-data": authority}}],
            "users": [{"name": name, "user": {"exec": sign_in}}],
            "contexts": [{"name": name, "context": {"cluster": name, "user": name}}],
            "current-context": name,
        }
    )
    return pulumi.Output[str | None].secret(text)


def _child(parent: pulumi.Resource) -> pulumi.ResourceOptions:
    return pulumi.ResourceOptions(parent=parent)


def _check(args: ClusterArgs) -> None:
    version = args["version"]
    if not re.fullmatch(r"1\.\d+", version):
        raise pulumi.InputPropertyError("version", f"is {version}; EKS takes minor versions; use one such as 1.35")
    for found in compatibility.check({"target": "aws"}, {"kubernetes": version}):
        # also what is a warning elsewhere: a version past standard support is not to be had without paying for extended
        refuse([replace(found, property="version", severity=Severity.ERROR)])
    refuse([check_days("log_days", args.get("log_days", A_YEAR))])
    subnets = args["subnet_ids"]
    if isinstance(subnets, list) and len(subnets) < 2:
        reason = f"has {len(subnets)}; EKS needs subnets in two zones; name one in each of two zones or more"
        raise pulumi.InputPropertyError("subnet_ids", reason)
    for index, text in enumerate(args.get("api_access", [])):
        try:
            block = ip_network(text)
        except ValueError as error:
            reason = f"is {text}, which is no address range ({error}); use one such as 203.0.113.7/32"
            raise pulumi.InputPropertyError(f"api_access[{index}]", reason) from None
        if block.prefixlen == 0:
            reason = f"is {text}, which opens the API to the whole internet; name the addresses that need it"
            raise pulumi.InputPropertyError(f"api_access[{index}]", reason)
    for index, arn in enumerate(args.get("admins", [])):
        if not re.fullmatch(platform.ARN, arn):
            reason = f"is {arn}, which is no ARN of an IAM role or user; use one such as arn:aws:iam::…:role/…"
            raise pulumi.InputPropertyError(f"admins[{index}]", reason)


def _ranges(texts: list[str]) -> tuple[list[str], list[str]]:
    """The private address ranges, and the public ones."""
    private = [text for text in dict.fromkeys(texts) if _within(ip_network(text))]
    return private, [text for text in dict.fromkeys(texts) if text not in private]


def _within(block: IPv4Network | IPv6Network) -> bool:
    return any(
        (isinstance(block, IPv4Network) and isinstance(whole, IPv4Network) and block.subnet_of(whole))
        or (isinstance(block, IPv6Network) and isinstance(whole, IPv6Network) and block.subnet_of(whole))
        for whole in PRIVATE
    )


def _open_api(
    parent: Cluster, name: str, group: pulumi.Output[str], vpc_id: pulumi.Input[str], private: list[str]
) -> list[pulumi.Output[str]]:
    """Lets the network and the private ranges reach the API: the cluster's group lets nodes in alone."""
    network = ec2.get_vpc_output(id=vpc_id, opts=pulumi.InvokeOutputOptions(parent=parent)).cidr_block
    ranges: dict[str, pulumi.Input[str]] = {"network": network, **{text.replace("/", "-"): text for text in private}}
    opened: list[pulumi.Output[str]] = []
    for label, cidr in ranges.items():
        six = ":" in label
        rule = vpc.SecurityGroupIngressRule(
            f"{name}-api-{label}",
            security_group_id=group,
            description="API of the cluster",
            ip_protocol="tcp",
            from_port=443,
            to_port=443,
            cidr_ipv4=None if six else cidr,
            cidr_ipv6=cidr if six else None,
            opts=_child(parent),
        )
        opened.append(rule.security_group_id)
    return opened


def _admin(parent: Cluster, name: str, cluster: pulumi.Output[str], arn: str) -> pulumi.Output[str]:
    label = re.sub(r"[^\w.-]+", "-", arn.split(":", 4)[4])
    entry = eks.AccessEntry(
        f"{name}-admin-{label}",
        cluster_name=cluster,
        principal_arn=arn,
        opts=_child(parent),
    )
    return eks.AccessPolicyAssociation(
        f"{name}-admin-{label}",
        cluster_name=cluster,
        principal_arn=entry.principal_arn,
        policy_arn=place(parent).apply(
            lambda here: f"arn:{here.partition}:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
        ),
        access_scope=eks.AccessPolicyAssociationAccessScopeArgs(type="cluster"),
        opts=_child(parent),
    ).principal_arn
