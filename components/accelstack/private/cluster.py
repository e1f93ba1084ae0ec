"""An existing cluster, adopted: nothing is made in it."""

from typing import NotRequired, TypedDict

import pulumi
import pulumi_kubernetes as kubernetes
import yaml

from accelstack.contracts import ClusterPool
from accelstack.private import kubeconfig
from accelstack.private.kubeconfig import ClusterError


class ClusterArgs(TypedDict):
    """Args of `private.Cluster`."""

    kubeconfig: NotRequired[pulumi.Input[str]]
    """Path of a kubeconfig, or what it holds; kubectl's own choice (KUBECONFIG, ~/.kube/config) if left out."""
    context: NotRequired[str]
    """Its context; the current one if left out."""
    pools: list[ClusterPool]
    """The nodes that the stack uses, as a plan of the cluster's inventory gives them."""
    version: NotRequired[str]
    """Kubernetes version that was read from the cluster; empty where it could not be."""


class Cluster(pulumi.ComponentResource):
    """An existing Kubernetes cluster, reached through a kubeconfig.

    What in the cluster cannot be reached is left as it is: a cluster that does not answer loses nothing.

    Raises:
        pulumi.InputPropertyError: the kubeconfig cannot be read, or has no such context.
    """

    name: pulumi.Output[str]
    """The context's name."""
    kubeconfig: pulumi.Output[str | None]
    """Secret: the chosen context alone, with what its files hold in it."""
    pools: pulumi.Output[list[ClusterPool]]
    """The nodes that the stack uses."""
    version: pulumi.Output[str]
    """Kubernetes version of the cluster, such as `1.34.2`; empty where it could not be read."""
    server: pulumi.Output[str]
    """URL of the API server."""
    provider: pulumi.ProviderResource
    """What makes objects in the cluster: for `providers` in the options of what runs there."""

    def __init__(self, name: str, args: ClusterArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        context = args.get("context", "")
        given = args.get("kubeconfig", "")
        if isinstance(given, str):
            given = _alone(given, context)
        super().__init__("accelstack:index:PrivateCluster", name, None, opts)
        config = pulumi.Output.secret(given).apply(lambda text: _alone(text, context))
        read = config.apply(yaml.safe_load)
        self.kubeconfig = config
        self.name = pulumi.Output.unsecret(read.apply(lambda alone: str(alone["current-context"])))
        self.server = pulumi.Output.unsecret(read.apply(kubeconfig.server))
        self.pools = pulumi.Output.from_input(args["pools"])
        self.version = pulumi.Output.from_input(args.get("version", ""))
        self.provider = kubernetes.Provider(
            name,
            kubeconfig=config,
            cluster_identifier=self.server,  # renewed credentials are no other cluster
            skip_update_unreachable=True,
            upsert_existing_objects=True,  # what a stack left, or a killed update made, is found again
            opts=pulumi.ResourceOptions(parent=self),
        )
        self.register_outputs(
            {
                "name": self.name,
                "kubeconfig": self.kubeconfig,
                "pools": self.pools,
                "version": self.version,
                "server": self.server,
            }
        )


def _alone(given: str, context: str) -> str:
    """The kubeconfig of one context, as text; itself where it is that already."""
    try:
        return yaml.safe_dump(kubeconfig.standing_alone(given, context), sort_keys=False)
    except ClusterError as error:
        path = "context" if context and "no context" in error.reason else "kubeconfig"
        raise pulumi.InputPropertyError(path, str(error)) from None
