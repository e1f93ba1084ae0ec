"""Settings that `tune` found, as defaults of `train`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from accelstack_workloads.errors import WorkloadError


def read_sizes(pairs: list[str]) -> dict[str, int]:
    """Sizes by name, from `NAME=NUMBER` each.

    Raises:
        WorkloadError: one is not written like that.
    """
    sizes = {}
    for pair in pairs:
        name, _, size = pair.partition("=")
        if not (name and size.isascii() and size.isdecimal()):
            raise WorkloadError(f"--size: {pair!r} is not NAME=NUMBER; give one such as width=64")
        sizes[name] = int(size)
    return sizes


def _take(context: typer.Context, path: Path | None) -> Path | None:
    """Makes a file's settings the defaults of the command's other options.

    Raises:
        WorkloadError: it cannot be read, or has settings that the command does not take.
    """
    if path is None:
        return None
    try:
        settings = dict(json.loads(path.read_text())["settings"])
        sizes = [f"{name}={size}" for name, size in settings.pop("sizes", {}).items()]
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise WorkloadError(
            f"--settings: {path} has no settings ({error}); give the best.json that `tune` wrote"
        ) from error
    known = {option.name for option in context.command.params}
    for name in settings:
        if name not in known:
            raise WorkloadError(f"--settings: {path} has {name!r}, which is no option of train; remove it")
    context.default_map = {**settings, "sizes": sizes}
    return path


SizesOption = Annotated[
    list[str],
    typer.Option("--size", help="NAME=NUMBER: a width or depth that is not usual; more than once for more."),
]
SettingsOption = Annotated[
    Path | None,
    typer.Option(
        "--settings", help="best.json of `tune`: what is left out is as there.", is_eager=True, callback=_take
    ),
]
