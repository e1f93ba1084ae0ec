"""Neutral accelerator names: `NAME` or `NAME:COUNT`, the count per node."""

from dataclasses import dataclass
from difflib import get_close_matches

NAMES = (
    *("cpu", "T4", "A10G", "L4", "L40S", "A100", "A100-40", "A100-80", "H100", "H100-80", "H100-94", "H200"),
    *("B200", "B300", "GB200", "GB300", "MI300X", "TPU-v5e", "TPU-v6e"),
)


@dataclass(frozen=True)
class Accelerator:
    """A neutral name and, where it was given, a count per node."""

    name: str
    per_node: int | None


def parse(text: str) -> Accelerator:
    """The accelerator that `NAME` or `NAME:COUNT` names.

    Raises:
        ValueError: the name is unknown or the count is no whole number above 0; the message names the fix.
    """
    name, colon, count = text.partition(":")
    if name not in NAMES:
        near = get_close_matches(name.upper(), [known.upper() for known in NAMES], n=3)
        suggestions = [known for known in NAMES if known.upper() in near] or NAMES
        raise ValueError(f"{name!r} is no known accelerator; did you mean {' or '.join(suggestions)}?")
    if not colon:
        return Accelerator(name, None)
    if not count.isdecimal() or int(count) < 1:
        raise ValueError(f"{text!r} has the count {count!r}; write {name}:N with a whole number N of 1 or more")
    return Accelerator(name, int(count))
