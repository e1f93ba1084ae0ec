"""SageMaker over HTTP: moto, with AWS's own model as judge of each request, and with machines that really train.

moto completes each job at once and knows neither StopTrainingJob nor DeleteModelPackage; those are answered here, and
jobs go through the states that a test gives them.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import boto3
import httpx
from moto.core import DEFAULT_ACCOUNT_ID
from moto.sagemaker.models import FakeTrainingJob, SageMakerModelBackend, sagemaker_backends
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

from tests.engine.double.judge import lift, operation, walk

REGION = "us-east-1"
OWN = "SageMaker."
ENVIRONMENT = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": REGION,
    "AWS_EC2_METADATA_DISABLED": "true",
}
END_SECONDS = 90

Answer = tuple[int, dict[str, Any]]


class Service:
    """The server, and what a test does to the jobs in it."""

    def __init__(self) -> None:
        self._moto = DomainDispatcherApplication(create_backend_app)
        self._server = make_server("127.0.0.1", 0, self, threaded=True)
        self.address = f"http://127.0.0.1:{self._server.server_port}"
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.on_describe: Callable[[FakeTrainingJob], None] = lambda _job: None
        """What happens to a job whenever somebody asks how it is."""
        self.refusals: list[Answer] = []
        """Answers to the next CreateTrainingJob, instead of making the job."""

    def start(self) -> None:
        threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True).start()

    def stop(self) -> None:
        self._server.shutdown()

    @property
    def backend(self) -> SageMakerModelBackend:
        return sagemaker_backends[DEFAULT_ACCOUNT_ID][REGION]

    def client(self, service: str) -> Any:
        keys = {"aws_access_key_id": "test", "aws_secret_access_key": "test"}
        return boto3.client(service, region_name=REGION, endpoint_url=self.address, **keys)

    def job(self, name: str) -> FakeTrainingJob:
        return self.backend.training_jobs[name]

    @property
    def jobs(self) -> list[str]:
        return list(self.backend.training_jobs)

    def asked(self, operation_: str) -> list[dict[str, Any]]:
        """The bodies of all calls of an operation."""
        return [body for name, body in self.calls if name == operation_]

    def __call__(self, environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        if not target.startswith(OWN):
            return self._moto(environ, start_response)
        name = target.removeprefix(OWN)
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        answer = self._answer(name, json.loads(body or b"{}"))
        if answer is None:
            given = self._moto(environ, start_response)
            if name == "CreateTrainingJob":
                set_state(self.job(json.loads(body)["TrainingJobName"]), "InProgress", "Starting")
            return given
        status, content = answer
        start_response(f"{status} answer", [("Content-Type", "application/x-amz-json-1.1")])
        return [json.dumps(content).encode()]

    def _answer(self, name: str, body: dict[str, Any]) -> Answer | None:
        """The answer, where it is not moto's."""
        self.calls.append((name, body))
        shape = operation(f"sagemaker.{name}").input_shape
        wrong = [f"{problem.path}: {problem.reason}" for problem in walk(shape, lift(body))] if shape else []
        if wrong:
            return refusal("ValidationException", "; ".join(wrong))
        job = self.backend.training_jobs.get(body.get("TrainingJobName", ""))
        if name == "CreateTrainingJob" and self.refusals:
            return self.refusals.pop(0)
        if name == "CreateTrainingJob" and job:
            return refusal("ResourceInUse", "Training job names must be unique within an AWS account and region.")
        if name == "DescribeTrainingJob" and job:
            self.on_describe(job)
        if name == "StopTrainingJob" and job:
            set_state(job, "Stopping", "Stopping")
            return 200, {}
        if name == "DeleteModelPackage":
            packages, mapping = self.backend.model_packages, self.backend.model_package_name_mapping
            packages.pop(mapping.pop(body["ModelPackageName"], body["ModelPackageName"]))
            return 200, {}
        return None


def refusal(code: str, message: str) -> Answer:
    return 400, {"__type": code, "message": message}


def set_state(job: FakeTrainingJob, status: str, stage: str = "", reason: str = "") -> None:
    """Puts a job into a state; the message is what SageMaker says of the stage."""
    job.training_job_status, job.secondary_status = status, stage or status
    job.secondary_status_transitions = [
        {"Status": job.secondary_status, "StartTime": job.creation_time, "StatusMessage": f"It is {stage or status}."}
    ]
    if reason:
        job.failure_reason = reason


@contextmanager
def service() -> Iterator[Service]:
    """An empty account behind an address of its own."""
    running = Service()
    running.start()
    try:
        httpx.post(f"{running.address}/moto-api/reset").raise_for_status()
        yield running
    finally:
        running.stop()


class Machine:
    """One machine of a job: a folder in place of /opt/ml, kept in step with S3, and the container's process."""

    def __init__(self, cloud: Service, name: str, root: Path) -> None:
        self.job, self.root, self.s3 = cloud.job(name), root, cloud.client("s3")
        config = root / "input/config"
        config.mkdir(parents=True)
        (config / "hyperparameters.json").write_text(json.dumps(self.job.hyper_parameters))
        hosts = {"current_host": "127.0.0.1", "hosts": ["127.0.0.1"], "network_interface_name": "lo"}
        (config / "resourceconfig.json").write_text(json.dumps(hosts))
        for channel in self.job.input_data_config or []:
            place = channel["DataSource"]["S3DataSource"]["S3Uri"]
            self._download(place, root / "input/data" / channel["ChannelName"])
        self._download(self.job.checkpoint_config["S3Uri"], root / "checkpoints")
        self._log = cloud.client("logs")
        self._stream = {"logGroupName": "/aws/sagemaker/TrainingJobs", "logStreamName": f"{name}/algo-1-1"}

    def run(self, port: int, stop_at: str = "") -> None:
        """Trains to the end, or until SIGTERM at a line that begins so; the job gets the state that it has earned."""
        set_state(self.job, "InProgress", "Training")
        environment = {**os.environ, "SAGEMAKER_BASE_DIR": str(self.root), "MASTER_PORT": str(port)}
        process = subprocess.Popen(
            [sys.executable, "-m", "accelstack_workloads", "train"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=environment | {"OMP_NUM_THREADS": "1"},
        )
        lines: list[str] = []
        for line in process.stdout or ():
            lines.append(line.rstrip())
            if stop_at and line.startswith(stop_at):
                process.terminate()
        process.wait(END_SECONDS)
        self._write_log(lines)
        self._upload(self.root / "checkpoints", self.job.checkpoint_config["S3Uri"])
        if process.returncode == 0:
            place = f"{self.job.output_data_config['S3OutputPath']}/{self.job.training_job_name}/output/model"
            self._upload(self.root / "model", place)
            self.job.model_artifacts = {"S3ModelArtifacts": f"{place}/"}
            set_state(self.job, "Completed")
        elif (self.root / "output/failure").exists():
            set_state(self.job, "Failed", reason="AlgorithmError: " + (self.root / "output/failure").read_text())
        else:
            set_state(self.job, "Stopped")

    def _write_log(self, lines: list[str]) -> None:
        with suppress(self._log.exceptions.ResourceAlreadyExistsException):
            self._log.create_log_group(logGroupName=self._stream["logGroupName"])
        self._log.create_log_stream(**self._stream)
        now = int(self.job.creation_time.timestamp() * 1000)
        events = [{"timestamp": now, "message": line} for line in lines if line]
        self._log.put_log_events(**self._stream, logEvents=events)

    def _download(self, uri: str, folder: Path) -> None:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        prefix = prefix.rstrip("/") + "/"
        for each in self.s3.list_objects_v2(Bucket=bucket, Prefix=prefix).get("Contents", []):
            path = folder / each["Key"].removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            self.s3.download_file(bucket, each["Key"], str(path))

    def _upload(self, folder: Path, uri: str) -> None:
        bucket, _, prefix = uri.removeprefix("s3://").partition("/")
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.s3.upload_file(str(path), bucket, f"{prefix.rstrip('/')}/{path.relative_to(folder)}")


def unpacked(archive: Path, folder: Path) -> Path:
    """What the SDK has packed, as the job's first command unpacks it."""
    shutil.unpack_archive(archive, folder, filter="data")
    return folder
