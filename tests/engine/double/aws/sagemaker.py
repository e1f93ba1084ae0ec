"""SageMaker: models, endpoints and the groups of its registry.

Rules: https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_CreateModel.html (the role),
https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html (variants of a guarded update),
https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html (the first part's size),
https://docs.aws.amazon.com/sagemaker/latest/APIReference/API_DeleteEndpointConfig.html (settings in use stay).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import block, one, pairs
from tests.engine.double.types import Autoname, Inputs, Problem, Situation, Type, values
from tests.engine.double.wire import UNKNOWN

MODEL = "aws:sagemaker/model:Model"
SETTINGS = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
GROUP = "aws:sagemaker/modelPackageGroup:ModelPackageGroup"
TARGET = "aws:appautoscaling/target:Target"
ROLE, KEY = "aws:iam/role:Role", "aws:kms/key:Key"
SUBNET, SECURITY_GROUP = "aws:ec2/subnet:Subnet", "aws:ec2/securityGroup:SecurityGroup"
NAME = Autoname(limit=63)
TAGS = Put("Tags", pairs())
CONTAINER = block(modelDataSource=Put("modelDataSource", block(s3DataSources=Put("S3DataSource", one))))


def _assumable(situation: Situation) -> Iterator[Problem]:
    role = situation.cloud.find(ROLE, situation.inputs["executionRoleArn"])
    if role and "sagemaker.amazonaws.com" not in role.inputs["assumeRolePolicy"]:
        yield Problem("executionRoleArn", "ValidationException: Could not assume role; its trust names no SageMaker")


def _one_container(inputs: Inputs) -> Iterator[Problem]:
    if ("primaryContainer" in inputs) == ("containers" in inputs):
        yield Problem("primaryContainer", "ValidationException: a model has a primary container or containers")


def _variants(inputs: Inputs) -> Iterator[Problem]:
    variants = inputs.get("productionVariants", [])
    if variants is UNKNOWN:
        return
    names = values(inputs, "productionVariants.variantName")
    if len({*names}) < len(names):
        yield Problem("productionVariants", f"ValidationException: two variants have one name: {', '.join(names)}")
    for index, variant in enumerate(variants):
        if "serverlessConfig" not in variant and not {"instanceType", "initialInstanceCount"} <= set(variant):
            yield Problem(f"productionVariants[{index}]", "ValidationException: needs a type and a number of instances")
    weights = [variant.get("initialVariantWeight", 1) for variant in variants]
    if UNKNOWN not in weights and not any(weights):
        yield Problem("productionVariants", "ValidationException: no variant has a weight above 0")


def _names(situation: Situation, settings: str) -> dict[str, dict[str, Any]]:
    found = situation.cloud.find(SETTINGS, settings)
    return {variant["variantName"]: variant for variant in found.inputs["productionVariants"]} if found else {}


def _guarded(situation: Situation) -> Iterator[Problem]:
    """What keeps a guarded update from being made."""
    policy = situation.inputs.get("deploymentConfig", {}).get("blueGreenUpdatePolicy", {})
    traffic = policy.get("trafficRoutingConfiguration", {})
    news = _names(situation, situation.inputs["endpointConfigName"])
    if situation.old and policy and news.keys() != _names(situation, situation.old.inputs["endpointConfigName"]).keys():
        yield Problem("deploymentConfig", "ValidationException: the new configuration has other variants")
    size = traffic.get("canarySize", {})
    for name, variant in news.items():
        count = variant["initialInstanceCount"]
        first = size.get("value", 0) if size.get("type") == "INSTANCE_COUNT" else count * size.get("value", 0) / 100
        if traffic.get("type") == "CANARY" and not 0 < first <= count / 2:
            yield Problem("deploymentConfig", f"ValidationException: {first:g} of {count} in {name} is above a half")


def _still_scaled(situation: Situation) -> Iterator[Problem]:
    """A variant that scales cannot go."""
    kept = _names(situation, situation.inputs["endpointConfigName"])
    for target in situation.cloud.of(TARGET, situation.config["region"]):
        kind, endpoint, _, variant = [*target.inputs["resourceId"].split("/"), "", "", ""][:4]
        if kind == "endpoint" and situation.old and endpoint == situation.old.id and variant not in kept:
            yield Problem("endpointConfigName", f"ValidationException: {variant} is registered as a scalable target")


TYPES = {
    MODEL: Type(
        calls=[
            Call(
                "sagemaker.CreateModel",
                same="enableNetworkIsolation vpcConfig inferenceExecutionConfig executionRoleArn",
                moved={
                    "name": "ModelName",
                    "primaryContainer": Put("PrimaryContainer", CONTAINER),
                    "containers": Put("Containers", CONTAINER),
                    "tags": TAGS,
                },
            )
        ],
        id="{name}",
        outputs={"arn": "arn:{partition}:sagemaker:{region}:{account}:model/{id}"},
        replace="name executionRoleArn primaryContainer containers enableNetworkIsolation vpcConfig "
        "inferenceExecutionConfig",
        name=NAME,
        refers={"executionRoleArn": ROLE, "vpcConfig.subnets": SUBNET, "vpcConfig.securityGroupIds": SECURITY_GROUP},
        held_by=SETTINGS,
        checks=[_one_container],
        rules=[_assumable],
    ),
    SETTINGS: Type(
        calls=[
            Call(
                "sagemaker.CreateEndpointConfig",
                same="dataCaptureConfig asyncInferenceConfig executionRoleArn",
                moved={
                    "name": "EndpointConfigName",
                    "kmsKeyArn": "KmsKeyId",
                    "productionVariants": Put("ProductionVariants", block(routingConfigs=Put("RoutingConfig", one))),
                    "shadowProductionVariants": Put(
                        "ShadowProductionVariants", block(routingConfigs=Put("RoutingConfig", one))
                    ),
                    "tags": TAGS,
                },
            )
        ],
        id="{name}",
        outputs={"arn": "arn:{partition}:sagemaker:{region}:{account}:endpoint-config/{id}", "namePrefix": ""},
        replace="name namePrefix kmsKeyArn productionVariants shadowProductionVariants dataCaptureConfig "
        "asyncInferenceConfig executionRoleArn",
        name=NAME,
        refers={"productionVariants.modelName": MODEL, "kmsKeyArn": KEY, "dataCaptureConfig.kmsKeyId": KEY},
        held_by=ENDPOINT,
        checks=[_variants],
    ),
    ENDPOINT: Type(
        calls=[
            Call(
                "sagemaker.CreateEndpoint",
                same="endpointConfigName deploymentConfig",
                moved={"name": "EndpointName", "tags": TAGS},
            )
        ],
        id="{name}",
        outputs={"arn": "arn:{partition}:sagemaker:{region}:{account}:endpoint/{id}"},
        replace="name",
        name=NAME,
        refers={"endpointConfigName": SETTINGS},
        rules=[_guarded, _still_scaled],
    ),
    GROUP: Type(
        calls=[
            Call(
                "sagemaker.CreateModelPackageGroup",
                same="modelPackageGroupName modelPackageGroupDescription",
                moved={"tags": TAGS},
            )
        ],
        id="{modelPackageGroupName}",
        outputs={"arn": "arn:{partition}:sagemaker:{region}:{account}:model-package-group/{id}"},
        replace="modelPackageGroupName modelPackageGroupDescription",
    ),
}
