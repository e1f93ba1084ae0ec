"""Application Auto Scaling, of SageMaker's endpoints.

Rules: https://docs.aws.amazon.com/autoscaling/application/APIReference/API_RegisterScalableTarget.html and
https://docs.aws.amazon.com/sagemaker/latest/dg/endpoint-auto-scaling-add-policy.html.
"""

from __future__ import annotations

from collections.abc import Iterator

from tests.engine.double.judge import Call
from tests.engine.double.types import Autoname, Inputs, Problem, Situation, Type
from tests.engine.double.wire import UNKNOWN

TARGET = "aws:appautoscaling/target:Target"
POLICY = "aws:appautoscaling/policy:Policy"
ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
SETTINGS = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
VARIANT = "sagemaker:variant:DesiredInstanceCount"


def _range(inputs: Inputs) -> Iterator[Problem]:
    least, most = inputs.get("minCapacity", 0), inputs.get("maxCapacity", 0)
    if UNKNOWN not in (least, most) and not 0 <= least <= most:
        yield Problem("maxCapacity", f"ValidationException: {least} to {most} is no range")


def _variant(situation: Situation) -> Iterator[Problem]:
    """What scales is there: a variant of an endpoint."""
    if situation.inputs["scalableDimension"] != VARIANT:
        yield Problem("scalableDimension", "no rule of the double knows other things than endpoints: add one")
        return
    kind, endpoint, of, variant = [*situation.inputs["resourceId"].split("/"), "", "", ""][:4]
    found = situation.cloud.find(ENDPOINT, endpoint)
    settings = situation.cloud.find(SETTINGS, found.inputs["endpointConfigName"]) if found else None
    names = [each["variantName"] for each in settings.inputs["productionVariants"]] if settings else []
    if (kind, of) != ("endpoint", "variant") or variant not in names:
        yield Problem("resourceId", f"ValidationException: no variant of an endpoint: {situation.inputs['resourceId']}")


def _registered(situation: Situation) -> Iterator[Problem]:
    """A policy scales what is registered."""
    same = ("resourceId", "scalableDimension", "serviceNamespace")
    asked = [situation.inputs[name] for name in same]
    targets = situation.cloud.of(TARGET, situation.config["region"])
    if asked not in [[target.inputs[name] for name in same] for target in targets]:
        yield Problem("resourceId", f"ObjectNotFoundException: no scalable target registered for {asked[0]}")


TYPES = {
    TARGET: Type(
        calls=[
            Call(
                "application-autoscaling.RegisterScalableTarget",
                same="serviceNamespace resourceId scalableDimension minCapacity maxCapacity roleArn suspendedState "
                "tags",
            )
        ],
        id="{resourceId}",
        outputs={"arn": "arn:{partition}:application-autoscaling:{region}:{account}:scalable-target/{hex12}"},
        replace="serviceNamespace resourceId scalableDimension",
        held_by=POLICY,
        checks=[_range],
        rules=[_variant],
    ),
    POLICY: Type(
        calls=[
            Call(
                "application-autoscaling.PutScalingPolicy",
                same="policyType serviceNamespace resourceId scalableDimension stepScalingPolicyConfiguration "
                "targetTrackingScalingPolicyConfiguration predictiveScalingPolicyConfiguration",
                moved={"name": "PolicyName"},
            )
        ],
        id="{name}",
        outputs={
            "arn": "arn:{partition}:autoscaling:{region}:{account}:scalingPolicy:{hex12}:policyName/{name}",
            "alarmArns": [],
        },
        replace="name serviceNamespace resourceId scalableDimension",
        name=Autoname(limit=256),
        rules=[_registered],
    ),
}
