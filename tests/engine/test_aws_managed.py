"""SageMaker through the real engine: endpoints against the double, and training jobs against moto at the same time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.accounts import sagemaker
from tests.accounts.sagemaker import ENVIRONMENT, REGION, Service
from tests.accounts.test_sagemaker_moto import BUCKET, DIGEST, IMAGE, at, completed, through
from tests.engine import programs
from tests.engine.programs import Program

MODEL = "aws:sagemaker/model:Model"
SETTINGS = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
ENDPOINT = "aws:sagemaker/endpoint:Endpoint"
GROUP = "aws:sagemaker/modelPackageGroup:ModelPackageGroup"
TARGET = "aws:appautoscaling/target:Target"
POLICY = "aws:appautoscaling/policy:Policy"
PLACE = f"""
    from accelstack.aws.identity import ServiceRole
    from accelstack.aws.keys import Key
    from accelstack.aws.managed_serving import InferenceService
    from accelstack.aws.managed_training import TrainingJob
    role = ServiceRole("role", {{"service": "sagemaker.amazonaws.com"}})
    key = Key("key", {{"description": "Models", "protect": False}})
    place = {{"region": "{REGION}", "role_arn": role.arn, "key_arn": key.arn, "image": "{IMAGE}"}}
    def version(number):
        digest = f"sha256:{{number:064d}}"
        return {{"name": "digits", "version": str(number), "digest": digest, "uri": f"s3://{BUCKET}/digits/{{number}}"}}
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A project in the region of the tests' account."""
    with programs.attached(tmp_path / "p") as made:
        made.configure(aws__region=REGION)
        yield made


def serve(program: Program, args: str) -> None:
    program.write(f"""{PLACE}
    served = InferenceService("digits", {{**place, **{args}}})
    for name in ("rest", "grpc", "console", "endpoint"):
        pulumi.export(name, getattr(served, name))
    """)


def succeeded(run: programs.Run) -> programs.Run:
    assert run.ok, run.output
    return run


class TestService:
    def test_it_is_cut_off_encrypted_and_known_by_its_addresses(self, program: Program) -> None:
        serve(program, '{"accelerator": "L4:1", "model": version(1)}')
        succeeded(program.up())
        model, settings = program.cloud.one(MODEL).inputs, program.cloud.one(SETTINGS).inputs
        assert model["enableNetworkIsolation"] is True
        assert model["primaryContainer"]["environment"]["ACCELSTACK_MODEL_DIGEST"] == f"sha256:{1:064d}"
        assert settings["kmsKeyArn"].startswith("arn:aws:kms:")
        assert [each["instanceType"] for each in settings["productionVariants"]] == ["ml.g6.xlarge"]
        name, outputs = program.cloud.one(ENDPOINT).id, program.outputs()
        assert outputs == {
            "rest": f"https://runtime.sagemaker.{REGION}.amazonaws.com/endpoints/{name}/invocations",
            "console": f"https://{REGION}.console.aws.amazon.com/sagemaker/home?region={REGION}#/endpoints/{name}",
            "endpoint": name,
        }
        assert not succeeded(program.up()).steps

    def test_a_new_version_changes_the_endpoint_in_place_before_the_old_one_goes(self, program: Program) -> None:
        serve(program, '{"accelerator": "cpu:2", "model": version(1)}')
        succeeded(program.up())
        before = program.cloud.one(ENDPOINT).id
        serve(program, '{"accelerator": "cpu:2", "model": version(2)}')
        run = succeeded(program.up())
        assert program.cloud.one(ENDPOINT).id == before
        assert program.cloud.one(MODEL).inputs["primaryContainer"]["environment"]["ACCELSTACK_MODEL_VERSION"] == "2"
        order = [step for step in run.steps if step[0] in ("update", "delete-replaced")]
        assert order == [("update", "digits"), ("delete-replaced", "digits"), ("delete-replaced", "digits-main")]

    def test_a_canary_takes_its_share_while_the_main_version_scales_and_goes_again(self, program: Program) -> None:
        plain = '"accelerator": "cpu:2", "model": version(1), "replicas": 4, "max_replicas": 8'
        serve(program, f"{{{plain}}}")
        succeeded(program.up())
        serve(program, f'{{{plain}, "canary": {{"model": version(2), "percent": 10}}}}')
        succeeded(program.up())
        variants = program.cloud.one(SETTINGS).inputs["productionVariants"]
        shares = {each["variantName"]: each["initialVariantWeight"] for each in variants}
        assert shares == {"main": 90, "canary": 10}
        assert [each["initialInstanceCount"] for each in variants] == [4, 1]
        target = program.cloud.one(TARGET).inputs
        assert target["resourceId"] == f"endpoint/{program.cloud.one(ENDPOINT).id}/variant/main"
        assert (target["minCapacity"], target["maxCapacity"]) == (4, 8)
        serve(program, f"{{{plain}}}")
        succeeded(program.up())
        assert len(program.cloud.of(MODEL)) == 1

    def test_alarms_guard_an_update_and_capture_records_with_the_key(self, program: Program) -> None:
        args = '"accelerator": "cpu:2", "replicas": 2, "rollback_alarms": ["errors"], "capture_percent": 5'
        for number in (1, 2):
            serve(program, f'{{{args}, "model": version({number}), "capture_uri": "s3://{BUCKET}/captured"}}')
            succeeded(program.up())
        endpoint, settings = program.cloud.one(ENDPOINT).inputs, program.cloud.one(SETTINGS).inputs
        alarms = endpoint["deploymentConfig"]["autoRollbackConfiguration"]["alarms"]
        assert alarms == [{"alarmName": "errors"}]
        assert settings["dataCaptureConfig"]["initialSamplingPercentage"] == 5
        assert settings["dataCaptureConfig"]["kmsKeyId"] == settings["kmsKeyArn"]

    def test_it_goes_in_one_go_and_is_seen_to_be_gone(self, program: Program) -> None:
        serve(program, '{"accelerator": "cpu:2", "model": version(1), "max_replicas": 3}')
        succeeded(program.up())
        program.cloud.remove(program.cloud.one(POLICY).id)
        succeeded(program.refresh())
        assert succeeded(program.up()).changes["create"] == 1
        succeeded(program.destroy())
        assert not program.cloud.resources


TRAIN = (
    '{**place, "accelerator": "cpu:2", "workload": "vision", "dataset": "digits", "epochs": EPOCHS, "batch_size": 64,'
)
TRAIN += f' "learning_rate": 0.005, "seed": 0, "model": "digits", "store": "s3://{BUCKET}", "protect": PROTECT}}'


def train(program: Program, epochs: int = 3, protect: bool = False) -> None:
    args = TRAIN.replace("EPOCHS", str(epochs)).replace("PROTECT", str(protect))
    program.write(f"""{PLACE}
    trained = TrainingJob("digits", {args})
    served = InferenceService("digits", {{**place, "accelerator": "cpu:2", "model": trained.model}})
    for name in ("run_id", "metrics", "model", "group"):
        pulumi.export(name, getattr(trained, name))
    """)


@pytest.fixture
def moto(program: Program, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
    """What dynamic resources reach of AWS; the group that the double makes is made there too."""
    usual = Program.environment.fget
    assert usual
    with sagemaker.service() as cloud:
        reach = {**ENVIRONMENT, "AWS_ENDPOINT_URL": cloud.address}
        monkeypatch.setattr(Program, "environment", property(lambda self: {**usual(self), **reach}))
        cloud.client("s3").create_bucket(Bucket=BUCKET)
        cloud.client("sagemaker").create_model_package_group(ModelPackageGroupName="test-test-digits-digits")
        yield cloud


class TestTraining:
    def test_up_trains_registers_and_serves_and_the_next_one_does_nothing(
        self, program: Program, moto: Service
    ) -> None:
        train(program)
        assert program.preview().ok
        assert not moto.jobs
        moto.on_describe = through(at("InProgress", "Training"), completed(moto))
        run = succeeded(program.up())
        assert "Completed" in run.output
        outputs = program.outputs()
        assert outputs["metrics"]["accuracy"] == 0.97
        assert outputs["model"] == {
            "name": "digits",
            "version": "1",
            "digest": DIGEST,
            "uri": f"s3://{BUCKET}/runs/{moto.jobs[0]}/model",
        }
        source = program.cloud.one(MODEL).inputs["primaryContainer"]["modelDataSource"]["s3DataSources"][0]
        assert source["s3Uri"] == outputs["model"]["uri"] + "/"
        succeeded(program.refresh())
        assert not succeeded(program.up()).steps
        assert len(moto.jobs) == 1

    def test_other_settings_train_anew_and_serve_the_new_version(self, program: Program, moto: Service) -> None:
        train(program)
        moto.on_describe = through(at("InProgress", "Training"), completed(moto), completed(moto))
        succeeded(program.up())
        train(program, epochs=4)
        succeeded(program.up())
        assert len(moto.jobs) == 2
        assert program.outputs()["model"]["uri"].endswith(f"{moto.jobs[1]}/model")

    def test_a_job_that_fails_says_why_and_the_next_up_goes_on(self, program: Program, moto: Service) -> None:
        train(program)
        reason = "AlgorithmError: the pictures are damaged"
        moto.on_describe = through(at("InProgress", "Training"), at("Failed", reason=reason), completed(moto))
        run = program.up()
        assert not run.ok
        assert reason in run.diagnostics
        assert "Traceback" not in run.output
        succeeded(program.up())
        assert [name.rpartition("-")[2] for name in moto.jobs] == ["1", "2"]

    def test_a_job_that_nobody_follows_any_more_is_stopped_by_destroy(self, program: Program, moto: Service) -> None:
        train(program)
        with program.in_background() as process:
            while not moto.asked("CreateTrainingJob") or len(moto.asked("DescribeTrainingJob")) < 4:
                assert process.poll() is None, (program.path / "up.log").read_text()
            process.kill()
        program.pulumi("cancel", "--yes")
        assert moto.job(moto.jobs[0]).training_job_status == "InProgress"
        moto.on_describe = lambda job: at("Stopped")(job) if job.training_job_status == "Stopping" else None
        succeeded(program.destroy())
        assert moto.job(moto.jobs[0]).training_job_status == "Stopped"
        assert not program.cloud.resources

    def test_registered_versions_are_kept_from_removal(self, program: Program, moto: Service) -> None:
        train(program, protect=True)
        moto.on_describe = through(at("InProgress", "Training"), completed(moto))
        succeeded(program.up())
        assert not program.destroy().ok
        assert len(program.cloud.of(GROUP)) == 1
        assert moto.asked("DeleteModelPackage") == []
        kept = {entry.type for entry in program.state() if entry.protect}
        assert GROUP in kept
        assert json.dumps(sorted(kept)).count("AwsModelPackage") == 1
