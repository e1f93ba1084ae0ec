"""Helm releases, and the custom objects of Karpenter."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.engine.double.types import Inputs, Problem, Type
from tests.engine.double.wire import UNKNOWN

RELEASE = "kubernetes:helm.sh/v3:Release"
_OPTIONS = """atomic cleanupOnFail compat createNamespace description disableCRDHooks disableOpenapiValidation
    disableWebhooks forceUpdate maxHistory repositoryOpts resetValues reuseValues skipAwait skipCrds timeout
    waitForJobs"""


@dataclass(frozen=True)
class Taken:
    """Properties that the provider takes, some of them always."""

    needed: frozenset[str]
    optional: frozenset[str] = frozenset()

    @property
    def properties(self) -> frozenset[str]:
        return self.needed | self.optional

    def problems(self, inputs: Inputs) -> Iterator[Problem]:
        for name in sorted(self.needed - set(inputs)):
            yield Problem(name, "is required")


def _chart(inputs: Inputs) -> Iterator[Problem]:
    """A version is exact, and the chart has a repository or is an `oci://` reference."""
    version, chart = inputs.get("version"), inputs.get("chart")
    if isinstance(version, str) and not re.fullmatch(r"v?\d+\.\d+\.\d+", version):
        yield Problem("version", f"{version} is no exact version")
    if isinstance(chart, str) and not chart.startswith("oci://") and not inputs.get("repositoryOpts", {}).get("repo"):
        yield Problem("repositoryOpts.repo", f"chart {chart} is in no repository")


def _named(inputs: Inputs) -> Iterator[Problem]:
    metadata = inputs.get("metadata")
    if metadata is not UNKNOWN and not (metadata or {}).get("name"):
        yield Problem("metadata.name", "is required: the provider's own names are no names of pools")


@dataclass(frozen=True)
class Anything(Type):
    """Objects of a kind that nothing is known of: they may have any property."""

    def problems(self, inputs: Inputs) -> Iterator[Problem]:
        """What is wrong with the properties that every object has."""
        for call in self.calls:
            yield from call.problems(inputs)
        for check in self.checks:
            yield from check(inputs)


OBJECT = Anything(
    calls=[Taken(frozenset({"apiVersion", "kind", "metadata"}))],
    id="{kind}-{hex8}",
    checks=[_named],
    regional=False,
)


class Kinds(dict[str, Type]):
    """The types described here, and every other as an object of any kind."""

    def __missing__(self, token: str) -> Type:
        return OBJECT

    def get(self, token: str, default: object = None) -> Type:  # pyright: ignore[reportIncompatibleMethodOverride]
        """The type of a token: there always is one."""
        return self[token]


CUSTOM = Type(
    calls=[Taken(frozenset({"apiVersion", "kind", "metadata", "spec"}))],
    id="{kind}-{hex8}",
    checks=[_named],
    regional=False,
)
TYPES = {
    RELEASE: Type(
        calls=[
            Taken(
                frozenset({"name", "chart", "version", "namespace", "values"}),
                frozenset(_OPTIONS.split()),
            )
        ],
        id="{namespace}/{name}",
        outputs={"status": lambda made: {"status": "deployed", "name": made.inputs["name"]}},
        replace="name namespace",
        checks=[_chart],
        regional=False,
    ),
    "kubernetes:karpenter.k8s.aws/v1:EC2NodeClass": CUSTOM,
    "kubernetes:karpenter.sh/v1:NodePool": CUSTOM,
    "kubernetes:karpenter.sh/v1alpha1:NodeOverlay": CUSTOM,
}
