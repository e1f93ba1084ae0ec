"""How a component refuses an arg: with what the plan found about it."""

from collections.abc import Iterable

import pulumi

from accelstack.plan.findings import Finding, Severity


def refuse(findings: Iterable[Finding | None]) -> None:
    """Raises for the first finding that is no warning.

    Raises:
        pulumi.InputPropertyError: there is one; the message names property, value, rule and fix.
    """
    for found in findings:
        if found and found.severity is not Severity.WARNING:
            reason = f"{found.value or 'empty'}: {found.rule}; {found.fix}"
            raise pulumi.InputPropertyError(found.property, reason)
