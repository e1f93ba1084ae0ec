"""EKS add-ons: those that nodes need to join, and those that need nodes to run on."""

import json
from collections.abc import Mapping
from typing import Any, NotRequired, TypedDict

import pulumi
from pulumi_aws import eks, iam

from accelstack.aws.identity import after, place
from accelstack.aws.policies import KEY_USE, Statement, document, pod_trust
from accelstack.aws.refusals import refuse
from accelstack.plan.findings import one_of

FOR_NODES = ("vpc-cni", "kube-proxy", "eks-pod-identity-agent", "eks-node-monitoring-agent")
"""They run on every node, and are active without one."""
DRIVERS = {"ebs": "aws-ebs-csi-driver", "fsx": "aws-fsx-csi-driver", "efs": "aws-efs-csi-driver"}
"""CSI drivers by the storage that they mount."""
ON_NODES = ("coredns", "metrics-server", *DRIVERS.values())
"""They have pods of their own, and EKS waits for these."""
SETTINGS: dict[str, dict[str, Any]] = {
    "vpc-cni": {
        "enableNetworkPolicy": "true",
        # addresses in prefixes of 16: as the subnets are planned, and the only way to 110 pods on small machines
        "env": {"ENABLE_PREFIX_DELEGATION": "true", "WARM_PREFIX_TARGET": "1"},
    },
    "coredns": {"autoScaling": {"enabled": True, "minReplicas": 2, "maxReplicas": 10}},
}
"""What departs from an add-on's defaults."""


class NodeAddonsArgs(TypedDict):
    """Args of `aws.NodeAddons`."""

    cluster: pulumi.Input[str]
    """Name of the EKS cluster."""
    oidc_provider_arn: pulumi.Input[str]
    """The IAM identity provider of its service accounts."""
    versions: NotRequired[dict[str, str]]
    """Versions to fix, by add-on, such as `{"vpc-cni": "v1.20.4-eksbuild.1"}`. One left out gets EKS's default when it
    is made and keeps it, also when Kubernetes is upgraded."""


class NodeAddons(pulumi.ComponentResource):
    """The add-ons of every node: VPC CNI with prefixes and network policies, kube-proxy, the agents of Pod Identity and
    of node health. Without them no node becomes ready.

    The CNI has its role through the identity provider, so that it hangs on nothing else that has to run on the node.

    Raises:
        pulumi.InputPropertyError: a version is for no add-on of these.
    """

    cluster: pulumi.Output[str]
    """The cluster's name, known when nodes can join: give it to node pools."""

    def __init__(self, name: str, args: NodeAddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        versions = args.get("versions", {})
        refuse(one_of("versions", addon, FOR_NODES, "add-on here") for addon in versions)
        super().__init__("accelstack:index:AwsNodeAddons", name, None, opts)
        trust = pulumi.Output.from_input(args["oidc_provider_arn"]).apply(
            lambda arn: document(web_identity_trust(arn, "kube-system", "aws-node"))
        )
        role = _role(self, f"{name}-vpc-cni", trust, "AmazonEKS_CNI_Policy")
        made = [
            _addon(self, name, addon, args["cluster"], versions, role=role if addon == "vpc-cni" else None)
            for addon in FOR_NODES
        ]
        self.cluster = after(*(each.cluster_name for each in made))
        self.register_outputs({"cluster": self.cluster})


class ClusterAddonsArgs(TypedDict):
    """Args of `aws.ClusterAddons`."""

    cluster: pulumi.Input[str]
    """Name of the EKS cluster, known when it has nodes: take it from the outputs of a node pool."""
    drivers: NotRequired[list[str]]
    """Storage that pods mount: `ebs`, `fsx` (Lustre), `efs`; the first two if left out. File systems of FSx and EFS
    exist already: their drivers have no rights to make more."""
    key_arn: NotRequired[pulumi.Input[str]]
    """KMS key that EBS volumes of pods are encrypted with, where that is not AWS's own."""
    versions: NotRequired[dict[str, str]]
    """Versions to fix, by add-on, such as `{"coredns": "v1.12.4-eksbuild.1"}`; see `NodeAddonsArgs`."""


class ClusterAddons(pulumi.ComponentResource):
    """The add-ons whose pods need nodes: DNS, metrics, storage drivers.

    Raises:
        pulumi.InputPropertyError: a driver is not known, or a version is for no add-on of these.
    """

    cluster: pulumi.Output[str]
    """The cluster's name, known when names resolve and volumes mount in it."""

    def __init__(self, name: str, args: ClusterAddonsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        drivers = args.get("drivers", ["ebs", "fsx"])
        for index, driver in enumerate(drivers):
            refuse([one_of(f"drivers[{index}]", driver, DRIVERS, "storage driver")])
        versions = args.get("versions", {})
        refuse(one_of("versions", addon, ON_NODES, "add-on here") for addon in versions)
        super().__init__("accelstack:index:AwsClusterAddons", name, None, opts)
        made: list[eks.Addon] = []
        for addon in ("coredns", "metrics-server", *(DRIVERS[driver] for driver in dict.fromkeys(drivers))):
            pods = self._volumes_role(name, args) if addon == DRIVERS["ebs"] else None
            made.append(_addon(self, name, addon, args["cluster"], versions, pods=pods))
        self.cluster = after(*(each.cluster_name for each in made))
        self.register_outputs({"cluster": self.cluster})

    def _volumes_role(self, name: str, args: ClusterAddonsArgs) -> eks.AddonPodIdentityAssociationArgs:
        """What the EBS driver may do: AWS's own policy for it, and the use of the key."""
        account = "ebs-csi-controller-sa"
        trust = pulumi.Output.all(place(self), args["cluster"]).apply(
            lambda parts: document(pod_trust(parts[0].arn("eks", f"cluster/{parts[1]}"), "kube-system", account))
        )
        key_arn = args.get("key_arn")
        policy = None
        if key_arn is not None:
            policy = pulumi.Output.from_input(key_arn).apply(lambda arn: document(volume_key(arn)))
        role = _role(self, f"{name}-ebs", trust, "service-role/AmazonEBSCSIDriverPolicy", policy)
        return eks.AddonPodIdentityAssociationArgs(role_arn=role, service_account=account)


def web_identity_trust(provider_arn: str, namespace: str, service_account: str) -> list[Statement]:
    """Lets pods of one service account take a role on through the cluster's identity provider."""
    issuer = provider_arn.partition(":oidc-provider/")[2]
    subject = f"system:serviceaccount:{namespace}:{service_account}"
    claims = {f"{issuer}:sub": [subject], f"{issuer}:aud": ["sts.amazonaws.com"]}
    return [
        Statement(
            "Pods",
            ["sts:AssumeRoleWithWebIdentity"],
            principals={"Federated": [provider_arn]},
            conditions={"StringEquals": claims},
        )
    ]


def volume_key(key_arn: str) -> list[Statement]:
    """What making encrypted volumes and attaching them to nodes takes of a key
    (https://github.com/kubernetes-sigs/aws-ebs-csi-driver/blob/master/docs/install.md)."""
    for_service = {"Bool": {"kms:GrantIsForAWSResource": ["true"]}}
    return [
        Statement("Key", KEY_USE, [key_arn]),
        Statement("KeyGrants", ["kms:CreateGrant"], [key_arn], conditions=for_service),
    ]


def _role(
    parent: pulumi.Resource,
    name: str,
    trust: pulumi.Output[str],
    managed_policy: str,
    policy: pulumi.Output[str] | None = None,
) -> pulumi.Output[str]:
    """ARN of a role with one of AWS's policies and perhaps one of ours, known when they are in force."""
    child = pulumi.ResourceOptions(parent=parent)
    role = iam.Role(name, assume_role_policy=trust, force_detach_policies=True, opts=child)
    attached = iam.RolePolicyAttachment(
        name,
        role=role.name,
        policy_arn=place(parent).apply(lambda here: f"arn:{here.partition}:iam::aws:policy/{managed_policy}"),
        opts=child,
    )
    ready = [attached.role]
    if policy is not None:
        ready.append(iam.RolePolicy(name, role=role.name, policy=policy, opts=child).role)
    return after(role.arn, *ready)


def _addon(
    parent: pulumi.Resource,
    name: str,
    addon: str,
    cluster: pulumi.Input[str],
    versions: Mapping[str, str],
    role: pulumi.Input[str] | None = None,
    pods: eks.AddonPodIdentityAssociationArgs | None = None,
) -> eks.Addon:
    settings = SETTINGS.get(addon)
    return eks.Addon(
        f"{name}-{addon}",
        cluster_name=cluster,
        addon_name=addon,
        addon_version=versions.get(addon),
        configuration_values=json.dumps(settings, sort_keys=True) if settings else None,
        service_account_role_arn=role,
        pod_identity_associations=[pods] if pods else None,
        # what is written here is what holds: a value changed by hand is set back with the next change
        resolve_conflicts_on_create="OVERWRITE",
        resolve_conflicts_on_update="OVERWRITE",
        opts=pulumi.ResourceOptions(parent=parent),
    )
