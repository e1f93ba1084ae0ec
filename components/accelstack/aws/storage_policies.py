"""Who may do what with the buckets of an object store, as pure data."""

from dataclasses import dataclass

from accelstack.aws.policies import Statement

ANYONE = {"AWS": ["*"]}
ENCRYPTION = "s3:x-amz-server-side-encryption"
"""What a request asks for; without the header the bucket's own setting serves."""
KEY = f"{ENCRYPTION}-aws-kms-key-id"


@dataclass(frozen=True, slots=True)
class End:
    """One of the two buckets of a replication."""

    arn: str
    key_arn: str
    service: str
    """S3 in the bucket's region, as KMS knows it, such as `s3.us-east-1.amazonaws.com`."""

    def key_conditions(self) -> dict[str, dict[str, list[str]]]:
        """The key through S3 alone, for this bucket alone: S3 names the bucket where it uses a bucket key, else the
        object."""
        return {
            "StringEquals": {"kms:ViaService": [self.service]},
            "StringLike": {"kms:EncryptionContext:aws:s3:arn": [self.arn, f"{self.arn}/*"]},
        }


def encrypted_transport(bucket_arn: str) -> Statement:
    """Refuses plain HTTP."""
    return Statement(
        "EncryptedTransport",
        ["s3:*"],
        [bucket_arn, f"{bucket_arn}/*"],
        principals=ANYONE,
        conditions={"Bool": {"aws:SecureTransport": ["false"]}},
        deny=True,
    )


def own_key(bucket_arn: str, key_arn: str) -> list[Statement]:
    """Refuses objects for which the client asks for another encryption or another key.

    `Null` lets requests pass that ask for nothing: a condition of inequality alone holds for them too.
    """
    asked = [("OwnEncryption", ENCRYPTION, "aws:kms"), ("OwnKey", KEY, key_arn)]
    return [
        Statement(
            sid,
            ["s3:PutObject"],
            [f"{bucket_arn}/*"],
            principals=ANYONE,
            conditions={"Null": {header: ["false"]}, "StringNotEquals": {header: [value]}},
            deny=True,
        )
        for sid, header, value in asked
    ]


def log_delivery(log_bucket_arn: str, prefix: str, bucket_arn: str, account: str) -> Statement:
    """Lets S3 write the access logs of one bucket under a prefix of another
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/enable-server-access-logging.html)."""
    return Statement(
        "LogDelivery",
        ["s3:PutObject"],
        [f"{log_bucket_arn}/{prefix}*"],
        principals={"Service": ["logging.s3.amazonaws.com"]},
        conditions={"ArnEquals": {"aws:SourceArn": [bucket_arn]}, "StringEquals": {"aws:SourceAccount": [account]}},
    )


def replication(bucket: End, replica: End) -> list[Statement]:
    """What S3 does to copy a bucket's objects, encrypted with one key here and with another there
    (https://docs.aws.amazon.com/AmazonS3/latest/userguide/replication-config-for-kms-objects.html)."""
    read = ["GetObjectVersionForReplication", "GetObjectVersionAcl", "GetObjectVersionTagging"]
    return [
        Statement("Bucket", ["s3:GetReplicationConfiguration", "s3:ListBucket"], [bucket.arn]),
        Statement("Read", [f"s3:{action}" for action in read], [f"{bucket.arn}/*"]),
        Statement(
            "Write",
            ["s3:ReplicateObject", "s3:ReplicateDelete", "s3:ReplicateTags"],
            [f"{replica.arn}/*"],
        ),
        Statement("Decrypt", ["kms:Decrypt"], [bucket.key_arn], conditions=bucket.key_conditions()),
        Statement(
            "Encrypt", ["kms:Encrypt", "kms:GenerateDataKey"], [replica.key_arn], conditions=replica.key_conditions()
        ),
    ]
