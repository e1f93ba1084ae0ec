"""A cluster as pulumi-kubernetes sees it, in two strengths.

Without an API server (`objects`) it knows what the provider asks of charts and objects, not what a real API server
would say. With one (`provider`) objects are created there, applied server-side, waited for and deleted, and charts are
installed by the real helm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.engine.double.kubernetes.objects import Kinds
from tests.engine.double.types import Inputs, Refusal, Type

ECHOES: dict[str, str] = {}
KINDS = Kinds
"""What holds the types: it has one for every token."""
KNOWN = frozenset(
    {
        "cluster",
        "clusterIdentifier",
        "context",
        "deleteUnreachable",
        "enableConfigMapMutable",
        "enablePatchForce",
        "enableSecretMutable",
        "enableServerSideApply",
        "kubeconfig",
        "namespace",
        "skipUpdateUnreachable",
        "suppressDeprecationWarnings",
        "suppressHelmHookWarnings",
        "upsertExistingObjects",
        "version",
    }
)


def surroundings(config: Inputs) -> dict[str, Any]:
    """Nothing: a cluster has no regions or accounts.

    Raises:
        Refusal: configuration that the double does not know, or none of a cluster.
    """
    if unknown := set(config) - KNOWN:
        raise Refusal("UnknownConfiguration", f"the double knows no {sorted(unknown)}")
    if "kubeconfig" not in config:
        raise Refusal("NoCluster", "configured without a kubeconfig, it would use whatever cluster is at hand")
    if config.get("enableServerSideApply") in (False, "false"):
        raise Refusal("ClientSideApply", "the double applies server-side alone")
    return {}


def prepare(type_: Type, inputs: Inputs, config: Mapping[str, Any]) -> Inputs:
    """Inputs are as the program gives them."""
    return inputs
