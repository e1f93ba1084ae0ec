"""Storage and budgets on AWS through the real engine: made, left alone, edited, kept and removed."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.engine import programs
from tests.engine.programs import Program

BUCKET = "aws:s3/bucket:Bucket"
LUSTRE = "aws:fsx/lustreFileSystem:LustreFileSystem"
LINK = "aws:fsx/dataRepositoryAssociation:DataRepositoryAssociation"
FILES = "aws:efs/fileSystem:FileSystem"
TARGET = "aws:efs/mountTarget:MountTarget"
NETWORK = """
    vpc = aws.ec2.Vpc("vpc", cidr_block="10.0.0.0/16")
    subnets = {
        zone: aws.ec2.Subnet(zone, vpc_id=vpc.id, cidr_block=f"10.0.{index}.0/24", availability_zone_id=zone).id
        for index, zone in enumerate(["use1-az1", "use1-az2"])
    }
    nodes = aws.ec2.SecurityGroup("nodes", description="Nodes", vpc_id=vpc.id)
    place = {"vpc_id": vpc.id, "client_security_group_ids": [nodes.id]}
"""


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A project in us-east-1."""
    with programs.attached(tmp_path / "p") as made:
        made.configure(aws__region="us-east-1")
        yield made


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A store with a copy in another region, to look at."""
    with programs.attached(tmp_path_factory.mktemp("copied") / "p") as made:
        made.configure(aws__region="us-east-1")
        store(made, '{"replica_region": "us-west-2"}')
        succeeded(made.up())
        yield made


def store(program: Program, args: str) -> None:
    program.write(f"""
        from accelstack.aws.storage import ObjectStore
        store = ObjectStore("store", {args})
        for name in ("uri", "bucket", "arn", "key_arn", "replica_uri"):
            pulumi.export(name, getattr(store, name))
    """)


def setting(program: Program, kind: str, bucket: str) -> dict[str, Any]:
    """The inputs of the setting of that kind which the bucket with that logical name has."""
    token = f"aws:s3/{kind[0].lower()}{kind[1:]}:{kind}"
    return program.cloud.one(token, bucket).inputs


def succeeded(run: programs.Run) -> programs.Run:
    assert run.ok, run.output
    return run


class TestObjectStore:
    def test_each_bucket_is_private_versioned_encrypted_and_cleared(self, copied: Program) -> None:
        names = ["store", "store-logs", "store-replica", "store-replica-logs"]
        assert sorted(bucket.name for bucket in copied.cloud.of(BUCKET)) == names
        for name in names:
            block = setting(copied, "BucketPublicAccessBlock", name)
            assert [value for key, value in block.items() if key not in ("bucket", "region")] == [True] * 4
            assert setting(copied, "BucketVersioning", name)["versioningConfiguration"] == {"status": "Enabled"}
            assert setting(copied, "BucketOwnershipControls", name)["rule"] == {
                "objectOwnership": "BucketOwnerEnforced"
            }
            rules = setting(copied, "BucketLifecycleConfiguration", name)["rules"]
            assert any(rule.get("abortIncompleteMultipartUpload") == {"daysAfterInitiation": 7} for rule in rules)
            assert '"aws:SecureTransport": "false"' in setting(copied, "BucketPolicy", name)["policy"]
        for name in ("store", "store-replica"):
            (rule,) = setting(copied, "BucketServerSideEncryptionConfiguration", name)["rules"]
            assert rule["applyServerSideEncryptionByDefault"]["sseAlgorithm"] == "aws:kms"
            assert rule["bucketKeyEnabled"] is True
            logging = setting(copied, "BucketLogging", name)
            assert logging["targetBucket"] == copied.cloud.one(BUCKET, f"{name}-logs").id
        assert all(key.inputs["enableKeyRotation"] for key in copied.cloud.of("aws:kms/key:Key"))

    def test_the_copy_lies_in_the_other_region_under_a_key_there(self, copied: Program) -> None:
        regions = {bucket.name: bucket.config["region"] for bucket in copied.cloud.of(BUCKET)}
        assert regions["store-replica"] == regions["store-replica-logs"] == "us-west-2"
        (rule,) = setting(copied, "BucketReplicationConfig", "store")["rules"]
        copy = copied.cloud.one(BUCKET, "store-replica")
        assert rule["destination"]["bucket"] == copy.outputs["arn"]
        assert ":us-west-2:" in rule["destination"]["encryptionConfiguration"]["replicaKmsKeyId"]
        assert copied.outputs()["replica_uri"] == f"s3://{copy.id}"

    def test_runs_again_without_a_change_and_edits_in_place(self, program: Program) -> None:
        store(program, '{"noncurrent_days": 30}')
        preview = succeeded(program.preview())
        assert preview.changes["create"] == succeeded(program.up()).changes["create"]
        assert not succeeded(program.up()).changes
        store(program, '{"noncurrent_days": 60, "tiering": True, "expire": {"scratch/": 14}}')
        edit = succeeded(program.up())
        assert edit.steps == [("update", "store")]

    def test_a_copy_is_added_later_without_touching_the_store(self, program: Program) -> None:
        store(program, "{}")
        succeeded(program.up())
        before = program.outputs()
        store(program, '{"replica_region": "us-west-2"}')
        preview = succeeded(program.preview())
        assert set(preview.changes) == {"create"}
        assert set(succeeded(program.up()).changes) == {"create"}
        assert program.outputs() == {**before, "replica_uri": program.outputs()["replica_uri"]}

    def test_a_protected_store_stays_whole(self, program: Program) -> None:
        store(program, "{}")
        succeeded(program.up())
        before = [one.id for one in program.cloud.resources]
        run = program.destroy()  # without a preview, as programs do it
        assert not run.ok
        assert "because it is protected. To unprotect the resource, either remove the `protect` flag" in run.output
        assert [one.id for one in program.cloud.resources] == before

    def test_an_unprotected_store_goes_with_its_objects(self, program: Program) -> None:
        store(program, '{"replica_region": "us-west-2"}')
        succeeded(program.up())
        store(program, '{"replica_region": "us-west-2", "protect": False}')
        succeeded(program.up())
        for bucket in program.cloud.of(BUCKET):
            bucket.contents.append("checkpoint")
        succeeded(program.destroy())
        assert not program.cloud.resources

    def test_settings_that_someone_took_away_come_back(self, program: Program) -> None:
        store(program, "{}")
        succeeded(program.up())
        blocks = program.cloud.of("aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock")
        program.cloud.resources = [one for one in program.cloud.resources if one not in blocks]
        succeeded(program.refresh())
        again = succeeded(program.up())
        assert sorted(again.steps) == [("create", "store"), ("create", "store-logs")]

    def test_bad_args_stop_the_preview_before_anything_is_made(self, program: Program) -> None:
        store(program, '{"log_days": 0}')
        run = program.preview()
        assert not run.ok
        assert "log_days" in run.output
        assert "0: it is a number of days, 1 or more; use 30, for instance" in run.output
        assert not program.cloud.resources


class TestLustre:
    def lustre(self, program: Program, args: str, before: str = "") -> None:
        program.write(f"""
            {NETWORK.replace(chr(10), chr(10) + "        ")}
            from accelstack.aws.lustre import Lustre
            from accelstack.aws.storage import ObjectStore
            {before}
            files = Lustre("fast", {{**place, "subnet_id": subnets["use1-az1"], "protect": False, **{args}}})
            for name in ("file_system_id", "dns_name", "mount_name", "volume"):
                pulumi.export(name, getattr(files, name))
        """)

    def test_is_linked_to_a_store_and_offered_to_pods(self, program: Program) -> None:
        store = 'store = ObjectStore("store", {"protect": False})'
        self.lustre(program, '{"store": store.uri}', store)
        succeeded(program.up())
        files, link = program.cloud.one(LUSTRE), program.cloud.one(LINK)
        assert link.inputs["dataRepositoryPath"] == f"s3://{program.cloud.one(BUCKET, 'store').id}"
        assert link.inputs["s3"] == {
            "autoImportPolicy": {"events": ["NEW", "CHANGED", "DELETED"]},
            "autoExportPolicy": {"events": ["NEW", "CHANGED", "DELETED"]},
        }
        assert files.inputs["kmsKeyId"] == program.cloud.one("aws:kms/key:Key", "fast").outputs["arn"]
        outputs = program.outputs()
        assert outputs["volume"]["csi"] == {
            "driver": "fsx.csi.aws.com",
            "volumeHandle": files.id,
            "volumeAttributes": {"dnsname": outputs["dns_name"], "mountname": outputs["mount_name"]},
        }
        assert not succeeded(program.up()).changes
        succeeded(program.destroy())
        assert not program.cloud.resources

    def test_grows_in_place_and_moves_by_replacement(self, program: Program) -> None:
        self.lustre(program, "{}")
        succeeded(program.up())
        assert program.cloud.one(LUSTRE).inputs["automaticBackupRetentionDays"] == 7
        self.lustre(program, '{"capacity_gib": 4800, "throughput": 250}')
        assert ("update", "fast") in succeeded(program.up()).steps
        self.lustre(program, '{"capacity_gib": 4800, "throughput": 250, "subnet_id": subnets["use1-az2"]}')
        assert ("replace", "fast") in succeeded(program.up()).steps
        assert len(program.cloud.of(LUSTRE)) == 1

    def test_with_efa_everything_passes_between_servers_and_clients(self, program: Program) -> None:
        self.lustre(program, '{"efa": True, "capacity_gib": 4800, "throughput": 1000}')
        succeeded(program.up())
        group = program.cloud.one("aws:ec2/securityGroup:SecurityGroup", "fast").inputs
        nodes = program.cloud.one("aws:ec2/securityGroup:SecurityGroup", "nodes").id
        for way in ("ingress", "egress"):
            (rule,) = group[way]
            assert (rule["protocol"], rule["self"], rule["securityGroups"]) == ("-1", True, [nodes])

    def test_a_key_that_does_not_admit_fsx_is_told(self, program: Program) -> None:
        policy = json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": {
                    "Effect": "Allow",
                    "Principal": {"AWS": "arn:aws:iam::123456789012:root"},
                    "Action": "kms:*",
                    "Resource": "*",
                },
            }
        )
        own = f"""key = aws.kms.Key("own", policy={policy!r})
            store = ObjectStore("store", {{"protect": False, "key_arn": key.arn}})"""
        self.lustre(program, '{"store": store.uri}', own)
        run = program.up()
        assert not run.ok
        assert "does not admit FSx" in run.output


class TestSharedFiles:
    def files(self, program: Program, zones: list[str], args: str = '{"protect": False}') -> None:
        program.write(f"""
            {NETWORK.replace(chr(10), chr(10) + "        ")}
            from accelstack.aws.shared_files import SharedFiles
            files = SharedFiles("shared", {{**place, "zones": {zones}, "subnet_ids": subnets, **{args}}})
            pulumi.export("volume", files.volume)
        """)

    def test_every_zone_mounts_it_through_the_access_point_alone(self, program: Program) -> None:
        self.files(program, ["use1-az1", "use1-az2"])
        succeeded(program.up())
        assert sorted(target.name for target in program.cloud.of(TARGET)) == ["shared-use1-az1", "shared-use1-az2"]
        files = program.cloud.one(FILES)
        assert files.inputs["encrypted"] is True
        entry = program.cloud.one("aws:efs/accessPoint:AccessPoint")
        csi = program.outputs()["volume"]["csi"]
        assert csi == {"driver": "efs.csi.aws.com", "volumeHandle": f"{files.id}::{entry.id}"}
        assert not succeeded(program.up()).changes
        self.files(program, ["use1-az2"])
        assert succeeded(program.up()).steps == [("delete", "shared-use1-az1")]
        succeeded(program.destroy())
        assert not program.cloud.resources

    def test_protected_files_keep_their_policy_and_backups(self, program: Program) -> None:
        self.files(program, ["use1-az1"], "{}")
        succeeded(program.up())
        assert not program.destroy().ok
        left = {one.token.split(":")[-1] for one in program.cloud.resources}
        assert {"FileSystem", "FileSystemPolicy", "BackupPolicy", "AccessPoint", "Key"} <= left


class TestBudget:
    def test_tells_people_of_one_stacks_cost(self, program: Program) -> None:
        tag = '"tag_key": "accelstack:stack", "tag_value": "prod"'
        text = """
            from accelstack.aws.budget import Budget
            Budget("cost", {"monthly_usd": %s, "alerts": ["team@example.com"], %s})
        """
        program.write(text % (25000, tag))
        succeeded(program.up())
        budget = program.cloud.one("aws:budgets/budget:Budget").inputs
        assert (budget["limitAmount"], budget["limitUnit"]) == ("25000.00", "USD")
        assert budget["costFilters"] == [{"name": "TagKeyValue", "values": ["user:accelstack:stack$prod"]}]
        told = [(one["notificationType"], one["threshold"]) for one in budget["notifications"]]
        assert told == [("ACTUAL", 50), ("ACTUAL", 80), ("ACTUAL", 100), ("FORECASTED", 100)]
        assert not succeeded(program.up()).changes
        program.write(text % (30000, tag))
        assert succeeded(program.up()).steps == [("update", "cost")]
        succeeded(program.destroy())
        assert not program.cloud.resources

    def test_a_tag_that_billing_has_not_seen_cannot_be_activated(self, program: Program) -> None:
        program.write("""
            from accelstack.aws.budget import Budget
            tag = {"tag_key": "team", "tag_value": "vision", "activate_tag": True}
            Budget("cost", {"monthly_usd": 100, "alerts": ["team@example.com"], **tag})
        """)
        run = program.up()
        assert not run.ok
        assert "Tag keys not found: team" in run.output
        program.cloud.add(BUCKET, {"bucket": "seen", "tags": {"team": "vision"}}, region="us-east-1")
        succeeded(program.up())


TWO = 'one, two = (aws.s3.Bucket(name) for name in ("one", "two"))\n'


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('aws.s3.Bucket("one", bucket="Not_a_name")', "InvalidBucketName"),
        (
            TWO
            + 'kms = {"apply_server_side_encryption_by_default": {"sse_algorithm": "aws:kms"}}\n'
            + 'made = aws.s3.BucketServerSideEncryptionConfiguration("two", bucket=two.bucket, rules=[kms])\n'
            + 'aws.s3.BucketLogging("one", bucket=one.bucket, target_bucket=made.bucket, target_prefix="log/")',
            "logs cannot be delivered",
        ),
        (
            TWO
            + 'rule = {"id": "all", "status": "Enabled", "destination": {"bucket": two.arn}}\n'
            + 'role = aws.iam.Role("r", assume_role_policy=json.dumps(TRUST))\n'
            + 'aws.s3.BucketReplicationConfig("one", bucket=one.bucket, role=role.arn, rules=[rule])',
            "versioning must be 'Enabled'",
        ),
        (
            TWO
            + 'move = {"days": 1, "storage_class": "COLD"}\n'
            + 'rule = {"id": "x", "status": "Enabled", "transitions": [move]}\n'
            + 'aws.s3.BucketLifecycleConfiguration("one", bucket=one.bucket, rules=[rule])',
            "TransitionStorageClass is one of GLACIER",
        ),
        (
            TWO
            + 'on = {"status": "Enabled"}\n'
            + 'aws.s3.BucketVersioning("one", bucket=one.bucket, region="eu-west-1", versioning_configuration=on)',
            "there is no aws:s3/bucket:Bucket",
        ),
        (
            'aws.fsx.LustreFileSystem("fast", subnet_ids="subnet-0123456789abcdef0", deployment_type="PERSISTENT_2",'
            " per_unit_storage_throughput=125, storage_capacity=3600)",
            "3600 is no multiple of 2400",
        ),
        (
            'files = aws.efs.FileSystem("shared")\n'
            + 'aws.efs.AccessPoint("entry", file_system_id=files.id, root_directory={"path": "no/root"})',
            "must match",
        ),
        (
            'told = [dict(notification_type="ACTUAL", comparison_operator="GREATER_THAN", threshold=float(percent),'
            ' threshold_type="PERCENTAGE", subscriber_email_addresses=["team@example.com"])'
            " for percent in range(50, 110, 10)]\n"
            + 'aws.budgets.Budget("cost", budget_type="COST", time_unit="MONTHLY", limit_amount="9", limit_unit="USD",'
            " notifications=told)",
            "a budget has up to five, not 6",
        ),
    ],
    ids=["name", "logs", "replication", "lifecycle", "region", "capacity", "path", "notifications"],
)
def test_the_double_refuses_what_aws_refuses(program: Program, text: str, words: str) -> None:
    trust = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sts:AssumeRole"}
    document = {"Version": "2012-10-17", "Statement": trust}
    program.write(f"import json\nTRUST = {document}\n{text}\n")
    run = program.up()
    assert not run.ok
    assert words in run.output
