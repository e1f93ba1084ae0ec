"""Budgets and cost allocation tags.

Limits: https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_CreateBudget.html; activation:
https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_UpdateCostAllocationTagsStatus.html.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import pairs, plain
from tests.engine.double.types import Autoname, Inputs, Problem, Situation, Type
from tests.engine.double.wire import UNKNOWN

BUDGET = "aws:budgets/budget:Budget"
TAG = "aws:costexplorer/costAllocationTag:CostAllocationTag"
FILTERS = (
    "AZ",
    "InstanceType",
    "LinkedAccount",
    "Operation",
    "PurchaseType",
    "Region",
    "Service",
    "TagKeyValue",
    "UsageType",
)


def _filters(given: list[dict[str, Any]]) -> dict[str, Any]:
    return {one["name"]: one["values"] for one in given}


def _notification(given: dict[str, Any]) -> dict[str, Any]:
    """One notification with those whom it reaches."""
    addresses = [
        *(("EMAIL", one) for one in given.get("subscriberEmailAddresses", [])),
        *(("SNS", one) for one in given.get("subscriberSnsTopicArns", [])),
    ]
    about = {name: value for name, value in given.items() if not name.startswith("subscriber")}
    return {
        "Notification": about,
        "Subscribers": [{"SubscriptionType": kind, "Address": address} for kind, address in addresses],
    }


def _limits(inputs: Inputs) -> Iterator[Problem]:
    notifications = inputs.get("notifications", [])
    if notifications is UNKNOWN:
        return
    if len(notifications) > 5:
        yield Problem("notifications", f"CreationLimitExceeded: a budget has up to five, not {len(notifications)}")
    for index, one in enumerate(notifications):
        for name, most in (("subscriberEmailAddresses", 10), ("subscriberSnsTopicArns", 1)):
            addresses = one.get(name, [])
            if addresses is not UNKNOWN and len(addresses) > most:
                yield Problem(f"notifications[{index}].{name}", f"CreationLimitExceeded: at most {most}")
    kinds = [
        tuple(str(one.get(name)) for name in ("notificationType", "comparisonOperator", "threshold"))
        for one in notifications
    ]
    if len({*kinds}) < len(kinds):
        yield Problem("notifications", "DuplicateRecord: two notifications are the same")
    for index, one in enumerate([] if inputs.get("costFilters", []) is UNKNOWN else inputs.get("costFilters", [])):
        if one["name"] not in FILTERS:
            yield Problem(f"costFilters[{index}].name", f"InvalidParameter: {one['name']} is no cost filter")
        for value in [] if one["name"] != "TagKeyValue" or one["values"] is UNKNOWN else one["values"]:
            if value is not UNKNOWN and not (value.startswith(("user:", "aws:")) and "$" in value):
                yield Problem(f"costFilters[{index}].values", f"InvalidParameter: {value!r} is not user:<key>$<value>")


def _seen(situation: Situation) -> Iterator[Problem]:
    """Billing knows a tag only when something has carried it; the real one takes up to a day to see it."""
    key = situation.inputs["tagKey"]
    if not any(key in (one.inputs.get("tags") or {}) for one in situation.cloud.resources):
        yield Problem("tagKey", f"ValidationException: Tag keys not found: {key}")


TYPES = {
    BUDGET: Type(
        calls=[
            Call(
                "budgets.CreateBudget",
                moved={
                    "accountId": "AccountId",
                    "name": "Budget.BudgetName",
                    "budgetType": "Budget.BudgetType",
                    "costFilters": Put("Budget.CostFilters", plain(_filters)),
                    "costTypes": "Budget.CostTypes",
                    "limitAmount": "Budget.BudgetLimit.Amount",
                    "limitUnit": "Budget.BudgetLimit.Unit",
                    "timeUnit": "Budget.TimeUnit",
                    "notifications": Put(
                        "NotificationsWithSubscribers", plain(lambda given: [_notification(one) for one in given])
                    ),
                    "tags": Put("ResourceTags", pairs()),
                },
                always={"AccountId": UNKNOWN},
            )
        ],
        id="{account}:{name}",
        outputs={"arn": "arn:{partition}:budgets::{account}:budget/{name}", "accountId": "{account}"},
        replace="accountId name namePrefix",
        name=Autoname(limit=100),
        checks=[_limits],
        regional=False,
    ),
    TAG: Type(
        calls=[
            Call(
                "ce.UpdateCostAllocationTagsStatus",
                moved={"tagKey": "CostAllocationTagsStatus.0.TagKey", "status": "CostAllocationTagsStatus.0.Status"},
            )
        ],
        id="{tagKey}",
        outputs={"type": "UserDefined"},
        replace="tagKey",
        rules=[_seen],
        regional=False,
    ),
}
