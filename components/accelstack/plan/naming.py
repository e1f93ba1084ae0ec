"""Names as each cloud allows them: length, alphabet, uniqueness; shortened names carry a stable hash."""

import hashlib
import re
from dataclasses import dataclass
from functools import cache

from accelstack.plan import tables
from accelstack.plan.findings import Finding, Severity

HASH_LENGTH = 8
CLUSTER = "cluster"
"""Name of the cluster's component in a stack, of which the cloud's name of it is made."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What a cloud allows as a name of one kind of resource."""

    least: int
    most: int
    pattern: str
    """Regular expression for the whole name."""
    separators: str
    """Characters allowed between words, best first; empty if none."""
    scope: str
    """Within what the name is unique: `resource`, `account`, or `world`."""


@cache
def rule(target: str, kind: str) -> Rule:
    """The rule for names of one kind, such as `cluster`, `pool` or `bucket`."""
    row = next(row for row in tables.rows("names") if row["target"] == target and row["kind"] == kind)
    return Rule(int(row["least"]), int(row["most"]), row["pattern"], row["separators"], row["scope"])


def physical(target: str, kind: str, *words: str, salt: str = "") -> str:
    """A name made of words that a cloud accepts: always the same for the same words and salt.

    Joins the words if that fits, else cuts them and adds a hash of all of them. A name that must be unique in the
    world always carries the hash, over the salt too (an account, project or subscription).
    """
    wanted = rule(target, kind)
    separator = wanted.separators[:1]
    plain = re.sub(r"[^a-z0-9]+", separator, "-".join(words).lower()).strip(separator or None)
    if wanted.scope != "world" and len(plain) >= wanted.least and _fits(plain, wanted):
        return plain
    digest = hashlib.sha256("\0".join((target, kind, *words, salt)).encode()).hexdigest()[:HASH_LENGTH]
    stem = re.sub(r"^[^a-z]+", "", plain) or kind[:1]
    stem = stem[: wanted.most - HASH_LENGTH - len(separator)].rstrip(separator or None)
    return f"{stem}{separator}{digest}"


def check(target: str, kind: str, name: str, path: str) -> Finding | None:
    """The finding that a name chosen by the user breaks the cloud's rule; None if it keeps it."""
    wanted = rule(target, kind)
    if _fits(name, wanted):
        return None
    if len(name) > wanted.most:
        reason = f"has {len(name)} characters, and the {kind} names of {target} have at most {wanted.most}"
    elif len(name) < wanted.least:
        reason = f"has {len(name)} characters, and the {kind} names of {target} have at least {wanted.least}"
    else:
        reason = f"is no {kind} name on {target}, whose pattern is {wanted.pattern}"
    return Finding(Severity.ERROR, path, name, reason, f"use {physical(target, kind, name)}, for instance")


def _fits(name: str, wanted: Rule) -> bool:
    return wanted.least <= len(name) <= wanted.most and re.fullmatch(wanted.pattern, name) is not None
