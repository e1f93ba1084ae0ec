"""The stack's settings, read from Pulumi's configuration: the only place that does so. Their defaults and descriptions
are in Pulumi.yaml."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, fields
from difflib import get_close_matches
from typing import Any, cast

import pulumi
from accelstack.contracts import TrainingSettings
from accelstack.plan.machines import CLOUDS
from accelstack.plan.request import SETTINGS
from pulumi.runtime.config import CONFIG, get_config_env, is_config_secret

SECRETS = ("registry_password", "backup_credentials")
"""Keys that blueprints read by themselves, and that must be marked secret."""
TARGETS = ("local", "private", *CLOUDS)


@dataclass(frozen=True)
class Settings:
    """What `pulumi config` says of this stack; each field but `plan` is the key of that name."""

    target: str
    accelerator: str
    workload: str
    seed: int
    replicas: int
    rest_port: int
    grpc_port: int
    architecture: str | None
    dataset: str | None
    epochs: int | None
    batch_size: int | None
    learning_rate: float | None
    model: str | None
    plan: dict[str, Any]
    """The settings of the plan that are given, by key."""

    @property
    def training(self) -> TrainingSettings:
        """The args of a training job that the settings decide, on every target."""
        given = {name: getattr(self, name) for name in OPTIONAL if getattr(self, name) is not None}
        return cast(TrainingSettings, {"workload": self.workload, "seed": self.seed, **given})

    @property
    def model_name(self) -> str:
        """Name under which the model is registered and served: the workload's, if it has none of its own."""
        return self.model or self.workload


OPTIONAL = ("architecture", "dataset", "epochs", "batch_size", "learning_rate", "model")
"""Keys whose values, where they are not set, are what is usual for the workload."""
TYPES: dict[str, tuple[Callable[[str], Any], str]] = {
    "str": (str, "a text"),
    "int": (int, "a whole number"),
    "float": (float, "a number"),
}


def read() -> Settings:
    """The settings of the running stack.

    Raises:
        pulumi.RunError: a key is unknown, a value has the wrong type or the target is unknown; all problems at once.
    """
    prefix = f"{pulumi.get_project()}:"
    given = {**get_config_env(), **CONFIG.get()}
    own = {key.removeprefix(prefix): value for key, value in given.items() if key.startswith(prefix)}
    values, problems = parse({key: own[key] for key in own if key not in SECRETS}, pulumi.get_stack())
    problems += [
        f"  {key}: is no secret yet, and would be shown; set it with `pulumi config set --secret {key}`"
        for key in own
        if key in SECRETS and not is_config_secret(f"{prefix}{key}")
    ]
    problems += [
        f"  {key}: is marked secret, but settings are shown in diffs; set it without --secret, and give credentials "
        "through the storage's own environment variables"
        for key in own
        if key not in SECRETS and is_config_secret(f"{prefix}{key}")
    ]
    if problems:
        raise pulumi.RunError("\n".join(["the stack's configuration cannot be used:", *problems]))
    return Settings(**values)


def parse(given: dict[str, Any], stack: str) -> tuple[dict[str, Any], list[str]]:
    """The values by key, converted, and a line for each problem."""
    known = {field.name: str(field.type).removesuffix(" | None") for field in fields(Settings) if field.name != "plan"}
    values: dict[str, Any] = {}
    problems: list[str] = []
    for key in given.keys() - known.keys() - set(SETTINGS):
        near = get_close_matches(key, [*known, *SETTINGS], n=1)
        hint = f"did you mean {near[0]}?" if near else f"known keys: {', '.join(sorted({*known, *SETTINGS}))}"
        problems.append(f"  {key}: is no setting; {hint} Remove it with `pulumi config rm --stack {stack} {key}`")
    for key, kind in known.items():
        convert, description = TYPES[kind]
        if key not in given and key in OPTIONAL:
            values[key] = None
            continue
        if key not in given:
            problems.append(f"  {key}: is not set; set it with `pulumi config set --stack {stack} {key} VALUE`")
            continue
        try:
            values[key] = convert(given[key])
        except ValueError:
            problems.append(
                f"  {key}: is {given[key]!r}, not {description}; "
                f"set it with `pulumi config set --stack {stack} {key} VALUE`"
            )
    values["plan"] = {}
    for key in given.keys() & set(SETTINGS):
        try:
            table = key in ("pools", "versions") or given[key].startswith(("[", "{"))
            values["plan"][key] = json.loads(given[key]) if table else given[key]
        except ValueError:
            problems.append(f"  {key}: {given[key]!r} is no table; write it into Pulumi.{stack}.yaml as one")
    if values.get("target", TARGETS[0]) not in TARGETS:
        problems.append(f"  target: {values['target']!r} is no target; use one of: {', '.join(TARGETS)}")
    return values, sorted(problems)
