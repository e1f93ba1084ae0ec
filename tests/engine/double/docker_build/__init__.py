"""Docker's builder as pulumi-docker-build drives it. No vendor publishes a model of it: the rules here are written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.engine.double.types import Inputs, Type

ECHOES: dict[str, str] = {}


def surroundings(config: Inputs) -> dict[str, Any]:
    """It lives in no region and no account."""
    return {}


def prepare(type_: Type, inputs: Inputs, config: Mapping[str, Any]) -> Inputs:
    """Nothing is added."""
    return inputs
