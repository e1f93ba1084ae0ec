"""Training on SageMaker, against its API over HTTP: the providers are called as the engine calls them."""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from accelstack import fingerprint
from accelstack.aws import model_group, sagemaker_job
from accelstack.aws.model_group import ModelPackageProvider
from accelstack.aws.sagemaker_job import OutcomeProvider, SubmissionProvider
from accelstack.dynamic import UserError
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import FakeTrainingJob

from tests.accounts import sagemaker
from tests.accounts.sagemaker import ENVIRONMENT, REGION, Machine, Service, refusal, set_state, unpacked

BUCKET = "models-of-ours"
IMAGE = f"{DEFAULT_ACCOUNT_ID}.dkr.ecr.{REGION}.amazonaws.com/workloads@sha256:{'a' * 64}"
KEY = f"arn:aws:kms:{REGION}:{DEFAULT_ACCOUNT_ID}:key/0123abcd-0123-0123-0123-0123456789ab"
ROLE = f"arn:aws:iam::{DEFAULT_ACCOUNT_ID}:role/training"
DIGEST = "sha256:" + "b" * 64
SETTINGS: dict[str, Any] = {
    "owner": "vision-dev",
    "name": "digits",
    "workload": "vision",
    "architecture": "cnn",
    "dataset": "digits",
    "epochs": 30.0,  # numbers come from the engine as floats
    "batch_size": 64.0,
    "learning_rate": 0.005,
    "seed": 0.0,
    "store": f"s3://{BUCKET}",
    "processes": 1.0,
    "nodes": 1.0,
    "instance_type": "ml.m7i.large",
    "local_storage": False,
    "spot": True,
    "max_hours": 2.0,
    "role_arn": ROLE,
    "key_arn": KEY,
    "image": IMAGE,
    "subnet_ids": [],
    "security_group_ids": [],
    "region": REGION,
    "tags": {"team": "vision"},
}


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    monkeypatch.setattr(sys, "tracebacklimit", 100, raising=False)  # providers set it, for the process that is theirs
    for name in ("POLL_SECONDS", "ROLE_SECONDS", "STOP_SECONDS"):
        monkeypatch.setattr(sagemaker_job, name, 0.05 if name == "POLL_SECONDS" else 1.0)
    with sagemaker.service() as running:
        monkeypatch.setenv("AWS_ENDPOINT_URL", running.address)
        running.client("s3").create_bucket(Bucket=BUCKET)
        yield running


def checked(**changes: Any) -> dict[str, Any]:
    result = SubmissionProvider().check({}, SETTINGS | changes)
    assert result.failures == []
    return result.inputs


def submitted(**changes: Any) -> dict[str, Any]:
    return SubmissionProvider().create(checked(**changes)).outs or {}


def outcome(submission: dict[str, Any]) -> dict[str, Any]:
    return OutcomeProvider().create(submission).outs or {}


def through(*states: Callable[[FakeTrainingJob], None]) -> Callable[[FakeTrainingJob], None]:
    """Lets a job go one step further each time somebody looks at it."""
    left = list(states)

    def step(job: FakeTrainingJob) -> None:
        if left and job.training_job_status in ("InProgress", "Stopping"):
            left.pop(0)(job)

    return step


def at(status: str, stage: str = "", reason: str = "") -> Callable[[FakeTrainingJob], None]:
    return lambda job: set_state(job, status, stage, reason)


def completed(cloud: Service) -> Callable[[FakeTrainingJob], None]:
    """The job's end, with results in S3 and no training."""

    def end(job: FakeTrainingJob) -> None:
        place = f"runs/{job.training_job_name}/model"
        files = {
            "model.json": {},
            "training.json": {
                "metrics": {"loss": 0.1},
                "seconds": 9.0,
                "samples_per_second": 800.0,
                "model": {"digest": DIGEST},
            },
            "evaluation.json": {"score": "accuracy", "accuracy": 0.97, "pictures": ["confusion.png"]},
        }
        for name, content in files.items():
            cloud.client("s3").put_object(Bucket=BUCKET, Key=f"{place}/{name}", Body=json.dumps(content))
        job.model_artifacts = {"S3ModelArtifacts": f"s3://{BUCKET}/{place}/"}
        set_state(job, "Completed")

    return end


class TestRequest:
    def test_a_spot_job_keeps_checkpoints_and_runs_shut_off_and_encrypted(self, cloud: Service) -> None:
        submitted()
        (asked,) = cloud.asked("CreateTrainingJob")
        assert asked["EnableManagedSpotTraining"] is True
        assert asked["EnableNetworkIsolation"] is True
        assert asked["CheckpointConfig"]["S3Uri"].startswith(f"s3://{BUCKET}/checkpoints/digits/")
        assert asked["StoppingCondition"] == {"MaxRuntimeInSeconds": 7200, "MaxWaitTimeInSeconds": 7200 + 24 * 3600}
        assert asked["OutputDataConfig"]["KmsKeyId"] == KEY
        assert asked["ResourceConfig"]["VolumeKmsKeyId"] == KEY
        assert asked["HyperParameters"]["epochs"] == "30"
        assert asked["Tags"] == [{"Key": "team", "Value": "vision"}]
        assert "InputDataConfig" not in asked

    def test_machines_with_storage_of_their_own_take_no_volume(self, cloud: Service) -> None:
        submitted(local_storage=True, instance_type="ml.p5.48xlarge", nodes=2.0)
        (asked,) = cloud.asked("CreateTrainingJob")
        assert asked["ResourceConfig"] == {"InstanceType": "ml.p5.48xlarge", "InstanceCount": 2}
        assert asked["EnableInterContainerTrafficEncryption"] is True

    def test_without_an_image_the_sdk_resolves_one_and_packs_the_source(self, cloud: Service, tmp_path: Path) -> None:
        submitted(image="", dataset="digits")
        (asked,) = cloud.asked("CreateTrainingJob")
        image = asked["AlgorithmSpecification"]["TrainingImage"]
        assert image == f"763104351884.dkr.ecr.{REGION}.amazonaws.com/pytorch-training:2.9.0-cpu-py312"
        assert asked["EnableNetworkIsolation"] is False
        (channel,) = asked["InputDataConfig"]
        prefix = channel["DataSource"]["S3DataSource"]["S3Uri"].removeprefix(f"s3://{BUCKET}/")
        archive = tmp_path / "sourcedir.tar.gz"
        cloud.client("s3").download_file(BUCKET, f"{prefix}sourcedir.tar.gz", str(archive))
        folder = unpacked(archive, tmp_path / "code")
        named = (folder / "requirements.txt").read_text().splitlines()
        assert [each.partition(">")[0] for each in named] == [*fingerprint.REQUIREMENTS]
        program = "import accelstack_workloads as found; print(found.__file__)"
        # the unpacked source, not the installed one, is what runs
        shown = subprocess.run([sys.executable, "-c", program], cwd=folder, capture_output=True, text=True, check=True)
        assert shown.stdout.startswith(str(folder))

    def test_pictures_in_s3_are_a_channel_and_their_content_is_part_of_the_identity(self, cloud: Service) -> None:
        s3, pictures = cloud.client("s3"), f"s3://{BUCKET}/pictures"
        missing = SubmissionProvider().check({}, SETTINGS | {"dataset": pictures})
        assert [(each.property, each.reason[:15]) for each in missing.failures] == [("dataset", "holds no object")]
        s3.put_object(Bucket=BUCKET, Key="pictures/cat/1.png", Body=b"a cat")
        first = submitted(dataset=pictures)
        (channel,) = cloud.asked("CreateTrainingJob")[0]["InputDataConfig"]
        assert channel["DataSource"]["S3DataSource"]["S3Uri"] == f"{pictures}/"
        assert not SubmissionProvider().diff("run", first, checked(dataset=pictures)).changes
        s3.put_object(Bucket=BUCKET, Key="pictures/cat/1.png", Body=b"another cat")
        assert SubmissionProvider().diff("run", first, checked(dataset=pictures)).changes


class TestIdentity:
    @pytest.mark.parametrize(
        "change", [{"spot": False}, {"max_hours": 9.0}, {"role_arn": f"{ROLE}2"}, {"image": ""}, {"tags": {}}]
    )
    def test_how_machines_are_bought_and_reached_makes_no_new_run(self, cloud: Service, change: dict[str, Any]) -> None:
        assert not SubmissionProvider().diff("run", submitted(), checked(**change)).changes

    @pytest.mark.parametrize("change", [{"seed": 1.0}, {"nodes": 2.0}, {"epochs": 5.0}, {"owner": "vision-prod"}])
    def test_what_decides_the_result_makes_one(self, cloud: Service, change: dict[str, Any]) -> None:
        assert SubmissionProvider().diff("run", submitted(), checked(**change)).changes

    def test_long_names_still_tell_runs_apart(self, cloud: Service) -> None:
        for stack in ("dev", "prod"):
            submitted(owner="a-project-with-a-name-of-more-than-sixty-characters-in-the-stack-" + stack)
        assert len({*cloud.jobs}) == 2


class TestFollowing:
    def test_the_states_are_told_and_the_results_read(self, cloud: Service, capsys: pytest.CaptureFixture[str]) -> None:
        stages = [at("InProgress", stage) for stage in ("Starting", "Downloading", "Training")]
        cloud.on_describe = through(*stages, completed(cloud))
        found = outcome(submitted())
        assert found["digest"] == DIGEST
        assert found["uri"].startswith(f"s3://{BUCKET}/runs/vision-dev-digits-")
        assert (found["metrics"]["accuracy"], found["metrics"]["loss"]) == (0.97, 0.1)
        printed = capsys.readouterr().out
        assert printed.index("Downloading: It is Downloading.") < printed.index("Completed: It is Completed.")

    def test_a_job_of_an_engine_that_was_killed_is_followed_on(self, cloud: Service) -> None:
        submitted()  # and then nobody kept the state
        cloud.on_describe = through(completed(cloud))
        assert outcome(submitted())["digest"] == DIGEST
        assert len(cloud.jobs) == 1

    def test_a_finished_run_is_not_trained_again(self, cloud: Service) -> None:
        cloud.on_describe = through(completed(cloud))
        first = outcome(submitted())
        assert outcome(submitted())["uri"] == first["uri"]
        assert len(cloud.jobs) == 1

    @pytest.mark.parametrize(
        ("end", "told"),
        [
            (at("Failed", reason="AlgorithmError: training: process 3 lost another one"), "process 3 lost another"),
            (at("Stopped"), "was stopped"),
            (at("Stopped", "MaxRuntimeExceeded"), r"ran out of time \(max_hours\)"),
            (at("Stopped", "MaxWaitTimeExceeded"), "wait for spot machines"),
        ],
    )
    def test_a_job_that_ended_badly_says_why_and_goes_on_from_its_checkpoints_at_the_next_up(
        self, cloud: Service, end: Callable[[FakeTrainingJob], None], told: str
    ) -> None:
        submission = submitted()
        cloud.on_describe = through(at("InProgress", "Training"), end, completed(cloud))
        with pytest.raises(UserError, match=told):
            outcome(submission)
        assert outcome(submission)["digest"] == DIGEST
        first, second = cloud.asked("CreateTrainingJob")
        assert first["TrainingJobName"].removesuffix("-1") == second["TrainingJobName"].removesuffix("-2")
        assert first["CheckpointConfig"] == second["CheckpointConfig"]

    def test_a_model_that_was_removed_from_the_store_is_seen_by_refresh_and_trained_again(self, cloud: Service) -> None:
        cloud.on_describe = through(completed(cloud), completed(cloud))
        submission = submitted()
        found = outcome(submission)
        assert OutcomeProvider().read("outcome", found).id == "outcome"
        s3 = cloud.client("s3")
        for each in s3.list_objects_v2(Bucket=BUCKET)["Contents"]:
            s3.delete_object(Bucket=BUCKET, Key=each["Key"])
        assert OutcomeProvider().read("outcome", found).id == ""
        assert outcome(submission)["digest"] == DIGEST
        assert len(cloud.jobs) == 2

    def test_a_role_that_is_not_known_everywhere_yet_is_waited_for(self, cloud: Service) -> None:
        words = f"Could not assume role {ROLE}. Please ensure that the role exists"
        cloud.refusals = [refusal("ValidationException", words)] * 2
        submitted()
        assert len(cloud.asked("CreateTrainingJob")) == 3

    def test_what_aws_refuses_is_told_in_its_words(self, cloud: Service) -> None:
        words = "The account-level service limit 'ml.m7i.large for spot training job usage' is 0 Instances"
        cloud.refusals = [refusal("ResourceLimitExceeded", words)]
        with pytest.raises(UserError, match=r"AWS: .*spot training job usage' is 0"):
            submitted()


class TestRemoval:
    def test_a_running_job_is_stopped_and_its_end_waited_for(self, cloud: Service) -> None:
        submission = submitted()
        cloud.on_describe = through(at("InProgress", "Training"), at("Stopping"), at("Stopped"))
        SubmissionProvider().delete("run", submission)
        assert [body["TrainingJobName"] for body in cloud.asked("StopTrainingJob")] == cloud.jobs
        assert cloud.job(cloud.jobs[0]).training_job_status == "Stopped"

    def test_a_finished_one_is_left_alone(self, cloud: Service) -> None:
        cloud.on_describe = through(completed(cloud))
        submission = submitted()
        outcome(submission)
        SubmissionProvider().delete("run", submission)
        assert cloud.asked("StopTrainingJob") == []

    def test_new_settings_stop_the_job_with_the_former_ones(self, cloud: Service) -> None:
        former = submitted()
        cloud.on_describe = through(at("InProgress", "Training"), at("Stopped"))
        updated = SubmissionProvider().update("run", former, checked(seed=7.0)).outs or {}
        assert updated["run_id"] != former["run_id"]
        assert [cloud.job(name).training_job_status for name in cloud.jobs] == ["Stopped", "InProgress"]


class TestRegistry:
    @pytest.fixture
    def props(self, cloud: Service) -> dict[str, Any]:
        cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName="vision-dev-digits")
        cloud.calls.clear()
        uri = f"s3://{BUCKET}/runs/first/model"
        model = {"name": "digits", "digest": DIGEST, "uri": uri, "score": {"accuracy": 0.97}}
        return {
            **model,
            "group": "vision-dev-digits",
            "region": REGION,
            "image": IMAGE,
            "instance_type": "ml.g5.xlarge",
        }

    def registered(self, props: dict[str, Any]) -> dict[str, Any]:
        return ModelPackageProvider().create(props).outs or {}

    def test_versions_count_up_and_the_same_content_keeps_its_own(self, cloud: Service, props: dict[str, Any]) -> None:
        assert self.registered(props)["version"] == "1"
        assert self.registered(props)["version"] == "1"
        assert self.registered(props | {"digest": "sha256:" + "c" * 64})["version"] == "2"
        assert self.registered(props)["version"] == "1"

    def test_a_version_tells_its_content_and_waits_for_a_persons_approval(
        self, cloud: Service, props: dict[str, Any]
    ) -> None:
        arn = self.registered(props)["package_arn"]
        found = cloud.client("sagemaker").describe_model_package(ModelPackageName=arn)
        assert found["CustomerMetadataProperties"] == {"digest": DIGEST, "accuracy": "0.97"}
        assert found["ModelApprovalStatus"] == "PendingManualApproval"
        (container,) = found["InferenceSpecification"]["Containers"]
        assert container["Image"] == IMAGE

    def test_without_an_image_of_ours_the_version_names_that_of_aws(
        self, cloud: Service, props: dict[str, Any]
    ) -> None:
        self.registered(props | {"image": ""})
        (asked,) = cloud.asked("CreateModelPackage")
        (container,) = asked["InferenceSpecification"]["Containers"]
        assert "/pytorch-inference:" in container["Image"]

    def test_removal_leaves_a_group_that_can_be_deleted(self, cloud: Service, props: dict[str, Any]) -> None:
        kept = self.registered(props)
        self.registered(props | {"digest": "sha256:" + "c" * 64})
        assert ModelPackageProvider().read(kept["package_arn"], kept).id == kept["package_arn"]
        ModelPackageProvider().delete(kept["package_arn"], kept)
        assert ModelPackageProvider().read(kept["package_arn"], kept).id == ""
        assert model_group.ModelPackageProvider().diff("", kept, kept).changes is False


def test_a_real_run_is_stopped_resumed_evaluated_and_registered(
    cloud: Service, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    submission = submitted()
    machine = Machine(cloud, cloud.jobs[0], tmp_path / "first")
    told = r"was stopped(.|\n)*stopped after checkpoint"
    with at_work(machine, stop_at="epoch 2/"), pytest.raises(UserError, match=told):
        outcome(submission)
    second = SubmissionProvider().create(checked()).outs or {}
    with at_work(Machine(cloud, cloud.jobs[1], tmp_path / "second")):
        found = outcome(second)
    assert found["metrics"]["accuracy"] > 0.9
    assert "going on from step-" in "".join(
        event["message"]
        for event in cloud.client("logs").get_log_events(
            logGroupName="/aws/sagemaker/TrainingJobs", logStreamName=f"{cloud.jobs[1]}/algo-1-1"
        )["events"]
    )
    assert f"{cloud.jobs[1]}: Completed" in capsys.readouterr().out
    model = cloud.client("s3").get_object(Bucket=BUCKET, Key=found["uri"].partition(f"{BUCKET}/")[2] + "/model.json")
    assert json.loads(model["Body"].read())["workload"] == "vision"


@contextmanager
def at_work(machine: Machine, stop_at: str = "") -> Iterator[None]:
    """Lets the machine train beside what follows the job."""
    worker = threading.Thread(target=machine.run, args=(free_port(), stop_at))
    worker.start()
    yield
    worker.join()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]
