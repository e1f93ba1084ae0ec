"""A training job on SageMaker: submitted once, followed live, gone on with after a failure, stopped when removed.

Why not pulumi-aws's `sagemaker.TrainingJob`: it does not wait for the job's end, reads no results, and a job that
failed or was stopped stays what it is, so that no `up` ever resumes it. Why not the SDK's `ModelTrainer`: it names each
job after the clock, so that an `up` after a killed one could not find its job again; it uploads to a default bucket
that it makes by itself; and it prints to a terminal of its own. So the request is made here, and the SDK resolves
AWS's image and packs the source where no image is given.
"""

import hashlib
import importlib
import importlib.metadata
import re
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pulumi.dynamic import CheckResult, CreateResult, DiffResult, ReadResult, UpdateResult

from accelstack import fingerprint
from accelstack.aws import sagemaker_job_request as words
from accelstack.aws.sagemaker_job_cloud import Cloud, SageMakerProvider, split
from accelstack.dynamic import UserError, changed, failed

POLL_SECONDS = 10.0
STOP_SECONDS = 600.0
"""A stopped job has two minutes for its checkpoint, and uploads what it has after that."""
ROLE_SECONDS = 120.0
"""A new role is not at once known everywhere in AWS."""
RUNNING = ("InProgress", "Stopping")
OUT_OF_TIME = {"MaxRuntimeExceeded": "max_hours", "MaxWaitTimeExceeded": "the wait for spot machines"}
LOG_GROUP = "/aws/sagemaker/TrainingJobs"
QUIET = 0.01
"""Share of the time so far that passes between two lines of progress: a day's job prints some hundred."""
TAIL = 15
"""Lines that are shown of a job that failed."""


class SubmissionProvider(SageMakerProvider):
    """Starts a run's job and returns at once, so that the state knows of it: removing it stops the job.

    An engine that is killed while it follows a job leaves it running; the next `up` follows it on.
    """

    def check(self, _olds: dict[str, Any], news: dict[str, Any]) -> CheckResult:
        found = {"code_digest": fingerprint.training_code(), "data_digest": news["dataset"]}
        if news["dataset"] in fingerprint.BUNDLED_DATA:
            return CheckResult({**news, **found}, [])
        listed = self.cloud(news).objects(news["dataset"])
        problem = "holds no object; give the s3:// URI of a folder with CLASS/PICTURE or {train,test}/CLASS/PICTURE"
        digest = hashlib.sha256(repr(sorted(listed)).encode()).hexdigest()[:16]
        return failed({**news, **found, "data_digest": digest}, {} if listed else {"dataset": problem})

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=changed(_olds, _news, [*words.IDENTITY]))

    def create(self, props: dict[str, Any]) -> CreateResult:
        ensure(self.cloud(props), props)
        return CreateResult("run", {**props, "run_id": words.run_id(props)})

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        _stop(self.cloud(_olds), _olds)
        ensure(self.cloud(_news), _news)
        return UpdateResult({**_news, "run_id": words.run_id(_news)})

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        return ReadResult(id_ if _newest(self.cloud(props), props) else "", props)

    def delete(self, _id: str, _props: dict[str, Any]) -> None:
        _stop(self.cloud(_props), _props)


class OutcomeProvider(SageMakerProvider):
    """Waits for a run's end and reads its results; a run that failed or was stopped goes on in a new job."""

    def diff(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> DiffResult:
        return DiffResult(changes=changed(_olds, _news, ["run_id"]))

    def create(self, props: dict[str, Any]) -> CreateResult:
        return CreateResult("outcome", self._outcome(props))

    def update(self, _id: str, _olds: dict[str, Any], _news: dict[str, Any]) -> UpdateResult:
        return UpdateResult(self._outcome(_news))

    def read(self, id_: str, props: dict[str, Any]) -> ReadResult:
        there = self.cloud(props).read_json(f"{props['uri']}/model.json") is not None
        return ReadResult(id_ if there else "", props)

    def _outcome(self, props: dict[str, Any]) -> dict[str, Any]:
        cloud = self.cloud(props)
        job = ensure(cloud, props)
        description = follow(cloud, job)
        found = results(cloud, description)
        if found is None:
            raise UserError(f"SageMaker job {job} ended without results; its log says more: {log_page(cloud, job)}")
        return {**props, **found}


def ensure(cloud: Cloud, props: dict[str, Any]) -> str:
    """Name of the run's job that is running or has results; of a new one where there is none."""
    newest = _newest(cloud, props)
    if newest is None:
        return _submit(cloud, props, 1)
    job, attempt, description = newest
    if description["TrainingJobStatus"] == "InProgress" or results(cloud, description):
        return job
    _wait_for_end(cloud, job)
    return _submit(cloud, props, attempt + 1)


def follow(cloud: Cloud, job: str) -> dict[str, Any]:
    """Prints how the job gets on until it ends; gives its description.

    Raises:
        UserError: it failed or was stopped; the message has the reason and the end of its log.
    """
    shown, tail, lines = "", deque[str](maxlen=TAIL), _log(cloud, job)
    began = told = time.monotonic()
    while True:
        description = _describe(cloud, job)
        if description is None:
            raise UserError(f"SageMaker knows no job {job} any more; the next `up` starts it again")
        status, stage = description["TrainingJobStatus"], description["SecondaryStatus"]
        message = description.get("SecondaryStatusTransitions", [{}])[-1].get("StatusMessage", "")
        line = f"{job}: {stage}: {message}".removesuffix(": ")
        if line != shown:
            shown = line
            print(line, flush=True)
        fresh, now = next(lines), time.monotonic()
        tail.extend(fresh)
        if fresh and now - told >= QUIET * (now - began):  # the rest is in CloudWatch
            told = now
            print(fresh[-1], flush=True)
        if status not in RUNNING:
            break
        time.sleep(POLL_SECONDS)
    if status != "Completed":
        raise UserError("\n".join([_why(job, description), *tail, f"log: {log_page(cloud, job)}"]))
    return description


def results(cloud: Cloud, description: dict[str, Any]) -> dict[str, Any] | None:
    """What a completed job left: `uri` and `digest` of the model, and `metrics`; None where any is missing."""
    if description["TrainingJobStatus"] != "Completed":
        return None
    uri = description["ModelArtifacts"]["S3ModelArtifacts"].rstrip("/")
    trained, evaluation = (cloud.read_json(f"{uri}/{name}.json") for name in ("training", "evaluation"))
    if trained is None or evaluation is None:
        return None
    metrics = {
        evaluation["score"]: evaluation[evaluation["score"]],
        "score": evaluation["score"],
        "loss": trained["metrics"]["loss"],
        "seconds": trained["seconds"],
        "samples_per_second": trained["samples_per_second"],
        "billable_seconds": description.get("BillableTimeInSeconds"),
        "evaluation": f"{uri}/evaluation.json",
        "pictures": [f"{uri}/{name}" for name in evaluation["pictures"]],
        "log": log_page(cloud, description["TrainingJobName"]),
    }
    return {"uri": uri, "digest": trained["model"]["digest"], "metrics": metrics}


def log_page(cloud: Cloud, job: str) -> str:
    """The console's page of a job, with its logs and figures."""
    return f"{console(cloud.region)}/sagemaker/home?region={cloud.region}#/jobs/{job}"


def console(region: str) -> str:
    """Address of AWS's console for a region, in any partition."""
    special = {"cn-": "console.amazonaws.cn", "us-gov-": "console.amazonaws-us-gov.com"}
    found = [host for start, host in special.items() if region.startswith(start)]
    return f"https://{found[0] if found else f'{region}.console.aws.amazon.com'}"


def _submit(cloud: Cloud, props: dict[str, Any], attempt: int) -> str:
    if not props["image"]:
        _pack(cloud, props)
    image = props["image"] or cloud.torch_image(props["instance_type"], "training")
    arguments = words.request(props, attempt, image)
    job = str(arguments["TrainingJobName"])
    deadline = time.monotonic() + ROLE_SECONDS
    while True:
        try:
            cloud.sagemaker.create_training_job(**arguments)
            break
        except cloud.sagemaker.exceptions.ResourceInUse:  # another `up` was quicker: it is the same job
            break
        except cloud.sagemaker.exceptions.ClientError as error:
            if "assume role" not in str(error).lower() or time.monotonic() > deadline:
                raise
            time.sleep(POLL_SECONDS)
    print(f"{job}: submitted; it runs on if this is interrupted, and the next `up` follows it", flush=True)
    return job


def _pack(cloud: Cloud, props: dict[str, Any]) -> None:
    """Packs the workloads' source with the SDK, and puts it where the job's channel reads it."""
    utilities: Any = importlib.import_module("sagemaker.core.fw_utils")
    needed = re.compile(rf"({'|'.join(fingerprint.REQUIREMENTS)})\b(?!.*extra == '(?!workloads))")
    listed = importlib.metadata.requires("accelstack") or []
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, fingerprint.WORKLOADS)
        shutil.copytree(
            fingerprint.package_folder(fingerprint.WORKLOADS), target, ignore=shutil.ignore_patterns("__pycache__")
        )
        requirements = sorted({each.partition(";")[0] for each in listed if needed.match(each)})
        Path(folder, "requirements.txt").write_text("\n".join(requirements) + "\n")
        bucket, prefix = split(words.code_prefix(props))
        utilities.tar_and_upload_dir(
            cloud.session, bucket, prefix, "requirements.txt", directory=folder, kms_key=props["key_arn"]
        )


def _newest(cloud: Cloud, props: dict[str, Any]) -> tuple[str, int, dict[str, Any]] | None:
    """Name, number and description of the run's last attempt."""
    attempt, newest = 1, None
    while description := _describe(cloud, job := words.job_name(props, attempt)):
        newest = (job, attempt, description)
        attempt += 1
    return newest


def _describe(cloud: Cloud, job: str) -> dict[str, Any] | None:
    try:
        return cloud.sagemaker.describe_training_job(TrainingJobName=job)
    except cloud.sagemaker.exceptions.ClientError as error:
        # SageMaker names it ValidationException, which mistakes in a request are too
        if re.search(r"not found|could not find|does not exist", str(error), re.IGNORECASE):
            return None
        raise


def _stop(cloud: Cloud, props: dict[str, Any]) -> None:
    """Stops the run's job if it runs, and waits for its end: what it uses may be removed next."""
    newest = _newest(cloud, props)
    if newest is None:
        return
    job, _, description = newest
    if description["TrainingJobStatus"] == "InProgress":
        print(f"{job}: stopping", flush=True)
        cloud.sagemaker.stop_training_job(TrainingJobName=job)
    _wait_for_end(cloud, job)


def _wait_for_end(cloud: Cloud, job: str) -> None:
    """Waits for a job that was told to stop.

    Raises:
        UserError: it does not end.
    """
    deadline = time.monotonic() + STOP_SECONDS
    while (_describe(cloud, job) or {}).get("TrainingJobStatus") in RUNNING:
        if time.monotonic() > deadline:
            raise UserError(f"SageMaker job {job} does not stop within {STOP_SECONDS:.0f} s; look at it and try again")
        time.sleep(POLL_SECONDS)


def _why(job: str, description: dict[str, Any]) -> str:
    """Why a job ended without a model, and what to do."""
    again = "the next `up` goes on from its last checkpoint"
    if setting := OUT_OF_TIME.get(description["SecondaryStatus"]):
        return f"SageMaker job {job} ran out of time ({setting}); raise max_hours, and {again}"
    if description["TrainingJobStatus"] == "Stopped":
        return f"SageMaker job {job} was stopped; {again}"
    return f"SageMaker job {job} failed: {description.get('FailureReason', 'no reason given')}\n{again}"


def _log(cloud: Cloud, job: str) -> Iterator[list[str]]:
    """The lines that the first machine has printed since the last time, for ever."""
    position: dict[str, str] = {}
    stream = ""
    while True:
        try:
            stream = stream or _stream(cloud, job)
            if not stream:
                yield []
                continue
            answer = cloud.logs.get_log_events(
                logGroupName=LOG_GROUP, logStreamName=stream, startFromHead=True, **position
            )
        except cloud.logs.exceptions.ClientError:  # no group yet, or no right to read it: the job is none the worse
            yield []
            continue
        position = {"nextToken": answer["nextForwardToken"]}
        yield [str(event["message"]).rstrip() for event in answer["events"]]


def _stream(cloud: Cloud, job: str) -> str:
    """The log stream of a job's first machine; empty where it has none yet."""
    found = cloud.logs.describe_log_streams(logGroupName=LOG_GROUP, logStreamNamePrefix=f"{job}/algo-1-")
    return next((str(each["logStreamName"]) for each in found["logStreams"]), "")
