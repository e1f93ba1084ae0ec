"""ECR. Lifecycle policies: https://docs.aws.amazon.com/AmazonECR/latest/userguide/lifecycle_policy_parameters.html."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import one, pairs
from tests.engine.double.types import Autoname, Inputs, Problem, Situation, Type

REPOSITORY = "aws:ecr/repository:Repository"
_SELECTION = {
    "tagStatus", "tagPrefixList", "tagPatternList", "storageClass", "countType", "countUnit", "countNumber",
}  # fmt: skip


def lifecycle(document: Any) -> Iterator[str]:
    """What ECR refuses in a lifecycle policy; its model only knows a text."""
    try:
        rules = json.loads(document)["rules"]
    except (ValueError, KeyError, TypeError) as error:
        yield f"InvalidParameterException: is no lifecycle policy: {error!r}"
        return
    priorities = [rule.get("rulePriority") for rule in rules]
    if len(priorities) != len(set(priorities)) or not all(isinstance(one, int) and one > 0 for one in priorities):
        yield f"every rule has a rulePriority of its own, from 1, not {priorities}"
    for rule in rules:
        if set(rule) - {"description"} != {"rulePriority", "selection", "action"}:
            yield f"a rule has rulePriority, selection and action, not {sorted(rule)}"
            continue
        yield from _selection(rule["selection"])
        if rule["action"] != {"type": "expire"}:
            yield f"the action is to expire, not {rule['action']}"


def _selection(selection: dict[str, Any]) -> Iterator[str]:
    if unknown := set(selection) - _SELECTION:
        yield f"a selection has no {sorted(unknown)}"
    status, count = selection.get("tagStatus"), selection.get("countType")
    named = [name for name in ("tagPrefixList", "tagPatternList") if name in selection]
    if status not in ("tagged", "untagged", "any"):
        yield f"tagStatus is tagged, untagged or any, not {status!r}"
    if (status == "tagged") != (len(named) == 1):
        yield f"tagged, and only that, takes one of tagPrefixList and tagPatternList, not {named}"
    if count not in ("imageCountMoreThan", "sinceImagePushed"):
        yield f"countType is imageCountMoreThan or sinceImagePushed, not {count!r}"
    if (count == "sinceImagePushed") != (selection.get("countUnit") == "days"):
        yield "sinceImagePushed, and only that, has countUnit days"
    if not isinstance(selection.get("countNumber"), int) or selection["countNumber"] < 1:
        yield f"countNumber is a whole number from 1, not {selection.get('countNumber')!r}"


def one_block(inputs: Inputs) -> Iterator[Problem]:
    """A key goes with encryption by KMS."""
    for given in inputs.get("encryptionConfigurations", []):
        if isinstance(given, dict) and "kmsKey" in given and not str(given.get("encryptionType", "")).startswith("KMS"):
            yield Problem("encryptionConfigurations[0].kmsKey", "InvalidParameterException: AES256 takes no key")


def _login(inputs: Inputs, at: Situation) -> dict[str, Any]:
    password = "made-for-tests"  # noqa: S105 - the double's own
    registry = inputs.get("registryId") or at.config["account"]
    return {
        "id": at.config["region"],
        "userName": "AWS",
        "password": password,
        "authorizationToken": base64.b64encode(f"AWS:{password}".encode()).decode(),
        "expiresAt": "2026-01-01T12:00:00Z",
        "proxyEndpoint": f"https://{registry}.dkr.ecr.{at.config['region']}.{at.config['dns_suffix']}",
    }


TYPES = {
    REPOSITORY: Type(
        calls=[
            Call(
                "ecr.CreateRepository",
                same="imageTagMutability imageScanningConfiguration imageTagMutabilityExclusionFilters",
                moved={
                    "name": "repositoryName",
                    "encryptionConfigurations": Put("encryptionConfiguration", one),
                    "tags": Put("tags", pairs()),
                },
            ),
        ],
        id="{name}",
        outputs={
            "arn": "arn:{partition}:ecr:{region}:{account}:repository/{name}",
            "registryId": "{account}",
            "repositoryUrl": "{account}.dkr.ecr.{region}.{dns_suffix}/{name}",
        },
        defaults={"imageTagMutability": "MUTABLE"},
        replace="name encryptionConfigurations",
        own={"forceDelete": "removes the images before deletion"},
        name=Autoname(limit=256, lower=True),
        unless="forceDelete",
        refers={"encryptionConfigurations.kmsKey": "aws:kms/key:Key"},
        checks=[one_block],
    ),
    "aws:ecr/lifecyclePolicy:LifecyclePolicy": Type(
        calls=[
            Call(
                "ecr.PutLifecyclePolicy",
                moved={"repository": "repositoryName", "policy": Put("lifecyclePolicyText", check=lifecycle)},
            ),
        ],
        id="{repository}",
        outputs={"registryId": "{account}"},
        replace="repository",
        refers={"repository": REPOSITORY},
    ),
}
FUNCTIONS = {"aws:ecr/getAuthorizationToken:getAuthorizationToken": _login}
