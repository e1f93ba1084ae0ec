"""A training job on SageMaker, with the args and outputs of every other target."""

from typing import Any, NotRequired, TypedDict, cast

import pulumi
from pulumi.dynamic import Resource
from pulumi_aws import sagemaker

from accelstack import fingerprint
from accelstack.aws import managed, sagemaker_job_request
from accelstack.aws.model_group import ModelPackageProvider
from accelstack.aws.sagemaker_job import OutcomeProvider, SubmissionProvider
from accelstack.contracts import ModelVersion, TrainingJobArgs
from accelstack.plan import training

LONGEST_HOURS = 28 * 24
"""Most that a job may run (https://docs.aws.amazon.com/general/latest/gr/sagemaker.html); the default is a day."""
USUAL_HOURS = 24


class SageMakerArgs(TypedDict):
    """Args that SageMaker's training jobs and endpoints share."""

    region: str
    """AWS region, the provider's own; it decides which machines there are."""
    accelerator: str
    """Neutral name and count for each machine, such as `H100:8`, `L4:1` or `cpu:4`."""
    role_arn: pulumi.Input[str]
    """Role that SageMaker takes on: `policies.sagemaker_execution` says what it needs."""
    key_arn: pulumi.Input[str]
    """KMS key for what is stored: output and volumes. The role must be allowed to use it."""
    subnet_ids: NotRequired[pulumi.Input[list[str]]]
    """Private subnets to run in; without them it runs in SageMaker's own network."""
    security_group_ids: NotRequired[pulumi.Input[list[str]]]
    """Security groups there; needed with subnets."""


class SageMakerTrainingJobArgs(TrainingJobArgs, SageMakerArgs):
    """Args of `aws.TrainingJob`. `store` and a dataset of one's own are `s3://` URIs."""

    nodes: NotRequired[int]
    """Machines that train together; 1 if left out."""
    capacity: NotRequired[str]
    """`on_demand`, or `spot`: cheaper, and gone on with from checkpoints when machines are taken away; `on_demand` if
    left out."""
    image: NotRequired[pulumi.Input[str]]
    """Workload image in ECR, by digest; it runs without a network. Left out: AWS's PyTorch image, with the bundled
    workload's source packed beside it, which installs packages when it starts and so needs a network."""
    max_hours: NotRequired[float]
    """Most hours of training in one go; 24 if left out. A spot job may wait 24 more for machines."""
    protect: NotRequired[bool]
    """Whether the registered versions are kept from deletion; true if left out."""
    tags: NotRequired[dict[str, str]]
    """Tags of the jobs, which do not get the provider's own."""


class _Submission(Resource, module="accelstack", name="AwsTrainingSubmission"):
    run_id: pulumi.Output[str]
    code_digest: pulumi.Output[str]
    data_digest: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        outputs = dict.fromkeys(["run_id", "code_digest", "data_digest"])
        super().__init__(SubmissionProvider(), name, {**props, **outputs}, opts)


class _Outcome(Resource, module="accelstack", name="AwsTrainingOutcome"):
    uri: pulumi.Output[str]
    digest: pulumi.Output[str]
    metrics: pulumi.Output[dict[str, Any]]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        super().__init__(OutcomeProvider(), name, {**props, **dict.fromkeys(["uri", "digest", "metrics"])}, opts)


class _ModelPackage(Resource, module="accelstack", name="AwsModelPackage"):
    version: pulumi.Output[str]
    package_arn: pulumi.Output[str]

    def __init__(self, name: str, props: dict[str, Any], opts: pulumi.ResourceOptions) -> None:
        outputs = dict.fromkeys(["version", "package_arn"])
        super().__init__(ModelPackageProvider(), name, {**props, **outputs}, opts)


class TrainingJob(pulumi.ComponentResource):
    """A run of a bundled workload on SageMaker, and the model version that came of it in SageMaker's registry.

    `up` follows the job to its end and prints how it gets on. The same code, data and settings make no new run. A job
    whose `up` was killed or interrupted runs on, and the next `up` follows it; one that failed, was stopped or ran out
    of time goes on from its last checkpoint in a new job. `destroy` stops a job that runs; what jobs left in the store
    stays there. Works from Python programs alone, since it stands on dynamic resources, which take AWS credentials from
    the environment or the stack's `aws:profile`.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule, or SageMaker does not have the accelerator.
    """

    run_id: pulumi.Output[str]
    """Identity of the run, from its code, data and settings."""
    metrics: pulumi.Output[dict[str, Any]]
    """The workload's score on held-out data, which `score` names, such as `accuracy` (0 to 1), `loss`, `seconds`,
    `samples_per_second`, `billable_seconds`, URIs of the `evaluation` and its `pictures`, and the console's page as
    `log`."""
    model: pulumi.Output[ModelVersion]
    """The model version that came of the run."""
    group: pulumi.Output[str]
    """Name of the model package group that keeps the versions."""
    package_arn: pulumi.Output[str]
    """ARN of the version's model package."""

    def __init__(self, name: str, args: SageMakerTrainingJobArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        settings, model = job_settings(args), training.settled(args)["model"]
        super().__init__("accelstack:index:AwsTrainingJob", name, None, opts)
        owner = sagemaker_job_request.dashed(f"{pulumi.get_project()}-{pulumi.get_stack()}")
        image, region = args.get("image", ""), args["region"]
        props = {**settings, "image": image, "name": name, "owner": owner, "region": region}
        submission = _Submission(name, props, pulumi.ResourceOptions(parent=self))
        digests = {"code_digest": submission.code_digest, "data_digest": submission.data_digest}
        outcome = _Outcome(name, {**props, **digests, "run_id": submission.run_id}, pulumi.ResourceOptions(parent=self))
        protect = args.get("protect", True)
        group = sagemaker.ModelPackageGroup(
            name,
            model_package_group_name=sagemaker_job_request.fitting(f"{owner}-{name}-{model}"),
            model_package_group_description=f"Versions of the model {model} that {name} trains",
            region=region,
            opts=pulumi.ResourceOptions(parent=self, protect=protect),
        )
        package = _ModelPackage(
            name,
            {
                "name": model,
                "group": group.model_package_group_name,
                "region": region,
                "image": image,
                "instance_type": settings["instance_type"],
                "digest": outcome.digest,
                "uri": outcome.uri,
                "score": outcome.metrics.apply(lambda metrics: {metrics["score"]: metrics[metrics["score"]]}),
            },
            pulumi.ResourceOptions(parent=self, protect=protect),
        )
        self.run_id = submission.run_id
        self.metrics = outcome.metrics
        version = {"name": model, "version": package.version, "digest": outcome.digest, "uri": outcome.uri}
        self.model = cast(pulumi.Output[ModelVersion], pulumi.Output.all(**version))
        self.group = group.model_package_group_name
        self.package_arn = package.package_arn
        self.register_outputs(
            {
                "run_id": self.run_id,
                "metrics": self.metrics,
                "model": self.model,
                "group": self.group,
                "package_arn": self.package_arn,
            }
        )


def job_settings(args: SageMakerTrainingJobArgs) -> dict[str, Any]:
    """What the providers are told of a job, but its image and its name.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """
    settled = training.settled(args)
    for path, reason in training.problems(settled).items():
        raise pulumi.InputPropertyError(path, reason)
    nodes, capacity, hours = args.get("nodes", 1), args.get("capacity", "on_demand"), args.get("max_hours", USUAL_HOURS)
    machine, instance_type = managed.machine(args["region"], args["accelerator"], nodes, capacity, "training")
    if reason := training.uneven_batch(settled["batch_size"], nodes * machine.per_node):
        raise pulumi.InputPropertyError("batch_size", reason)
    if not 0 < hours <= LONGEST_HOURS:
        raise pulumi.InputPropertyError("max_hours", f"is {hours}; it must be above 0 and at most {LONGEST_HOURS}")
    managed.refuse_other_storage("store", args["store"])
    if settled["dataset"] not in fingerprint.BUNDLED_DATA:
        managed.refuse_other_storage("dataset", settled["dataset"])
    managed.refuse_half_a_network(args)
    if "image" in args:
        managed.refuse_foreign_image(args["image"])
    return {
        **{key: settled[key] for key in training.DECIDED},
        "store": args["store"],
        "processes": machine.per_node,
        "nodes": nodes,
        "instance_type": instance_type,
        "local_storage": bool(machine.local_storage_gib),
        "spot": capacity == "spot",
        "max_hours": hours,
        "role_arn": args["role_arn"],
        "key_arn": args["key_arn"],
        "subnet_ids": args.get("subnet_ids", []),
        "security_group_ids": args.get("security_group_ids", []),
        "tags": args.get("tags", {}),
    }
