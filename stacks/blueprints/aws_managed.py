"""The managed half of a stack on AWS: SageMaker trains the workload and serves what comes of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pulumi
from accelstack import aws
from accelstack.plan.plan import Plan
from accelstack.plan.pool import PoolPlan
from settings import Settings

from blueprints.outputs import Outputs, of_workloads

if TYPE_CHECKING:
    from blueprints.aws import Base

TRAINING, SERVING = "train", "serve"
"""Names of the pools that train and serve; the first pool does what no pool is named for."""


def build(chosen: Settings, decided: Plan, base: Base) -> tuple[Outputs, Outputs]:
    """The outputs of training and serving, and none of file systems."""
    asked = base.request.platform
    image = cast(pulumi.Output[str], base.images.image)  # this stack gives or builds one
    access = aws.ManagedAccess(
        "managed",
        {
            "vpc_id": base.network.vpc_id,
            "subnet_ids": base.home,
            "bucket_arn": base.store.arn,
            "key_arn": base.store.key_arn,
            "images": pulumi.Output.all(image),
        },
        base.opts,
    )
    shared: aws.SageMakerArgs = {
        "region": base.request.region,
        "accelerator": "",
        "role_arn": access.role_arn,
        "key_arn": base.store.key_arn,
        "subnet_ids": base.home,
        "security_group_ids": pulumi.Output.all(access.security_group_id),
    }
    trained, served = _pool(decided, TRAINING), _pool(decided, SERVING)
    training = aws.TrainingJob(
        "training",
        {
            **shared,
            **chosen.training,
            "accelerator": _accelerator(trained),
            "nodes": trained.nodes,
            "capacity": trained.terms.capacity,
            "store": base.store.uri,
            "image": image,
            "protect": asked.production,
            "tags": base.tags,
        },
        base.opts,
    )
    inference = aws.InferenceService(
        "inference",
        {
            **shared,
            "accelerator": _accelerator(served),
            "model": training.model,
            "image": image,
            "replicas": chosen.replicas,
            "max_replicas": max(chosen.replicas, served.nodes),
        },
        base.opts,
    )
    return of_workloads(training, inference, endpoint=inference.endpoint), {}


def _pool(decided: Plan, name: str) -> PoolPlan:
    return next((pool for pool in decided.pools if pool.name == name), decided.pools[0])


def _accelerator(pool: PoolPlan) -> str:
    machine = pool.machine
    return f"cpu:{machine.vcpus}" if machine.accelerator == "cpu" else f"{machine.accelerator}:{machine.per_node}"
