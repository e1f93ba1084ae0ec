"""What a cluster needs inside: add-ons of the table, and the charts and manifests that a target gives as data."""

from collections.abc import Mapping, Sequence
from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from accelstack.contracts import Chart
from accelstack.k8s import addon_values, crds
from accelstack.k8s.objects import KubernetesObject
from accelstack.k8s.pod import labels
from accelstack.plan import addons, images
from accelstack.plan.findings import one_of

WAIT_SECONDS = 900
"""Until a chart's pods must be ready: nodes may have to start for them first."""

LONGEST_DRAIN = "60m"
"""Until an object that owns machines must be gone: large ones take tens of minutes to drain and end."""


class AddOnsArgs(TypedDict):
    """Args of `k8s.AddOns`."""

    components: NotRequired[list[str]]
    """Add-ons of the table, as `plan.addons.needed` names them; all that have a version if left out."""
    versions: NotRequired[dict[str, str]]
    """Their versions and those of what goes with them, as `plan.addons.pins` gives them."""
    charts: NotRequired[list[Chart]]
    """Charts that the target gives. An add-on whose release is among them is not installed twice."""
    manifests: NotRequired[list[dict[str, Any]]]
    """Objects of kinds that the charts bring, which may hold outputs; made after the charts, removed before them."""
    homes: NotRequired[list[str]]
    """Namespaces of add-ons that are another's: they are used as they are."""
    adopted: NotRequired[list[str]]
    """Add-ons of others that are used as they are; these get along with them."""
    values: NotRequired[dict[str, dict[str, Any]]]
    """Values by component, laid over those that accelstack sets."""
    crds: NotRequired[str]
    """Folder or URL that has definitions as `<component>-<version>.yaml`; those of the projects' releases if left
    out."""
    mirror: NotRequired[str]
    """Registry and path that the add-ons' charts and images come from, as `plan.images` says; their own if left out.
    Of `charts` it moves the charts alone: their values name their images."""
    lock: NotRequired[dict[str, Any]]
    """Digests of what is read: `crds` by `<component>-<version>`."""


class AddOns(pulumi.ComponentResource):
    """Charts in a cluster, the definitions they need, and objects of those.

    Definitions are resources of their own, which stay when the add-ons go: with one, every object of its kind would go,
    those of others too. To find them there again, the provider needs `upsert_existing_objects`. The objects go before
    the controllers that look after them, so that their finalizers are answered.

    Raises:
        pulumi.InputPropertyError: an add-on is not known or has no version, or its definitions cannot be read.
    """

    releases: pulumi.Output[list[str]]
    """Names of the installed releases, known when their pods are ready."""
    ready: pulumi.Output[str]
    """This component's name, known when all its add-ons are ready: take it into what needs them."""

    def __init__(self, name: str, args: AddOnsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        charts = args.get("charts", [])
        given = {chart["name"] for chart in charts}
        known, versions = addons.addons(), args.get("versions", {})
        asked = args.get("components", [each for each in known if each in versions])
        for index, component in enumerate(asked):
            _check(f"components[{index}]", component, versions)
        chosen = [each for each in known if each in asked and known[each].release not in given]
        if wrong := images.mirror_problem(args.get("mirror", "")):
            raise pulumi.InputPropertyError("mirror", wrong)
        definitions = {component: _definitions(component, args) for component in chosen}
        super().__init__("accelstack:index:K8sAddOns", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)

        kept = pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(retain_on_delete=True))
        defined = {
            component: [
                KubernetesObject(f"{name}-{each['metadata']['name']}", _owned(each, name), kept) for each in found
            ]
            for component, found in definitions.items()
        }
        namespaces = {
            known[component].namespace: KubernetesObject(
                f"{name}-{known[component].namespace}", namespace(known[component], name), child
            )
            for component in chosen
            if known[component].chart and known[component].namespace not in args.get("homes", [])
        }
        made = {chart["name"]: _release(f"{name}-{chart['name']}", chart, args, child) for chart in charts}
        releases: dict[str, kubernetes.helm.v3.Release] = {}
        for component in (each for each in chosen if known[each].chart):
            before: list[pulumi.Resource] = [*defined[component]]
            before += [namespaces[home] for home in (known[component].namespace,) if home in namespaces]
            for other in known[component].needs:
                before += defined.get(other, [])
                before += [releases[other]] if other in releases else []
            releases[component] = _release(
                f"{name}-{known[component].release}",
                chart(component, args, chosen),
                args,
                pulumi.ResourceOptions.merge(child, pulumi.ResourceOptions(depends_on=before)),
                definitions=bool(known[component].crds),
            )
        every = [*made.values(), *releases.values()]
        kinds = [each for found in defined.values() for each in found]
        last = pulumi.ResourceOptions(
            depends_on=[*kinds, *every], custom_timeouts=pulumi.CustomTimeouts(delete=LONGEST_DRAIN)
        )
        for manifest in args.get("manifests", []):
            logical = f"{name}-{manifest['kind'].lower()}-{manifest['metadata']['name']}"
            KubernetesObject(logical, manifest, pulumi.ResourceOptions.merge(child, last))
        self.releases = pulumi.Output.all(*(release.status.name for release in every))
        self.ready = pulumi.Output.all(self.releases, *(each.id for each in kinds)).apply(lambda _: name)
        self.register_outputs({"releases": self.releases, "ready": self.ready})


def namespace(addon: addons.AddOn, part_of: str) -> dict[str, Any]:
    """An add-on's namespace, where pods must meet the standard that it can."""
    level = {f"pod-security.kubernetes.io/{mode}": addon.level for mode in ("enforce", "warn")}
    about = {"name": addon.namespace, "labels": {**labels(part_of), **level}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": about}


def chart(component: str, args: AddOnsArgs, installed: Sequence[str]) -> Chart:
    """An add-on's chart with its values."""
    versions = args.get("versions", {})
    source = addons.chart(component, versions)
    usual = addon_values.values(
        component,
        versions,
        installed=[*installed, *args.get("adopted", [])],
        mirror=args.get("mirror", ""),
    )
    return Chart(
        name=source.release,
        repository=source.repository,
        chart=source.chart,
        version=source.version,
        namespace=source.namespace,
        values=addon_values.merged(usual, args.get("values", {}).get(component, {})),
    )


def mirrored(chart: Chart, mirror: str) -> Chart:
    """A chart as it lies in a mirror."""
    moved = images.mirrored_chart(chart["chart"], chart["repository"], mirror)
    return {**chart, "repository": "", "chart": moved} if mirror else chart


def _check(path: str, component: str, versions: Mapping[str, str]) -> None:
    if wrong := one_of(path, component, list(addons.addons()), "add-on"):
        raise pulumi.InputPropertyError(path, f"{wrong.value}: {wrong.rule}; {wrong.fix}")
    missing = [part for part in addons.parts(component) if not versions.get(part)]
    if missing:
        reason = f"{component} needs the version of {', '.join(missing)}; take versions from plan.addons.pins"
        raise pulumi.InputPropertyError("versions", reason)


def _definitions(component: str, args: AddOnsArgs) -> list[crds.Manifest]:
    versions, by = args.get("versions", {}), addons.addons()[component].defined_by
    urls = addons.definitions(component, versions, args.get("crds", ""))
    return crds.read(by, versions[by], urls, args.get("lock", {})) if urls else []


def _owned(definition: crds.Manifest, part_of: str) -> crds.Manifest:
    """A definition with the labels that tell ours from others'."""
    about = definition["metadata"]
    return {**definition, "metadata": {**about, "labels": {**about.get("labels", {}), **labels(part_of)}}}


def _release(
    name: str, chart: Chart, args: AddOnsArgs, opts: pulumi.ResourceOptions, *, definitions: bool = False
) -> kubernetes.helm.v3.Release:
    """A release; without its chart's definitions, where they are resources of their own."""
    chart = mirrored(chart, args.get("mirror", ""))
    repository = kubernetes.helm.v3.RepositoryOptsArgs(repo=chart["repository"]) if chart["repository"] else None
    return kubernetes.helm.v3.Release(
        name,
        name=chart["name"],
        chart=chart["chart"],
        version=chart["version"],
        namespace=chart["namespace"],
        create_namespace=True,  # a chart of the target's may have one of its own
        skip_crds=definitions or None,
        repository_opts=repository,
        values=chart["values"],
        timeout=WAIT_SECONDS,
        opts=opts,
    )
