"""A training job in SageMaker's words: its name, its places in S3 and the request that starts it."""

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

from accelstack.fingerprint import BUNDLED_DATA

SETTINGS = ("workload", "architecture", "epochs", "batch_size", "learning_rate", "seed", "processes")
"""What the container is told as hyperparameters."""
IDENTITY = (
    *("owner", "name", "store", *SETTINGS, "nodes", "instance_type"),
    *("dataset", "data_digest", "code_digest"),
)
"""What a run's result depends on, and whose it is. How its machines are bought and reached is no part of it."""
MOST_NAME = 63  # TrainingJobName in SageMaker's model
VOLUME_GB = 100
"""Storage of machines that have none of their own; the image, the data and the checkpoints lie on it."""
WAIT_HOURS = 24
"""How long a spot job may wait for machines, all its interruptions together."""
METRICS = {"train:loss": r"loss ([0-9.]+)", "train:score": r"loss [0-9.]+  \w+ (-?[0-9.]+)"}
"""What SageMaker draws in its console, from the lines that the trainer prints."""
UNPACK = (
    "tar -xzf /opt/ml/input/data/code/sourcedir.tar.gz -C /tmp && cd /tmp && "
    "pip install -q --root-user-action ignore -r requirements.txt && exec python -m accelstack_workloads train"
)
"""Start of a job whose image is AWS's own; SageMaker takes 256 characters at most."""


def run_id(props: Mapping[str, Any]) -> str:
    """Identity of a run: the same for the same code, data and settings, of the same owner."""
    return hashlib.sha256(json.dumps([_text(props[name]) for name in IDENTITY]).encode()).hexdigest()[:12]


def job_name(props: Mapping[str, Any], attempt: int) -> str:
    """Name of a run's n-th attempt, from 1: whoever has the same run finds the same job."""
    end = f"-{run_id(props)}-{attempt}"
    return dashed(f"{props['owner']}-{props['name']}")[: MOST_NAME - len(end)].rstrip("-") + end


def dashed(text: str) -> str:
    """The text as SageMaker takes names: letters, digits and single hyphens, no hyphen at the ends."""
    return re.sub(r"[^a-zA-Z0-9]+", "-", text).strip("-")


def fitting(text: str) -> str:
    """The text as SageMaker takes names; one that is too long is cut and carries a hash of all of it."""
    name = dashed(text)
    if len(name) <= MOST_NAME:
        return name
    end = f"-{hashlib.sha256(text.encode()).hexdigest()[:8]}"
    return name[: MOST_NAME - len(end)].rstrip("-") + end


def code_prefix(props: Mapping[str, Any]) -> str:
    """Where the packed source lies in the store."""
    return f"{props['store']}/code/{props['code_digest']}"


def request(props: Mapping[str, Any], attempt: int, image: str) -> dict[str, Any]:
    """The arguments of CreateTrainingJob.

    Spot jobs go on from their checkpoints by themselves; so does a new attempt, since all of a run's share one place.
    A model is left as plain files, so that everything that reads fsspec URIs can read it.
    """
    run = f"{props['name']}/{run_id(props)}"
    seconds = int(props["max_hours"] * 3600)
    waiting = {"MaxWaitTimeInSeconds": seconds + WAIT_HOURS * 3600} if props["spot"] else {}
    channels = _channels(props)
    arguments: dict[str, Any] = {
        "TrainingJobName": job_name(props, attempt),
        "AlgorithmSpecification": {
            "TrainingImage": image,
            "TrainingInputMode": "File",
            "MetricDefinitions": [{"Name": name, "Regex": pattern} for name, pattern in METRICS.items()],
            **({} if props["image"] else {"ContainerEntrypoint": ["/bin/sh", "-c", UNPACK]}),
        },
        "HyperParameters": {name: _text(props[name]) for name in (*SETTINGS, "dataset")},
        "RoleArn": props["role_arn"],
        "OutputDataConfig": {
            "S3OutputPath": f"{props['store']}/runs/{run}",
            "KmsKeyId": props["key_arn"],
            "CompressionType": "NONE",
        },
        "ResourceConfig": {
            "InstanceType": props["instance_type"],
            "InstanceCount": int(props["nodes"]),
            **({} if props["local_storage"] else {"VolumeSizeInGB": VOLUME_GB, "VolumeKmsKeyId": props["key_arn"]}),
        },
        "StoppingCondition": {"MaxRuntimeInSeconds": seconds, **waiting},
        "CheckpointConfig": {"S3Uri": f"{props['store']}/checkpoints/{run}"},
        # AWS's own image installs the packed source's requirements first, which takes a network
        "EnableNetworkIsolation": bool(props["image"]),
        "EnableInterContainerTrafficEncryption": int(props["nodes"]) > 1,
        "EnableManagedSpotTraining": bool(props["spot"]),
        "Tags": [{"Key": key, "Value": value} for key, value in sorted(props["tags"].items())],
    }
    if channels:
        arguments["InputDataConfig"] = channels
    if props["subnet_ids"]:
        arguments["VpcConfig"] = {"Subnets": props["subnet_ids"], "SecurityGroupIds": props["security_group_ids"]}
    return arguments


def _channels(props: Mapping[str, Any]) -> list[dict[str, Any]]:
    """What SageMaker copies into the container: samples, and the source where the image lacks it."""
    places: dict[str, str] = {}
    if props["dataset"] not in BUNDLED_DATA:
        places["dataset"] = props["dataset"].rstrip("/") + "/"
    if not props["image"]:
        places["code"] = code_prefix(props) + "/"
    source = {"S3DataType": "S3Prefix", "S3DataDistributionType": "FullyReplicated"}
    return [
        {"ChannelName": name, "DataSource": {"S3DataSource": {**source, "S3Uri": place}}}
        for name, place in places.items()
    ]


def _text(value: Any) -> str:
    """A hyperparameter, of which the engine has made a float where it was a whole number."""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
