"""Which add-ons a cluster needs, and where each comes from: its chart, its definitions, its namespace."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from accelstack.plan import tables
from accelstack.plan.accelerators import KINDS
from accelstack.plan.compatibility import defaults
from accelstack.plan.pool import PoolPlan


@dataclass(frozen=True, slots=True)
class AddOn:
    """An add-on, as the table describes it."""

    component: str
    release: str = ""
    """Name of its Helm release."""
    repository: str = ""
    """URL of its chart's repository; empty where the chart is an `oci://` reference."""
    chart: str = ""
    """Empty where there is none, but definitions alone."""
    chart_version: str = "{version}"
    namespace: str = ""
    level: str = ""
    """Pod Security Standard of its namespace."""
    crds: tuple[str, ...] = ()
    """URLs of its definitions; none where its chart has to bring them."""
    crds_of: str = ""
    """The component whose version they are in; empty for its own."""
    switch: Mapping[str, Any] = field(default_factory=dict[str, Any])
    """Values that stop its chart from bringing definitions."""
    needs: tuple[str, ...] = ()
    """Add-ons that go before it, where they are installed."""

    @property
    def defined_by(self) -> str:
        """The component whose version its definitions are in."""
        return self.crds_of or self.component


@dataclass(frozen=True, slots=True)
class ChartSource:
    """A chart in one version."""

    release: str
    repository: str
    chart: str
    version: str
    namespace: str


@dataclass(frozen=True, slots=True)
class ImagePlaces:
    """Where a chart's values name images, as dotted paths, and what the chart puts there."""

    whole: Mapping[str, str]
    """Values that hold a name or reference, or what a name begins with."""
    apart: Mapping[str, str]
    """Tables with `registry` and `repository`."""


@cache
def addons() -> dict[str, AddOn]:
    """Every add-on by its component, in the order of installation."""
    return {name: _read(name, row) for name, row in tables.document("addons").items()}


def needed(
    *,
    pools: Sequence[PoolPlan],
    versions: Collection[str],
    trains: bool = True,
    serves: bool = False,
    observability: bool = False,
    backup: bool = False,
    gateway: bool = False,
    issuer: bool = False,
    scale_on_queue: bool = False,
    several_nodes: bool = False,
    brought: Collection[str] = (),
) -> tuple[str, ...]:
    """The add-ons of a cluster, in the order of installation.

    Args:
        pools: the plan's.
        versions: components of the plan: those that make accelerators and fabrics usable are taken from it.
        gateway: whether requests come in through a Gateway.
        issuer: whether cert-manager signs certificates.
        scale_on_queue: whether the server scales on requests that wait.
        several_nodes: whether one copy of the server spans nodes.
        brought: components that the cloud, or its charts, bring already.
    """
    nvidia = any(KINDS[pool.machine.accelerator].vendor == "nvidia" for pool in pools)
    asked = {
        "jobset": trains,
        "kueue": trains,
        "leader_worker_set": serves and several_nodes,
        "keda": serves and scale_on_queue,
        "gateway_api": serves and gateway,
        "cert_manager": (serves and issuer) or "amd_gpu_operator" in versions,
        "kube_prometheus_stack": observability,
        # the operator brings one of its own
        "dcgm_exporter": observability and nvidia and "gpu_operator" not in versions,
        "velero": backup,
    }
    return tuple(name for name in addons() if asked.get(name, name in versions) and name not in brought)


def pins(components: Sequence[str], target: str, fixed: Mapping[str, str]) -> dict[str, str]:
    """The versions of add-ons and of what goes with them: those fixed, and the table's.

    Args:
        fixed: versions of the plan, by component.
    """
    wanted = [part for name in components for part in parts(name)]
    table = defaults(target, wanted)
    return {name: fixed.get(name, table.get(name, "")) for name in wanted}


def chart(component: str, versions: Mapping[str, str]) -> ChartSource:
    """An add-on's chart in the version that belongs to the component's.

    Raises:
        KeyError: there is no such add-on, or a version is missing.
    """
    own = addons()[component]
    version = own.chart_version.format(**{**versions, "version": versions[component]})
    return ChartSource(own.release, own.repository, own.chart, version, own.namespace)


def image_places(component: str) -> ImagePlaces:
    """Where an add-on's chart names its images, but for those that accelstack's own values name."""
    found: Mapping[str, Any] = tables.document("addon_images").get(component, {})
    return ImagePlaces(found.get("whole", {}), found.get("apart", {}))


def definitions(component: str, versions: Mapping[str, str], prefix: str = "") -> tuple[str, ...]:
    """Where an add-on's definitions are read from; none where its chart brings them.

    Args:
        prefix: folder or URL that has them as `<component>-<version>.yaml`; empty for the project's release.
    """
    own = addons()[component]
    if not own.crds:
        return ()
    version = versions[own.defined_by]
    if prefix:
        return (f"{prefix.rstrip('/')}/{own.defined_by}-{version}.yaml",)
    return tuple(url.format(version=version) for url in own.crds)


def _read(component: str, row: Mapping[str, Any]) -> AddOn:
    given: dict[str, Any] = {**row, **{key: tuple(row.get(key, ())) for key in ("crds", "needs")}}
    return AddOn(component, **given)


def parts(component: str) -> tuple[str, ...]:
    """Components whose versions an add-on takes, its own first."""
    more = {
        "velero": ("velero_chart", "velero_aws_plugin"),
        "network_operator": ("doca_driver",),
    }.get(component, ())
    return tuple(dict.fromkeys([component, addons()[component].defined_by, *more]))
