"""What accounts answer about their quotas, through each cloud's own SDK: recorded answers, no network."""

import json
from typing import Any

import boto3
import pytest
import responses
from accelstack.aws import account as aws
from accelstack.azure import account as azure
from accelstack.cli import accounts
from accelstack.cli.main import app
from accelstack.gcp import account as gcp
from accelstack.plan.findings import Severity
from accelstack.plan.quota import Limit, Need, compare
from azure.core.credentials import AccessToken
from botocore.exceptions import ClientError
from botocore.stub import ANY, Stubber
from googleapiclient.http import HttpMockSequence
from typer.testing import CliRunner


def need(target: str, quota: str, service: str = "ec2", unit: str = "vcpus", amount: int = 768) -> Need:
    return Need(target, "us-east-1", service, quota, quota, unit, "region", amount, ("train",))


class StubbedSession:
    """A double of boto3.Session: botocore's own clients, with answers that botocore checks against AWS's model."""

    def __init__(self) -> None:
        self.clients = {
            name: boto3.client(name, region_name="us-east-1", aws_access_key_id="x", aws_secret_access_key="y")  # noqa: S106
            for name in ("service-quotas", "cloudwatch")
        }
        self.stubs = {name: Stubber(client) for name, client in self.clients.items()}

    def client(self, name: str, **_: Any) -> Any:
        return self.clients[name]


@pytest.fixture
def session() -> StubbedSession:
    made = StubbedSession()
    for stub in made.stubs.values():
        stub.activate()
    return made


METRIC = {
    "MetricNamespace": "AWS/Usage",
    "MetricName": "ResourceCount",
    "MetricDimensions": {"Class": "P/OnDemand", "Resource": "vCPU", "Service": "EC2", "Type": "Resource"},
}


def test_aws_tells_limit_and_use(session: StubbedSession) -> None:
    asked = {"ServiceCode": "ec2", "QuotaCode": "L-417A185B"}
    quota = {"QuotaCode": "L-417A185B", "Value": 384.0, "UsageMetric": METRIC}
    session.stubs["service-quotas"].add_response("get_service_quota", {"Quota": quota}, asked)
    expected = {
        "Namespace": "AWS/Usage",
        "MetricName": "ResourceCount",
        "Dimensions": ANY,
        "StartTime": ANY,
        "EndTime": ANY,
        "Period": 3600,
        "Statistics": ["Maximum"],
    }
    session.stubs["cloudwatch"].add_response("get_metric_statistics", {"Datapoints": [{"Maximum": 192.0}]}, expected)
    limits = aws.limits("us-east-1", [need("aws", "L-417A185B")], session)
    assert limits == {"L-417A185B": Limit(384.0, 192.0)}
    (finding,) = compare([need("aws", "L-417A185B")], limits)
    assert finding.severity is Severity.ERROR
    assert "384 vcpus" in finding.rule
    assert "192 of them in use" in finding.rule
    assert "ask for 960 or more" in finding.fix


def test_aws_falls_back_to_the_default_where_the_account_never_had_another(session: StubbedSession) -> None:
    stub = session.stubs["service-quotas"]
    stub.add_client_error("get_service_quota", "NoSuchResourceException")
    stub.add_response("get_aws_default_service_quota", {"Quota": {"QuotaCode": "L-1", "Value": 0.0}})
    assert aws.limits("us-east-1", [need("aws", "L-1")], session) == {"L-1": Limit(0.0, None)}


def test_aws_leaves_out_what_may_not_be_read_and_the_plan_warns(session: StubbedSession) -> None:
    session.stubs["service-quotas"].add_client_error("get_service_quota", "AccessDeniedException")
    limits = aws.limits("us-east-1", [need("aws", "L-1")], session)
    assert limits == {}
    (finding,) = compare([need("aws", "L-1")], limits)
    assert finding.severity is Severity.WARNING
    assert "could not be read" in finding.rule


def test_aws_tells_of_a_login_that_is_over(session: StubbedSession) -> None:
    session.stubs["service-quotas"].add_client_error("get_service_quota", "ExpiredTokenException")
    with pytest.raises(ClientError, match="ExpiredToken"):
        aws.limits("us-east-1", [need("aws", "L-1")], session)


def test_the_command_holds_a_plan_against_the_account(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["plan", "--target", "aws", "--region", "us-east-1", "--accelerator", "H100:8", "--zones", "use1-az1"]
    monkeypatch.setattr(aws, "limits", lambda _, needs: {each.quota: Limit(1e6, 0) for each in needs})
    assert CliRunner().invoke(app, [*asked, "--account"]).exit_code == 0
    monkeypatch.setattr(aws, "limits", lambda _, needs: {each.quota: Limit(8, 0) for each in needs})
    result = CliRunner().invoke(app, [*asked, "--account"])
    assert result.exit_code == 1
    assert "the account may have 8 vcpus of Running On-Demand P instances" in " ".join(result.stdout.split())


def test_an_account_that_cannot_be_read_is_a_warning_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(azure.SUBSCRIPTION, raising=False)
    limits, problem = accounts.limits("azure", "eastus", [need("azure", "cores")])
    assert limits == {}
    assert problem
    assert problem.severity is Severity.WARNING
    assert "AZURE_SUBSCRIPTION_ID is not set" in problem.rule


def test_google_tells_limit_and_use_of_regional_and_global_quotas() -> None:
    region = {"quotas": [{"metric": "NVIDIA_H100_GPUS", "limit": 16, "usage": 8}]}
    project = {"quotas": [{"metric": "GPUS_ALL_REGIONS", "limit": 64, "usage": 8}]}
    http = HttpMockSequence([({"status": "200"}, json.dumps(region)), ({"status": "200"}, json.dumps(project))])
    wanted = [
        need("gcp", "NVIDIA_H100_GPUS", unit="gpus", amount=16),
        Need("gcp", "us-central1", "compute", "GPUS_ALL_REGIONS", "", "gpus", "global", 16, ("train",)),
    ]
    limits = gcp.limits("us-central1", wanted, "p", http)
    assert limits == {"NVIDIA_H100_GPUS": Limit(16, 8), "GPUS_ALL_REGIONS": Limit(64, 8)}
    assert [finding.property for finding in compare(wanted, limits)] == ["quota.NVIDIA_H100_GPUS"]


def test_google_tells_newer_quotas_by_family() -> None:
    name = "GPUS-PER-GPU-FAMILY-per-project-region:NVIDIA_H200"
    answer = {
        "dimensionsInfos": [
            {"dimensions": {"gpu_family": "NVIDIA_B200", "region": "us-east-1"}, "details": {"value": "1"}},
            {"dimensions": {"gpu_family": "NVIDIA_H200"}, "details": {"value": "4"}},
            {"dimensions": {"gpu_family": "NVIDIA_H200", "region": "us-east-1"}, "details": {"value": "32"}},
        ]
    }
    http = HttpMockSequence([({"status": "200"}, json.dumps(answer))])
    wanted = [need("gcp", name, "compute.googleapis.com", "gpus", 16)]
    assert gcp.limits("us-east-1", wanted, "p", http) == {name: Limit(32.0, None)}


AZURE = "https://management.azure.com/subscriptions/sub"


class Credential:
    """A double of a login."""

    def get_token(self, *_: Any, **__: Any) -> AccessToken:
        return AccessToken("token", 2**40)


@responses.activate
def test_azure_tells_limit_and_use_however_the_name_is_spelt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(azure.SUBSCRIPTION, "sub")
    usage = {"name": {"value": "Standard NDSH100_v5 Family"}, "limit": 960, "currentValue": 96, "unit": "Count"}
    responses.get(f"{AZURE}/providers/Microsoft.Compute/locations/eastus/usages", json={"value": [usage]})
    limits = azure.limits("eastus", [need("azure", "standardNDSH100v5Family")], credential=Credential())
    assert limits == {"standardNDSH100v5Family": Limit(960.0, 96.0)}
    assert compare([need("azure", "standardNDSH100v5Family")], limits) == []
