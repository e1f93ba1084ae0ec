"""A stack on AWS: network, storage and images, then a cluster or the managed platform on them, and a budget."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pulumi
import pulumi_aws
from accelstack import aws
from accelstack.aws import pools
from accelstack.plan import network
from accelstack.plan.plan import Plan
from accelstack.plan.request import Request
from settings import Settings

from blueprints import aws_cluster, aws_managed, kubernetes
from blueprints.outputs import Outputs, of_store
from blueprints.planning import Planned

ROOT = Path(__file__).resolve().parents[2]
STACK_TAG = "accelstack:stack"
"""The tag that a stack's cost is told apart by."""


@dataclass(frozen=True)
class Base:
    """What a cluster or the managed platform stands on."""

    request: Request
    tags: dict[str, str]
    network: aws.Network | aws.ExistingNetwork
    home: pulumi.Output[list[str]]
    """Private subnets of the region's home zones."""
    store: aws.ObjectStore
    images: aws.ImageRepository
    opts: pulumi.ResourceOptions


def build(chosen: Settings, planned: Planned) -> Outputs:
    """The stack, in the account of the credentials at hand."""
    decided = planned.plan
    if decided.request is None:
        raise pulumi.RunError("the plan has no request")
    if decided.request.platform.runs_on != "managed":
        kubernetes.check(chosen, decided.request.inside, [pools.in_kubernetes(pool) for pool in decided.pools])
    base = _base(decided.request, decided)
    asked = base.request.platform
    monthly = base.request.budget or decided.estimate.known_monthly_usd
    if asked.alerts and monthly:
        aws.Budget(
            "budget",
            {
                "monthly_usd": monthly,
                "alerts": [*asked.alerts],
                "tag_key": STACK_TAG,
                "tag_value": base.tags[STACK_TAG],
            },
            base.opts,
        )
    if asked.runs_on == "managed":
        outputs, files = aws_managed.build(chosen, decided, base)
    else:
        outputs, files = aws_cluster.build(chosen, planned, base)
    return {
        **of_store(base.store, replica=base.store.replica_uri, **files),
        "images": {"repository": base.images.uri, "workload": base.images.image},
        **outputs,
    }


def _base(request: Request, decided: Plan) -> Base:
    asked = request.platform
    tags = {STACK_TAG: f"{pulumi.get_project()}/{pulumi.get_stack()}"}
    provider = pulumi_aws.Provider(
        "aws",
        region=request.region,
        default_tags=pulumi_aws.ProviderDefaultTagsArgs(tags=tags),
    )
    opts = pulumi.ResourceOptions(providers=[provider])
    found = _network(request, decided, opts)
    store_args: aws.ObjectStoreArgs = {"protect": asked.production}
    if asked.replica_region:
        store_args["replica_region"] = asked.replica_region
    image_args: aws.ImageRepositoryArgs = {"protect": asked.production}
    if asked.image:
        image_args["image"] = asked.image
    else:
        image_args["context"] = os.path.relpath(ROOT)
        image_args["dockerfile"] = "workloads/Dockerfile"
        image_args["target"] = "sagemaker" if asked.runs_on == "managed" else "workloads"
    return Base(
        request=request,
        tags=tags,
        network=found,
        home=_home(found, decided),
        store=aws.ObjectStore("store", store_args, opts),
        images=aws.ImageRepository("images", image_args, opts),
        opts=opts,
    )


def _home(found: aws.Network | aws.ExistingNetwork, decided: Plan) -> pulumi.Output[list[str]]:
    ids = found.private_subnet_ids
    if not decided.subnets:  # of an existing network, whose zones AWS tells
        return ids.apply(lambda by_zone: [by_zone[zone] for zone in network.home_zones(by_zone)])
    zones = network.home_zones(subnet.zone for subnet in decided.subnets)
    return pulumi.Output.all(*(ids[zone] for zone in zones))


def _network(request: Request, decided: Plan, opts: pulumi.ResourceOptions) -> aws.Network | aws.ExistingNetwork:
    asked = request.platform
    if asked.network:
        existing: aws.ExistingNetworkArgs = {"vpc_id": asked.network, "private_subnets": [*asked.private_subnets]}
        if asked.gpu_subnets:
            existing["gpu_subnets"] = [*asked.gpu_subnets]
        if asked.public_subnets:
            existing["public_subnets"] = [*asked.public_subnets]
        return aws.ExistingNetwork("network", existing, opts)
    zones = [subnet.zone for subnet in decided.subnets if subnet.name == "private"]
    return aws.Network(
        "network",
        {
            "cidr": request.cidr,
            "zones": zones,
            "gpu_zones": [subnet.zone for subnet in decided.subnets if subnet.name == "gpu"],
            "nat": asked.nat,
            "ipv6": asked.ipv6,
            "protect": asked.production,
        },
        opts,
    )
