"""The plan of a stack on an existing cluster: read once, decided before the first resource."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from accelstack.contracts import ClusterPool, Taint
from accelstack.k8s.pools import cluster_pool
from accelstack.plan import private
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.inventory import Inventory
from accelstack.plan.plan import Plan, with_findings
from accelstack.private import kubeconfig, reading
from accelstack.private.kubeconfig import ClusterError


@dataclass(frozen=True, slots=True)
class Decided:
    """What a stack on an existing cluster comes to."""

    plan: Plan
    pools: list[ClusterPool]
    """The plan's pools, with the labels and taints of their nodes."""
    inventory: Inventory | None
    """What the cluster has; None where it could not be read, which a warning of the plan tells."""
    kubeconfig: str
    """The kubeconfig of the chosen context alone, its files' contents in it; empty where it cannot be used."""


def decide(given: Mapping[str, Any]) -> Decided:
    """Reads the cluster that the settings name, and plans.

    A kubeconfig that cannot be used is an error of the plan. A cluster that does not answer is a warning: the plan
    stands on what is asked for, and what is known of the stack's resources is left as it is.
    """
    try:
        config = kubeconfig.standing_alone(str(given.get("kubeconfig") or ""), str(given.get("context") or ""))
    except ClusterError as error:
        decided = private.decide(given, None, error.reason)
        key = "context" if given.get("context") and "no context" in error.reason else "kubeconfig"
        wrong = Finding(Severity.ERROR, key, str(given.get(key) or ""), error.reason, error.fix)
        return Decided(with_findings(decided.plan, [wrong]), [], None, "")
    try:
        inventory, why = reading.read(config), ""
    except ClusterError as error:
        inventory, why = None, str(error)
    decided = private.decide(given, inventory, why)
    return Decided(decided.plan, _pools(decided), inventory, yaml.safe_dump(config, sort_keys=False))


def plan(given: Mapping[str, Any]) -> Plan:
    """The plan of settings whose target is `private`."""
    return decide(given).plan


def _pools(decided: private.Decided) -> list[ClusterPool]:
    found: list[ClusterPool] = []
    for pool in decided.plan.pools:
        place = decided.places[pool.name]
        taints = [Taint(key=each.key, value=each.value, effect=each.effect) for each in place.taints]
        found.append(cluster_pool(pool, place.labels, taints, zones=place.zones, topology=place.topology))
    return found
