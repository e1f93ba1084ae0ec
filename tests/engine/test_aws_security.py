"""The security ids of AWS components hold for the default configuration: by checks of our own, and by checkov's.

Both read the inputs that the provider has accepted for two programs: the stack itself, and what a stack can have
instead or besides.
"""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import checkov
import pytest
from accelstack.aws import sagemaker_job_request

from tests.engine import aws_security as security
from tests.engine import checkov_plan, programs
from tests.engine.aws_security import CHECKS, Stack
from tests.engine.double.cloud import Resource

IMAGE = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/w@sha256:{'a' * 64}"
POOLS = '{"train": {"accelerator": "H100:8", "nodes": 4, "zones": ["use1-az1"]}}'
OTHERS = f"""
    from accelstack.aws import (
        Cluster, ImageRepository, InferenceService, Karpenter, ManagedAccess, Network, NodeAddons, ObjectStore
    )
    zones = ["use1-az1", "use1-az2"]
    network = Network("network", {{"cidr": "10.0.0.0/16", "zones": zones}})
    store = ObjectStore("store", {{}})
    images = ImageRepository("images", {{}})
    home = {{
        "vpc_id": network.vpc_id,
        "subnet_ids": pulumi.Output.all(*(network.private_subnet_ids[zone] for zone in zones)),
    }}
    access = ManagedAccess("managed", {{
        **home, "bucket_arn": store.arn, "key_arn": store.key_arn, "images": ["{IMAGE}"]
    }})
    InferenceService("inference", {{
        "region": "us-east-1", "accelerator": "L4:1", "role_arn": access.role_arn, "key_arn": store.key_arn,
        "subnet_ids": home["subnet_ids"], "security_group_ids": pulumi.Output.all(access.security_group_id),
        "image": "{IMAGE}", "max_replicas": 2,
        "model": {{
            "name": "m", "version": "1", "digest": "sha256:{"b" * 64}", "uri": pulumi.Output.concat(store.uri, "/m")
        }},
    }})
    cluster = Cluster("cluster", {{"version": "1.35", **home}})
    joined = NodeAddons("joined", {{"cluster": cluster.name, "oidc_provider_arn": cluster.oidc_provider_arn}})
    Karpenter("karpenter", {{"cluster": joined.cluster, "node_role_arn": cluster.node_role_arn}})
"""

WAIVERS = {
    ("CKV_AWS_18", "*-logs"): "a bucket that logged the delivery of its own logs would never stop",
    ("CKV_AWS_145", "*-logs"): "S3 delivers access logs to no bucket whose default encryption is a KMS key",
}
"""Where an id does not hold, by id and name, and why."""
ALWAYS = ("CKV_AWS_19",)
"""What checkov lets pass whatever a bucket says, since S3 encrypts everything by now."""
KNOWN = {
    ("CKV_AWS_144", "*"): "a second region is the user's choice (replica_region); logs stay where they are",
    ("CKV2_AWS_5", "managed"): "SageMaker's models and jobs have it, and the check does not know that they may",
    ("CKV2_AWS_62", "*"): "nothing consumes a bucket's events",
}
"""What else checkov says of the resources, by id and name, and why it stays."""

Change = Callable[[dict[str, Any]], object]


def sets(path: str, value: Any) -> Change:
    """Puts a value at a dotted path; `*` is every item of a list."""

    def change(inputs: Any) -> None:
        head, _, rest = path.partition(".")
        if head == "*":
            for each in inputs:
                sets(rest, value)(each)
        elif rest:
            sets(rest, value)(inputs[head])
        else:
            inputs[head] = value

    return change


def lacks(name: str) -> Change:
    return lambda inputs: inputs.pop(name)


def policy(name: str, **statement: Any) -> Change:
    return sets(name, json.dumps({"Statement": [{"Effect": "Allow", **statement}]}))


PODS = "pods.eks.amazonaws.com"
ANYTHING = (security.ROLE_POLICY, policy("policy", Action="*", Resource="*"))
ANYBODY = policy(
    "assumeRolePolicy", Action="sts:AssumeRole", Principal={"AWS": ["*", "arn:aws:iam::123456789012:root"]}
)
PUBLIC = (security.CLUSTER, sets("vpcConfig", {"endpointPublicAccess": True, "publicAccessCidrs": ["0.0.0.0/0"]}))
BREAKS: dict[str, tuple[str, Change]] = {
    "CKV_AWS_58": (security.CLUSTER, sets("encryptionConfig", {"resources": [], "provider": {"keyArn": ""}})),
    "CKV_AWS_37": (security.CLUSTER, sets("enabledClusterLogTypes", ["api", "audit"])),
    "CKV_AWS_158": (security.LOG_GROUP, lacks("kmsKeyId")),
    "CKV_AWS_338": (security.LOG_GROUP, sets("retentionInDays", 90)),
    "CKV_AWS_38": PUBLIC,
    "CKV_AWS_39": PUBLIC,
    "CKV_AWS_339": (security.CLUSTER, sets("version", "1.24")),
    "CKV_AWS_341": (security.TEMPLATE, sets("metadataOptions.httpPutResponseHopLimit", 2)),
    "CIS 4.1.7": (security.CLUSTER, sets("accessConfig.authenticationMode", "API_AND_CONFIG_MAP")),
    "CIS 5.2.1": (security.ADDON, sets("addonName", "kube-proxy")),
    "CKV_AWS_18": (security.BUCKET_LOGGING, sets("bucket", "another")),
    "CKV_AWS_19": (security.BUCKET_ENCRYPTION, sets("rules.*.applyServerSideEncryptionByDefault", {})),
    "CKV_AWS_21": (security.BUCKET_VERSIONS, sets("versioningConfiguration.status", "Suspended")),
    "CKV_AWS_53": (security.BUCKET_PRIVATE, sets("blockPublicAcls", False)),
    "CKV_AWS_54": (security.BUCKET_PRIVATE, sets("blockPublicPolicy", False)),
    "CKV_AWS_55": (security.BUCKET_PRIVATE, sets("ignorePublicAcls", False)),
    "CKV_AWS_56": (security.BUCKET_PRIVATE, sets("restrictPublicBuckets", False)),
    "CKV_AWS_145": (
        security.BUCKET_ENCRYPTION,
        sets("rules.*.applyServerSideEncryptionByDefault", {"sseAlgorithm": "AES256"}),
    ),
    "CKV_AWS_300": (security.BUCKET_LIFECYCLE, sets("rules", [{"id": "x", "status": "Enabled"}])),
    "CKV2_AWS_6": (security.BUCKET_PRIVATE, sets("bucket", "another")),
    "CKV2_AWS_61": (security.BUCKET_LIFECYCLE, sets("bucket", "another")),
    "CKV2_AWS_65": (security.BUCKET_OWNER, sets("rule.objectOwnership", "ObjectWriter")),
    "TLS-only policy": (security.BUCKET_POLICY, policy("policy", Action="s3:GetObject", Resource="*")),
    "CKV_AWS_190": (security.LUSTRE, lacks("kmsKeyId")),
    "CKV_AWS_98": (security.ENDPOINT, lacks("kmsKeyArn")),
    "CKV_AWS_370": (security.MODEL, sets("enableNetworkIsolation", False)),
    "CKV_AWS_60": (security.ROLE, ANYBODY),
    "CKV_AWS_61": (security.ROLE, ANYBODY),
    **dict.fromkeys((f"CKV_AWS_{number}" for number in (62, 63, 286, 287, 288, 289, 290, 355)), ANYTHING),
    "CKV_AWS_7": (security.KEY, sets("enableKeyRotation", False)),
    "CKV_AWS_33": (security.KEY, policy("policy", Action="kms:*", Resource="*", Principal="*")),
    "CKV_AWS_51": (security.REPOSITORY, sets("imageTagMutability", "MUTABLE")),
    "CKV_AWS_136": (security.REPOSITORY, sets("encryptionConfigurations", [{"encryptionType": "AES256"}])),
    "CKV_AWS_163": (security.REPOSITORY, sets("imageScanningConfiguration.scanOnPush", False)),
    "CKV2_AWS_11": (security.FLOW_LOG, sets("vpcId", "vpc-0")),
    "CKV2_AWS_12": (security.DEFAULT_GROUP, sets("ingress", [{"protocol": "-1", "self": True}])),
}
"""For each id, a type of resource and what must not be done to it."""
FURTHER = (
    ("CKV_AWS_39", security.SUBNET, sets("mapPublicIpOnLaunch", True)),
    ("CKV_AWS_39", security.TEMPLATE, sets("networkInterfaces", [{"associatePublicIpAddress": "true"}])),
    ("CKV_AWS_339", security.CLUSTER, sets("upgradePolicy.supportType", "EXTENDED")),
    ("CKV_AWS_341", security.TEMPLATE, sets("metadataOptions.httpTokens", "optional")),
    ("CIS 5.2.1", security.ROLE, policy("assumeRolePolicy", Principal={"Service": PODS}, Action="sts:AssumeRole")),
    (
        "CKV_AWS_145",
        security.BUCKET_ENCRYPTION,
        sets("rules.*.applyServerSideEncryptionByDefault", {"sseAlgorithm": "aws:kms"}),
    ),
    ("CKV_AWS_370", security.MODEL, sets("vpcConfig", {})),
    (
        "CKV_AWS_63",
        security.ROLE_POLICY,
        policy("policy", Action=["s3:GetObject", "s3:Put*"], Resource="arn:aws:s3:::b"),
    ),
    ("CKV_AWS_288", security.ROLE_POLICY, policy("policy", Action="s3:GetObject", Resource="arn:aws:s3:::*")),
    ("CKV_AWS_286", security.ROLE_POLICY, policy("policy", Action="iam:PassRole", Resource="*")),
)
"""More that breaks an id, which checkov does not look at or sees in the same way."""


@pytest.fixture(scope="module")
def stacks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Stack]:
    """The default stack with every kind of storage, and the rest: SageMaker and Karpenter."""
    found: dict[str, Stack] = {}
    folder = tmp_path_factory.mktemp("security")
    with programs.attached(folder / "stack", names=("aws", "docker-build", "kubernetes"), stacks=True) as program:
        program.configure(target="aws", region="us-east-1", image=IMAGE, pools=POOLS)
        program.configure(lustre_gib="1200", shared_files="true", replica_region="us-west-2")
        found["stack"] = made(program)
    with programs.attached(folder / "others") as program:
        program.configure(aws__region="us-east-1")
        program.write(OTHERS)
        found["others"] = made(program)
    return found


def made(program: programs.Program) -> Stack:
    run = program.up()
    assert run.ok, run.output
    return Stack(program.cloud.resources)


def broken(stack: Stack, *breaks: tuple[str, Change]) -> Stack:
    """A copy of a stack in which something is not as it should be."""
    resources: list[Resource] = []
    for one in stack.resources:
        inputs = copy.deepcopy(one.inputs)
        for token, change in breaks:
            if one.token == token:
                change(inputs)
        resources.append(replace(one, inputs=inputs))
    return Stack(resources)


def waived(table: Mapping[tuple[str, str], str], id_: str, name: str) -> bool:
    return any(id_ == known and fnmatchcase(name, pattern) for known, pattern in table)


class TestOwnChecks:
    @pytest.mark.parametrize("id_", CHECKS)
    def test_the_id_holds(self, id_: str, stacks: dict[str, Stack]) -> None:
        found = [each for stack in stacks.values() for each in CHECKS[id_](stack)]
        assert found
        assert [name for name, holds in found if not holds and not waived(WAIVERS, id_, name)] == []

    @pytest.mark.parametrize(("id_", "token", "change"), [*((id_, *BREAKS[id_]) for id_ in CHECKS), *FURTHER])
    def test_it_can_fail(self, id_: str, token: str, change: Change, stacks: dict[str, Stack]) -> None:
        found = [each for stack in stacks.values() for each in CHECKS[id_](broken(stack, (token, change)))]
        assert [name for name, holds in found if not holds and not waived(WAIVERS, id_, name)]

    def test_each_waiver_is_needed(self, stacks: dict[str, Stack]) -> None:
        failed = {
            (id_, name) for id_ in CHECKS for stack in stacks.values() for name, ok in CHECKS[id_](stack) if not ok
        }
        assert all(any(waived({key: ""}, *each) for each in failed) for key in WAIVERS)


def test_a_training_job_is_cut_off_and_its_storage_is_under_the_key() -> None:
    """What CKV_AWS_187 asks of notebooks, which no component makes, holds for the machines that train."""
    key = "arn:aws:kms:us-east-1:123456789012:key/1"
    names = (*sagemaker_job_request.IDENTITY, "code_digest", "role_arn")
    props = {**dict.fromkeys(names, "x"), "store": "s3://store", "nodes": 2, "max_hours": 1, "tags": {}, "image": IMAGE}
    props |= {"local_storage": False, "spot": True, "key_arn": key, "subnet_ids": ["s"], "security_group_ids": ["g"]}
    asked = sagemaker_job_request.request(props, 1, IMAGE)
    assert asked["ResourceConfig"]["VolumeKmsKeyId"] == asked["OutputDataConfig"]["KmsKeyId"] == key
    assert asked["EnableNetworkIsolation"]
    assert asked["EnableInterContainerTrafficEncryption"]
    assert asked["VpcConfig"] == {"Subnets": ["s"], "SecurityGroupIds": ["g"]}


class TestCheckov:
    """checkov itself, over the same resources as a Terraform plan; installed at first use."""

    def test_every_id_passes_and_what_else_it_says_is_known(self, stacks: dict[str, Stack], tmp_path: Path) -> None:
        passed, failed = scan(stacks, tmp_path / "plan.json")
        assert {id_ for id_ in CHECKS if id_.startswith("CKV")} - {id_ for id_, _ in passed} == set()
        assert sorted(each for each in failed if not waived(WAIVERS, *each) and not waived(KNOWN, *each)) == []
        assert all(any(waived({key: ""}, *each) for each in failed) for key in KNOWN)

    def test_it_sees_each_id_fail(self, stacks: dict[str, Stack], tmp_path: Path) -> None:
        ids = [id_ for id_ in CHECKS if id_.startswith("CKV") and id_ not in ALWAYS]
        breaks = dict.fromkeys(BREAKS[id_] for id_ in ids)
        _, failed = scan({name: broken(stack, *breaks) for name, stack in stacks.items()}, tmp_path / "plan.json")
        assert set(ids) - {id_ for id_, _ in failed} == set()


def scan(stacks: dict[str, Stack], path: Path) -> tuple[set[tuple[str, str]], set[tuple[str, str]]]:
    """What checkov finds to hold and not to hold, as ids with the names of resources."""
    path.write_text(json.dumps(checkov_plan.plan({name: stack.resources for name, stack in stacks.items()})))
    command = [checkov.installed(), "--file", path, "--framework", "terraform_plan", "--compact", "--output", "json"]
    result = subprocess.run([*command, "--skip-download"], capture_output=True, text=True, check=False)
    assert result.stdout.startswith("{"), result.stderr
    results = json.loads(result.stdout)["results"]
    assert results["parsing_errors"] == []
    return tuple(
        {(one["check_id"], one["resource"].partition("-")[2]) for one in results[kind]}
        for kind in ("passed_checks", "failed_checks")
    )
