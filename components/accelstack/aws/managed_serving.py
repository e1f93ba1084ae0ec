"""A model version in service on a SageMaker endpoint, with the args and outputs of every other target."""

import math
from typing import NotRequired, TypedDict, cast

import pulumi
from pulumi_aws import appautoscaling, sagemaker

from accelstack.aws import managed
from accelstack.aws.identity import place
from accelstack.aws.managed_training import SageMakerArgs
from accelstack.aws.sagemaker_job import console
from accelstack.contracts import InferenceServiceArgs, ModelVersion

MAIN, CANARY = "main", "canary"
MOST_REPLICAS = 100
BAKE_SECONDS = 600
"""How long a first part of the new machines serves under the eyes of the alarms, and how long the old ones stay."""
COOLDOWN_SECONDS = 300
USUAL_INVOCATIONS = 1000
UNGUARDED = "SageMaker guards no update that adds or removes a variant; give one of the two"
"""https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-exclusions.html"""
TYPES_JSON = ["application/json"]
"""What is captured as text; all else is captured in base64."""


class Canary(TypedDict):
    """A second model version that gets a share of the requests."""

    model: pulumi.Input[ModelVersion]
    """The model version."""
    percent: float
    """Share of the requests, above 0 and below 100."""


class SageMakerInferenceServiceArgs(InferenceServiceArgs, SageMakerArgs):
    """Args of `aws.InferenceService`. `replicas` are machines: the fewest, where they scale."""

    image: pulumi.Input[str]
    """Workload image in ECR, by digest; it runs without a network."""
    canary: NotRequired[Canary]
    """A version to try out on some of the requests; none if left out."""
    max_replicas: NotRequired[int]
    """Most machines; with more than `replicas` they scale with the load."""
    invocations_per_minute: NotRequired[float]
    """Requests a minute for each machine that scaling aims at; 1000 if left out, which suits no model by itself:
    measure yours."""
    capture_percent: NotRequired[int]
    """Share of requests and answers to record, 0 to 100; none if left out."""
    capture_uri: NotRequired[pulumi.Input[str]]
    """`s3://` URI to record them under; needed with `capture_percent`."""
    rollback_alarms: NotRequired[list[pulumi.Input[str]]]
    """Names of CloudWatch alarms that undo an update: it then moves to new machines in two steps, and back if one of
    them goes off. Not together with `canary`."""


class InferenceService(pulumi.ComponentResource):
    """A model version in service on a SageMaker endpoint.

    The endpoint keeps its name: a new version comes up beside the old one, which serves until the new one answers.
    Callers sign requests with AWS credentials (`sagemaker:InvokeEndpoint`). One address takes the Open Inference
    Protocol's bodies (JSON, or binary tensors with SageMaker's content type) and pictures (image/png, image/jpeg).

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule, or SageMaker does not have the accelerator.
    """

    rest: pulumi.Output[str]
    """URL to which requests are posted, signed."""
    grpc: pulumi.Output[str | None]
    """None: SageMaker passes no gRPC on."""
    console: pulumi.Output[str]
    """URL of the endpoint's page in AWS's console."""
    endpoint: pulumi.Output[str]
    """Name of the endpoint."""

    def __init__(
        self, name: str, args: SageMakerInferenceServiceArgs, opts: pulumi.ResourceOptions | None = None
    ) -> None:
        _refuse(args)
        region, replicas = args["region"], args.get("replicas", 1)
        _, instance_type = managed.machine(region, args["accelerator"], 1, "on_demand", "hosting")
        super().__init__("accelstack:index:AwsInferenceService", name, None, opts)
        child = pulumi.ResourceOptions(parent=self)
        shares = {MAIN: (args["model"], 100.0, replicas)}
        if "canary" in args:
            percent = args["canary"]["percent"]
            shares[MAIN] = (args["model"], 100 - percent, replicas)
            shares[CANARY] = (args["canary"]["model"], percent, math.ceil(replicas * percent / 100))
        settings = sagemaker.EndpointConfiguration(
            name,
            production_variants=[
                sagemaker.EndpointConfigurationProductionVariantArgs(
                    variant_name=variant,
                    model_name=_model(f"{name}-{variant}", args, model, child).name,
                    instance_type=instance_type,
                    initial_instance_count=count,
                    initial_variant_weight=weight,
                )
                for variant, (model, weight, count) in shares.items()
            ],
            kms_key_arn=args["key_arn"],
            data_capture_config=_capture(args),
            region=region,
            opts=child,
        )
        endpoint = sagemaker.Endpoint(
            name,
            endpoint_config_name=settings.name,
            deployment_config=_guarded(args.get("rollback_alarms", []), replicas),
            region=region,
            opts=child,
        )
        if args.get("max_replicas", replicas) > replicas:
            _scale(name, args, endpoint.name, child)
        domain = place(self).apply(lambda here: here.domain)
        self.endpoint = endpoint.name
        self.rest = pulumi.Output.format(
            "https://runtime.sagemaker.{}.{}/endpoints/{}/invocations", region, domain, endpoint.name
        )
        self.grpc = pulumi.Output.from_input(cast(str | None, None))
        self.console = pulumi.Output.format(
            "{}/sagemaker/home?region={}#/endpoints/{}", console(region), region, endpoint.name
        )
        self.register_outputs(
            {"rest": self.rest, "grpc": self.grpc, "console": self.console, "endpoint": self.endpoint}
        )


def _model(
    name: str, args: SageMakerInferenceServiceArgs, version: pulumi.Input[ModelVersion], child: pulumi.ResourceOptions
) -> sagemaker.Model:
    """A model version with the server that serves it, cut off from any network."""
    model = pulumi.Output.from_input(version)
    network = None
    if "subnet_ids" in args:
        groups = args.get("security_group_ids", [])
        network = sagemaker.ModelVpcConfigArgs(subnets=args["subnet_ids"], security_group_ids=groups)
    source = sagemaker.ModelPrimaryContainerModelDataSourceS3DataSourceArgs(
        s3_uri=model.apply(lambda found: found["uri"].rstrip("/") + "/"),
        s3_data_type="S3Prefix",
        compression_type="None",
    )
    return sagemaker.Model(
        name,
        execution_role_arn=args["role_arn"],
        enable_network_isolation=True,
        primary_container=sagemaker.ModelPrimaryContainerArgs(
            image=args["image"],
            model_data_source=sagemaker.ModelPrimaryContainerModelDataSourceArgs(s3_data_sources=[source]),
            environment={
                "ACCELSTACK_MODEL_NAME": model.apply(lambda found: found["name"]),
                "ACCELSTACK_MODEL_VERSION": model.apply(lambda found: found["version"]),
                "ACCELSTACK_MODEL_DIGEST": model.apply(lambda found: found["digest"]),
            },
        ),
        vpc_config=network,
        region=args["region"],
        opts=child,
    )


def _capture(args: SageMakerInferenceServiceArgs) -> sagemaker.EndpointConfigurationDataCaptureConfigArgs | None:
    if not args.get("capture_percent"):
        return None
    header = sagemaker.EndpointConfigurationDataCaptureConfigCaptureContentTypeHeaderArgs(json_content_types=TYPES_JSON)
    return sagemaker.EndpointConfigurationDataCaptureConfigArgs(
        enable_capture=True,
        initial_sampling_percentage=args.get("capture_percent", 0),
        destination_s3_uri=args.get("capture_uri", ""),
        kms_key_id=args["key_arn"],
        capture_options=[
            sagemaker.EndpointConfigurationDataCaptureConfigCaptureOptionArgs(capture_mode=mode)
            for mode in ("Input", "Output")
        ],
        capture_content_type_header=header,
    )


def _guarded(alarms: list[pulumi.Input[str]], replicas: int) -> sagemaker.EndpointDeploymentConfigArgs | None:
    """How an update moves to new machines under the alarms' eyes. A first part is half of the machines at most, so it
    takes two (https://docs.aws.amazon.com/sagemaker/latest/dg/deployment-guardrails-blue-green-canary.html)."""
    if not alarms:
        return None
    traffic = sagemaker.EndpointDeploymentConfigBlueGreenUpdatePolicyTrafficRoutingConfigurationArgs(
        type="CANARY" if replicas > 1 else "ALL_AT_ONCE",
        wait_interval_in_seconds=BAKE_SECONDS,
        canary_size=sagemaker.EndpointDeploymentConfigBlueGreenUpdatePolicyTrafficRoutingConfigurationCanarySizeArgs(
            type="INSTANCE_COUNT", value=1
        )
        if replicas > 1
        else None,
    )
    return sagemaker.EndpointDeploymentConfigArgs(
        blue_green_update_policy=sagemaker.EndpointDeploymentConfigBlueGreenUpdatePolicyArgs(
            traffic_routing_configuration=traffic, termination_wait_in_seconds=BAKE_SECONDS
        ),
        auto_rollback_configuration=sagemaker.EndpointDeploymentConfigAutoRollbackConfigurationArgs(
            alarms=[
                sagemaker.EndpointDeploymentConfigAutoRollbackConfigurationAlarmArgs(alarm_name=alarm)
                for alarm in alarms
            ]
        ),
    )


def _scale(
    name: str, args: SageMakerInferenceServiceArgs, endpoint: pulumi.Output[str], child: pulumi.ResourceOptions
) -> None:
    """Scales the main variant alone: SageMaker refuses to take away a variant that scales, as a canary would be."""
    target = appautoscaling.Target(
        name,
        service_namespace="sagemaker",
        scalable_dimension="sagemaker:variant:DesiredInstanceCount",
        resource_id=pulumi.Output.format("endpoint/{}/variant/{}", endpoint, MAIN),
        min_capacity=args.get("replicas", 1),
        max_capacity=args.get("max_replicas", 1),
        region=args["region"],
        opts=child,
    )
    metric = appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationPredefinedMetricSpecificationArgs(
        predefined_metric_type="SageMakerVariantInvocationsPerInstance"
    )
    appautoscaling.Policy(
        name,
        policy_type="TargetTrackingScaling",
        service_namespace=target.service_namespace,
        scalable_dimension=target.scalable_dimension,
        resource_id=target.resource_id,
        target_tracking_scaling_policy_configuration=appautoscaling.PolicyTargetTrackingScalingPolicyConfigurationArgs(
            predefined_metric_specification=metric,
            target_value=args.get("invocations_per_minute", USUAL_INVOCATIONS),
            scale_in_cooldown=COOLDOWN_SECONDS,
            scale_out_cooldown=COOLDOWN_SECONDS,
        ),
        region=args["region"],
        opts=child,
    )


def _refuse(args: SageMakerInferenceServiceArgs) -> None:
    """Refuses args that SageMaker would refuse later, or that would do nothing."""
    replicas, capture = args.get("replicas", 1), args.get("capture_percent", 0)
    most = args.get("max_replicas", replicas)
    percent = args["canary"]["percent"] if "canary" in args else 50
    guarded = bool(args.get("rollback_alarms"))
    rules = (
        ("replicas", 1 <= replicas <= MOST_REPLICAS, f"is {replicas}; it must be 1 to {MOST_REPLICAS}"),
        ("max_replicas", replicas <= most <= MOST_REPLICAS, f"is {most}; it must be {replicas} to {MOST_REPLICAS}"),
        ("invocations_per_minute", args.get("invocations_per_minute", 1) > 0, "is not above 0; give a rate"),
        ("canary.percent", 0 < percent < 100, f"is {percent}; it must be above 0 and below 100"),
        ("rollback_alarms", not guarded or "canary" not in args, f"are given with a canary, and {UNGUARDED}"),
        ("capture_percent", 0 <= capture <= 100, f"is {capture}; it must be 0 to 100"),
        ("capture_uri", not capture or "capture_uri" in args, "is left out; say under which s3:// URI to record"),
    )
    for path, kept, reason in rules:
        if not kept:
            raise pulumi.InputPropertyError(path, reason)
    managed.refuse_other_storage("capture_uri", args.get("capture_uri", "s3://"))
    managed.refuse_half_a_network(args)
    managed.refuse_foreign_image(args["image"])
