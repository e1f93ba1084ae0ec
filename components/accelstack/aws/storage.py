"""Object storage on S3: private, versioned, encrypted, logged, and copied to a second region on request."""

import re
from collections.abc import Iterator
from typing import NotRequired, TypedDict

import pulumi
from pulumi_aws import s3

from accelstack.aws.identity import ServiceRole, place
from accelstack.aws.keys import Key, KeyArgs
from accelstack.aws.policies import document
from accelstack.aws.refusals import refuse
from accelstack.aws.storage_bucket import Bucket, Place, Retention, logged_bucket
from accelstack.aws.storage_policies import End, replication
from accelstack.plan.findings import Finding, Severity
from accelstack.plan.platform import REGION

LOG_DAYS = 365
NONCURRENT_DAYS = 30
DAYS = "it is a number of days, 1 or more"


class ObjectStoreArgs(TypedDict):
    """Args of `aws.ObjectStore`."""

    key_arn: NotRequired[pulumi.Input[str]]
    """ARN of the KMS key that encrypts it; one of its own if left out. A key of yours must let FSx for Lustre use it
    if a file system is linked to the bucket, as `aws.Key` does with the service `lustre`."""
    protect: NotRequired[bool]
    """Whether buckets and keys are kept from deletion; true if left out. To remove a store, set it to false, update,
    then destroy: the objects go too."""
    log_days: NotRequired[int]
    """Days that access logs are kept; 365 if left out."""
    noncurrent_days: NotRequired[int]
    """Days that objects which were overwritten or deleted can still be brought back; 30 if left out."""
    expire: NotRequired[dict[str, int]]
    """Days until objects under a prefix are deleted, by prefix, such as `{"scratch/": 14}`; none are if left out."""
    tiering: NotRequired[bool]
    """Whether S3 moves objects that nobody reads to cheaper storage by itself (Intelligent-Tiering); false if left
    out."""
    replica_region: NotRequired[str]
    """Region that gets a copy of every new object, such as `us-west-2`; no copy if left out."""
    replica_key_arn: NotRequired[pulumi.Input[str]]
    """ARN of the KMS key in that region that encrypts the copy; one of its own if left out."""


class ObjectStore(pulumi.ComponentResource):
    """A private bucket for data, checkpoints and models, and a second one for its access logs.

    Deletions are copied to the replica too, so both hold the same objects; what was deleted can be brought back in
    each for `noncurrent_days`.

    Raises:
        pulumi.InputPropertyError: an arg breaks its rule.
    """

    uri: pulumi.Output[str]
    """`s3://<bucket>`, known when all settings of the bucket are in force."""
    bucket: pulumi.Output[str]
    """Name of the bucket, likewise."""
    arn: pulumi.Output[str]
    """ARN of the bucket, likewise."""
    key_arn: pulumi.Output[str]
    """ARN of the key that encrypts it."""
    replica_uri: pulumi.Output[str | None]
    """`s3://<bucket>` of the copy in the other region; None without one."""

    def __init__(self, name: str, args: ObjectStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        refuse(problems(args))
        protect = args.get("protect", True)
        # children inherit it: a destroy without a preview would else take the settings off buckets that stay
        held = pulumi.ResourceOptions.merge(pulumi.ResourceOptions(protect=protect), opts)
        super().__init__("accelstack:index:AwsObjectStore", name, None, held)
        here = place(self)
        account = here.apply(lambda known: known.account)
        retention = Retention(
            args.get("noncurrent_days", NONCURRENT_DAYS),
            args.get("log_days", LOG_DAYS),
            args.get("expire", {}),
            args.get("tiering", False),
        )
        self.key_arn = self._key(name, args.get("key_arn"), None, protect)
        store = logged_bucket(name, self, Place(None, account, self.key_arn, not protect), retention)
        self.bucket, self.arn = store.name, store.arn
        self.uri = pulumi.Output.concat("s3://", store.name)
        self.replica_uri = pulumi.Output[str | None].from_input(None)
        if "replica_region" in args:
            region = args["replica_region"]
            key_arn = self._key(f"{name}-replica", args.get("replica_key_arn"), region, protect)
            copy = logged_bucket(f"{name}-replica", self, Place(region, account, key_arn, not protect), retention)
            self._replicate(name, store, copy, region, key_arn)
            self.replica_uri = pulumi.Output.concat("s3://", copy.name)
        self.register_outputs(
            {
                "uri": self.uri,
                "bucket": self.bucket,
                "arn": self.arn,
                "key_arn": self.key_arn,
                "replica_uri": self.replica_uri,
            }
        )

    def _key(self, name: str, given: pulumi.Input[str] | None, region: str | None, protect: bool) -> pulumi.Output[str]:
        """The key that was given, or a new one."""
        if given is not None:
            return pulumi.Output.from_input(given)
        wanted = KeyArgs(description=f"Objects of {name}", services=["lustre"], protect=protect)
        if region is not None:
            wanted["region"] = region
        return Key(name, wanted, pulumi.ResourceOptions(parent=self)).arn

    def _replicate(self, name: str, store: Bucket, copy: Bucket, region: str, key_arn: pulumi.Output[str]) -> None:
        """Has S3 copy all new objects, and deletions too: copies of what is long deleted would cost for ever."""
        ends = pulumi.Output.all(place(self), store.arn, self.key_arn, copy.arn, key_arn)
        role = ServiceRole(
            f"{name}-replica",
            {
                "service": "s3.amazonaws.com",
                "policy": ends.apply(
                    lambda known: document(
                        replication(
                            End(known[1], known[2], f"s3.{known[0].region}.{known[0].domain}"),
                            End(known[3], known[4], f"s3.{region}.{known[0].domain}"),
                        )
                    )
                ),
            },
            pulumi.ResourceOptions(parent=self),
        )
        s3.BucketReplicationConfig(
            name,
            bucket=store.name,
            role=role.arn,
            rules=[
                s3.BucketReplicationConfigRuleArgs(
                    id="all",
                    status="Enabled",
                    priority=1,
                    filter=s3.BucketReplicationConfigRuleFilterArgs(prefix=""),
                    delete_marker_replication=s3.BucketReplicationConfigRuleDeleteMarkerReplicationArgs(
                        status="Enabled"
                    ),
                    source_selection_criteria=s3.BucketReplicationConfigRuleSourceSelectionCriteriaArgs(
                        sse_kms_encrypted_objects=s3.BucketReplicationConfigRuleSourceSelectionCriteriaSseKmsEncryptedObjectsArgs(
                            status="Enabled"
                        )
                    ),
                    destination=s3.BucketReplicationConfigRuleDestinationArgs(
                        bucket=copy.arn,
                        encryption_configuration=s3.BucketReplicationConfigRuleDestinationEncryptionConfigurationArgs(
                            replica_kms_key_id=key_arn
                        ),
                    ),
                )
            ],
            opts=pulumi.ResourceOptions(parent=self),
        )


def problems(args: ObjectStoreArgs) -> Iterator[Finding]:
    """What is wrong with the args."""
    days = {
        "log_days": args.get("log_days", LOG_DAYS),
        "noncurrent_days": args.get("noncurrent_days", NONCURRENT_DAYS),
        **{f"expire[{prefix}]": number for prefix, number in args.get("expire", {}).items()},
    }
    for path, number in days.items():
        if number < 1:
            yield Finding(Severity.INVALID, path, str(number), DAYS, "use 30, for instance")
    for prefix in args.get("expire", {}):
        if not prefix or prefix.startswith("/"):
            rule = "a prefix is the beginning of object names, which have no leading slash"
            yield Finding(Severity.INVALID, "expire", prefix, rule, "use one such as scratch/")
    region = args.get("replica_region", "us-west-2")
    if not re.fullmatch(REGION, region):
        yield Finding(Severity.INVALID, "replica_region", region, "is no region's name", "use one such as us-west-2")
    if "replica_key_arn" in args and "replica_region" not in args:
        rule = "is the key of a copy, and replica_region is missing"
        yield Finding(
            Severity.ERROR, "replica_key_arn", "given", rule, "name the region of the copy, or leave the key out"
        )
