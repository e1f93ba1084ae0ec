"""What the double refuses of a single resource: models, the grammar of policies, rules where the models are silent."""

from __future__ import annotations

import json
from typing import Any

import botocore.session
import pytest

from tests.engine.double import coverage, patterns, policies
from tests.engine.double.aws import facts, launch_rules
from tests.engine.double.types import Problem, Provider
from tests.engine.double.wire import UNKNOWN

AWS = Provider.load("aws")
VPC, SUBNET, KEY, ROLE = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:kms/key:Key", "aws:iam/role:Role"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "eks.amazonaws.com"}}],
}


def problems(token: str, **inputs: Any) -> list[Problem]:
    """What Check says of a resource."""
    return list(AWS.types[token].problems(inputs))


@pytest.mark.parametrize(
    ("token", "inputs", "path", "reason"),
    [
        (KEY, {"keyUsage": "READ"}, "keyUsage", "is one of SIGN_VERIFY, ENCRYPT_DECRYPT"),
        (KEY, {"description": 3}, "description", "is a string, not 3"),
        (KEY, {"tags": {"": "x"}}, 'tags[""]', "has 1 to 128 characters"),
        (KEY, {"deletionWindowInDays": 366}, "deletionWindowInDays", "is between 1 and 365"),
        (KEY, {"policy": "{"}, "policy", "is not JSON"),
        (ROLE, {"name": "a b", "assumeRolePolicy": json.dumps(TRUST)}, "name", "must match"),
        (ROLE, {"name": "a"}, "assumeRolePolicy", "AssumeRolePolicyDocument is required"),
        (VPC, {"cidrBlock": "10.0.0.0/16", "colour": "red"}, "colour", "no map says"),
        (VPC, {"cidrBlock": "10.0.0.0/8"}, "cidrBlock", "/16 to a /28"),
        (VPC, {"enableDnsSupport": "yes"}, "enableDnsSupport", "is true or false"),
        (SUBNET, {"vpcId": "vpc-1", "availabilityZone": "use1-az1"}, "availabilityZone", "zone's id"),
        (
            "aws:ec2/securityGroup:SecurityGroup",
            {"description": "d", "name": "n", "ingress": [{"protocol": "tcp", "port": 1}]},
            "ingress[0].port",
            "IpPermission has no member port",
        ),
        (
            "aws:ec2/launchTemplate:LaunchTemplate",
            {"name": "lt", "metadataOptions": {"httpTokens": "must"}},
            "metadataOptions.httpTokens",
            "is one of optional, required",
        ),
    ],
)
def test_what_aws_would_refuse_is_refused_by_name(token: str, inputs: dict[str, Any], path: str, reason: str) -> None:
    found = problems(token, **inputs)

    assert [one.path for one in found] == [path]
    assert reason in found[0].reason


def test_what_a_preview_cannot_know_is_not_judged_but_counts_as_given() -> None:
    assert problems(ROLE, name=UNKNOWN, assumeRolePolicy=UNKNOWN) == []
    assert problems(SUBNET, vpcId=UNKNOWN, cidrBlock=UNKNOWN, tags={"a": UNKNOWN}) == []


def test_maps_name_only_what_the_sdk_has() -> None:
    assert coverage.misnamed(AWS) == {}


def test_patterns_that_cannot_be_used_are_known_and_few() -> None:
    session = botocore.session.get_session()
    operations = [call.operation.split(".")[0] for type_ in AWS.types.values() for call in type_.calls]
    found = {
        f"{service}.{name}"
        for service in sorted(set(operations) | {"sagemaker"})
        for model in [session.get_service_model(service)]
        for name in model.shape_names
        if (pattern := model.shape_for(name).metadata.get("pattern")) and patterns.compiled(pattern) is None
    }

    assert found == {
        "sagemaker.CustomerMetadataKey",
        "sagemaker.CustomerMetadataValue",
    }  # `…)${1,128}`: nothing matches


@pytest.mark.parametrize(
    ("pattern", "fits", "does_not"),
    [
        (r"[\w+=,.@-]+", "a-role", "a role"),
        (r"^arn:aws", "arn:aws:s3:::x", "x arn:aws"),
        (r"[\p{L}\p{Z}\p{N}_.:/=+\-@]*", "Größe 1", "a;b"),
        (r"^(?![^:\\]*/action/|(?i).*<script>.*</script>.*)[^:\\]+$", "monthly", "a <SCRIPT>x</script>"),
    ],
)
def test_patterns_read_as_in_java(pattern: str, fits: str, does_not: str) -> None:
    assert patterns.matches(pattern, fits)
    assert not patterns.matches(pattern, does_not)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"Effect": "Permit"}, "Effect is Allow or Deny"),
        ({"Action": "s4:GetObject"}, "no action of a known service"),
        ({"Action": "GetObject"}, "no action of a known service"),
        ({"Resource": "my-bucket"}, "neither an ARN nor *"),
        ({"Principal": "*"}, "names a principal"),
        ({"Conditions": {}}, "there is no ['Conditions']"),
        ({"Condition": {"StringMatches": {"aws:SourceArn": "x"}}}, "no condition operator StringMatches"),
        ({"NotAction": "s3:*"}, "one of Action and NotAction"),
    ],
)
def test_policies_have_a_grammar(change: dict[str, Any], reason: str) -> None:
    statement = {"Effect": "Allow", "Action": ["s3:GetObject", "eks-auth:*"], "Resource": "arn:aws:s3:::b/*"}
    right: dict[str, Any] = {"Version": "2012-10-17", "Statement": [statement]}

    assert list(policies.identity(json.dumps(right))) == []
    found = list(policies.identity({**right, "Statement": [{**statement, **change}]}))
    assert any(reason in one for one in found), found


def test_zones_agree_with_what_moto_knows_of_offers() -> None:
    for region in facts.ZONES:
        assert set(facts.offered(region)) <= set(facts.zone_ids(region).values()), region


P5 = [{"networkCardIndex": 0, "deviceIndex": 0, "interfaceType": "interface"}] + [
    {"networkCardIndex": card, "deviceIndex": int(card == 0), "interfaceType": "efa-only"} for card in range(32)
]


@pytest.mark.parametrize(
    ("interfaces", "machine", "reason"),
    [
        (P5, "p5.48xlarge", ""),
        (P5, "p5en.48xlarge", "no network card 16"),
        (P5[:2], "g6.xlarge", "takes 0 EFA interfaces"),
        (P5[:2], "g6.8xlarge", ""),
        (P5[:2], "p6-b300.48xlarge", "card 0 of p6-b300.48xlarge takes no efa-only"),
        ([*P5, {**P5[1], "deviceIndex": 2}], "p5.48xlarge", "one EFA interface, card 0 has 2"),
    ],
)
def test_interfaces_fit_the_machines_cards(interfaces: list[dict[str, Any]], machine: str, reason: str) -> None:
    found = list(launch_rules.layout(interfaces, machine))

    assert any(reason in one for one in found) if reason else not found, found


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"vpcSecurityGroupIds": ["sg-1"]}, "security groups go inside each interface"),
        ({"networkInterfaces": P5[1:]}, "there is no primary interface"),
        ({"networkInterfaces": [*P5, P5[0]]}, "card 0 has device 0 2 times"),
        ({"networkInterfaces": [{"deviceIndex": 0, "interfaceType": "efa-only"}]}, "cannot be efa-only"),
        ({"networkInterfaces": [P5[0], {**P5[1], "ipv4AddressCount": 4}]}, "takes no addresses"),
        ({"userData": "not base64!"}, "it is not base64"),
        ({"instanceMarketOptions": {"marketType": "capacity-block"}}, "needs the block's reservation"),
    ],
)
def test_launch_templates_hold_together(change: dict[str, Any], reason: str) -> None:
    found = problems("aws:ec2/launchTemplate:LaunchTemplate", **{"name": "lt", "networkInterfaces": P5, **change})

    assert any(reason in one.reason for one in found), found
    assert problems("aws:ec2/launchTemplate:LaunchTemplate", name="lt", networkInterfaces=P5) == []
