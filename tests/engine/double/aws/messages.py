"""Queues of SQS, and the rules of EventBridge that send to them."""

import json
from collections.abc import Iterator
from typing import Any

from tests.engine.double import policies
from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import block, pairs, plain, text
from tests.engine.double.types import Autoname, Inputs, Problem, Situation, Type
from tests.engine.double.wire import UNKNOWN

QUEUE, POLICY = "aws:sqs/queue:Queue", "aws:sqs/queuePolicy:QueuePolicy"
RULE, TARGET = "aws:cloudwatch/eventRule:EventRule", "aws:cloudwatch/eventTarget:EventTarget"
RANGES = {
    "messageRetentionSeconds": (60, 1_209_600),
    "visibilityTimeoutSeconds": (0, 43_200),
    "delaySeconds": (0, 900),
    "receiveWaitTimeSeconds": (0, 20),
    "maxMessageSize": (1024, 1_048_576),
    "kmsDataKeyReusePeriodSeconds": (60, 86_400),
}
"""https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SetQueueAttributes.html"""

_word = plain(lambda value: str(value).lower() if isinstance(value, bool) else value)


def ranges(inputs: Inputs) -> Iterator[Problem]:
    """Attributes travel as text, so the model has no ranges."""
    for name, (least, most) in RANGES.items():
        value = inputs.get(name)
        if isinstance(value, int) and not least <= value <= most:
            yield Problem(name, f"InvalidAttributeValue: {least} to {most}, not {value}")


def one_encryption(inputs: Inputs) -> Iterator[Problem]:
    """Messages are encrypted with SQS's own key or with KMS."""
    if inputs.get("sqsManagedSseEnabled") is True and inputs.get("kmsMasterKeyId") not in (None, UNKNOWN):
        yield Problem("sqsManagedSseEnabled", "InvalidAttributeValue: you can use one type of server-side encryption")


def pattern(inputs: Inputs) -> Iterator[Problem]:
    """A rule matches events or follows a schedule; a pattern is JSON of lists."""
    if "eventPattern" not in inputs and "scheduleExpression" not in inputs:
        yield Problem("", "ValidationException: one of eventPattern and scheduleExpression is required")
    given: Any = inputs.get("eventPattern")
    if isinstance(given, str):
        try:
            leaves = json.loads(given)
        except ValueError as error:
            yield Problem("eventPattern", f"InvalidEventPatternException: {error}")
            return
        for name, value in leaves.items():
            if not isinstance(value, list | dict):
                yield Problem("eventPattern", f"InvalidEventPatternException: {name} must be an object or an array")


def may_send(situation: Situation) -> Iterator[Problem]:
    """A target that the rule may not send to is accepted, and stays silent: so the double refuses it."""
    queue = situation.cloud.find(QUEUE, situation.inputs["arn"])
    written = [
        each.inputs["policy"] for each in situation.cloud.of(POLICY) if queue and each.inputs["queueUrl"] == queue.id
    ]
    if queue and not any("events.amazonaws.com" in str(policy) for policy in written):
        yield Problem("arn", f"no policy of {queue.id} lets EventBridge send to it, and nothing would arrive")


TYPES = {
    QUEUE: Type(
        calls=[
            Call(
                "sqs.CreateQueue",
                same="tags",
                moved={
                    "name": "QueueName",
                    "messageRetentionSeconds": Put("Attributes.MessageRetentionPeriod", text),
                    "visibilityTimeoutSeconds": Put("Attributes.VisibilityTimeout", text),
                    "delaySeconds": Put("Attributes.DelaySeconds", text),
                    "receiveWaitTimeSeconds": Put("Attributes.ReceiveMessageWaitTimeSeconds", text),
                    "maxMessageSize": Put("Attributes.MaximumMessageSize", text),
                    "kmsMasterKeyId": "Attributes.KmsMasterKeyId",
                    "kmsDataKeyReusePeriodSeconds": Put("Attributes.KmsDataKeyReusePeriodSeconds", text),
                    "sqsManagedSseEnabled": Put("Attributes.SqsManagedSseEnabled", _word),
                    "policy": Put("Attributes.Policy", check=policies.resource),
                    "redrivePolicy": "Attributes.RedrivePolicy",
                },
            )
        ],
        id="https://sqs.{region}.{dns_suffix}/{account}/{name}",
        outputs={"arn": "arn:{partition}:sqs:{region}:{account}:{name}", "url": "{id}"},
        defaults={"messageRetentionSeconds": 345_600, "visibilityTimeoutSeconds": 30, "sqsManagedSseEnabled": True},
        replace="name namePrefix fifoQueue",
        name=Autoname(limit=80),
        refers={"kmsMasterKeyId": "aws:kms/key:Key aws:kms/alias:Alias"},
        checks=[ranges, one_encryption],
    ),
    POLICY: Type(
        calls=[
            Call(
                "sqs.SetQueueAttributes",
                same="queueUrl",
                moved={"policy": Put("Attributes.Policy", check=policies.resource)},
            )
        ],
        id="{queueUrl}",
        replace="queueUrl",
        refers={"queueUrl": QUEUE},
    ),
    RULE: Type(
        calls=[
            Call(
                "events.PutRule",
                same="name description eventPattern scheduleExpression state roleArn eventBusName",
                moved={"tags": Put("Tags", pairs())},
            )
        ],
        id="{name}",
        outputs={"arn": "arn:{partition}:events:{region}:{account}:rule/{name}"},
        defaults={"state": "ENABLED", "eventBusName": "default"},
        replace="name namePrefix eventBusName",
        own={"forceDestroy": "goes into deletion"},
        name=Autoname(limit=64),
        held_by=TARGET,
        checks=[pattern],
    ),
    TARGET: Type(
        calls=[
            Call(
                "events.PutTargets",
                same="rule eventBusName",
                moved={
                    "arn": "Targets.0.Arn",
                    "targetId": "Targets.0.Id",
                    "roleArn": "Targets.0.RoleArn",
                    "input": "Targets.0.Input",
                    "inputPath": "Targets.0.InputPath",
                    "deadLetterConfig": Put("Targets.0.DeadLetterConfig", block()),
                },
            )
        ],
        id="{rule}-{targetId}",
        defaults={"eventBusName": "default"},
        replace="rule targetId eventBusName",
        name=Autoname("targetId", limit=64, unless=""),
        refers={"rule": RULE},
        rules=[may_send],
    ),
}
