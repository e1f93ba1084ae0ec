"""Planned resources in the form of `terraform show -json`, which checkov reads.

Pulumi's AWS provider is made from Terraform's: properties are the same in camel case, a block that comes once is a
plain object, and most lists of blocks have their names in the plural. A value that another resource decides is left
out and told as a reference, as Terraform plans it: checkov joins a bucket with its settings by that.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from tests.engine.double.cloud import Resource

TYPES = {
    "aws:appautoscaling/policy:Policy": "aws_appautoscaling_policy",
    "aws:appautoscaling/target:Target": "aws_appautoscaling_target",
    "aws:autoscaling/tag:Tag": "aws_autoscaling_group_tag",
    "aws:budgets/budget:Budget": "aws_budgets_budget",
    "aws:cloudwatch/eventRule:EventRule": "aws_cloudwatch_event_rule",
    "aws:cloudwatch/eventTarget:EventTarget": "aws_cloudwatch_event_target",
    "aws:cloudwatch/logGroup:LogGroup": "aws_cloudwatch_log_group",
    "aws:costexplorer/costAllocationTag:CostAllocationTag": "aws_ce_cost_allocation_tag",
    "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup": "aws_default_security_group",
    "aws:ec2/egressOnlyInternetGateway:EgressOnlyInternetGateway": "aws_egress_only_internet_gateway",
    "aws:ec2/eip:Eip": "aws_eip",
    "aws:ec2/flowLog:FlowLog": "aws_flow_log",
    "aws:ec2/internetGateway:InternetGateway": "aws_internet_gateway",
    "aws:ec2/launchTemplate:LaunchTemplate": "aws_launch_template",
    "aws:ec2/natGateway:NatGateway": "aws_nat_gateway",
    "aws:ec2/placementGroup:PlacementGroup": "aws_placement_group",
    "aws:ec2/route:Route": "aws_route",
    "aws:ec2/routeTable:RouteTable": "aws_route_table",
    "aws:ec2/routeTableAssociation:RouteTableAssociation": "aws_route_table_association",
    "aws:ec2/securityGroup:SecurityGroup": "aws_security_group",
    "aws:ec2/subnet:Subnet": "aws_subnet",
    "aws:ec2/vpc:Vpc": "aws_vpc",
    "aws:ec2/vpcEndpoint:VpcEndpoint": "aws_vpc_endpoint",
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": "aws_ecr_lifecycle_policy",
    "aws:ecr/repository:Repository": "aws_ecr_repository",
    "aws:efs/accessPoint:AccessPoint": "aws_efs_access_point",
    "aws:efs/backupPolicy:BackupPolicy": "aws_efs_backup_policy",
    "aws:efs/fileSystem:FileSystem": "aws_efs_file_system",
    "aws:efs/fileSystemPolicy:FileSystemPolicy": "aws_efs_file_system_policy",
    "aws:efs/mountTarget:MountTarget": "aws_efs_mount_target",
    "aws:eks/accessEntry:AccessEntry": "aws_eks_access_entry",
    "aws:eks/accessPolicyAssociation:AccessPolicyAssociation": "aws_eks_access_policy_association",
    "aws:eks/addon:Addon": "aws_eks_addon",
    "aws:eks/cluster:Cluster": "aws_eks_cluster",
    "aws:eks/nodeGroup:NodeGroup": "aws_eks_node_group",
    "aws:eks/podIdentityAssociation:PodIdentityAssociation": "aws_eks_pod_identity_association",
    "aws:fsx/dataRepositoryAssociation:DataRepositoryAssociation": "aws_fsx_data_repository_association",
    "aws:fsx/lustreFileSystem:LustreFileSystem": "aws_fsx_lustre_file_system",
    "aws:iam/instanceProfile:InstanceProfile": "aws_iam_instance_profile",
    "aws:iam/openIdConnectProvider:OpenIdConnectProvider": "aws_iam_openid_connect_provider",
    "aws:iam/role:Role": "aws_iam_role",
    "aws:iam/rolePolicy:RolePolicy": "aws_iam_role_policy",
    "aws:iam/rolePolicyAttachment:RolePolicyAttachment": "aws_iam_role_policy_attachment",
    "aws:kms/key:Key": "aws_kms_key",
    "aws:s3/bucket:Bucket": "aws_s3_bucket",
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": "aws_s3_bucket_lifecycle_configuration",
    "aws:s3/bucketLogging:BucketLogging": "aws_s3_bucket_logging",
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": "aws_s3_bucket_ownership_controls",
    "aws:s3/bucketPolicy:BucketPolicy": "aws_s3_bucket_policy",
    "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock": "aws_s3_bucket_public_access_block",
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": "aws_s3_bucket_replication_configuration",
    "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration": (
        "aws_s3_bucket_server_side_encryption_configuration"
    ),
    "aws:s3/bucketVersioning:BucketVersioning": "aws_s3_bucket_versioning",
    "aws:sagemaker/endpoint:Endpoint": "aws_sagemaker_endpoint",
    "aws:sagemaker/endpointConfiguration:EndpointConfiguration": "aws_sagemaker_endpoint_configuration",
    "aws:sagemaker/model:Model": "aws_sagemaker_model",
    "aws:sagemaker/modelPackageGroup:ModelPackageGroup": "aws_sagemaker_model_package_group",
    "aws:sqs/queue:Queue": "aws_sqs_queue",
    "aws:sqs/queuePolicy:QueuePolicy": "aws_sqs_queue_policy",
    "aws:vpc/securityGroupEgressRule:SecurityGroupEgressRule": "aws_vpc_security_group_egress_rule",
    "aws:vpc/securityGroupIngressRule:SecurityGroupIngressRule": "aws_vpc_security_group_ingress_rule",
}
"""Terraform's types by Pulumi's tokens: all that the components use."""
SINGULAR = {
    "clientIdLists": "client_id_list",
    "costFilters": "cost_filter",
    "encryptionConfigurations": "encryption_configuration",
    "lifecyclePolicies": "lifecycle_policy",
    "noncurrentVersionTransitions": "noncurrent_version_transition",
    "notifications": "notification",
    "rules": "rule",
    "s3DataSources": "s3_data_source",
    "taints": "taint",
    "transitions": "transition",
}
"""Lists that are blocks of a singular name in Terraform. Every other property has Pulumi's name in snake case."""
MAPS = ("environment", "labels", "tags")
"""Properties whose keys are the user's own."""
LISTS = ("aws_fsx_lustre_file_system.subnet_ids",)
"""Lists of one, which Pulumi makes a plain value."""


def plan(stacks: Mapping[str, Sequence[Resource]]) -> dict[str, Any]:
    """The plan that makes all resources of some stacks, by the stacks' names.

    Raises:
        KeyError: a resource's type is not in `TYPES`.
    """
    planned: list[dict[str, Any]] = []
    configured: list[dict[str, Any]] = []
    for stack, resources in stacks.items():
        addresses = {id(one): _address(stack, one) for one in resources}
        names: dict[str, tuple[str, Resource]] = {}
        for one in resources:  # in the order of creation: a bucket's settings have its name for an id, and come later
            for handle in one.handles:
                names.setdefault(handle, (addresses[id(one)], one))
        for one in resources:
            values, expressions = _block(one.inputs, names, one)
            type_, name = addresses[id(one)].split(".")
            for place in LISTS:
                if place.startswith(f"{type_}.") and (key := place.split(".")[1]) in values:
                    values[key] = [values[key]]
            each = {"address": addresses[id(one)], "mode": "managed", "type": type_, "name": name, "schema_version": 0}
            planned.append({**each, "values": values})
            configured.append({**each, "provider_config_key": "aws", "expressions": expressions})
    changes = [
        {**one, "change": {"actions": ["create"], "before": None, "after": one["values"], "after_unknown": {}}}
        for one in planned
    ]
    return {
        "format_version": "1.2",
        "terraform_version": "1.9.0",
        "planned_values": {"root_module": {"resources": planned}},
        "resource_changes": changes,
        "configuration": {"provider_config": {"aws": {"name": "aws"}}, "root_module": {"resources": configured}},
    }


def _address(stack: str, resource: Resource) -> str:
    return f"{TYPES[resource.token]}.{stack}-{resource.name}"


def _block(
    inputs: Mapping[str, Any], names: Mapping[str, tuple[str, Resource]], owner: Resource
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A block's known values, and the references of those that other resources decide."""
    values: dict[str, Any] = {}
    expressions: dict[str, Any] = {}
    for key, value in inputs.items():
        name = SINGULAR.get(key) or re.sub(r"(?<=[a-z0-9])[A-Z]", lambda found: f"_{found[0]}", key).lower()
        blocks = [value] if isinstance(value, dict) and key not in MAPS else value
        if isinstance(blocks, list) and blocks and all(isinstance(each, dict) for each in blocks):
            parts = [_block(each, names, owner) for each in blocks]
            values[name] = [part[0] for part in parts]
            expressions[name] = [part[1] for part in parts]
        elif references := _references(value, names, owner):
            expressions[name] = {"references": references}
        else:
            values[name] = value
    return values, expressions


def _references(value: Any, names: Mapping[str, tuple[str, Resource]], owner: Resource) -> list[str]:
    found: list[str] = []
    for each in value if isinstance(value, list) else [value]:
        if not isinstance(each, str) or each not in names:
            continue
        address, resource = names[each]
        if resource is not owner:
            attribute = "arn" if each == resource.outputs.get("arn") else "id"
            found += [f"{address}.{attribute}", address]
    return found
