"""What an AWS account may use of its quotas, from Service Quotas and CloudWatch."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import boto3  # pyright: ignore[reportMissingTypeStubs]
from botocore.config import Config  # pyright: ignore[reportMissingTypeStubs]
from botocore.exceptions import BotoCoreError, ClientError  # pyright: ignore[reportMissingTypeStubs]

from accelstack.plan.quota import Limit, Need

PATIENT = Config(connect_timeout=5, read_timeout=20, retries={"max_attempts": 2})


def limits(region: str, needs: Sequence[Need], session: Any = None) -> dict[str, Limit]:
    """The account's limit and use of each quota, by code. One that may not be read is left out.

    Raises:
        BotoCoreError: there are no credentials, or AWS cannot be reached.
        ClientError: AWS refuses the credentials, or the request.
    """
    clients: Any = session or boto3.Session(region_name=region)
    quotas = clients.client("service-quotas", config=PATIENT)
    metrics = clients.client("cloudwatch", config=PATIENT)
    found: dict[str, Limit] = {}
    for need in needs:
        quota = _quota(quotas, need)
        if quota is not None:
            found[need.quota] = Limit(quota["Value"], _used(metrics, quota.get("UsageMetric")))
    return found


def _quota(client: Any, need: Need) -> dict[str, Any] | None:
    """The applied quota, or the default where the account never had another."""
    for read in (client.get_service_quota, client.get_aws_default_service_quota):
        try:
            return read(ServiceCode=need.service, QuotaCode=need.quota)["Quota"]
        except ClientError as error:
            code = str(error.response["Error"]["Code"])  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
            if code.startswith("AccessDenied"):
                return None
            if code != "NoSuchResourceException":
                raise
    return None


def _used(client: Any, metric: dict[str, Any] | None) -> float | None:
    """What is in use, as CloudWatch's usage metrics last said; 0 where they say nothing, as they do without use."""
    if not metric:
        return None
    now = datetime.now(UTC)
    try:
        answer = client.get_metric_statistics(
            Namespace=metric["MetricNamespace"],
            MetricName=metric["MetricName"],
            Dimensions=[{"Name": name, "Value": value} for name, value in metric["MetricDimensions"].items()],
            StartTime=now - timedelta(hours=1),
            EndTime=now,
            Period=3600,
            Statistics=["Maximum"],
        )
    except (BotoCoreError, ClientError):
        return None
    return max((point["Maximum"] for point in answer["Datapoints"]), default=0.0)
