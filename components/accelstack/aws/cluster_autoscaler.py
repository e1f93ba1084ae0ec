"""What Cluster Autoscaler needs of AWS: its role."""

from typing import TypedDict

import pulumi

from accelstack.aws.autoscaling import permissions
from accelstack.aws.identity import Role, place
from accelstack.aws.in_cluster import AUTOSCALER_ACCOUNT


class ClusterAutoscalerArgs(TypedDict):
    """Args of `aws.ClusterAutoscaler`."""

    cluster: pulumi.Input[str]
    """Name of the EKS cluster, known when its pods can run: take it from `ClusterAddons`."""


class ClusterAutoscaler(pulumi.ComponentResource):
    """The role of Cluster Autoscaler, which sizes the managed node groups of one cluster."""

    service_account: pulumi.Output[str]
    """Its service account in `kube-system`, known when its pods get credentials."""

    def __init__(self, name: str, args: ClusterAutoscalerArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("accelstack:index:AwsClusterAutoscaler", name, None, opts)
        policy = pulumi.Output.all(place(self), args["cluster"]).apply(lambda parts: permissions(*parts))
        role = Role(
            name,
            {
                "cluster": args["cluster"],
                "namespace": "kube-system",
                "service_account": AUTOSCALER_ACCOUNT,
                "policy": policy,
            },
            pulumi.ResourceOptions(parent=self),
        )
        self.service_account = role.service_account
        self.register_outputs({"service_account": self.service_account})
