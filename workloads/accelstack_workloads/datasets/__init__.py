"""Datasets of the bundled workloads. Nothing here imports torch, so that preparing one starts at once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

HELD_OUT = 5  # one sample in so many is held out, per class where there are classes


def held_out(names: Iterable[str]) -> set[str]:
    """The names to hold out: a fifth, at least one, in the order of their hashes, so that every machine picks alike."""
    ordered = sorted(names, key=lambda name: hashlib.sha256(name.encode(errors="surrogateescape")).digest())
    return set(ordered[: max(1, round(len(ordered) / HELD_OUT))])
