"""CloudWatch Logs. Days of retention are those that PutRetentionPolicy's documentation lists; its model has no enum."""

from collections.abc import Iterator

from tests.engine.double.judge import Call
from tests.engine.double.types import Autoname, Inputs, Problem, Situation, Type

GROUP = "aws:cloudwatch/logGroup:LogGroup"
DAYS = (
    0, 1, 3, 5, 7, 14, 30, 60, 90, 120, 150, 180, 365, 400, 545, 731, 1096, 1827, 2192, 2557, 2922, 3288, 3653,
)  # fmt: skip


def retention(inputs: Inputs) -> Iterator[Problem]:
    """Logs are kept for one of some numbers of days; 0 is the provider's word for ever."""
    days = inputs.get("retentionInDays", 0)
    if isinstance(days, int) and days not in DAYS:
        yield Problem("retentionInDays", f"is one of {', '.join(map(str, DAYS))}, not {days}")


def key(situation: Situation) -> Iterator[Problem]:
    """CloudWatch Logs itself may use the key: its policy says so."""
    arn = situation.inputs.get("kmsKeyId")
    found = situation.cloud.find("aws:kms/key:Key", arn) if arn else None
    if found and f"logs.{situation.config['region']}." not in str(found.inputs.get("policy", "")):
        yield Problem("kmsKeyId", f"AccessDeniedException: the policy of {arn} does not let CloudWatch Logs use it")


TYPES = {
    GROUP: Type(
        calls=[
            Call(
                "logs.CreateLogGroup",
                same="kmsKeyId tags logGroupClass deletionProtectionEnabled",
                moved={"name": "logGroupName"},
            ),
            Call("logs.PutRetentionPolicy", same="retentionInDays", moved={"name": "logGroupName"}),
        ],
        id="{name}",
        outputs={"arn": "arn:{partition}:logs:{region}:{account}:log-group:{name}"},
        defaults={"logGroupClass": "STANDARD", "skipDestroy": False, "deletionProtectionEnabled": False},
        replace="name namePrefix logGroupClass",
        own={"skipDestroy": "leaves it where it is"},
        name=Autoname(limit=512),
        refers={"kmsKeyId": "aws:kms/key:Key"},
        checks=[retention],
        rules=[key],
    )
}
