"""The rules that a training job's settings keep on every target."""

import re
from collections.abc import Mapping
from typing import Any

LARGEST = 2**53  # the engine carries numbers as doubles
WORKLOADS = ("vision",)
MODEL_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


def problems(args: Mapping[str, Any]) -> dict[str, str]:
    """Every setting of a training job that breaks its rule, with the reason and the fix; empty when all is well."""
    found: dict[str, str] = {}
    if args["workload"] not in WORKLOADS:
        found["workload"] = f"{args['workload']!r} is no bundled workload; use one of: {', '.join(WORKLOADS)}"
    for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
        if not least <= args[name] <= LARGEST:
            found[name] = f"is {args[name]}; it must be {least} or more, and at most 2^53"
    if not 0 < args["learning_rate"] <= 10:
        found["learning_rate"] = f"is {args['learning_rate']}; it must be above 0 and at most 10"
    if not args["dataset"]:
        found["dataset"] = "is empty; name a bundled dataset (digits) or the URI of a folder"
    if not MODEL_NAME.fullmatch(args["model"]):
        found["model"] = (
            f"{args['model']!r} is no model name; use 1 to 63 of a-z, 0-9, '.', '_', '-', first and last a-z or 0-9"
        )
    return found


def uneven_batch(batch_size: int, processes: int) -> str | None:
    """Why a batch cannot be spread over so many processes, and the fix; None if it can."""
    if batch_size % processes == 0:
        return None
    return f"is {batch_size}, not a multiple of {processes} processes; use {-(-batch_size // processes) * processes}"
