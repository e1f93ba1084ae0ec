"""KMS."""

from tests.engine.double import policies
from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import pairs
from tests.engine.double.types import Situation, Type
from tests.engine.double.wire import UNKNOWN


def _key_arn(made: Situation) -> str:
    key = made.cloud.find("aws:kms/key:Key", made.inputs["targetKeyId"])
    return key.outputs["arn"] if key else ""


TYPES = {
    "aws:kms/key:Key": Type(
        calls=[
            Call(
                "kms.CreateKey",
                same="description keyUsage customKeyStoreId multiRegion bypassPolicyLockoutSafetyCheck",
                moved={
                    "customerMasterKeySpec": "KeySpec",
                    "policy": Put("Policy", check=policies.resource),
                    "tags": Put("Tags", pairs("TagKey", "TagValue")),
                },
            ),
            Call("kms.EnableKeyRotation", same="rotationPeriodInDays", always={"KeyId": UNKNOWN}),
            Call(
                "kms.ScheduleKeyDeletion",
                moved={"deletionWindowInDays": "PendingWindowInDays"},
                always={"KeyId": UNKNOWN},
            ),
        ],
        id="{hex8}-{hex4}-{hex4}-{hex4}-{hex12}",
        outputs={
            "arn": "arn:{partition}:kms:{region}:{account}:key/{id}",
            "keyId": "{id}",
            "policy": lambda made: made.inputs.get("policy", "{}"),
        },
        defaults={"description": "", "multiRegion": False, "isEnabled": True, "keyUsage": "ENCRYPT_DECRYPT"},
        replace="customerMasterKeySpec keyUsage multiRegion customKeyStoreId bypassPolicyLockoutSafetyCheck",
        own={"enableKeyRotation": "chooses between two calls", "isEnabled": "chooses between two calls"},
    ),
    "aws:kms/alias:Alias": Type(
        calls=[Call("kms.CreateAlias", same="targetKeyId", moved={"name": "AliasName"})],
        id="{name}",
        outputs={"arn": "arn:{partition}:kms:{region}:{account}:{name}", "targetKeyArn": _key_arn},
        replace="name namePrefix",
        refers={"targetKeyId": "aws:kms/key:Key"},
    ),
}
