"""EKS's control plane: clusters, who may use them, add-ons, identities of pods. Node groups are in `compute`."""

from __future__ import annotations

from typing import Any

from tests.engine.double.aws import eks_rules
from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import block, many
from tests.engine.double.types import Situation, Type

CLUSTER, ADDON, ENTRY = "aws:eks/cluster:Cluster", "aws:eks/addon:Addon", "aws:eks/accessEntry:AccessEntry"
ASSOCIATION, PODS = (
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation",
)
GROUP, SUBNET, ROLE, KEY = (
    "aws:ec2/securityGroup:SecurityGroup",
    "aws:ec2/subnet:Subnet",
    "aws:iam/role:Role",
    "aws:kms/key:Key",
)


def _vpc_config(made: Situation) -> dict[str, Any]:
    """The network of a cluster, with the security group that EKS makes for it."""
    given = made.inputs["vpcConfig"]
    subnet = made.cloud.find(SUBNET, given["subnetIds"][0])
    group = made.old.outputs["vpcConfig"]["clusterSecurityGroupId"] if made.old else f"sg-{eks_rules.drawn(17)}"
    return {
        "endpointPrivateAccess": False,
        "endpointPublicAccess": True,
        "publicAccessCidrs": ["0.0.0.0/0"] if given.get("endpointPublicAccess", True) else [],
        **given,
        "clusterSecurityGroupId": group,
        "vpcId": subnet.inputs["vpcId"] if subnet else "",
    }


def _identities(made: Situation) -> Any:
    """The issuer of the tokens of service accounts."""
    host = f"https://oidc.eks.{made.config['region']}.{made.config['dns_suffix']}"
    new = [{"oidcs": [{"issuer": f"{host}/id/{eks_rules.drawn(32).upper()}"}]}]
    return made.old.outputs["identities"] if made.old else new


TYPES = {
    CLUSTER: Type(
        calls=[
            Call(
                "eks.CreateCluster",
                same="name version roleArn accessConfig bootstrapSelfManagedAddons deletionProtection tags"
                " kubernetesNetworkConfig upgradePolicy zonalShiftConfig",
                moved={
                    "vpcConfig": Put("resourcesVpcConfig", block(clusterSecurityGroupId=None, vpcId=None)),
                    "enabledClusterLogTypes": "logging.clusterLogging.0.types",
                    "encryptionConfig": Put("encryptionConfig", many),
                },
            )
        ],
        id="{name}",
        outputs={
            "arn": "arn:{partition}:eks:{region}:{account}:cluster/{name}",
            "vpcConfig": _vpc_config,
            "endpoint": "https://{hex32}.gr7.{region}.eks.{dns_suffix}",
            "identities": _identities,
            "certificateAuthority": {"data": "LS0tLS1CRUdJTiBDRVJUSUZJQ0FURS0tLS0tCg=="},
            "platformVersion": "eks.1",
            "status": "ACTIVE",
            "createdAt": "2026-01-01T00:00:00Z",
        },
        defaults={
            "bootstrapSelfManagedAddons": True,
            "deletionProtection": False,
            "accessConfig": {"authenticationMode": "CONFIG_MAP", "bootstrapClusterCreatorAdminPermissions": True},
            "kubernetesNetworkConfig": {"ipFamily": "ipv4", "serviceIpv4Cidr": "10.100.0.0/16"},
            "upgradePolicy": {"supportType": "EXTENDED"},
        },
        replace="name roleArn encryptionConfig bootstrapSelfManagedAddons kubernetesNetworkConfig"
        " accessConfig.bootstrapClusterCreatorAdminPermissions",
        own={
            "defaultAddonsToRemoves": "calls made after creation",
            "forceUpdateVersion": "goes into updates of the version",
        },
        refers={
            "roleArn": ROLE,
            "vpcConfig.subnetIds": SUBNET,
            "vpcConfig.securityGroupIds": GROUP,
            "encryptionConfig.provider.keyArn": KEY,
        },
        handles="vpcConfig.clusterSecurityGroupId",
        held_by="aws:eks/nodeGroup:NodeGroup",
        guard="deletionProtection",
        checks=[eks_rules.endpoints, eks_rules.version],
        rules=[eks_rules.zones, eks_rules.role, eks_rules.one_minor_up],
    ),
    ADDON: Type(
        calls=[
            Call(
                "eks.CreateAddon",
                same="clusterName addonName addonVersion configurationValues podIdentityAssociations tags"
                " serviceAccountRoleArn namespaceConfig",
                moved={"resolveConflictsOnCreate": "resolveConflicts"},
            ),
            Call(
                "eks.UpdateAddon",
                same="clusterName addonName",
                moved={"resolveConflictsOnUpdate": "resolveConflicts"},
            ),
            Call("eks.DeleteAddon", same="clusterName addonName preserve"),
        ],
        id="{clusterName}:{addonName}",
        outputs={
            "arn": "arn:{partition}:eks:{region}:{account}:addon/{clusterName}/{addonName}/{hex32}",
            "addonVersion": lambda made: made.inputs.get("addonVersion", "v1.0.0-eksbuild.1"),
            "configurationValues": lambda made: made.inputs.get("configurationValues", ""),
            "createdAt": "2026-01-01T00:00:00Z",
            "modifiedAt": "2026-01-01T00:00:00Z",
        },
        replace="clusterName addonName namespaceConfig",
        refers={"clusterName": CLUSTER, "serviceAccountRoleArn": ROLE, "podIdentityAssociations.roleArn": ROLE},
        checks=[eks_rules.addon],
        rules=[eks_rules.has_nodes],
    ),
    ENTRY: Type(
        calls=[
            Call(
                "eks.CreateAccessEntry",
                same="clusterName principalArn kubernetesGroups type tags",
                moved={"userName": "username"},
            )
        ],
        id="{clusterName}:{principalArn}",
        outputs={
            "accessEntryArn": "arn:{partition}:eks:{region}:{account}:access-entry/{clusterName}/{hex32}",
            "createdAt": "2026-01-01T00:00:00Z",
            "modifiedAt": "2026-01-01T00:00:00Z",
            "kubernetesGroups": lambda made: made.inputs.get("kubernetesGroups", []),
            "userName": lambda made: made.inputs.get("userName", made.inputs["principalArn"]),
        },
        defaults={"type": "STANDARD"},
        replace="clusterName principalArn type",
        refers={"clusterName": CLUSTER},
        checks=[eks_rules.principal],
        rules=[eks_rules.not_the_creator],
    ),
    ASSOCIATION: Type(
        calls=[Call("eks.AssociateAccessPolicy", same="clusterName principalArn policyArn accessScope")],
        id="{clusterName}#{principalArn}#{policyArn}",
        outputs={"associatedAt": "2026-01-01T00:00:00Z", "modifiedAt": "2026-01-01T00:00:00Z"},
        replace="clusterName principalArn policyArn accessScope",
        refers={"clusterName": CLUSTER},
        checks=[eks_rules.access_policy],
        rules=[eks_rules.has_entry],
    ),
    PODS: Type(
        calls=[
            Call(
                "eks.CreatePodIdentityAssociation",
                same="clusterName namespace serviceAccount roleArn targetRoleArn disableSessionTags policy tags",
            )
        ],
        id="a-{hex17}",
        outputs={
            "associationId": "{id}",
            "associationArn": "arn:{partition}:eks:{region}:{account}:podidentityassociation/{clusterName}/{id}",
            "externalId": "{hex32}",
        },
        replace="clusterName namespace serviceAccount",
        refers={"clusterName": CLUSTER, "roleArn": ROLE},
        unique="clusterName namespace serviceAccount",
        imports="{clusterName},{id}",
    ),
}
