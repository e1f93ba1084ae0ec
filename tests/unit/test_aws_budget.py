"""What a budget refuses."""

from typing import Any

import pulumi
import pytest
from accelstack.aws import budget

GOOD: dict[str, Any] = {"monthly_usd": 1000, "alerts": ["team@example.com"]}
TOPIC = "arn:aws:sns:us-east-1:123456789012:costs"


@pytest.mark.parametrize(
    ("args", "path", "words"),
    [
        ({"monthly_usd": 0}, "monthly_usd", "above 0"),
        ({"monthly_usd": -5.0}, "monthly_usd", "above 0"),
        ({"monthly_usd": float("inf")}, "monthly_usd", "above 0"),
        ({"monthly_usd": float("nan")}, "monthly_usd", "above 0"),
        ({"alerts": []}, "alerts", "tells nobody"),
        ({"alerts": [f"person{n}@example.com" for n in range(11)]}, "alerts", "at most 10"),
        ({"alerts": ["team@example.com", "team"]}, "alerts[1]", "team@example.com"),
        ({"alerts": ["a@example.com, b@example.com"]}, "alerts[0]", "is no e-mail address"),
        ({"tag_key": "accelstack:stack"}, "tag_value", "tag_key is given"),
        ({"tag_value": "prod"}, "tag_key", "tag_value is given"),
        ({"activate_tag": True}, "activate_tag", "no tag_key"),
    ],
)
def test_refuses(args: Any, path: str, words: str) -> None:
    with pytest.raises(pulumi.InputPropertyError) as caught:
        budget.Budget("cost", {**GOOD, **args})
    assert caught.value.property_path == path
    assert words in caught.value.reason


@pytest.mark.parametrize("args", [{}, {"monthly_usd": 0.5}, {"alerts": [], "topic_arn": TOPIC}])
def test_accepts(args: Any) -> None:
    assert not list(budget.problems({**GOOD, **args}))


def test_alerts_fit_into_one_budget() -> None:
    assert len(budget.ALERTS) <= 5
