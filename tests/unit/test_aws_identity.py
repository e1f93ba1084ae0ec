"""Who may do what on AWS: policies, keys and the reasons for each wildcard."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import accelstack.aws
import pulumi
import pytest
from accelstack.aws import keys, policies
from accelstack.aws.policies import Place, Statement, document

SOURCES = sorted(Path(accelstack.aws.__file__).parent.glob("*.py"))
PLACE = Place("aws", "amazonaws.com", "us-east-1", "123456789012")
BUCKET, KEY = "arn:aws:s3:::lab-data", "arn:aws:kms:us-east-1:123456789012:key/1"
WRITTEN = {
    "autoscaling.py": ["Groups", "NodeGroups", "Resize"],
    "karpenter.py": ["End", "Images", "Make", "Prices", "Profiles", "Read", "TagNew", "TagNodes", "Template", "Use"],
    "keys.py": ["Account", "Autoscaling", "AutoscalingGrants", "Ec2", "Logs", "Lustre", "{service}"],
    "policies.py": ["Describe", "Interfaces", "Logs", "Metrics", "RegistryLogin"],
    "shared_files.py": ["Clients"],
}
"""Statements that allow a wildcard, each with its reason in the code: a new one is added here by whoever reviews it."""


def statements(source: Path) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Statement":
            yield node


def reason(call: ast.Call) -> ast.expr | None:
    named = [each.value for each in call.keywords if each.arg == "reason"]
    return next(iter([*named, *call.args[5:6]]), None)


def parsed(found: list[Statement]) -> list[dict[str, Any]]:
    return json.loads(document(found))["Statement"]


def test_every_wildcard_is_on_the_written_list() -> None:
    found = {
        source.name: sorted(
            str(each.args[0].value) if isinstance(each.args[0], ast.Constant) else "{service}"
            for each in statements(source)
            if reason(each)
        )
        for source in SOURCES
    }
    assert {name: sids for name, sids in found.items() if sids} == WRITTEN


def test_every_policy_is_made_where_wildcards_are_refused() -> None:
    assert [source.name for source in SOURCES if "2012-10-17" in source.read_text()] == ["policies.py"]


@pytest.mark.parametrize(
    "open_",
    [
        Statement("A", ["s3:*"], [BUCKET]),
        Statement("A", ["s3:GetObject"], ["*"]),
        Statement("A", ["s3:GetObject"], ["arn:aws:s3:::*/data"]),
        Statement("A", ["ec2:DeleteNetworkInterface"], [PLACE.arn("ec2", "network-interface/*")]),
        Statement("A", ["kms:Decrypt"], [KEY], principals={"AWS": ["*"]}),
    ],
    ids=["action", "resource", "any-bucket", "any-of-a-kind", "anybody"],
)
def test_a_wildcard_needs_a_reason(open_: Statement) -> None:
    with pytest.raises(ValueError, match="a wildcard without a reason"):
        document([open_])


def test_objects_of_a_bucket_streams_of_a_log_group_and_refusals_need_none() -> None:
    bounded = [f"{BUCKET}/runs/*", "arn:aws:logs:us-east-1:123456789012:log-group:flow:*"]
    assert parsed([Statement("A", ["s3:GetObject"], bounded)])
    assert parsed([Statement("A", ["s3:*"], ["*"], {"AWS": ["*"]}, deny=True)])[0]["Effect"] == "Deny"


def test_reading_a_prefix_neither_writes_nor_reaches_other_prefixes() -> None:
    _, objects = parsed(policies.bucket_access(BUCKET, ["data/", "models/"], write=False))
    assert objects["Action"] == "s3:GetObject"
    assert objects["Resource"] == [f"{BUCKET}/data/*", f"{BUCKET}/models/*"]


def test_a_role_is_for_one_account_or_one_service_account() -> None:
    (service,) = parsed(policies.service_trust("sagemaker.amazonaws.com", "123456789012"))
    assert service["Condition"] == {"StringEquals": {"aws:SourceAccount": "123456789012"}}
    cluster = PLACE.arn("eks", "cluster/lab")
    (pod,) = parsed(policies.pod_trust(cluster, "jobs", "trainer"))
    tags = {"eks-cluster-arn": cluster, "kubernetes-namespace": "jobs", "kubernetes-service-account": "trainer"}
    assert pod["Condition"] == {"StringEquals": {f"aws:RequestTag/{name}": value for name, value in tags.items()}}


def test_sagemaker_reaches_its_own_data_and_network_alone() -> None:
    made = parsed(
        [
            *policies.sagemaker_execution(PLACE, BUCKET, KEY, [PLACE.arn("ecr", "repository/lab")]),
            *policies.sagemaker_network(PLACE, ["subnet-1"], ["sg-1"]),
        ]
    )
    by_sid = {each["Sid"]: each for each in made}
    assert by_sid["Objects"]["Resource"] == f"{BUCKET}/*"
    assert by_sid["Key"]["Resource"] == KEY
    assert by_sid["Attach"]["Resource"] == [
        PLACE.arn("ec2", "subnet/subnet-1"),
        PLACE.arn("ec2", "security-group/sg-1"),
    ]
    assert by_sid["Metrics"]["Condition"]
    assert not [each for each in made if "iam:PassRole" in each["Action"]]


class TestKey:
    def test_is_open_to_nobody_but_the_account(self) -> None:
        (account,) = parsed(keys.key_policy(PLACE, []))
        assert account["Principal"] == {"AWS": "arn:aws:iam::123456789012:root"}

    @pytest.mark.parametrize("service", keys.SERVICES)
    def test_is_open_to_a_service_for_this_account_alone(self, service: str) -> None:
        _, *more = parsed(keys.key_policy(PLACE, [service]))
        assert more
        for added in more:
            assert "123456789012" in json.dumps(added["Condition"])
            assert "kms:*" not in added["Action"]

    def test_names_services_as_each_partition_does(self) -> None:
        china = Place("aws-cn", "amazonaws.com.cn", "cn-north-1", "123456789012")
        _, logs = parsed(keys.key_policy(china, ["logs"]))
        assert logs["Principal"] == {"Service": "logs.cn-north-1.amazonaws.com.cn"}
        assert "arn:aws-cn:logs" in json.dumps(logs["Condition"])

    def test_refuses_a_service_that_it_cannot_be_opened_to(self) -> None:
        with pytest.raises(pulumi.InputPropertyError) as refused:
            keys.Key("key", {"description": "Data", "services": ["logs", "log"]})
        assert refused.value.property_path == "services[1]"
        assert "did you mean logs?" in refused.value.reason
