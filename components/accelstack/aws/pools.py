"""What a pool of nodes is on AWS, whoever starts its nodes: its plan, labels, subnets, fabric's group and placement."""

import re
from dataclasses import replace
from typing import Any, NotRequired, TypedDict, cast

import pulumi
from pulumi_aws import ec2, vpc

from accelstack.aws.refusals import refuse
from accelstack.contracts import ClusterPool, Pool, Taint
from accelstack.k8s.pools import HOST, ZONE, cluster_pool
from accelstack.plan import plan
from accelstack.plan.accelerators import KINDS
from accelstack.plan.findings import errors
from accelstack.plan.network import GPU_PODS_PER_NODE, PODS_PER_NODE
from accelstack.plan.pool import PoolPlan

POOL_LABEL = "accelstack/pool"
NETWORK_LAYERS = tuple(f"topology.k8s.aws/network-node-layer-{layer}" for layer in (1, 2, 3))
"""Labels that tell how near machines with EFA are in AWS's network, widest first
(https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/how-ec2-instance-topology-works.html)."""
PLACED_ELSEWHERE = ("none", "reservation")
"""Placements without a group: a group that a reservation was not made in makes its launches fail."""
ROOT_GIB = {"gpu": 200, "cpu": 80}
"""Root volume by kind of machine: images with CUDA and PyTorch take 10 to 30 GB each, and several lie side by side."""


class PoolArgs(TypedDict):
    """What a pool is to be, in the words of a plan; the component's name is the pool's."""

    region: str
    """Region of the provider, such as `us-east-1`."""
    version: str
    """Minor version of Kubernetes, such as `1.35`."""
    vpc_id: pulumi.Input[str]
    """The network."""
    subnet_ids: pulumi.Input[dict[str, str]]
    """Private subnets for nodes, by zone id."""
    security_group_id: pulumi.Input[str]
    """The cluster's security group."""
    accelerator: str
    """Neutral name and count, such as `H100:8`; `cpu:4` for nodes without."""
    per_node: NotRequired[int]
    """Accelerators on each node, where `accelerator` does not say."""
    nodes: NotRequired[int]
    """Most nodes; 1 if left out."""
    min_nodes: NotRequired[int]
    """Fewest nodes, 0 to scale to zero; as many as `nodes` if left out."""
    capacity: NotRequired[str]
    """`on_demand`, `spot`, `reservation` or `block`; the first if left out."""
    zones: NotRequired[list[str]]
    """Ids of zones, such as `use1-az4`; chosen among those with subnets if left out."""
    fabric: NotRequired[str]
    """`auto`, `efa` or `none`; `auto` if left out."""
    architecture: NotRequired[str]
    """`x86_64`, `arm64` or `any`; the last if left out."""
    machine: NotRequired[str]
    """A machine type, for a reservation that is of it; chosen if left out."""
    vcpus: NotRequired[int]
    """Least vCPUs of a node."""
    memory_gib: NotRequired[float]
    """Least main memory of a node, in GiB."""
    reservation: NotRequired[str]
    """Id of the capacity reservation or block (`cr-…`)."""
    placement_group: NotRequired[str]
    """Name of the existing placement group in which the reservation was made."""
    tags: NotRequired[dict[str, str]]
    """Tags of instances, volumes and network interfaces, which AWS does not copy from what starts them."""
    max_pods: NotRequired[int]
    """Most pods of a node; 32 with accelerators and 110 without if left out, as subnets are planned."""
    root_gib: NotRequired[int]
    """Root volume in GiB; 200 with accelerators and 80 without if left out."""


WORDS = (
    "accelerator",
    "per_node",
    "nodes",
    "min_nodes",
    "capacity",
    "zones",
    "fabric",
    "architecture",
    "machine",
    "vcpus",
    "memory_gib",
    "reservation",
    "placement_group",
)
"""Args that a plan reads."""


def decide(name: str, args: PoolArgs) -> PoolPlan:
    """The plan of a pool.

    Raises:
        pulumi.InputPropertyError: the plan finds an error, or the pool needs an image of the user's own.
    """
    given = cast(dict[str, Any], args)
    words = {word: given[word] for word in WORDS if word in given}
    subnets = args["subnet_ids"]
    decided = plan.plan(
        {"target": "aws", "region": args["region"], "pools": {name: words}, "versions": {"kubernetes": args["version"]}}
    )
    for found in errors(decided.findings):
        if path := _arg(name, found.property):
            refuse([replace(found, property=path)])
    pool = next(each for each in decided.pools if each.name == name)
    if pool.machine.image == "CUSTOM":
        reason = f"is {args['accelerator']}; EKS has no image for {pool.machine.name}; use another accelerator"
        raise pulumi.InputPropertyError("accelerator", reason)
    if isinstance(subnets, dict):
        nodes_subnets(pool, subnets, "zones" in args)
    return pool


def _arg(name: str, path: str) -> str:
    """The arg that a setting of a plan stands for; empty for one of a stack around the pool, as there need not be."""
    mine = f"pools.{name}"
    if path.startswith(f"{mine}."):
        return path.removeprefix(f"{mine}.")
    return {"region": "region", "versions.kubernetes": "version", "pools": "name", mine: "name"}.get(path, "")


def subnets(pool: PoolPlan, args: PoolArgs) -> pulumi.Output[list[str]]:
    """Ids of the subnets in which the pool's nodes may start."""
    given = pulumi.Output.from_input(args["subnet_ids"])
    if "zones" in args:
        # one by one: a preview that adds a zone for others then still knows the subnets of these
        return pulumi.Output.all(*(given[zone] for zone in sorted(pool.terms.zones)))
    return given.apply(lambda by_zone: nodes_subnets(pool, by_zone, False))


def nodes_subnets(pool: PoolPlan, by_zone: dict[str, str], asked: bool) -> list[str]:
    """Ids of the subnets of the pool's zones; of the zones that nobody `asked` for, only those that have one.

    Raises:
        pulumi.InputPropertyError: a zone that was asked for has none, or no zone has.
    """
    zones = pool.terms.zones or tuple(by_zone)  # no source tells the zones: any may have it
    missing = [zone for zone in zones if zone not in by_zone]
    if missing and (asked or len(missing) == len(zones)):
        reason = f"has no subnet in {', '.join(missing)}; pool {pool.name} starts nodes in {', '.join(zones)}"
        fix = f"add one there, or set zones to one or more of {', '.join(sorted(by_zone)) or 'those with subnets'}"
        raise pulumi.InputPropertyError("subnet_ids", f"{reason}; {fix}")
    return [by_zone[zone] for zone in sorted(zones) if zone in by_zone]


def labels(pool: PoolPlan) -> dict[str, str]:
    """Labels of the pool's nodes."""
    kind = KINDS[pool.machine.accelerator]
    found = {POOL_LABEL: pool.name, "accelstack/accelerator": pool.machine.accelerator}
    if kind.vendor == "nvidia":
        found["nvidia.com/gpu.present"] = "true"  # where NVIDIA's device plugin runs
        # the autoscaler waits for the GPUs of nodes with this label, instead of starting more nodes meanwhile
        found["k8s.amazonaws.com/accelerator"] = pool.machine.accelerator.lower()
    return found


def taints(pool: PoolPlan) -> list[tuple[str, str, str]]:
    """Key, value and effect of each taint, in Kubernetes' words."""
    parts = [re.split("[=:]", taint, maxsplit=2) for taint in pool.terms.taints]
    return [(key, value, effect) for key, value, effect in parts]


def in_kubernetes(pool: PoolPlan) -> ClusterPool:
    """The pool as pods see it."""
    near = NETWORK_LAYERS if pool.fabric.name == "efa" else (ZONE,)
    marked = [Taint(key=key, value=value, effect=effect) for key, value, effect in taints(pool)]
    return cluster_pool(pool, {POOL_LABEL: pool.name}, marked, topology=(*near, HOST))


def max_pods(pool: PoolPlan, args: PoolArgs) -> int:
    """Most pods of a node."""
    return args.get("max_pods", PODS_PER_NODE if pool.machine.accelerator == "cpu" else GPU_PODS_PER_NODE)


def root_gib(pool: PoolPlan, args: PoolArgs) -> int:
    """Size of a node's root volume."""
    return args.get("root_gib", ROOT_GIB["cpu" if pool.machine.accelerator == "cpu" else "gpu"])


def described(pool: PoolPlan) -> Pool:
    """The pool in the words that all targets share."""
    machine = pool.machine
    return Pool(
        accelerator=machine.accelerator,
        per_node=machine.per_node,
        nodes=pool.nodes,
        fabric=pool.fabric.name,
        cores=machine.vcpus,
        memory_gib=machine.memory_gib,
    )


def security_groups(parent: pulumi.Resource, name: str, pool: PoolPlan, args: PoolArgs) -> list[pulumi.Input[str]]:
    """The groups of the nodes' network interfaces: the cluster's, and for EFA one that is open to itself both ways.

    A rule that opens the way to everywhere is not enough for EFA: it must name the group itself
    (https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/efa-start.html).
    """
    groups: list[pulumi.Input[str]] = [args["security_group_id"]]
    if pool.fabric.name != "efa":
        return groups
    group = ec2.SecurityGroup(
        f"{name}-fabric",
        vpc_id=args["vpc_id"],
        description="EFA between the nodes of a pool",
        opts=pulumi.ResourceOptions(parent=parent),
    )
    arriving = vpc.SecurityGroupIngressRule(
        f"{name}-fabric",
        security_group_id=group.id,
        referenced_security_group_id=group.id,
        ip_protocol="-1",
        description="EFA from the pool",
        opts=pulumi.ResourceOptions(parent=parent),
    )
    leaving = vpc.SecurityGroupEgressRule(
        f"{name}-fabric",
        security_group_id=group.id,
        referenced_security_group_id=group.id,
        ip_protocol="-1",
        description="EFA to the pool",
        opts=pulumi.ResourceOptions(parent=parent),
    )
    # known with the rules, which must be there before the nodes
    both = pulumi.Output.all(group.id, arriving.security_group_id, leaving.security_group_id)
    return [*groups, both.apply(lambda ids: ids[0])]


def placement_group(parent: pulumi.Resource, name: str, pool: PoolPlan) -> pulumi.Output[str] | str | None:
    """Name of the placement group that the nodes start in: one made here, an existing one, or none."""
    placement = pool.terms.placement
    if placement in PLACED_ELSEWHERE:
        return None
    if placement != "cluster":
        return placement
    return ec2.PlacementGroup(name, strategy="cluster", opts=pulumi.ResourceOptions(parent=parent)).name
