"""The security ids that AWS components satisfy, as checks over the resources of a stack, and what breaks each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from accelstack.plan import compatibility

from tests.engine.double.cloud import Resource

ADDON = "aws:eks/addon:Addon"
BUCKET = "aws:s3/bucket:Bucket"
BUCKET_ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
BUCKET_LIFECYCLE = "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration"
BUCKET_LOGGING = "aws:s3/bucketLogging:BucketLogging"
BUCKET_OWNER = "aws:s3/bucketOwnershipControls:BucketOwnershipControls"
BUCKET_POLICY = "aws:s3/bucketPolicy:BucketPolicy"
BUCKET_PRIVATE = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
BUCKET_VERSIONS = "aws:s3/bucketVersioning:BucketVersioning"
CLUSTER = "aws:eks/cluster:Cluster"
DEFAULT_GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup"
ENDPOINT = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
FLOW_LOG = "aws:ec2/flowLog:FlowLog"
KEY = "aws:kms/key:Key"
LOG_GROUP = "aws:cloudwatch/logGroup:LogGroup"
LUSTRE = "aws:fsx/lustreFileSystem:LustreFileSystem"
MODEL = "aws:sagemaker/model:Model"
NODE_GROUP = "aws:eks/nodeGroup:NodeGroup"
POD_IDENTITY = "aws:eks/podIdentityAssociation:PodIdentityAssociation"
REPOSITORY = "aws:ecr/repository:Repository"
ROLE = "aws:iam/role:Role"
ROLE_POLICY = "aws:iam/rolePolicy:RolePolicy"
SUBNET = "aws:ec2/subnet:Subnet"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
VPC = "aws:ec2/vpc:Vpc"

LOG_TYPES = {"api", "audit", "authenticator", "controllerManager", "scheduler"}
WITHOUT_RESOURCE = (
    "autoscaling:Describe*",
    "ec2:Describe*",
    "ec2:GetInstanceTypesFromInstanceRequirements",
    "ecr:GetAuthorizationToken",
    "pricing:GetProducts",
)
"""Actions that IAM can tie to no resource (https://docs.aws.amazon.com/service-authorization/latest/reference/)."""

Check = Callable[["Stack"], Iterator[tuple[str, bool]]]


@dataclass(frozen=True)
class Stack:
    """The resources of one stack."""

    resources: Sequence[Resource]

    def of(self, token: str) -> list[Resource]:
        """Those of a type."""
        return [one for one in self.resources if one.token == token]

    def has_key(self, arn: Any) -> bool:
        """Whether that is a customer's key: one that the stack makes."""
        return any(arn in key.handles for key in self.of(KEY))


def of_each(token: str, holds: Callable[[dict[str, Any], Stack], bool]) -> Check:
    """A check of every resource of a type, by its inputs."""
    return lambda stack: ((one.name, holds(one.inputs, stack)) for one in stack.of(token))


def of_setting(
    setting: str, holds: Callable[[dict[str, Any], Stack], bool], owner: str = BUCKET, key: str = "bucket"
) -> Check:
    """A check of every bucket (or other owner), by the inputs of a resource that sets something for it."""
    return lambda stack: (
        (one.name, any(each.inputs[key] in one.handles and holds(each.inputs, stack) for each in stack.of(setting)))
        for one in stack.of(owner)
    )


def all_of(*checks: Check) -> Check:
    """Several checks under one id."""
    return lambda stack: (found for check in checks for found in check(stack))


def statements(policy: str) -> Iterator[tuple[dict[str, Any], list[str], list[str]]]:
    """The statements of a policy that allow something, with their actions and resources."""
    for one in json.loads(policy)["Statement"]:
        if one["Effect"] == "Allow":
            yield one, _listed(one["Action"]), _listed(one.get("Resource", []))


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value


def _everything(name: str) -> bool:
    """Whether it means all resources, or all of a service: `*`, `arn:aws:s3:::*`."""
    return name.split(":", 5)[-1] == "*"


def _no_wide_action(inputs: dict[str, Any], _stack: Stack) -> bool:
    return not any("*" in action for _, actions, _ in statements(inputs["policy"]) for action in actions)


def _bounded(inputs: dict[str, Any], stack: Stack) -> bool:
    """Whether each action is tied to named resources or by a condition, as far as IAM can tie it."""
    return _no_wide_action(inputs, stack) and not any(
        action
        for one, actions, resources in statements(inputs["policy"])
        for action in actions
        if any(map(_everything, resources)) and "Condition" not in one
        if not any(fnmatchcase(action, known) for known in WITHOUT_RESOURCE)
    )


def _nobody_at_large(inputs: dict[str, Any], _stack: Stack) -> bool:
    return all("AWS" not in one["Principal"] for one, _, _ in statements(inputs["assumeRolePolicy"]))


def _one_service_account(inputs: dict[str, Any], _stack: Stack) -> bool:
    """Whether a role that pods take on is for one service account of one cluster."""
    for one, _, _ in statements(inputs["assumeRolePolicy"]):
        whose = one["Principal"]
        required = one.get("Condition", {}).get("StringEquals", {})
        if whose.get("Service") == "pods.eks.amazonaws.com":
            tags = {f"aws:RequestTag/{tag}" for tag in ("eks-cluster-arn", "kubernetes-service-account")}
            return tags <= required.keys()
        if "Federated" in whose:
            return any(key.endswith(":sub") and "*" not in value for key, value in required.items())
    return True


def _guarded_principals(inputs: dict[str, Any], _stack: Stack) -> bool:
    return not any(
        "*" in str(one["Principal"]) and "Condition" not in one for one, _, _ in statements(inputs["policy"])
    )


def _encrypted_transport(inputs: dict[str, Any], _stack: Stack) -> bool:
    denied = [one for one in json.loads(inputs["policy"])["Statement"] if one["Effect"] == "Deny"]
    plain = {"Bool": {"aws:SecureTransport": "false"}}
    return any(
        one["Action"] == "s3:*" and one.get("Condition") == plain and len(one["Resource"]) == 2 for one in denied
    )


def _default_encryption(inputs: dict[str, Any]) -> dict[str, Any]:
    return inputs["rules"][0].get("applyServerSideEncryptionByDefault", {})


def _nodes_are_private(inputs: dict[str, Any], stack: Stack) -> bool:
    subnets = [one for one in stack.of(SUBNET) if one.id in inputs["subnetIds"]]
    return len(subnets) == len(inputs["subnetIds"]) and not any(
        one.inputs.get("mapPublicIpOnLaunch") for one in subnets
    )


def _template_gives_no_address(inputs: dict[str, Any], _stack: Stack) -> bool:
    return all(each.get("associatePublicIpAddress", "false") == "false" for each in inputs.get("networkInterfaces", []))


def _blocks(flag: str) -> Check:
    return of_setting(BUCKET_PRIVATE, lambda it, _: it[flag] is True)


CLOSED = ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
LEAST = of_each(ROLE_POLICY, _bounded)
CHECKS: dict[str, Check] = {
    "CKV_AWS_58": of_each(
        CLUSTER,
        lambda it, all_: (
            it["encryptionConfig"]["resources"] == ["secrets"]
            and all_.has_key(it["encryptionConfig"]["provider"]["keyArn"])
        ),
    ),
    "CKV_AWS_37": of_each(CLUSTER, lambda it, _: set(it["enabledClusterLogTypes"]) == LOG_TYPES),
    "CKV_AWS_158": of_each(LOG_GROUP, lambda it, all_: all_.has_key(it.get("kmsKeyId"))),
    "CKV_AWS_338": of_each(LOG_GROUP, lambda it, _: it["retentionInDays"] >= 365),
    "CKV_AWS_38": of_each(CLUSTER, lambda it, _: "0.0.0.0/0" not in it["vpcConfig"].get("publicAccessCidrs", [])),
    "CKV_AWS_39": all_of(
        of_each(CLUSTER, lambda it, _: it["vpcConfig"]["endpointPublicAccess"] is False),
        of_each(NODE_GROUP, _nodes_are_private),
        of_each(TEMPLATE, _template_gives_no_address),
    ),
    "CKV_AWS_339": of_each(
        CLUSTER,
        lambda it, _: (
            not compatibility.check({"target": "aws"}, {"kubernetes": it["version"]})
            and it["upgradePolicy"]["supportType"] == "STANDARD"
        ),
    ),
    "CKV_AWS_341": of_each(
        TEMPLATE,
        lambda it, _: (
            it["metadataOptions"]["httpPutResponseHopLimit"] == 1 and it["metadataOptions"]["httpTokens"] == "required"
        ),
    ),
    "CIS 4.1.7": of_each(CLUSTER, lambda it, _: it["accessConfig"]["authenticationMode"] == "API"),
    "CIS 5.2.1": all_of(
        of_each(ROLE, _one_service_account),
        of_each(
            POD_IDENTITY,
            lambda it, all_: any(
                one.inputs["addonName"] == "eks-pod-identity-agent" and one.inputs["clusterName"] == it["clusterName"]
                for one in all_.of(ADDON)
            ),
        ),
    ),
    "CKV_AWS_18": of_setting(BUCKET_LOGGING, lambda it, all_: any(it["targetBucket"] == b.id for b in all_.of(BUCKET))),
    "CKV_AWS_19": of_setting(BUCKET_ENCRYPTION, lambda it, _: bool(_default_encryption(it).get("sseAlgorithm"))),
    "CKV_AWS_21": of_setting(BUCKET_VERSIONS, lambda it, _: it["versioningConfiguration"]["status"] == "Enabled"),
    "CKV_AWS_53": _blocks("blockPublicAcls"),
    "CKV_AWS_54": _blocks("blockPublicPolicy"),
    "CKV_AWS_55": _blocks("ignorePublicAcls"),
    "CKV_AWS_56": _blocks("restrictPublicBuckets"),
    "CKV_AWS_145": of_setting(
        BUCKET_ENCRYPTION,
        lambda it, all_: (
            _default_encryption(it).get("sseAlgorithm") == "aws:kms"
            and all_.has_key(_default_encryption(it).get("kmsMasterKeyId"))
        ),
    ),
    "CKV_AWS_300": of_setting(
        BUCKET_LIFECYCLE,
        lambda it, _: any(
            "abortIncompleteMultipartUpload" in rule
            and rule["status"] == "Enabled"
            and rule["filter"] == {"prefix": ""}
            for rule in it["rules"]
        ),
    ),
    "CKV2_AWS_6": of_setting(BUCKET_PRIVATE, lambda it, _: all(it[flag] is True for flag in CLOSED)),
    "CKV2_AWS_61": of_setting(BUCKET_LIFECYCLE, lambda it, _: any(rule["status"] == "Enabled" for rule in it["rules"])),
    "CKV2_AWS_65": of_setting(BUCKET_OWNER, lambda it, _: it["rule"]["objectOwnership"] == "BucketOwnerEnforced"),
    "TLS-only policy": of_setting(BUCKET_POLICY, _encrypted_transport),
    "CKV_AWS_190": of_each(LUSTRE, lambda it, all_: all_.has_key(it.get("kmsKeyId"))),
    "CKV_AWS_98": of_each(ENDPOINT, lambda it, all_: all_.has_key(it.get("kmsKeyArn"))),
    "CKV_AWS_370": of_each(MODEL, lambda it, _: it["enableNetworkIsolation"] is True and bool(it["vpcConfig"])),
    "CKV_AWS_60": of_each(ROLE, _nobody_at_large),
    "CKV_AWS_61": of_each(ROLE, _nobody_at_large),
    "CKV_AWS_62": of_each(ROLE_POLICY, _no_wide_action),
    "CKV_AWS_63": of_each(ROLE_POLICY, _no_wide_action),
    "CKV_AWS_286": LEAST,
    "CKV_AWS_287": LEAST,
    "CKV_AWS_288": LEAST,
    "CKV_AWS_289": LEAST,
    "CKV_AWS_290": LEAST,
    "CKV_AWS_355": LEAST,
    "CKV_AWS_7": of_each(KEY, lambda it, _: it["enableKeyRotation"] is True),
    "CKV_AWS_33": of_each(KEY, _guarded_principals),
    "CKV_AWS_51": of_each(REPOSITORY, lambda it, _: it["imageTagMutability"] == "IMMUTABLE"),
    "CKV_AWS_136": of_each(
        REPOSITORY,
        lambda it, all_: any(
            each["encryptionType"] == "KMS" and all_.has_key(each["kmsKey"]) for each in it["encryptionConfigurations"]
        ),
    ),
    "CKV_AWS_163": of_each(REPOSITORY, lambda it, _: it["imageScanningConfiguration"]["scanOnPush"] is True),
    "CKV2_AWS_11": of_setting(FLOW_LOG, lambda it, _: it["trafficType"] == "ALL", owner=VPC, key="vpcId"),
    "CKV2_AWS_12": of_setting(DEFAULT_GROUP, lambda it, _: it["ingress"] == it["egress"] == [], owner=VPC, key="vpcId"),
}
"""By id. A check tells of each thing that it looks at whether the id holds."""
