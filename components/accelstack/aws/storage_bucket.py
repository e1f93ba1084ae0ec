"""A private bucket and the log bucket beside it: everything about them that AWS wants as a resource of its own."""

from collections.abc import Mapping
from dataclasses import dataclass

import pulumi
from pulumi_aws import s3

from accelstack.aws.identity import after
from accelstack.aws.policies import Statement, document
from accelstack.aws.storage_policies import encrypted_transport, log_delivery, own_key

UPLOAD_DAYS = 7
"""Days until the parts of an upload that was given up are removed."""
LOG_PREFIX = "access/"


@dataclass(frozen=True, slots=True)
class Retention:
    """How long a store keeps what."""

    noncurrent_days: int
    log_days: int
    expire: Mapping[str, int]
    """Days by prefix."""
    tiering: bool


@dataclass(frozen=True, slots=True)
class Place:
    """Where and how the buckets of one region are made."""

    region: str | None
    """None: the provider's."""
    account: pulumi.Output[str]
    key_arn: pulumi.Output[str]
    erasable: bool
    """Whether the buckets may be deleted with all that is in them."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket whose settings are in force by the time its name and ARN are known."""

    name: pulumi.Output[str]
    arn: pulumi.Output[str]


def logged_bucket(name: str, parent: pulumi.Resource, place: Place, retention: Retention) -> Bucket:
    """A versioned bucket under a customer key, and the bucket `<name>-logs` that takes its access logs."""
    opts = pulumi.ResourceOptions(parent=parent)
    bucket = s3.Bucket(name, force_destroy=place.erasable, region=place.region, opts=opts)
    logs = s3.Bucket(f"{name}-logs", force_destroy=place.erasable, region=place.region, opts=opts)

    closed_logs = _close(
        f"{name}-logs",
        parent,
        place.region,
        logs,
        # CKV_AWS_145 is waived: S3 delivers access logs to no bucket whose default encryption is a KMS key
        # (https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html).
        # CKV_AWS_18 is waived: a bucket that logged its own log deliveries would never stop.
        s3.BucketServerSideEncryptionConfigurationRuleArgs(
            apply_server_side_encryption_by_default=_default("AES256"), blocked_encryption_types=["SSE-C"]
        ),
        pulumi.Output.all(logs.arn, bucket.arn, place.account).apply(
            lambda known: [encrypted_transport(known[0]), log_delivery(known[0], LOG_PREFIX, known[1], known[2])]
        ),
        [_expiry("", retention.log_days), *_clearance(1)],
    )
    closed = _close(
        name,
        parent,
        place.region,
        bucket,
        s3.BucketServerSideEncryptionConfigurationRuleArgs(
            apply_server_side_encryption_by_default=_default("aws:kms", place.key_arn),
            bucket_key_enabled=True,
            blocked_encryption_types=["SSE-C"],
        ),
        pulumi.Output.all(bucket.arn, place.key_arn).apply(
            lambda known: [encrypted_transport(known[0]), *own_key(known[0], known[1])]
        ),
        lifecycle(retention),
    )
    logging = s3.BucketLogging(
        name,
        bucket=bucket.bucket,
        target_bucket=closed_logs.name,
        target_prefix=LOG_PREFIX,
        region=place.region,
        opts=opts,
    )
    return Bucket(after(closed.name, logging.bucket), after(closed.arn, logging.bucket))


def lifecycle(retention: Retention) -> list[s3.BucketLifecycleConfigurationRuleArgs]:
    """The rules of a store's bucket: what expires by prefix, what moves to cheaper storage, what is cleared away."""
    rules = [_expiry(prefix, days) for prefix, days in sorted(retention.expire.items())]
    if retention.tiering:
        rules.append(
            s3.BucketLifecycleConfigurationRuleArgs(
                id="tiering",
                status="Enabled",
                filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=""),
                transitions=[
                    s3.BucketLifecycleConfigurationRuleTransitionArgs(days=0, storage_class="INTELLIGENT_TIERING")
                ],
            )
        )
    return [*rules, *_clearance(retention.noncurrent_days)]


def _clearance(noncurrent_days: int) -> list[s3.BucketLifecycleConfigurationRuleArgs]:
    """What every versioned bucket needs, lest it grow for ever."""
    everything = s3.BucketLifecycleConfigurationRuleFilterArgs(prefix="")
    return [
        s3.BucketLifecycleConfigurationRuleArgs(
            id="uploads",
            status="Enabled",
            filter=everything,
            abort_incomplete_multipart_upload=s3.BucketLifecycleConfigurationRuleAbortIncompleteMultipartUploadArgs(
                days_after_initiation=UPLOAD_DAYS
            ),
        ),
        s3.BucketLifecycleConfigurationRuleArgs(
            id="versions",
            status="Enabled",
            filter=everything,
            expiration=s3.BucketLifecycleConfigurationRuleExpirationArgs(expired_object_delete_marker=True),
            noncurrent_version_expiration=s3.BucketLifecycleConfigurationRuleNoncurrentVersionExpirationArgs(
                noncurrent_days=noncurrent_days
            ),
        ),
    ]


def _expiry(prefix: str, days: int) -> s3.BucketLifecycleConfigurationRuleArgs:
    return s3.BucketLifecycleConfigurationRuleArgs(
        id=f"expire {prefix}".strip(),
        status="Enabled",
        filter=s3.BucketLifecycleConfigurationRuleFilterArgs(prefix=prefix),
        expiration=s3.BucketLifecycleConfigurationRuleExpirationArgs(days=days),
    )


def _default(
    algorithm: str, key_arn: pulumi.Output[str] | None = None
) -> s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs:
    return s3.BucketServerSideEncryptionConfigurationRuleApplyServerSideEncryptionByDefaultArgs(
        sse_algorithm=algorithm, kms_master_key_id=key_arn
    )


def _close(
    name: str,
    parent: pulumi.Resource,
    region: str | None,
    bucket: s3.Bucket,
    encryption: s3.BucketServerSideEncryptionConfigurationRuleArgs,
    statements: pulumi.Output[list[Statement]],
    rules: list[s3.BucketLifecycleConfigurationRuleArgs],
) -> Bucket:
    """The settings that every bucket here has."""
    opts = pulumi.ResourceOptions(parent=parent)
    settings = [
        s3.BucketPublicAccessBlock(
            name,
            bucket=bucket.bucket,
            block_public_acls=True,
            block_public_policy=True,
            ignore_public_acls=True,
            restrict_public_buckets=True,
            region=region,
            opts=opts,
        ),
        s3.BucketOwnershipControls(
            name,
            bucket=bucket.bucket,
            rule=s3.BucketOwnershipControlsRuleArgs(object_ownership="BucketOwnerEnforced"),
            region=region,
            opts=opts,
        ),
        s3.BucketServerSideEncryptionConfiguration(
            name, bucket=bucket.bucket, rules=[encryption], region=region, opts=opts
        ),
        s3.BucketPolicy(name, bucket=bucket.bucket, policy=statements.apply(document), region=region, opts=opts),
    ]
    versioning = s3.BucketVersioning(
        name,
        bucket=bucket.bucket,
        versioning_configuration=s3.BucketVersioningVersioningConfigurationArgs(status="Enabled"),
        region=region,
        opts=opts,
    )
    lifecycle = s3.BucketLifecycleConfiguration(name, bucket=versioning.bucket, rules=rules, region=region, opts=opts)
    # the settings' ids would do too, but a preview that adds a setting does not know its id, and then nothing after it
    ready = [each.bucket for each in [*settings, versioning, lifecycle]]
    return Bucket(after(bucket.bucket, *ready), after(bucket.arn, *ready))
