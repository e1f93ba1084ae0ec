"""What a doctor found, as a person reads it."""

from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from accelstack.checks import Check, State


def checks(found: Sequence[Check]) -> RenderableType:
    """What a doctor found, a line each, with what mends it."""
    style = {State.OK: "green", State.FAILED: "red", State.UNCHECKED: "yellow"}
    lines: list[RenderableType] = []
    for check in found:
        lines.append(
            Text.assemble((f"{check.state.value} ", style[check.state]), (check.name, "bold"), f": {check.detail}")
        )
        if check.fix:
            lines.append(Text(f"    mend it: {check.fix}", overflow="fold"))
    return Group(*lines)
