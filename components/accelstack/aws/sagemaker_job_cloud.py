"""What dynamic providers of SageMaker's things share: the account's clients, clear errors, and files in S3."""

import functools
import importlib
import json
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from pulumi.dynamic import ConfigureRequest

from accelstack.dynamic import DynamicProvider, UserError

P = ParamSpec("P")
T = TypeVar("T")
RETRIES = {"mode": "adaptive", "max_attempts": 10}
"""Throttling and lost connections are waited out for minutes."""
TORCH = {"training": "2.9.0", "inference": "2.6.0"}
"""Versions of AWS's PyTorch images, the newest of Python 3.12 that the SDK knows for each use."""
MISSING = ("NoSuchKey", "NoSuchBucket", "404", "NotFound")


class Cloud:
    """Clients of one region, made when they are used: the SDK takes a while to load.

    Credentials are found as boto3 finds them; `profile` is that of the stack's `aws:profile`.
    """

    def __init__(self, region: str, profile: str | None) -> None:
        self.region = region
        self._profile = profile

    @functools.cached_property
    def session(self) -> Any:
        """The boto3 session."""
        return importlib.import_module("boto3").Session(region_name=self.region, profile_name=self._profile)

    @functools.cached_property
    def sagemaker(self) -> Any:
        """Client of SageMaker."""
        return self._client("sagemaker")

    @functools.cached_property
    def s3(self) -> Any:
        """Client of S3."""
        return self._client("s3")

    @functools.cached_property
    def logs(self) -> Any:
        """Client of CloudWatch Logs."""
        return self._client("logs")

    def read_json(self, uri: str) -> dict[str, Any] | None:
        """What a JSON file in S3 holds; None where there is none."""
        bucket, key = split(uri)
        try:
            return json.loads(self.s3.get_object(Bucket=bucket, Key=key)["Body"].read())
        except self.s3.exceptions.ClientError as error:
            if error.response["Error"]["Code"] in MISSING:
                return None
            raise

    def objects(self, uri: str) -> list[tuple[str, int, str]]:
        """Name below the URI, size in bytes and ETag of every object there; the folder's own marker is none."""
        bucket, prefix = split(uri.rstrip("/") + "/")
        pages = self.s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
        found = [each for page in pages for each in page.get("Contents", [])]
        named = [(str(each["Key"]).removeprefix(prefix), each) for each in found]
        return [(name, int(each["Size"]), str(each["ETag"])) for name, each in named if name]

    def torch_image(self, instance_type: str, use: str) -> str:
        """AWS's own PyTorch image for the use `training` or `inference`, as the SDK resolves it, from no network."""
        uris: Any = importlib.import_module("sagemaker.core.image_uris")
        version = TORCH[use]
        machine = {"instance_type": instance_type, "image_scope": use}
        return uris.retrieve("pytorch", region=self.region, version=version, py_version="py312", **machine)

    def _client(self, service: str) -> Any:
        config = importlib.import_module("botocore.config").Config(retries=RETRIES)
        return self.session.client(service, config=config)


class SageMakerProvider(DynamicProvider):
    """Base of the providers here: what AWS refuses reaches the user in AWS's own words, without a stack trace."""

    profile: str | None = None

    def __init_subclass__(cls) -> None:
        for name in ("check", "create", "read", "update", "delete"):
            if name in cls.__dict__:
                setattr(cls, name, _in_words(cls.__dict__[name]))
        super().__init_subclass__()

    def configure(self, req: ConfigureRequest) -> None:
        super().configure(req)
        self.profile = req.config.get("aws:profile")

    def cloud(self, props: dict[str, Any]) -> Cloud:
        """The clients for a resource."""
        return Cloud(props["region"], self.profile)


def _in_words(method: Callable[P, T]) -> Callable[P, T]:
    @functools.wraps(method)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> T:
        refused = importlib.import_module("botocore.exceptions")
        try:
            return method(*args, **kwargs)
        except (refused.BotoCoreError, refused.ClientError) as error:
            raise UserError(f"AWS: {error}") from error

    return wrapper


def split(uri: str) -> tuple[str, str]:
    """Bucket and key of an s3:// URI."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key
