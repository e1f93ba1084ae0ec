"""What AWS's storage refuses, who may use it, and how pods mount it."""

import json
from typing import Any

import pulumi
import pytest
from accelstack.aws import lustre, shared_files, storage
from accelstack.aws.policies import document
from accelstack.aws.storage_bucket import Retention, lifecycle
from accelstack.aws.storage_policies import End, encrypted_transport, log_delivery, own_key, replication

BUCKET = "arn:aws:s3:::data"
KEY = "arn:aws:kms:us-east-1:123456789012:key/one"
SOURCE = End(BUCKET, KEY, "s3.us-east-1.amazonaws.com")
COPY = End("arn:aws:s3:::copy", "arn:aws:kms:us-west-2:123456789012:key/two", "s3.us-west-2.amazonaws.com")


def statements(*made: Any) -> dict[str, Any]:
    return {one["Sid"]: one for one in json.loads(document(made))["Statement"]}


class TestBucketPolicies:
    def test_plain_http_is_refused_for_everybody(self) -> None:
        refused = statements(encrypted_transport(BUCKET))["EncryptedTransport"]
        assert (refused["Effect"], refused["Principal"], refused["Action"]) == ("Deny", {"AWS": "*"}, "s3:*")
        assert refused["Resource"] == [BUCKET, f"{BUCKET}/*"]

    def test_only_a_request_that_names_another_key_is_refused(self) -> None:
        header = "s3:x-amz-server-side-encryption-aws-kms-key-id"
        refused = statements(*own_key(BUCKET, KEY))["OwnKey"]
        assert refused["Effect"] == "Deny"
        assert refused["Condition"] == {"Null": {header: "false"}, "StringNotEquals": {header: KEY}}

    def test_logs_of_this_bucket_in_this_account_alone_are_taken(self) -> None:
        allowed = statements(log_delivery("arn:aws:s3:::logs", "access/", BUCKET, "123456789012"))["LogDelivery"]
        assert allowed["Resource"] == "arn:aws:s3:::logs/access/*"
        assert allowed["Condition"] == {
            "ArnEquals": {"aws:SourceArn": BUCKET},
            "StringEquals": {"aws:SourceAccount": "123456789012"},
        }

    def test_replication_reads_here_and_writes_there(self) -> None:
        made = statements(*replication(SOURCE, COPY))
        assert made["Read"]["Resource"] == f"{BUCKET}/*"
        assert made["Write"]["Resource"] == "arn:aws:s3:::copy/*"
        assert (made["Decrypt"]["Resource"], made["Encrypt"]["Resource"]) == (SOURCE.key_arn, COPY.key_arn)
        assert made["Decrypt"]["Condition"]["StringEquals"] == {"kms:ViaService": "s3.us-east-1.amazonaws.com"}
        assert made["Encrypt"]["Condition"]["StringLike"] == {
            "kms:EncryptionContext:aws:s3:arn": ["arn:aws:s3:::copy", "arn:aws:s3:::copy/*"]
        }
        assert not any("*" in action for one in made.values() for action in one["Action"])


class TestLifecycle:
    def test_by_default_only_leftovers_and_old_versions_go(self) -> None:
        rules = lifecycle(Retention(noncurrent_days=30, log_days=365, expire={}, tiering=False))
        assert [rule.id for rule in rules] == ["uploads", "versions"]

    def test_rules_stand_in_the_order_of_prefixes(self) -> None:
        rules = lifecycle(Retention(30, 365, {"tmp/": 2, "scratch/": 14}, tiering=True))
        assert [rule.id for rule in rules] == ["expire scratch/", "expire tmp/", "tiering", "uploads", "versions"]


@pytest.mark.parametrize(
    ("args", "path", "words"),
    [
        ({"log_days": 0}, "log_days", "1 or more"),
        ({"noncurrent_days": -1}, "noncurrent_days", "1 or more"),
        ({"expire": {"scratch/": 0}}, "expire[scratch/]", "1 or more"),
        ({"expire": {"/scratch": 3}}, "expire", "no leading slash"),
        ({"expire": {"": 3}}, "expire", "beginning of object names"),
        ({"replica_region": "us-west-2a"}, "replica_region", "us-west-2"),
        ({"replica_key_arn": KEY}, "replica_key_arn", "replica_region is missing"),
    ],
)
def test_a_store_refuses(args: Any, path: str, words: str) -> None:
    with pytest.raises(pulumi.InputPropertyError) as caught:
        storage.ObjectStore("store", args)
    assert caught.value.property_path == path
    assert words in caught.value.reason


@pytest.mark.parametrize("region", ["eu-central-1", "us-gov-west-1", "cn-north-1", "ap-southeast-7"])
def test_a_copy_lands_in_any_partition(region: str) -> None:
    assert not list(storage.problems({"replica_region": region}))


LUSTRE: dict[str, Any] = {"vpc_id": "vpc-1", "subnet_id": "subnet-1", "client_security_group_ids": ["sg-1"]}


@pytest.mark.parametrize(
    ("args", "path", "words"),
    [
        ({"capacity_gib": 3600}, "capacity_gib", "3600: it is 1200 or a multiple of 2400 GiB; use 4800"),
        ({"capacity_gib": 0}, "capacity_gib", "use 2400"),
        ({"capacity_gib": 4800, "efa": True}, "capacity_gib", "a multiple of 38400 GiB; use 38400"),
        ({"capacity_gib": 2400, "throughput": 1000, "efa": True}, "capacity_gib", "use 4800"),
        ({"throughput": 200}, "throughput", "125, 250, 500, 1000 MB/s for each TiB; use 250"),
        ({"backup_days": 91}, "backup_days", "0 to 90"),
        ({"store": "s3://data", "backup_days": 7}, "backup_days", "leave it out"),
        ({"path": "/store"}, "path", "there is none"),
        ({"store": "s3://data", "path": "store"}, "path", "use one such as /store"),
        ({"log_days": 100}, "log_days", "use 120"),
    ],
)
def test_a_parallel_file_system_refuses(args: Any, path: str, words: str) -> None:
    with pytest.raises(pulumi.InputPropertyError) as caught:
        lustre.Lustre("fast", {**LUSTRE, **args})
    assert caught.value.property_path == path
    assert words in caught.value.reason


@pytest.mark.parametrize(
    "args",
    [
        {},
        {"capacity_gib": 2400},
        {"capacity_gib": 7200, "throughput": 500},
        {"capacity_gib": 9600, "throughput": 1000, "efa": True},
        {"store": "s3://data/prefix", "path": "/"},
        {"store": "s3://data", "path": "/a/b", "backup_days": 0},
    ],
)
def test_a_parallel_file_system_accepts(args: Any) -> None:
    assert not list(lustre.problems({**LUSTRE, **args}))


@pytest.mark.parametrize(("zones", "words"), [([], "need a zone"), (["use1-az1", "use1-az1"], "named twice")])
def test_shared_files_refuse(zones: list[str], words: str) -> None:
    args: Any = {"vpc_id": "vpc-1", "zones": zones, "subnet_ids": {}, "client_security_group_ids": []}
    with pytest.raises(pulumi.InputPropertyError, match=words):
        shared_files.SharedFiles("shared", args)


class TestVolumes:
    def test_lustre_is_mounted_by_name(self) -> None:
        made = lustre.volume("fs-1", "fs-1.fsx.us-east-1.amazonaws.com", "abcdefgh", 1200)
        assert made["capacity"] == {"storage": "1200Gi"}
        assert made["csi"]["volumeAttributes"] == {
            "dnsname": "fs-1.fsx.us-east-1.amazonaws.com",
            "mountname": "abcdefgh",
        }

    def test_shared_files_are_mounted_over_tls_through_the_access_point(self) -> None:
        made = shared_files.volume("fs-1", "fsap-1")
        assert made["mountOptions"] == ["tls"]
        assert made["csi"]["volumeHandle"] == "fs-1::fsap-1"

    def test_data_outlives_a_claim(self) -> None:
        made = [lustre.volume("fs-1", "host", "name", 1200), shared_files.volume("fs-1", "fsap-1")]
        assert {one["persistentVolumeReclaimPolicy"] for one in made} == {"Retain"}


def test_nobody_is_root_on_shared_files() -> None:
    files, entry = "arn:aws:elasticfilesystem:us-east-1:123456789012:file-system/fs-1", "arn:entry"
    made = statements(*shared_files.access(files, entry))
    assert made["Clients"]["Action"] == ["elasticfilesystem:ClientMount", "elasticfilesystem:ClientWrite"]
    assert made["Clients"]["Condition"]["StringEquals"] == {"elasticfilesystem:AccessPointArn": entry}
    assert made["EncryptedTransport"]["Effect"] == "Deny"
