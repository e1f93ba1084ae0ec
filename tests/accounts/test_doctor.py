"""What each cloud's doctor says of recorded accounts: well, wrong with the command that mends it, or not seen."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
import responses
from accelstack.aws import doctor as aws
from accelstack.azure import doctor as azure
from accelstack.azure.account import SUBSCRIPTION
from accelstack.checks import Check, State, reachable
from accelstack.cli import checking
from accelstack.gcp import doctor as gcp
from accelstack.plan.plan import plan
from accelstack.plan.pool import PoolPlan
from botocore.exceptions import ClientError, EndpointConnectionError
from googleapiclient.http import HttpMockSequence
from moto import mock_aws

from tests.accounts.test_quota import AZURE, Credential


def pools(target: str, region: str, accelerator: str, **more: Any) -> tuple[PoolPlan, ...]:
    """The one pool of a plan."""
    return plan({"target": target, "region": region, "accelerator": accelerator, **more}).pools[:1]


def states(found: list[Check]) -> dict[str, State]:
    return {check.name: check.state for check in found}


def fixes(found: list[Check]) -> dict[str, str]:
    return {check.name: check.fix for check in found}


@pytest.fixture(autouse=True)
def no_programs(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account's checks alone: what is installed here differs from machine to machine."""
    if "programs" not in request.node.name:
        monkeypatch.setattr(aws, "PROGRAMS", ())


def test_aws_says_what_the_programs_that_are_not_there_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = tmp_path / "aws"
    there.write_text("#!/bin/sh\n")
    there.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = aws.programs()
    assert states(found) == {"aws": State.OK, "docker": State.UNCHECKED}
    assert fixes(found)["docker"] == "install Docker, or set image to one by digest"


@pytest.fixture
def amazon(monkeypatch: pytest.MonkeyPatch) -> Iterator[boto3.Session]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.setenv(name, "testing")
    unsimulated = Check("permissions", State.UNCHECKED, "moto cannot simulate policies")
    monkeypatch.setattr(aws, "_permissions", lambda *_: unsimulated)
    with mock_aws():
        yield boto3.Session(region_name="us-east-1")


def test_aws_without_credentials_checks_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_PROFILE", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nowhere")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere")
    first, *rest = aws.checks("us-east-1", pools("aws", "us-east-1", "H100:8", capacity="spot"), "mine")
    assert (first.state, first.fix) == (State.FAILED, "aws configure sso, or set AWS_PROFILE")
    assert {check.state for check in rest} == {State.UNCHECKED}


def test_aws_tells_what_is_well_and_what_is_missing(amazon: boto3.Session) -> None:
    found = aws.checks("us-east-1", pools("aws", "us-east-1", "H100:8", capacity="spot"), "mine", amazon)
    assert states(found) == {
        "credentials": State.OK,
        "permissions": State.UNCHECKED,
        "region": State.OK,
        "machine types": State.OK,
        "spot role": State.FAILED,
        "cluster API": State.UNCHECKED,
    }
    assert fixes(found)["spot role"] == "aws iam create-service-linked-role --aws-service-name spot.amazonaws.com"


def test_aws_tells_a_machine_that_the_region_does_not_have(amazon: boto3.Session) -> None:
    other = boto3.Session(region_name="eu-west-3")
    found = aws.checks("eu-west-3", pools("aws", "us-east-1", "B300:8"), "mine", other)
    assert states(found)["machine types"] is State.FAILED


class Answers:
    """A double of boto3.Session whose only client answers or raises what it was told."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers

    def client(self, _: str, **__: Any) -> Any:
        return self

    def __getattr__(self, name: str) -> Any:
        answer = self.answers[name]

        def call(**_: Any) -> Any:
            if isinstance(answer, Exception):
                raise answer
            return answer

        return call


def test_aws_names_each_action_that_is_denied() -> None:
    arn = "arn:aws:sts::123456789012:assumed-role/dev/me"
    results = [{"EvalActionName": name, "EvalDecision": "allowed"} for name in aws.ACTIONS]
    results[0]["EvalDecision"] = "implicitDeny"
    missing = ClientError({"Error": {"Code": "ResourceNotFoundException", "Message": "no"}}, "DescribeCluster")
    session = Answers(
        get_caller_identity={"Account": "123456789012", "Arn": arn},
        simulate_principal_policy={"EvaluationResults": results},
        describe_regions={"Regions": [{"OptInStatus": "not-opted-in"}]},
        describe_cluster=missing,
    )
    found = aws.checks("ap-east-1", [], "mine", session)
    assert states(found)["permissions"] is State.FAILED
    assert "role/dev may not: ec2:CreateVpc" in next(check.detail for check in found if check.name == "permissions")
    assert fixes(found)["region"] == "aws account enable-region --region-name ap-east-1"


def test_aws_offline_says_so() -> None:
    session = Answers(get_caller_identity=EndpointConnectionError(endpoint_url="https://sts.amazonaws.com"))
    found = aws.checks("us-east-1", [], "mine", session)
    assert {check.state for check in found} == {State.UNCHECKED}
    assert "cannot be reached" in found[0].detail


def google(*answers: tuple[int, Any]) -> HttpMockSequence:
    return HttpMockSequence([({"status": str(status)}, json.dumps(body)) for status, body in answers])


MEGA = pools("gcp", "us-central1", "H100:8", fabric="tcpxo", zones="us-central1-a", nodes=2)


def test_google_tells_what_is_well_and_what_is_missing() -> None:
    on = {"services": [{"name": f"projects/1/services/{api}", "state": "ENABLED"} for api in gcp.APIS]}
    on["services"][3]["state"] = "DISABLED"
    http = google(
        (200, {"projectId": "p"}),
        (200, on),
        (200, {"permissions": list(gcp.PERMISSIONS[1:])}),
        (200, {"items": [{"name": "a3-megagpu-8g"}]}),
        (404, {"error": {"code": 404, "message": "not found"}}),
    )
    found = gcp.checks(
        "us-central1", [*MEGA, *pools("gcp", "us-central1", "L4:1", zones="us-central1-a")], "mine", "p", http
    )
    assert states(found) == {
        "credentials": State.OK,
        "APIs": State.FAILED,
        "permissions": State.FAILED,
        "machine types": State.FAILED,
        "cluster API": State.UNCHECKED,
    }
    assert fixes(found)["APIs"] == "gcloud services enable container.googleapis.com"
    assert gcp.PERMISSIONS[0] in next(check.detail for check in found if check.name == "permissions")


def test_google_that_may_not_be_read_is_not_checked() -> None:
    denied = (403, {"error": {"code": 403, "message": "denied"}})
    found = gcp.checks("us-central1", MEGA, "mine", "p", google(*[denied] * 5))
    assert [check.state for check in found[1:]] == [State.UNCHECKED] * 4


def test_google_with_a_login_that_is_over_names_the_login() -> None:
    expired = (401, {"error": {"code": 401, "message": "expired"}})
    first, *rest = gcp.checks("us-central1", MEGA, "mine", "p", google(expired))
    assert (first.state, first.fix) == (State.FAILED, "gcloud auth application-default login")
    assert {check.state for check in rest} == {State.UNCHECKED}


def test_a_cluster_that_answers_is_told_and_one_that_is_being_made_is_not_checked() -> None:
    on = {"services": [{"name": api, "state": "ENABLED"} for api in gcp.APIS]}
    well = [(200, {}), (200, on), (200, {"permissions": list(gcp.PERMISSIONS)}), (200, {"items": []})]
    found = gcp.checks("us-central1", MEGA, "mine", "p", google(*well, (200, {"status": "PROVISIONING"})))
    assert (found[-1].state, found[-1].detail) == (State.UNCHECKED, "mine is PROVISIONING")
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert reachable("cluster API", "127.0.0.1", port, "x").state is State.OK
    assert reachable("cluster API", "127.0.0.1", port, "run inside").fix == "run inside"


def test_google_without_credentials_names_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", "/nowhere.json")
    first, *rest = gcp.checks("us-central1", [], "mine")
    assert (first.state, first.fix) == (State.FAILED, "gcloud auth application-default login")
    assert {check.state for check in rest} == {State.UNCHECKED}


def test_azure_needs_a_subscription(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(SUBSCRIPTION, raising=False)
    first, *rest = azure.checks("eastus", [], "mine")
    assert first.state is State.FAILED
    assert "az account show" in first.fix
    assert {check.state for check in rest} == {State.UNCHECKED}


@responses.activate
def test_azure_tells_what_is_well_and_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SUBSCRIPTION, "sub")
    responses.get(AZURE, json={"displayName": "research"})
    for name in azure.PROVIDERS:
        state = "NotRegistered" if name == "Microsoft.ContainerService" else "Registered"
        responses.get(f"{AZURE}/providers/{name}", json={"registrationState": state})
    granted = {"value": [{"actions": ["*"], "notActions": ["Microsoft.Authorization/*/write"]}]}
    responses.get(f"{AZURE}/providers/Microsoft.Authorization/permissions", json=granted)
    closed = {"type": "Location", "reasonCode": "NotAvailableForSubscription", "values": ["eastus"]}
    skus = [{"name": "Standard_ND96isr_H100_v5", "resourceType": "virtualMachines", "restrictions": [closed]}]
    responses.get(f"{AZURE}/providers/Microsoft.Compute/skus", json={"value": skus})
    feature = "/providers/Microsoft.Features/providers/Microsoft.ContainerService/features/AKSInfinibandSupport"
    responses.get(f"{AZURE}{feature}", json={"properties": {"state": "NotRegistered"}})
    cluster = "/resourceGroups/mine/providers/Microsoft.ContainerService/managedClusters/mine"
    responses.get(f"{AZURE}{cluster}", status=404, json={"error": {"code": "ResourceNotFound"}})
    found = azure.checks("eastus", pools("azure", "eastus", "H100:8"), "mine", credential=Credential())
    assert states(found) == {
        "credentials": State.OK,
        "resource providers": State.FAILED,
        "permissions": State.FAILED,
        "machine types": State.FAILED,
        "InfiniBand": State.FAILED,
        "cluster API": State.UNCHECKED,
    }
    assert fixes(found)["resource providers"] == "az provider register --namespace Microsoft.ContainerService"
    assert "Microsoft.Authorization/roleAssignments/write" in found[2].detail
    assert fixes(found)["InfiniBand"].startswith("az feature register")


@responses.activate
def test_azure_with_a_login_that_is_refused_names_the_login(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(SUBSCRIPTION, "sub")
    responses.get(AZURE, status=401, json={"error": {"code": "ExpiredAuthenticationToken", "message": "expired"}})
    first, *rest = azure.checks("eastus", [], "mine", credential=Credential())
    assert (first.state, first.fix) == (State.FAILED, "az login")
    assert {check.state for check in rest} == {State.UNCHECKED}


def test_the_command_counts_what_is_wrong(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.delenv(SUBSCRIPTION, raising=False)
    assert checking.doctor({"target": "azure", "region": "eastus", "accelerator": "cpu:4"}, as_json=True) == 1
    checks = json.loads(capsys.readouterr().out)
    assert checks[-1]["name"] == "quota"
    assert checks[-1]["state"] == "not checked"
