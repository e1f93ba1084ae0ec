"""The policies that docs/aws.md gives the deploying user: they allow what the components do, and name what exists."""

import ast
import json
import re
from collections.abc import Iterator
from fnmatch import fnmatchcase
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import accelstack.aws
import botocore.session
import pytest
from botocore import xform_name

from tests.engine.double import policies
from tests.engine.double.types import Provider

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted((ROOT / "docs").glob("aws-deployer-policy*.json"))
SOURCES = {path.stem: path.read_text() for path in Path(accelstack.aws.__file__).parent.glob("*.py")}
MOST_CHARACTERS = 6144
"""Of a managed policy, without blanks (https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html)."""
NOT_USED = {
    "aws:ec2/capacityReservation:CapacityReservation",
    "aws:ec2/networkInterface:NetworkInterface",
    "aws:iam/policy:Policy",
    "aws:kms/alias:Alias",
}
"""Types that the double describes and no component makes."""
COUNTERPARTS = {
    "appautoscaling/policy": "application-autoscaling DeleteScalingPolicy DescribeScalingPolicies",
    "appautoscaling/target": "application-autoscaling DeregisterScalableTarget DescribeScalableTargets TagResource",
    "autoscaling/tag": "autoscaling DeleteTags DescribeTags",
    "budgets/budget": "budgets DescribeBudget UpdateBudget DeleteBudget TagResource",
    "cloudwatch/eventRule": "events DescribeRule DeleteRule TagResource",
    "cloudwatch/eventTarget": "events ListTargetsByRule RemoveTargets",
    "cloudwatch/logGroup": "logs DescribeLogGroups DeleteLogGroup AssociateKmsKey TagResource",
    "costexplorer/costAllocationTag": "ce ListCostAllocationTags",
    "ec2/defaultSecurityGroup": "ec2 RevokeSecurityGroupIngress RevokeSecurityGroupEgress DescribeSecurityGroups",
    "ec2/egressOnlyInternetGateway": "ec2 DescribeEgressOnlyInternetGateways DeleteEgressOnlyInternetGateway",
    "ec2/eip": "ec2 DescribeAddresses DisassociateAddress ReleaseAddress",
    "ec2/flowLog": "ec2 DescribeFlowLogs DeleteFlowLogs",
    "ec2/internetGateway": "ec2 DescribeInternetGateways DetachInternetGateway DeleteInternetGateway",
    "ec2/launchTemplate": "ec2 CreateLaunchTemplateVersion ModifyLaunchTemplate DeleteLaunchTemplate",
    "ec2/natGateway": "ec2 DescribeNatGateways DeleteNatGateway",
    "ec2/placementGroup": "ec2 DescribePlacementGroups DeletePlacementGroup",
    "ec2/route": "ec2 ReplaceRoute DeleteRoute",
    "ec2/routeTable": "ec2 DescribeRouteTables DeleteRouteTable",
    "ec2/routeTableAssociation": "ec2 ReplaceRouteTableAssociation DisassociateRouteTable",
    "ec2/securityGroup": "ec2 DescribeSecurityGroups RevokeSecurityGroupIngress DeleteSecurityGroup DeleteTags",
    "ec2/subnet": "ec2 DescribeSubnets AssociateSubnetCidrBlock DescribeNetworkInterfaces DeleteSubnet",
    "ec2/vpc": "ec2 DescribeVpcs DescribeVpcAttribute AssociateVpcCidrBlock DeleteVpc",
    "ec2/vpcEndpoint": "ec2 DescribeVpcEndpoints ModifyVpcEndpoint DeleteVpcEndpoints DescribePrefixLists",
    "ecr/lifecyclePolicy": "ecr GetLifecyclePolicy DeleteLifecyclePolicy",
    "ecr/repository": "ecr DescribeRepositories PutImageTagMutability DeleteRepository TagResource",
    "efs/accessPoint": "efs DescribeAccessPoints DeleteAccessPoint",
    "efs/backupPolicy": "efs DescribeBackupPolicy",
    "efs/fileSystem": "efs DescribeFileSystems DescribeLifecycleConfiguration UpdateFileSystem DeleteFileSystem",
    "efs/fileSystemPolicy": "efs DescribeFileSystemPolicy DeleteFileSystemPolicy",
    "efs/mountTarget": "efs DescribeMountTargets ModifyMountTargetSecurityGroups DeleteMountTarget",
    "eks/accessEntry": "eks DescribeAccessEntry UpdateAccessEntry DeleteAccessEntry",
    "eks/accessPolicyAssociation": "eks ListAssociatedAccessPolicies DisassociateAccessPolicy",
    "eks/addon": "eks DescribeAddon DescribeAddonVersions DescribeUpdate",
    "eks/cluster": "eks DescribeCluster UpdateClusterConfig UpdateClusterVersion DeleteCluster TagResource",
    "eks/nodeGroup": "eks DescribeNodegroup UpdateNodegroupConfig UpdateNodegroupVersion DeleteNodegroup",
    "eks/podIdentityAssociation": "eks DescribePodIdentityAssociation DeletePodIdentityAssociation",
    "fsx/dataRepositoryAssociation": "fsx DescribeDataRepositoryAssociations UpdateDataRepositoryAssociation",
    "fsx/lustreFileSystem": "fsx DescribeFileSystems UpdateFileSystem CreateBackup",
    "iam/instanceProfile": "iam GetInstanceProfile RemoveRoleFromInstanceProfile DeleteInstanceProfile",
    "iam/openIdConnectProvider": "iam GetOpenIDConnectProvider DeleteOpenIDConnectProvider",
    "iam/role": "iam GetRole UpdateRole UpdateAssumeRolePolicy ListInstanceProfilesForRole DeleteRole TagRole",
    "iam/rolePolicy": "iam GetRolePolicy ListRolePolicies DeleteRolePolicy",
    "iam/rolePolicyAttachment": "iam ListAttachedRolePolicies DetachRolePolicy",
    "kms/key": "kms DescribeKey GetKeyPolicy GetKeyRotationStatus ListResourceTags PutKeyPolicy TagResource",
    "s3/bucket": "s3 ListObjectVersions DeleteObjects GetBucketTagging DeleteBucket HeadBucket",
    "s3/bucketLifecycleConfiguration": "s3 GetBucketLifecycleConfiguration DeleteBucketLifecycle",
    "s3/bucketLogging": "s3 GetBucketLogging",
    "s3/bucketOwnershipControls": "s3 GetBucketOwnershipControls DeleteBucketOwnershipControls",
    "s3/bucketPolicy": "s3 GetBucketPolicy DeleteBucketPolicy",
    "s3/bucketPublicAccessBlock": "s3 GetPublicAccessBlock DeletePublicAccessBlock",
    "s3/bucketReplicationConfig": "s3 GetBucketReplication DeleteBucketReplication",
    "s3/bucketServerSideEncryptionConfiguration": "s3 GetBucketEncryption DeleteBucketEncryption",
    "s3/bucketVersioning": "s3 GetBucketVersioning",
    "sagemaker/endpoint": "sagemaker DescribeEndpoint UpdateEndpoint DeleteEndpoint AddTags",
    "sagemaker/endpointConfiguration": "sagemaker DescribeEndpointConfig DeleteEndpointConfig",
    "sagemaker/model": "sagemaker DescribeModel DeleteModel",
    "sagemaker/modelPackageGroup": "sagemaker DescribeModelPackageGroup DeleteModelPackageGroup",
    "sqs/queue": "sqs GetQueueAttributes ListQueueTags DeleteQueue TagQueue",
    "sqs/queuePolicy": "sqs GetQueueAttributes",
    "vpc/securityGroupEgressRule": "ec2 ModifySecurityGroupRules RevokeSecurityGroupEgress",
    "vpc/securityGroupIngressRule": "ec2 DescribeSecurityGroupRules RevokeSecurityGroupIngress",
}
"""What reads, changes and deletes what a type's own calls make: the provider does all of it."""
PREFIXES = {"efs": "elasticfilesystem", "service-quotas": "servicequotas", "sagemaker-runtime": "sagemaker"}
"""IAM's prefixes of actions where botocore calls the service otherwise."""
RENAMED = {
    "budgets.CreateBudget": "budgets:ModifyBudget",
    "budgets.DeleteBudget": "budgets:ModifyBudget",
    "budgets.DescribeBudget": "budgets:ViewBudget",
    "budgets.UpdateBudget": "budgets:ModifyBudget",
    "s3.DeleteBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3.DeleteBucketLifecycle": "s3:PutLifecycleConfiguration",
    "s3.DeleteBucketOwnershipControls": "s3:PutBucketOwnershipControls",
    "s3.DeleteBucketReplication": "s3:PutReplicationConfiguration",
    "s3.DeleteObjects": "s3:DeleteObjectVersion",
    "s3.DeletePublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "s3.GetBucketAccelerateConfiguration": "s3:GetAccelerateConfiguration",
    "s3.GetBucketEncryption": "s3:GetEncryptionConfiguration",
    "s3.GetBucketLifecycleConfiguration": "s3:GetLifecycleConfiguration",
    "s3.GetBucketReplication": "s3:GetReplicationConfiguration",
    "s3.GetPublicAccessBlock": "s3:GetBucketPublicAccessBlock",
    "s3.HeadBucket": "s3:ListBucket",
    "s3.ListObjectVersions": "s3:ListBucketVersions",
    "s3.ListObjectsV2": "s3:ListBucket",
    "s3.PutBucketEncryption": "s3:PutEncryptionConfiguration",
    "s3.PutBucketLifecycleConfiguration": "s3:PutLifecycleConfiguration",
    "s3.PutBucketReplication": "s3:PutReplicationConfiguration",
    "s3.PutPublicAccessBlock": "s3:PutBucketPublicAccessBlock",
    "sts.GetCallerIdentity": "",
}
"""IAM's actions where they are not named as the operation (https://docs.aws.amazon.com/service-authorization/latest/
reference/); empty: takes no permission."""
NO_OPERATION = {
    *("iam:PassRole", "kms:ReEncryptFrom", "kms:ReEncryptTo"),
    *("s3:TagResource", "s3:UntagResource", "s3:ListTagsForResource"),  # of the API `s3control`
}
"""Actions that no operation is named after."""
MAKE_ROLES = {
    *("cluster", "cluster_addons", "cluster_autoscaler", "flow_logs"),
    *("identity", "karpenter", "managed_access", "storage"),
}
"""Modules whose components make roles."""
ROLE_NAMES = {
    "ClusterAddons",
    "ClusterAutoscaler",
    "Cluster",
    "Karpenter",
    "ManagedAccess",
    "Network",
    "NodeAddons",
    "ObjectStore",
}
"""The components of the stack's blueprints that make roles, which are named after them."""
GLOBAL = {"budgets", "ce", "iam", "route53"}
"""Services without regions."""


def statements() -> Iterator[dict[str, Any]]:
    for path in DOCUMENTS:
        yield from json.loads(path.read_text())["Statement"]


def listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


STATEMENTS = {each["Sid"]: each for each in statements()}
ACTIONS = sorted({action for each in statements() for action in listed(each["Action"])})


@cache
def operations(service: str) -> dict[str, str]:
    """The operations of a service by their names in boto3's clients."""
    names = botocore.session.get_session().get_service_model(service).operation_names
    return {xform_name(name): name for name in names}


def action(operation: str) -> str:
    service, name = operation.split(".")
    return RENAMED.get(operation, f"{PREFIXES.get(service, service)}:{name}")


def allowed(operation: str) -> bool:
    wanted = action(operation)
    return not wanted or any(fnmatchcase(wanted, pattern) for pattern in ACTIONS)


def described() -> dict[str, list[str]]:
    """The operations that make the components' resources, by type."""
    types = Provider.load("aws").types.items()
    return {token: [call.operation for call in each.calls] for token, each in types if token not in NOT_USED}


def called() -> Iterator[str]:
    """The operations that the components' own clients call: SageMaker's dynamic providers and the doctor."""
    for text in SOURCES.values():
        for service, name in re.findall(r"\bcloud\.(sagemaker|s3|logs)\.([a-z_0-9]+)\(", text):
            if name in operations(service):
                yield f"{service}.{operations(service)[name]}"
        for service, name in re.findall(r'client\("([a-z0-9-]+)"[^)]*\)\s*\.([a-z_]+)\(', text):
            yield f"{service}.{operations(service)[name]}"
        for service, name in re.findall(r'cloud\.(sagemaker|s3)\.get_paginator\("([a-z_0-9]+)"\)', text):
            yield f"{service}.{operations(service)[name]}"


def constructed() -> set[str]:
    """Every `module.Class(` in the components."""
    return {found for text in SOURCES.values() for found in re.findall(r"\b([a-z0-9]+\.[A-Z]\w+)\(", text)}


def test_the_list_of_types_that_no_component_makes_is_right() -> None:
    made = constructed()
    unused = set()
    for token in Provider.load("aws").types:
        module, name = token.removeprefix("aws:").split("/")
        if f"{module}.{name.partition(':')[2]}" not in made:
            unused.add(token)
    assert unused == NOT_USED


def test_every_type_has_its_counterparts() -> None:
    assert sorted(COUNTERPARTS) == sorted(token.removeprefix("aws:").partition(":")[0] for token in described())


def test_what_makes_the_components_resources_is_allowed() -> None:
    missing = {
        token: denied
        for token, calls in described().items()
        if (denied := [each for each in calls if not allowed(each)])
    }
    assert not missing


@pytest.mark.parametrize("kind", COUNTERPARTS)
def test_what_reads_changes_and_deletes_them_is_allowed(kind: str) -> None:
    service, *names = COUNTERPARTS[kind].split()
    assert not set(names) - set(operations(service).values())
    assert not [name for name in names if not allowed(f"{service}.{name}")]


def test_what_the_components_own_clients_call_is_allowed() -> None:
    found = {*called()}
    assert {"sagemaker.CreateTrainingJob", "sagemaker.ListModelPackages", "iam.SimulatePrincipalPolicy"} <= found
    assert not [each for each in found if not allowed(each)]


@pytest.mark.parametrize("pattern", ACTIONS)
def test_each_action_exists(pattern: str) -> None:
    prefix = pattern.partition(":")[0]
    services = [service for service, own in PREFIXES.items() if own == prefix]
    if prefix in botocore.session.get_session().get_available_services():
        services.append(prefix)
    known = {action(f"{service}.{name}") for service in services for name in operations(service).values()}
    assert any(fnmatchcase(each, pattern) for each in known | NO_OPERATION)


def test_only_reading_is_allowed_by_wildcards() -> None:
    wild = [each for each in ACTIONS if "*" in each]
    assert wild
    assert all(re.fullmatch(r"[a-z0-9-]+:(Describe|Get|List)\w*\*", each) for each in wild)


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: path.name)
def test_a_document_fits_into_a_managed_policy(path: Path) -> None:
    text = path.read_text()
    assert not [*policies.identity(text)]
    assert len(re.sub(r"\s", "", text)) <= MOST_CHARACTERS
    assert {each["Effect"] for each in json.loads(text)["Statement"]} == {"Allow"}


def test_regions_are_bounded_wherever_there_are_regions() -> None:
    for sid, each in STATEMENTS.items():
        regional = {action.partition(":")[0] for action in listed(each["Action"])} - GLOBAL
        bounded = "aws:RequestedRegion" in each.get("Condition", {}).get("StringEquals", {})
        assert bounded == bool(regional), sid


def test_roles_are_passed_to_the_services_that_take_them_and_no_others() -> None:
    passed = STATEMENTS["PassRoles"]["Condition"]["StringEquals"]["iam:PassedToService"]
    services = {found for text in SOURCES.values() for found in re.findall(r'"service": "([a-z0-9.-]+)"', text)}
    assert {*passed} == services | {"pods.eks.amazonaws.com"}
    assert STATEMENTS["PassRoles"]["Resource"] == STATEMENTS["Roles"]["Resource"]


def test_the_stacks_roles_are_among_those_that_may_be_made() -> None:
    makers = {name for name, text in SOURCES.items() if re.search(r"\b(iam\.Role|ServiceRole|Role)\(\s*f?[\"n]", text)}
    assert makers == MAKE_ROLES
    named: set[str] = set()
    for path in (ROOT / "stacks" / "blueprints").glob("aws*.py"):
        constants = vars(import_module(f"blueprints.{path.stem}"))
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ROLE_NAMES:
                given = node.args[0]
                name = constants[given.id] if isinstance(given, ast.Name) else ast.literal_eval(given)
                named.add(f"arn:aws:iam::*:role/{name}-*")
    assert {*STATEMENTS["Roles"]["Resource"]} == named
