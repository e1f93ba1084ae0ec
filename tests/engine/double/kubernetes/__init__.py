"""A cluster as pulumi-kubernetes sees it: charts and custom objects. It knows what the provider asks of them, not what
a real API server would say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.engine.double.types import Inputs, Refusal, Type

ECHOES: dict[str, str] = {}
KNOWN = {"kubeconfig", "enableServerSideApply", "skipUpdateUnreachable", "version"}


def surroundings(config: Inputs) -> dict[str, Any]:
    """Nothing: a cluster has no regions or accounts.

    Raises:
        Refusal: configuration that the double does not know, or none of a cluster.
    """
    if unknown := set(config) - KNOWN:
        raise Refusal("UnknownConfiguration", f"the double knows no {sorted(unknown)}")
    if "kubeconfig" not in config:
        raise Refusal("NoCluster", "configured without a kubeconfig, it would use whatever cluster is at hand")
    return {}


def prepare(type_: Type, inputs: Inputs, config: Mapping[str, Any]) -> Inputs:
    """Inputs are as the program gives them."""
    return inputs
