"""What a target needs inside its cluster: charts and manifests that it gives as data, rendered here."""

from typing import Any, NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes

from accelstack.contracts import Chart

WAIT_SECONDS = 900
"""Until a chart's pods must be ready: nodes may have to start for them first."""

LONGEST_DRAIN = "60m"
"""Until an object that owns machines must be gone: large ones take tens of minutes to drain and end."""


class AddOnsArgs(TypedDict):
    """Args of `k8s.AddOns`."""

    kubeconfig: pulumi.Input[str | None]
    """The cluster, and how to sign in to it."""
    charts: list[Chart]
    """Charts to install."""
    manifests: NotRequired[list[dict[str, Any]]]
    """Objects of kinds that the charts bring, whose `spec` may hold outputs; made after the charts, removed before
    them."""


class AddOns(pulumi.ComponentResource):
    """Charts in a cluster, and objects that need them.

    The objects go before the controllers that look after them, so that their finalizers are answered.
    """

    releases: pulumi.Output[list[str]]
    """Names of the installed releases, known when their pods are ready."""

    def __init__(self, name: str, args: AddOnsArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("accelstack:index:K8sAddOns", name, None, opts)
        provider = kubernetes.Provider(
            name,
            kubeconfig=args["kubeconfig"],
            skip_update_unreachable=True,  # what cannot be reached now is left as it is, and the rest goes on
            opts=pulumi.ResourceOptions(parent=self),
        )
        child = pulumi.ResourceOptions(parent=self, provider=provider)
        releases = [_release(f"{name}-{chart['name']}", chart, child) for chart in args["charts"]]
        last = pulumi.ResourceOptions(depends_on=releases, custom_timeouts=pulumi.CustomTimeouts(delete=LONGEST_DRAIN))
        after = pulumi.ResourceOptions.merge(child, last)
        for manifest in args.get("manifests", []):
            kind, named = manifest["kind"], manifest["metadata"]["name"]
            kubernetes.apiextensions.CustomResource(
                f"{name}-{kind.lower()}-{named}",
                api_version=manifest["apiVersion"],
                kind=kind,
                metadata=manifest["metadata"],
                spec=manifest["spec"],
                opts=after,
            )
        self.releases = pulumi.Output.all(*(release.status.name for release in releases))
        self.register_outputs({"releases": self.releases})


def _release(name: str, chart: Chart, opts: pulumi.ResourceOptions) -> kubernetes.helm.v3.Release:
    repository = kubernetes.helm.v3.RepositoryOptsArgs(repo=chart["repository"]) if chart["repository"] else None
    return kubernetes.helm.v3.Release(
        name,
        name=chart["name"],
        chart=chart["chart"],
        version=chart["version"],
        namespace=chart["namespace"],
        create_namespace=True,
        repository_opts=repository,
        values=chart["values"],
        timeout=WAIT_SECONDS,
        opts=opts,
    )
