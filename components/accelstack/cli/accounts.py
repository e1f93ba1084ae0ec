"""The account's quotas, through the target's own SDK where it is installed and credentials are there."""

from collections.abc import Sequence
from importlib import import_module
from typing import Any

from accelstack.plan.findings import Finding, Severity
from accelstack.plan.quota import Limit, Need


def limits(target: str, region: str, needs: Sequence[Need]) -> tuple[dict[str, Limit], Finding | None]:
    """The account's limits by quota; or a warning that says why they could not be read."""
    try:
        account: Any = import_module(f"accelstack.{target}.account")
    except ImportError as error:
        return {}, _unread(target, f"{error.name} is not installed", f"pip install 'accelstack[{target}]'")
    try:
        return account.limits(region, needs), None
    except Exception as error:  # each SDK has its own; none of them may hide the plan
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        return {}, _unread(target, reason, f"see `accelstack doctor --target {target}`")


def _unread(target: str, reason: str, fix: str) -> Finding:
    return Finding(Severity.WARNING, "quota", target, f"the account's quotas could not be read: {reason}", fix)
