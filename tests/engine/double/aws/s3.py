"""S3: a bucket, and the settings that are resources of their own.

S3's model says little about values: names (https://docs.aws.amazon.com/AmazonS3/latest/userguide/bucketnamingrules.html),
lifecycles (…/intro-lifecycle-rules.html), log delivery (…/enable-server-access-logging.html) and replication
(…/replication-requirements.html, …/replication-add-config.html) have rules of their own here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator

from tests.engine.double import policies
from tests.engine.double.judge import Call, Put
from tests.engine.double.shaping import block, many, pairs
from tests.engine.double.types import Autoname, Inputs, Problem, Rule, Situation, Type, values
from tests.engine.double.wire import UNKNOWN

BUCKET = "aws:s3/bucket:Bucket"
VERSIONING = "aws:s3/bucketVersioning:BucketVersioning"
ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"
NAME = re.compile(r"(?!xn--|sthree-|amzn-s3-demo-)(?!\d+\.\d+\.\d+\.\d+$)(?!.*\.\.)[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")


def _name(inputs: Inputs) -> Iterator[Problem]:
    name = inputs.get("bucket", UNKNOWN)
    if name is not UNKNOWN and not NAME.fullmatch(name):
        yield Problem("bucket", f"InvalidBucketName: {name!r} is no bucket name")


def _setting_of(other: str, name: str, situation: Situation) -> Inputs:
    """The inputs of a bucket's setting of that type; empty where it has none."""
    found = [one for one in situation.cloud.of(other) if one.inputs["bucket"] == name]
    return found[0].inputs if found else {}


def _lifecycle(inputs: Inputs) -> Iterator[Problem]:
    rules = inputs.get("rules", [])
    rules = [] if rules is UNKNOWN else rules
    ids = values(inputs, "rules.id")
    if len({*ids}) < len(ids):
        yield Problem("rules", f"InvalidArgument: rule ids are not unique: {ids}")
    for index, rule in enumerate(rules):
        at = f"rules[{index}]"
        expiration = rule.get("expiration", {})
        if {"days", "expiredObjectDeleteMarker"} <= set(expiration):
            yield Problem(f"{at}.expiration", "MalformedXML: either days or expiredObjectDeleteMarker")
        numbers = {
            "expiration.days": expiration.get("days"),
            "noncurrentVersionExpiration.noncurrentDays": rule.get("noncurrentVersionExpiration", {}).get(
                "noncurrentDays"
            ),
            "abortIncompleteMultipartUpload.daysAfterInitiation": rule.get("abortIncompleteMultipartUpload", {}).get(
                "daysAfterInitiation"
            ),
        }
        for path, days in numbers.items():
            if isinstance(days, int | float) and days < 1:
                yield Problem(f"{at}.{path}", f"InvalidArgument: {days}: it must be a positive integer")
        for move in rule.get("transitions", []):
            if isinstance(expiration.get("days"), int | float) and move.get("days", 0) >= expiration["days"]:
                yield Problem(f"{at}.expiration.days", "InvalidArgument: it must be greater than days of transitions")
        if not set(rule) - {"id", "status", "filter", "prefix"}:
            yield Problem(at, "InvalidRequest: at least one action needs to be specified in a rule")


def _encryption(situation: Situation) -> Iterator[Problem]:
    for default in values(situation.inputs, "rules.applyServerSideEncryptionByDefault"):
        key, kms = default.get("kmsMasterKeyId"), default["sseAlgorithm"].startswith("aws:kms")
        if key and not kms:
            yield Problem(
                "rules", "InvalidArgument: a KMSMasterKeyID is not applicable if the algorithm is not aws:kms"
            )
        if key and key.startswith("arn:") and key.split(":")[3] != situation.config["region"]:
            yield Problem("rules", f"KMS.NotFoundException: the key {key} is not in the bucket's region")


def _not_public(situation: Situation) -> Iterator[Problem]:
    blocked = _setting_of(BLOCK, situation.inputs["bucket"], situation).get("blockPublicPolicy")
    statements = json.loads(situation.inputs["policy"])["Statement"]
    if blocked and any(
        one["Effect"] == "Allow" and one.get("Principal") in ("*", {"AWS": "*"}) and "Condition" not in one
        for one in statements
    ):
        yield Problem("policy", "AccessDenied: public policies are blocked by the BlockPublicPolicy setting")


def _log_target(situation: Situation) -> Iterator[Problem]:
    encryption = _setting_of(ENCRYPTION, situation.inputs["targetBucket"], situation)
    if any(
        one.startswith("aws:kms") for one in values(encryption, "rules.applyServerSideEncryptionByDefault.sseAlgorithm")
    ):
        yield Problem("targetBucket", "logs cannot be delivered: its default encryption is a KMS key")


def _replication(situation: Situation) -> Iterator[Problem]:
    for name in [situation.inputs["bucket"], *values(situation.inputs, "rules.destination.bucket")]:
        bucket = situation.cloud.find(BUCKET, name)
        versioning = _setting_of(VERSIONING, bucket.id, situation) if bucket else {}
        if versioning.get("versioningConfiguration", {}).get("status") != "Enabled":
            yield Problem("bucket", f"InvalidRequest: versioning must be 'Enabled' on {name} for replication")
    for index, rule in enumerate(situation.inputs["rules"]):
        at = f"rules[{index}]"
        if "filter" in rule and not {"priority", "deleteMarkerReplication"} <= set(rule):
            yield Problem(at, "InvalidRequest: with a filter, priority and deleteMarkerReplication must be given")
        key = rule["destination"].get("encryptionConfiguration", {}).get("replicaKmsKeyId")
        if "sourceSelectionCriteria" in rule and not key:
            yield Problem(at, "InvalidRequest: replicaKmsKeyId is missing for encrypted objects")
        replica = situation.cloud.find(BUCKET, rule["destination"]["bucket"])
        if key and replica and key.split(":")[3] != replica.config["region"]:
            yield Problem(at, f"the replica's key must be in {replica.config['region']}")


def _setting(*calls: Call, rules: tuple[Rule, ...] = (), **more: object) -> Type:
    """A setting of a bucket, of which each bucket has one."""
    return Type(calls=calls, id="{bucket}", replace="bucket", refers={"bucket": BUCKET}, rules=rules, **more)  # type: ignore[arg-type]


TYPES = {
    BUCKET: Type(
        calls=[
            Call("s3.CreateBucket", same="bucket", moved={"objectLockEnabled": "ObjectLockEnabledForBucket"}),
            Call("s3.PutBucketTagging", moved={"tags": Put("Tagging.TagSet", pairs())}, always={"Bucket": UNKNOWN}),
        ],
        id="{bucket}",
        outputs={
            "arn": "arn:{partition}:s3:::{bucket}",
            "bucketDomainName": "{bucket}.s3.{dns_suffix}",
            "bucketRegion": "{region}",
            "bucketRegionalDomainName": "{bucket}.s3.{region}.{dns_suffix}",
            "hostedZoneId": "Z{digits13}",
        },
        replace="bucket bucketPrefix objectLockEnabled",
        own={"forceDestroy": "empties the bucket before deletion"},
        name=Autoname("bucket", limit=63, unless="bucketPrefix", lower=True),
        unless="forceDestroy",
        checks=[_name],
    ),
    VERSIONING: _setting(
        Call("s3.PutBucketVersioning", same="bucket versioningConfiguration"),
    ),
    ENCRYPTION: _setting(
        Call(
            "s3.PutBucketEncryption",
            same="bucket",
            moved={
                "rules": Put(
                    "ServerSideEncryptionConfiguration.Rules",
                    block(blockedEncryptionTypes="BlockedEncryptionTypes.EncryptionType"),
                )
            },
        ),
        rules=(_encryption,),
    ),
    BLOCK: _setting(
        Call(
            "s3.PutPublicAccessBlock",
            same="bucket",
            moved={
                name: f"PublicAccessBlockConfiguration.{name}"
                for name in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets")
            },
        ),
        own={"skipDestroy": "makes no call at deletion"},
    ),
    "aws:s3/bucketOwnershipControls:BucketOwnershipControls": _setting(
        Call("s3.PutBucketOwnershipControls", same="bucket", moved={"rule": Put("OwnershipControls.Rules", many)}),
    ),
    "aws:s3/bucketPolicy:BucketPolicy": _setting(
        Call("s3.PutBucketPolicy", same="bucket", moved={"policy": Put("Policy", check=policies.resource)}),
        rules=(_not_public,),
    ),
    "aws:s3/bucketLifecycleConfiguration:BucketLifecycleConfiguration": _setting(
        Call(
            "s3.PutBucketLifecycleConfiguration",
            same="bucket transitionDefaultMinimumObjectSize",
            moved={"rules": "LifecycleConfiguration.Rules"},
        ),
        checks=[_lifecycle],
    ),
    "aws:s3/bucketLogging:BucketLogging": Type(
        calls=[
            Call(
                "s3.PutBucketLogging",
                same="bucket",
                moved={
                    "targetBucket": "BucketLoggingStatus.LoggingEnabled.TargetBucket",
                    "targetPrefix": "BucketLoggingStatus.LoggingEnabled.TargetPrefix",
                },
            )
        ],
        id="{bucket}",
        replace="bucket",
        refers={"bucket": BUCKET, "targetBucket": BUCKET},
        rules=[_log_target],
    ),
    "aws:s3/bucketReplicationConfig:BucketReplicationConfig": Type(
        calls=[
            Call(
                "s3.PutBucketReplication",
                same="bucket",
                moved={"role": "ReplicationConfiguration.Role", "rules": "ReplicationConfiguration.Rules"},
            )
        ],
        id="{bucket}",
        replace="bucket",
        refers={"bucket": BUCKET, "role": "aws:iam/role:Role"},
        rules=[_replication],
    ),
}
