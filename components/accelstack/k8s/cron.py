"""When something happens again and again, as cron says it."""

import re

MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of the month", 1, 31, ()),
    ("month", 1, 12, MONTHS),
    ("day of the week", 0, 6, DAYS),
)
"""What each field is, its least and its largest number, and the names that may stand for numbers."""
SHORT = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
EVERY = r"@every ([0-9]+h)?([0-9]+m)?([0-9]+s)?"


def cron_problem(expression: str) -> str:
    """Why an expression says no time, and the fix; empty if it does.

    Five fields, such as `0 3 * * *`, a word such as `@daily`, or `@every 12h`, perhaps behind a time zone such as
    `CRON_TZ=Europe/Paris`: as Kubernetes and Velero read them (https://pkg.go.dev/github.com/robfig/cron/v3).
    """
    plain = re.sub(r"^(CRON_)?TZ=\S+ +", "", expression)
    if plain in SHORT or (re.fullmatch(EVERY, plain) and re.search("[1-9]", plain)):
        return ""
    fields = plain.split()
    if len(fields) != len(FIELDS):
        return (
            f"has {len(fields)} fields, and needs 5: minute, hour, day of the month, month and day of the week; use one"
            " such as 0 3 * * *, three o'clock each night"
        )
    for text, (what, least, largest, names) in zip(fields, FIELDS, strict=True):
        if not all(_possible(part, least, largest, names) for part in text.split(",")):
            return f"has {text!r} as {what}, which is none: use *, or numbers from {least} to {largest}"
    return ""


def _possible(part: str, least: int, largest: int, names: tuple[str, ...]) -> bool:
    """Whether it is one of a field's times, a range of them, or every nth."""
    matched = re.fullmatch(r"(?:[*?]|([0-9]+|[a-z]{3})(?:-([0-9]+|[a-z]{3}))?)(?:/([0-9]+))?", part.lower())
    if not matched:
        return False
    first, last, step = matched.groups()
    start, end = (_number(each, least, names) for each in (first, last or first))
    return least <= start <= end <= largest and step != "0" * len(step or "")


def _number(text: str | None, least: int, names: tuple[str, ...]) -> int:
    """The number that it is or stands for; -1 if none, and the least for all."""
    if text is None:
        return least
    if text.isdigit():
        return int(text)
    return names.index(text) + (least if names else 0) if text in names else -1
