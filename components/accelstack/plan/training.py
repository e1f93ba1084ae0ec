"""The rules that a training job's settings keep on every target."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

DECIDED = ("workload", "architecture", "dataset", "epochs", "batch_size", "learning_rate", "seed")
"""Settings that decide what a run's result is."""
LARGEST = 2**53  # the engine carries numbers as doubles
MODEL_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class Usual:
    """What a bundled workload trains, on what and by what, where nothing else is asked for, as its own command line has
    it.
    """

    architectures: tuple[str, ...]
    """Networks that it has, the usual one first."""
    dataset: str
    epochs: int
    batch_size: int
    learning_rate: float


WORKLOADS = {
    "vision": Usual(("cnn", "resnet18"), "digits", 20, 64, 0.005),
    "tabular": Usual(("mlp",), "breast-cancer", 20, 32, 0.005),
    "speech": Usual(
        ("lstm",),
        "zip://free-spoken-digit-dataset-1.0.10/recordings::simplecache::"
        "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/tags/v1.0.10.zip",
        20,
        32,
        0.003,
    ),
    "text": Usual(("gpt",), "python-topics", 10, 16, 0.003),
}


def settled(args: Mapping[str, Any]) -> dict[str, Any]:
    """The args of a training job, with what is usual for its workload where they leave it out.

    Those of a workload that is not bundled stay as they are, for `problems` to name.
    """
    name = args["workload"]
    if name not in WORKLOADS:
        return {**args}
    usual = asdict(WORKLOADS[name])
    return {"architecture": usual.pop("architectures")[0], **usual, "seed": 0, "model": name, **args}


def problems(args: Mapping[str, Any]) -> dict[str, str]:
    """Every setting of a settled job that breaks its rule, with the reason and the fix; empty when all is well."""
    if args["workload"] not in WORKLOADS:
        return {"workload": f"{args['workload']!r} is no bundled workload; use one of: {', '.join(WORKLOADS)}"}
    found: dict[str, str] = {}
    if args["architecture"] not in (known := WORKLOADS[args["workload"]].architectures):
        found["architecture"] = (
            f"{args['architecture']!r} is none of {args['workload']}; use one of: {', '.join(known)}"
        )
    for name, least in (("epochs", 1), ("batch_size", 1), ("seed", 0)):
        if not least <= args[name] <= LARGEST:
            found[name] = f"is {args[name]}; it must be {least} or more, and at most 2^53"
    if not 0 < args["learning_rate"] <= 10:
        found["learning_rate"] = f"is {args['learning_rate']}; it must be above 0 and at most 10"
    if not args["dataset"]:
        found["dataset"] = (
            f"is empty; leave it out for {WORKLOADS[args['workload']].dataset}, or give the URI of your own"
        )
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
