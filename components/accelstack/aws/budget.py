"""What a stack may cost in a month, and who is told when it costs more."""

import re
from collections.abc import Iterator
from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws import budgets, costexplorer

from accelstack.aws.refusals import refuse
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.platform import ADDRESS, MOST_ADDRESSES

ALERTS = (("ACTUAL", 50), ("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100))
"""Kind and percentage of what is told. A budget has up to five, each with up to ten addresses and one topic
(https://docs.aws.amazon.com/aws-cost-management/latest/APIReference/API_budgets_CreateBudget.html)."""


class BudgetArgs(TypedDict):
    """Args of `aws.Budget`."""

    monthly_usd: float
    """What a month may cost, in US dollars, above 0: such as the plan's estimate."""
    alerts: list[str]
    """E-mail addresses that are told at 50, 80 and 100 % of it, and when a month is forecast to exceed it; up to 10."""
    topic_arn: NotRequired[pulumi.Input[str]]
    """ARN of an SNS topic that is told too; its policy must let `budgets.amazonaws.com` publish."""
    tag_key: NotRequired[str]
    """Key of the tag whose cost counts, with `tag_value`; the cost of the whole account if left out. AWS counts a tag
    only once it is a cost allocation tag: see `activate_tag`."""
    tag_value: NotRequired[pulumi.Input[str]]
    """Value of the tag whose cost counts."""
    activate_tag: NotRequired[bool]
    """Whether to make `tag_key` a cost allocation tag; false if left out. It works in the account that pays alone, and
    only about a day after AWS saw the tag on a resource first: otherwise the update fails."""


class Budget(pulumi.ComponentResource):
    """A monthly budget with alerts. It stops nothing: costs show up hours late, and alerts with them.

    Credits and refunds do not count, so that usage shows while credits last.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    name: pulumi.Output[str]
    """Name of the budget."""
    arn: pulumi.Output[str]
    """ARN of the budget."""

    def __init__(self, name: str, args: BudgetArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        refuse(problems(args))
        super().__init__("accelstack:index:AwsBudget", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        tag = args.get("tag_key")
        filters: list[budgets.BudgetCostFilterArgs] = []
        if tag is not None:
            counted = pulumi.Output.concat(f"user:{tag}$", args.get("tag_value", ""))
            filters.append(budgets.BudgetCostFilterArgs(name="TagKeyValue", values=[counted]))
        budget = budgets.Budget(
            name,
            budget_type="COST",
            time_unit="MONTHLY",
            limit_amount=f"{args['monthly_usd']:.2f}",
            limit_unit="USD",
            cost_filters=filters,
            cost_types=budgets.BudgetCostTypesArgs(include_credit=False, include_refund=False),
            notifications=[
                budgets.BudgetNotificationArgs(
                    notification_type=kind,
                    comparison_operator="GREATER_THAN",
                    threshold=percent,
                    threshold_type="PERCENTAGE",
                    subscriber_email_addresses=args["alerts"],
                    subscriber_sns_topic_arns=[args["topic_arn"]] if "topic_arn" in args else [],
                )
                for kind, percent in ALERTS
            ],
            opts=child,
        )
        if tag is not None and args.get("activate_tag", False):
            costexplorer.CostAllocationTag(name, tag_key=tag, status="Active", opts=child)
        self.name = budget.name
        self.arn = budget.arn
        self.register_outputs({"name": self.name, "arn": self.arn})


def problems(args: BudgetArgs) -> Iterator[Finding]:
    """What is wrong with the args."""
    if not 0.01 <= args["monthly_usd"] < float("inf"):
        amount = str(args["monthly_usd"])
        yield Finding(Severity.INVALID, "monthly_usd", amount, "a budget is a number of US dollars above 0", "use 1000")
    alerts = args["alerts"]
    if not alerts and "topic_arn" not in args:
        yield Finding(Severity.INVALID, "alerts", "", "a budget that tells nobody has no use", "name an e-mail address")
    if len(alerts) > MOST_ADDRESSES:
        rule = f"AWS tells at most {MOST_ADDRESSES} addresses"
        yield Finding(Severity.ERROR, "alerts", f"{len(alerts)} addresses", rule, "use a mailing list, or topic_arn")
    for index, address in enumerate(alerts):
        if not re.fullmatch(ADDRESS, address):
            rule = "is no e-mail address"
            yield Finding(Severity.INVALID, f"alerts[{index}]", address, rule, "use one such as team@example.com")
    if ("tag_key" in args) != ("tag_value" in args):
        missing, given = ("tag_value", "tag_key") if "tag_key" in args else ("tag_key", "tag_value")
        yield Finding(Severity.ERROR, missing, "", f"is missing, and {given} is given", "give both, or neither")
    if args.get("activate_tag", False) and "tag_key" not in args:
        yield Finding(Severity.ERROR, "activate_tag", "true", "there is no tag_key to activate", "give tag_key")
