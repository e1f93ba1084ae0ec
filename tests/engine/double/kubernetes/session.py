"""One instance of the provider: the cluster that it is configured with, or why that cannot be reached."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.engine.double.kubernetes import asked
from tests.engine.double.kubernetes.api import Cluster, Object, Refused, Unreachable
from tests.engine.double.kubernetes.kubeconfig import Access, Unusable, access
from tests.engine.double.types import Inputs
from tests.engine.double.wire import UNKNOWN, knows, reveal


class Made(NamedTuple):
    """What there is, for the engine's state."""

    id: str
    outputs: Inputs
    inputs: Inputs


class HalfMade(Exception):  # noqa: N818 - an answer, not a mistake of this program
    """It is there, but not as it should be: the engine keeps it, and the next update goes on with it."""

    def __init__(self, made: Made, reason: str) -> None:
        super().__init__(reason)
        self.made = made


_TRUE = (True, "true")
_FLAGS = (
    "deleteUnreachable enableConfigMapMutable enablePatchForce enableSecretMutable skipUpdateUnreachable"
    " upsertExistingObjects"
)


@dataclass
class Session:
    """What one provider instance works with."""

    cluster: Cluster | None
    """None where it cannot be reached."""
    unreachable: str
    """Why."""
    namespace: str
    """Where objects go that name no namespace."""
    options: Mapping[str, bool]
    cancelled: threading.Event = field(default_factory=threading.Event)
    """Set once the engine ends: nothing is waited for any longer."""
    declared: dict[tuple[str, str], bool] = field(default_factory=dict[tuple[str, str], bool])
    """Group and kind of the CRDs that this program is about to create, and whether their objects have namespaces."""

    @property
    def skips(self) -> bool:
        """Whether everything is to stay as it is because the cluster cannot be reached."""
        return self.cluster is None and self.options["skipUpdateUnreachable"]

    def namespaced(self, inputs: Inputs) -> bool:
        """Whether objects of this kind have a namespace; yes where nobody knows, as the provider assumes."""
        version, kind = str(inputs.get("apiVersion")), str(inputs.get("kind"))
        found = self.cluster.kind(version, kind) if self.cluster else None
        return found.namespaced if found else self.declared.get((version.rpartition("/")[0], kind), True)

    def knows(self, inputs: Inputs) -> bool:
        """Whether the cluster is there and knows the kind."""
        return self.cluster is not None and self.cluster.kind(inputs["apiVersion"], inputs["kind"]) is not None

    def declare(self, inputs: Inputs) -> None:
        """Remembers a CRD, so that its objects are known to have namespaces, or none, before it exists."""
        spec = reveal(inputs).get("spec")
        if inputs.get("kind") == "CustomResourceDefinition" and spec is not UNKNOWN and knows(spec):
            self.declared[spec["group"], spec["names"]["kind"]] = spec["scope"] == "Namespaced"

    def sent(self, inputs: Inputs) -> Object:
        """The manifest for the API server: objects of kinds without namespaces lose what Check may have filled in."""
        made = reveal(inputs)
        if not self.namespaced(made):
            made["metadata"] = {key: value for key, value in made["metadata"].items() if key != "namespace"}
        return made

    def forces(self, inputs: Inputs) -> bool:
        """Whether fields are taken from other managers."""
        return self.options["enablePatchForce"] or asked.of(inputs, "patchForce") == "true"


class Sessions:
    """Opens provider instances; those for the same cluster share its connections.

    Args:
        stand_in: what answers in the place of every API server that is not on this machine: clusters that the doubles
            of clouds made.
    """

    def __init__(self, stand_in: Access | None) -> None:
        self.stand_in = stand_in
        self._clusters: dict[Access, Cluster] = {}
        self._lock = threading.Lock()

    def open(self, config: Mapping[str, Any]) -> Session:
        """The instance for a provider's configuration."""
        options = {name: config.get(name) in _TRUE for name in _FLAGS.split()}
        namespace = str(config.get("namespace", ""))
        try:
            found = access(config["kubeconfig"], config.get("context", ""), config.get("cluster", ""))
            namespace = namespace or found.namespace
            if not found.local:
                if self.stand_in is None:
                    raise Unusable(f"{found.server} is not on this machine")
                found = self.stand_in
            with self._lock:
                cluster = self._clusters.get(found) or Cluster(found)
            cluster.version()
            self._clusters[found] = cluster
        except (Unusable, Unreachable, Refused) as error:
            return Session(None, str(error), namespace or "default", options)
        return Session(cluster, "", namespace, options)
