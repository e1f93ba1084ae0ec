"""The calls behind an object store, made to a server that speaks S3: what was asked for is what it then tells."""

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.model import ListShape, MapShape, Shape, StructureShape
from moto.core import DEFAULT_ACCOUNT_ID
from moto.s3.models import s3_backends
from moto.server import ThreadedMotoServer

from tests.engine import programs
from tests.engine.double import judge
from tests.engine.double.cloud import Resource
from tests.engine.double.judge import Call, Put, lift, lower
from tests.engine.double.wire import UNKNOWN

PROGRAM = """
    from accelstack.aws.storage import ObjectStore
    ObjectStore("store", {"replica_region": "us-west-2", "expire": {"scratch/": 14}, "tiering": True})
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Resource]]:
    """The buckets of a store, by name in the program, after the replay; clients find the server by itself."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ACCESS_KEY_ID", "test")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "test")
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        with programs.attached(tmp_path_factory.mktemp("s3") / "p") as program:
            program.configure(aws__region="us-east-1")
            program.write(PROGRAM)
            run = program.up()
            assert run.ok, run.output
            for resource in program.cloud.resources:
                if resource.token.startswith("aws:s3/"):
                    replay(resource, program.cloud.provider.types[resource.token].calls)
            yield {one.name: one for one in program.cloud.of("aws:s3/bucket:Bucket")}
    server.stop()


def client(region: str) -> Any:
    return boto3.client("s3", region_name=region)


def replay(resource: Resource, calls: Any) -> None:
    """Makes the calls that the double's map says the provider makes."""
    region = resource.config["region"]
    for call in calls:
        operation = judge.operation(call.operation)
        wanted = arguments(call, resource.inputs)
        if operation.name == "CreateBucket" and region != "us-east-1":
            wanted["CreateBucketConfiguration"] = {"LocationConstraint": region}
        if call is calls[0] or call.properties & set(resource.inputs):
            client(region)._make_api_call(operation.name, wanted)


def arguments(call: Call, inputs: dict[str, Any]) -> dict[str, Any]:
    """The call's parameters, in the API's own spelling."""
    targets: dict[str, str | Put] = {**{name: name for name in call.same.split()}, **call.moved}
    tree: dict[str, Any] = {}
    for name, target in targets.items():
        if name in inputs:
            put = Put(target) if isinstance(target, str) else target
            place = tree
            *outer, last = put.target.split(".")
            for step in outer:
                place = place.setdefault(step, {})
            node = lift(inputs[name], name)
            place[last] = lower(put.through(node) if put.through else node)
    given = {name: value for name, value in call.always.items() if value is not UNKNOWN}
    return spelled(judge.operation(call.operation).input_shape, {**given, **tree})


def spelled(shape: Shape | None, value: Any) -> Any:
    """A value with its structures' members spelled as the model spells them, and whole numbers whole."""
    if isinstance(shape, StructureShape):
        members = {name.lower(): name for name in shape.members}
        named = {members[name.lower()]: item for name, item in value.items()}
        return {name: spelled(shape.members[name], item) for name, item in named.items()}
    if isinstance(shape, ListShape):
        return [spelled(shape.member, item) for item in value]
    if isinstance(shape, MapShape):
        return {name: spelled(shape.value, item) for name, item in value.items()}
    return int(value) if shape is not None and shape.type_name in ("integer", "long") else value


NAMES = ("store", "store-logs", "store-replica", "store-replica-logs")


@pytest.mark.parametrize("name", NAMES)
def test_every_bucket_is_closed_and_versioned(made: dict[str, Resource], name: str) -> None:
    bucket, s3 = made[name].id, client(made[name].config["region"])
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    assert set(s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"].values()) == {True}
    (rule,) = s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]["Rules"]
    assert rule["ObjectOwnership"] == "BucketOwnerEnforced"
    (refused, *_) = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
    assert refused["Effect"] == "Deny"
    assert refused["Condition"] == {"Bool": {"aws:SecureTransport": "false"}}


@pytest.mark.parametrize(("name", "region"), [("store", "us-east-1"), ("store-replica", "us-west-2")])
def test_objects_are_under_a_key_of_their_region(made: dict[str, Resource], name: str, region: str) -> None:
    (rule,) = client(region).get_bucket_encryption(Bucket=made[name].id)["ServerSideEncryptionConfiguration"]["Rules"]
    assert rule["BucketKeyEnabled"] is True
    default = rule["ApplyServerSideEncryptionByDefault"]
    assert default["SSEAlgorithm"] == "aws:kms"
    assert default["KMSMasterKeyID"].startswith(f"arn:aws:kms:{region}:")


def test_lifecycles_clear_away_what_is_no_longer_wanted(made: dict[str, Resource]) -> None:
    found = client("us-east-1").get_bucket_lifecycle_configuration(Bucket=made["store"].id)
    rules = {rule["ID"]: rule for rule in found["Rules"]}
    assert {rule["Status"] for rule in rules.values()} == {"Enabled"}
    assert rules["expire scratch/"]["Expiration"] == {"Days": 14}
    assert rules["expire scratch/"]["Filter"] == {"Prefix": "scratch/"}
    assert rules["tiering"]["Transitions"] == [{"Days": 0, "StorageClass": "INTELLIGENT_TIERING"}]
    assert rules["uploads"]["AbortIncompleteMultipartUpload"] == {"DaysAfterInitiation": 7}
    assert rules["versions"]["NoncurrentVersionExpiration"] == {"NoncurrentDays": 30}
    assert rules["versions"]["Expiration"] == {"ExpiredObjectDeleteMarker": True}


@pytest.mark.parametrize("name", ["store", "store-replica"])
def test_access_is_logged_into_a_bucket_that_admits_the_logs(made: dict[str, Resource], name: str) -> None:
    s3 = client(made[name].config["region"])
    logging = s3.get_bucket_logging(Bucket=made[name].id)["LoggingEnabled"]
    assert (logging["TargetBucket"], logging["TargetPrefix"]) == (made[f"{name}-logs"].id, "access/")
    statements = json.loads(s3.get_bucket_policy(Bucket=logging["TargetBucket"])["Policy"])["Statement"]
    (delivery,) = [one for one in statements if one["Effect"] == "Allow"]
    assert delivery["Principal"] == {"Service": "logging.s3.amazonaws.com"}
    assert delivery["Resource"] == f"arn:aws:s3:::{logging['TargetBucket']}/access/*"
    assert delivery["Condition"]["ArnEquals"] == {"aws:SourceArn": f"arn:aws:s3:::{made[name].id}"}


def test_new_objects_and_deletions_are_copied_to_the_other_region(made: dict[str, Resource]) -> None:
    found = client("us-east-1").get_bucket_replication(Bucket=made["store"].id)["ReplicationConfiguration"]
    (rule,) = found["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["Destination"]["Bucket"] == f"arn:aws:s3:::{made['store-replica'].id}"
    assert rule["Destination"]["EncryptionConfiguration"]["ReplicaKmsKeyID"].startswith("arn:aws:kms:us-west-2:")
    (kept,) = s3_backends[DEFAULT_ACCOUNT_ID]["aws"].get_bucket_replication(made["store"].id)["Rule"]
    assert kept["SourceSelectionCriteria"] == {"SseKmsEncryptedObjects": {"Status": "Enabled"}}
    assert kept["DeleteMarkerReplication"] == {"Status": "Enabled"}  # moto's answer tells neither
