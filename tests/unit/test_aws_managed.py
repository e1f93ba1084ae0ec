"""What SageMaker is asked for, and what is refused before it is asked."""

from __future__ import annotations

import itertools
import re
from typing import Any

import botocore.session
import pulumi
import pytest
from accelstack.aws import managed, managed_serving, managed_training, sagemaker_job, sagemaker_job_request
from accelstack.aws.managed_serving import InferenceService
from accelstack.aws.managed_training import TrainingJob
from accelstack.aws.sagemaker_job_cloud import Cloud
from accelstack.plan import tables

IMAGE = f"111122223333.dkr.ecr.us-east-1.amazonaws.com/workloads@sha256:{'a' * 64}"
PLACE: dict[str, Any] = {
    "region": "us-east-1",
    "role_arn": "arn:aws:iam::111122223333:role/models",
    "key_arn": "arn:aws:kms:us-east-1:111122223333:key/0123abcd-0123-0123-0123-0123456789ab",
    "image": IMAGE,
}
JOB: dict[str, Any] = {
    **PLACE,
    "accelerator": "H100:8",
    "workload": "vision",
    "dataset": "digits",
    "epochs": 2,
    "batch_size": 64,
    "learning_rate": 0.01,
    "seed": 0,
    "model": "digits",
    "store": "s3://ours",
}
MODEL = {"name": "digits", "version": "1", "digest": "sha256:0", "uri": "s3://ours/model"}
SERVICE: dict[str, Any] = {**PLACE, "accelerator": "L4:1", "model": MODEL}


class TestMachines:
    @pytest.mark.parametrize(
        ("accelerator", "use", "name"),
        [
            ("H100:8", "training", "ml.p5.48xlarge"),
            ("L4:1", "hosting", "ml.g6.xlarge"),
            ("cpu:4", "training", "ml.m7i.xlarge"),
            ("cpu", "hosting", "ml.m7i.large"),
        ],
    )
    def test_an_accelerator_is_one_of_sagemakers_machines(self, accelerator: str, use: str, name: str) -> None:
        assert managed.machine("us-east-1", accelerator, 1, "on_demand", use)[1] == name

    @pytest.mark.parametrize(
        ("accelerator", "nodes", "capacity", "use", "path", "told"),
        [
            ("H100:8", 1, "block", "training", "capacity", "no capacity that is provisioned on a managed platform"),
            ("H10:8", 1, "spot", "training", "accelerator", "did you mean H100"),
            ("T4G:1", 1, "on_demand", "training", "accelerator", "not on the managed platform"),
            ("H100:8", 0, "on_demand", "training", "nodes", "not between 1 and"),
        ],
    )
    def test_what_sagemaker_does_not_have_is_refused_by_name(
        self, accelerator: str, nodes: int, capacity: str, use: str, path: str, told: str
    ) -> None:
        with pytest.raises(pulumi.InputPropertyError) as refused:
            managed.machine("us-east-1", accelerator, nodes, capacity, use)
        assert (refused.value.property_path, told in refused.value.reason) == (path, True), refused.value.reason

    def test_the_table_names_machines_as_awss_model_does(self) -> None:
        model = botocore.session.get_session().get_service_model("sagemaker")
        shapes = {"training": "TrainingInstanceType", "hosting": "ProductionVariantInstanceType"}
        for row, (use, shape) in itertools.product(tables.rows("managed"), shapes.items()):
            known = row["name"] in model.shape_for(shape).enum
            assert row["target"] != "aws" or (row[use] == "yes") == known, (row["name"], use)


class TestJob:
    def test_eight_gpus_are_eight_processes_on_each_machine_with_storage_of_its_own(self) -> None:
        found = managed_training.job_settings(JOB | {"nodes": 4, "capacity": "spot"})
        assert (found["processes"], found["nodes"], found["spot"]) == (8, 4, True)
        assert found["local_storage"] is True
        assert managed_training.job_settings(JOB | {"accelerator": "cpu:4"})["local_storage"] is False

    @pytest.mark.parametrize(
        ("change", "path", "told"),
        [
            ({"batch_size": 60, "nodes": 2}, "batch_size", "multiple of 16"),
            ({"store": "file:///srv"}, "store", "not in S3"),
            ({"dataset": "gs://pictures"}, "dataset", "s3:// URI or a bundled dataset"),
            ({"image": "workloads:latest"}, "image", "no ECR image by digest"),
            ({"max_hours": 900}, "max_hours", "at most 672"),
            ({"subnet_ids": ["subnet-1"]}, "security_group_ids", "give both or neither"),
            ({"workload": "poetry"}, "workload", "no bundled workload"),
        ],
    )
    def test_what_breaks_a_rule_is_refused_before_anything_is_made(
        self, change: dict[str, Any], path: str, told: str
    ) -> None:
        with pytest.raises(pulumi.InputPropertyError) as refused:
            TrainingJob("digits", JOB | change)
        assert refused.value.property_path == path
        assert told in refused.value.reason

    def test_names_are_sagemakers_whatever_the_stack_is_called(self) -> None:
        model = botocore.session.get_session().get_service_model("sagemaker")
        pattern = model.shape_for("TrainingJobName").metadata["pattern"]
        props = dict.fromkeys(sagemaker_job_request.IDENTITY, "1")
        for owner, name in (("p", "n"), ("my_project.x", "a--b"), ("x" * 80, "y" * 80)):
            names = [sagemaker_job_request.job_name(props | {"owner": owner, "name": name}, n) for n in (1, 2, 9999)]
            names.append(sagemaker_job_request.fitting(f"{owner}-{name}"))
            assert all(re.fullmatch(pattern, each) and len(each) <= 63 for each in names)
            assert len({*names}) == 4

    def test_the_start_of_an_aws_image_is_no_longer_than_sagemaker_takes(self) -> None:
        model = botocore.session.get_session().get_service_model("sagemaker")
        most = model.shape_for("TrainingContainerEntrypointString").metadata["max"]
        assert len(sagemaker_job_request.UNPACK) <= most

    @pytest.mark.parametrize("region", ["us-east-1", "cn-north-1", "us-gov-west-1"])
    def test_the_sdk_has_images_for_both_uses_and_the_console_an_address(self, region: str) -> None:
        cloud = Cloud(region, None)
        assert "pytorch-training:2.9.0-gpu" in cloud.torch_image("ml.g5.xlarge", "training")
        assert "pytorch-inference:2.6.0-cpu" in cloud.torch_image("ml.m7i.large", "inference")
        assert sagemaker_job.console(region).startswith("https://")


class TestService:
    @pytest.mark.parametrize(
        ("change", "path", "told"),
        [
            ({"replicas": 0}, "replicas", "1 to 100"),
            ({"replicas": 4, "max_replicas": 2}, "max_replicas", "must be 4 to 100"),
            ({"canary": {"model": MODEL, "percent": 100}}, "canary.percent", "below 100"),
            ({"canary": {"model": MODEL, "percent": 5}, "rollback_alarms": ["a"]}, "rollback_alarms", "one of the two"),
            ({"capture_percent": 10}, "capture_uri", "under which"),
            ({"capture_percent": 10, "capture_uri": "file:///tmp"}, "capture_uri", "not in S3"),
            ({"image": "111122223333.dkr.ecr.us-east-1.amazonaws.com/w:1"}, "image", "by digest"),
            ({"invocations_per_minute": 0}, "invocations_per_minute", "above 0"),
        ],
    )
    def test_what_breaks_a_rule_is_refused_before_anything_is_made(
        self, change: dict[str, Any], path: str, told: str
    ) -> None:
        with pytest.raises(pulumi.InputPropertyError) as refused:
            InferenceService("digits", SERVICE | change)
        assert refused.value.property_path == path
        assert told in refused.value.reason

    def test_one_machine_has_no_half_to_try_an_update_on(self) -> None:
        kinds = {}
        for replicas in (1, 2):
            guarded = managed_serving._guarded(["errors"], replicas)
            assert guarded
            policy: Any = guarded.blue_green_update_policy
            kinds[replicas] = policy.traffic_routing_configuration.type
        assert kinds == {1: "ALL_AT_ONCE", 2: "CANARY"}
