"""The grammar of IAM policy documents, as far as it can be told without AWS.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_grammar.html
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import botocore.session

_STATEMENT = {
    "Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition",
}  # fmt: skip
_OPERATOR = re.compile(
    r"(?:(?:ForAllValues|ForAnyValue):)?(?:"
    r"(?:String(?:Not)?(?:Equals|Like|EqualsIgnoreCase)|(?:Numeric|Date)(?:(?:Not)?Equals|(?:Less|Greater)Than(?:Equals)?)"
    r"|Bool|BinaryEquals|(?:Not)?IpAddress|Arn(?:Not)?(?:Equals|Like))(?:IfExists)?|Null)"
)
_BEYOND = {  # prefixes of actions of services that have none of their own among botocore's signing names
    "autoscaling-plans", "aws-marketplace", "aws-portal", "cloudwatch", "ec2messages", "eks-auth", "s3express",
    "servicequotas", "ssmmessages", "tag",
}  # fmt: skip
_PRINCIPALS = {"AWS", "Service", "Federated", "CanonicalUser"}


@cache
def services() -> frozenset[str]:
    """Known service prefixes: what botocore signs requests for, and calls its services."""
    session = botocore.session.get_session()
    found = set(session.get_available_services()) | _BEYOND
    for name in ("cloudwatch", "elbv2", "efs", "logs", "sagemaker", "ecr", "application-autoscaling", "budgets", "ses"):
        model = session.get_service_model(name)
        found |= {model.signing_name, model.endpoint_prefix}
    return frozenset(found)


def identity(document: Any) -> Iterator[str]:
    """What is wrong with a policy of a role or user: it names resources, never principals."""
    yield from _document(document, _resource_only)


def trust(document: Any) -> Iterator[str]:
    """What is wrong with a role's trust policy: it names principals, never resources."""
    yield from _document(document, _principal_only)


def resource(document: Any) -> Iterator[str]:
    """What is wrong with a policy attached to a key, bucket, queue and the like: it names principals and resources."""
    yield from _document(document, _both)


def _document(document: Any, parties: Callable[[dict[str, Any]], Iterator[str]]) -> Iterator[str]:
    try:
        policy = json.loads(document) if isinstance(document, str) else document
    except ValueError as error:
        yield f"is not JSON: {error}"
        return
    if not isinstance(policy, dict):
        yield "is not a JSON object"
        return
    if unknown := set(policy) - {"Version", "Id", "Statement"}:
        yield f"a policy has no {sorted(unknown)}"
    if policy.get("Version") != "2012-10-17":
        yield f"Version is 2012-10-17 (without it variables are plain text), not {policy.get('Version')!r}"
    statements = policy.get("Statement", [])
    listed: list[Any] = statements if isinstance(statements, list) else [statements]
    if not listed:
        yield "has no Statement"
    sids = [one["Sid"] for one in listed if isinstance(one, dict) and "Sid" in one]
    if len(sids) != len(set(sids)):
        yield f"a Sid is used twice: {sids}"
    for number, statement in enumerate(listed):
        if not isinstance(statement, dict):
            yield f"statement {number} is not an object"
            continue
        for reason in [*_statement(statement), *parties(statement)]:
            yield f"statement {statement.get('Sid', number)}: {reason}"


def _statement(statement: dict[str, Any]) -> Iterator[str]:
    if unknown := set(statement) - _STATEMENT:
        yield f"there is no {sorted(unknown)}"
    if statement.get("Effect") not in ("Allow", "Deny"):
        yield f"Effect is Allow or Deny, not {statement.get('Effect')!r}"
    if ("Action" in statement) == ("NotAction" in statement):
        yield "takes one of Action and NotAction"
    for action in _listed(statement.get("Action", statement.get("NotAction", []))):
        prefix, _, name = str(action).partition(":")
        if action != "*" and not (re.fullmatch(r"[\w*?]+", name) and prefix.lower() in services()):
            yield f"{action!r} is no action of a known service"
    condition = statement.get("Condition", {})
    for operator, operands in condition.items() if isinstance(condition, dict) else []:
        if not _OPERATOR.fullmatch(operator):
            yield f"there is no condition operator {operator}"
        if not isinstance(operands, dict) or not all(":" in key for key in operands):
            yield f"{operator} compares keys such as aws:SourceArn"


def _resources(statement: dict[str, Any]) -> Iterator[str]:
    if ("Resource" in statement) == ("NotResource" in statement):
        yield "takes one of Resource and NotResource"
    for name in _listed(statement.get("Resource", statement.get("NotResource", []))):
        if name != "*" and not re.fullmatch(r"arn:[\w*-]+:[\w*-]+:[\w*-]*:[\w*-]*:.+", str(name)):
            yield f"{name!r} is neither an ARN nor *"


def _principals(statement: dict[str, Any]) -> Iterator[str]:
    if ("Principal" in statement) == ("NotPrincipal" in statement):
        yield "takes one of Principal and NotPrincipal"
    principal = statement.get("Principal", statement.get("NotPrincipal", "*"))
    if principal == "*":
        return
    if not isinstance(principal, dict) or not set(principal) <= _PRINCIPALS:
        yield f"a principal is * or has {sorted(_PRINCIPALS)}, not {principal!r}"
        return
    for service in _listed(principal.get("Service", [])):
        if not re.fullmatch(r"[\w.-]+\.amazonaws\.com(\.cn)?", str(service)):
            yield f"{service!r} is no service principal"
    for account in _listed(principal.get("AWS", [])):
        if not re.fullmatch(r"\*|\d{12}|arn:aws[\w-]*:(iam|sts)::\d{12}:.+", str(account)):
            yield f"{account!r} is no AWS principal"


def _resource_only(statement: dict[str, Any]) -> Iterator[str]:
    yield from _resources(statement)
    yield from _sid(statement)
    if {"Principal", "NotPrincipal"} & set(statement):
        yield "names a principal, which only a resource's or a trust policy does"


def _principal_only(statement: dict[str, Any]) -> Iterator[str]:
    yield from _principals(statement)
    yield from _sid(statement)
    if {"Resource", "NotResource"} & set(statement):
        yield "names a resource, which a trust policy does not"


def _both(statement: dict[str, Any]) -> Iterator[str]:
    yield from _resources(statement)
    yield from _principals(statement)


def _sid(statement: dict[str, Any]) -> Iterator[str]:
    """IAM's own policies take no blanks there, those of keys and buckets do."""
    if not re.fullmatch(r"[A-Za-z0-9]*", str(statement.get("Sid", ""))):
        yield "a Sid has letters and digits only"


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
