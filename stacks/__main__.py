"""The stack's program: reads the settings, runs the blueprints, exports their outputs."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

import pulumi
import settings
from blueprints import planning

PROVISIONED = ("local", "private", "aws")


def main() -> None:
    """Runs the blueprints.

    Raises:
        pulumi.RunError: the settings or the args of a component break a rule, or the plan does not fit.
    """
    chosen = settings.read()
    planned = planning.decide(chosen)
    export(planning.outputs(planned.plan))
    if chosen.target not in PROVISIONED:
        if not pulumi.runtime.is_dry_run():
            raise pulumi.RunError(f"target {chosen.target} is planned, but not provisioned yet; use `pulumi preview`")
        return
    blueprint = import_module(f"blueprints.{chosen.target}")  # alone: the SDKs of clouds are large, and extras
    try:
        export(blueprint.build(chosen, planned))
    except pulumi.InputPropertyError as error:
        raise pulumi.RunError(f"{error.property_path}: {error.reason}") from None


def export(outputs: Mapping[str, pulumi.Input[Any]]) -> None:
    """Makes them outputs of the stack."""
    for name, value in outputs.items():
        pulumi.export(name, value)


main()
