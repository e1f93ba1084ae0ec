"""Patterns of the vendor's models, which are written for Java, as Python understands them."""

from __future__ import annotations

import re
from functools import cache

_CLASSES = {  # what the models use of Java's classes, as it reads inside square brackets; letters and signs roughly
    "L": r"A-Za-z\u00aa\u00b5\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02ff\u0370-\u1fff\u2c00-\ud7ff\uf900-\ufdff",
    "M": r"\u0300-\u036f",
    "N": r"\d",
    "Z": r" \u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u3000",
    "P": r"!-#%-*,-/:;?@\[-\]_{}\u00a1-\u00bf\u2010-\u2027",
    "S": r"$+<=>^`|~\u00a2-\u00b4\u20a0-\u20bf\u2190-\u23ff",
    "Alnum": "A-Za-z0-9",
    "Print": " -~",
    "ASCII": r"\x00-\x7f",
}


@cache
def compiled(pattern: str) -> re.Pattern[str] | None:
    """The pattern for `matches`, or None where Python has no equal for it."""
    text = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010ffff")
    text = re.sub(r"(\\w|\\p\{\w+\})-(?!\])", r"\1\\-", text)  # after a class a hyphen can only mean itself
    text = re.sub(r"\\p\{(\w+)\}", _class, text)
    try:
        return re.compile(text.replace("(?i)", ""), re.IGNORECASE if "(?i)" in text else 0)
    except (re.error, OverflowError):
        return None


def _class(found: re.Match[str]) -> str:
    """One `\\p{…}`: within square brackets as it is, outside them with brackets of its own."""
    members = _CLASSES.get(found[1], found[0])
    before = re.sub(r"\\.", "", found.string[: found.start()])
    return members if before.rfind("[") > before.rfind("]") else f"[{members}]"


def matches(pattern: str, value: str) -> bool:
    """Whether the value fits: all of it where the pattern has no anchor, as the models mean it; True where unusable."""
    usable = compiled(pattern)
    if usable is None:
        return True
    anchored = pattern.startswith("^") or pattern.endswith("$")
    return bool(usable.search(value) if anchored else usable.fullmatch(value))
