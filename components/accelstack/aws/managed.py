"""SageMaker's machines for neutral accelerators, and what its training jobs and endpoints share."""

import re
from collections.abc import Mapping

import pulumi

from accelstack.aws.refusals import refuse
from accelstack.fingerprint import BUNDLED_DATA
from accelstack.plan import plan
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.machines import Machine
from accelstack.plan.managed import instance
from accelstack.plan.platform import ECR_IMAGE


def machine(region: str, accelerator: str, nodes: int, capacity: str, use: str) -> tuple[Machine, str]:
    """The machine for an accelerator and its SageMaker name, for the use `training` or `hosting`.

    Raises:
        pulumi.InputPropertyError: the region does not have it, or SageMaker does not.
    """
    asked = {"region": region, "accelerator": accelerator, "nodes": nodes, "capacity": capacity}
    decided = plan.plan({"target": "aws", "runs_on": "managed", **asked})
    refuse(decided.findings)
    found = decided.pools[0].machine
    name = instance("aws", found.name, use)
    if not name:
        rule = f"{found.name} is not among SageMaker's machines for {use}"
        fix = "use another accelerator, or run it on a cluster (aws.Cluster)"
        refuse([Finding(Severity.ERROR, "accelerator", accelerator, rule, fix)])
    return found, name


def refuse_foreign_image(image: pulumi.Input[str]) -> None:
    """Refuses an image that SageMaker cannot pull, or that may change under the same name.

    Raises:
        pulumi.InputPropertyError: it is no ECR reference by digest; one that is not known yet is taken.
    """
    if isinstance(image, str) and not re.fullmatch(ECR_IMAGE, image):
        reason = f"{image!r} is no ECR image by digest; use <account>.dkr.ecr.<region>.amazonaws.com/<name>@sha256:…"
        raise pulumi.InputPropertyError("image", reason)


def refuse_half_a_network(args: Mapping[str, object]) -> None:
    """Refuses subnets without security groups, and the other way round.

    Raises:
        pulumi.InputPropertyError: one of the two is missing.
    """
    for given, needed in (("subnet_ids", "security_group_ids"), ("security_group_ids", "subnet_ids")):
        if given in args and needed not in args:
            raise pulumi.InputPropertyError(needed, f"is left out, and {given} is given; give both or neither")


def refuse_other_storage(path: str, uri: pulumi.Input[str]) -> None:
    """Refuses a URI of other storage than S3; one that is not known yet is taken.

    Raises:
        pulumi.InputPropertyError: it is no s3:// URI.
    """
    if isinstance(uri, str) and not uri.startswith("s3://"):
        reason = f"{uri!r} is not in S3, and SageMaker reads nothing else; give an s3:// URI"
        raise pulumi.InputPropertyError(
            path, f"{reason} or a bundled dataset ({', '.join(BUNDLED_DATA)})" if path == "dataset" else reason
        )
