"""A cluster on AWS: what it refuses, who reaches it, and its add-ons."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from accelstack.aws import cluster_addons
from accelstack.aws.cluster import Cluster, ClusterArgs
from accelstack.aws.cluster_addons import ClusterAddons, NodeAddons
from accelstack.aws.policies import document

ANSWERS: dict[str, dict[str, Any]] = {
    "aws:index/getPartition:getPartition": {"partition": "aws", "dnsSuffix": "amazonaws.com"},
    "aws:index/getRegion:getRegion": {"region": "us-east-1"},
    "aws:index/getCallerIdentity:getCallerIdentity": {"accountId": "123456789012"},
    "aws:ec2/getVpc:getVpc": {"cidrBlock": "10.0.0.0/16"},
}


class Recorder(pulumi.runtime.Mocks):
    """Accepts everything, and remembers it."""

    def __init__(self) -> None:
        self.made: list[tuple[str, str, dict[str, Any]]] = []

    def new_resource(self, args: pulumi.runtime.MockResourceArgs) -> tuple[str, dict[str, Any]]:
        self.made.append((args.typ, args.name, dict(args.inputs)))
        outputs = {**args.inputs, "arn": f"arn:{args.name}"}
        if args.typ == "aws:eks/cluster:Cluster":
            outputs |= {
                "endpoint": "https://api",
                "certificateAuthority": {"data": "Q0E="},
                "identities": [{"oidcs": [{"issuer": "https://oidc/id/1"}]}],
                "vpcConfig": {**args.inputs["vpcConfig"], "clusterSecurityGroupId": "sg-1"},
            }
        return f"{args.name}-id", outputs

    def call(self, args: pulumi.runtime.MockCallArgs) -> dict[str, Any]:
        return ANSWERS[args.token]

    def inputs(self, kind: str) -> list[dict[str, Any]]:
        return [inputs for typ, _, inputs in self.made if typ.endswith(f":{kind}")]


@pytest.fixture
def recorder() -> Recorder:
    mocks = Recorder()
    asyncio.set_event_loop(asyncio.new_event_loop())
    pulumi.runtime.set_mocks(mocks, project="test", stack="dev", preview=False)
    return mocks


def run(program: Callable[[], Any]) -> Any:
    """What a program returns, with outputs in it resolved, once everything that it makes is made."""
    result: list[Any] = []

    @pulumi.runtime.test
    def within() -> Any:
        return pulumi.Output.from_input(program()).apply(result.append)

    within()
    return result[0]


def args(**more: Any) -> ClusterArgs:
    given: Any = {"version": "1.35", "vpc_id": "vpc-1", "subnet_ids": ["subnet-a", "subnet-b"], **more}
    return given


class TestRefusals:
    @pytest.mark.parametrize(
        ("given", "path", "said"),
        [
            ({"version": "1.35.2"}, "version", "1.35"),
            ({"version": "1.33"}, "version", "standard support"),
            ({"version": "1.20"}, "version", "kubernetes must be"),
            ({"log_days": 100}, "log_days", "100"),
            ({"subnet_ids": ["subnet-a"]}, "subnet_ids", "two zones"),
            ({"api_access": ["0.0.0.0/0"]}, "api_access[0]", "whole internet"),
            ({"api_access": ["198.51.100.0/24", "::/0"]}, "api_access[1]", "whole internet"),
            ({"api_access": ["office"]}, "api_access[0]", "no address range"),
            ({"admins": ["arn:aws:sts::123456789012:assumed-role/ci/run"]}, "admins[0]", "IAM role or user"),
        ],
    )
    def test_what_cannot_be_names_the_arg(self, given: dict[str, Any], path: str, said: str) -> None:
        with pytest.raises(pulumi.InputPropertyError, match=said) as caught:
            Cluster("main", args(**given))
        assert caught.value.property_path == path

    def test_addons_of_the_other_kind(self) -> None:
        with pytest.raises(pulumi.InputPropertyError, match="coredns"):
            NodeAddons("main", {"cluster": "c", "oidc_provider_arn": "arn", "versions": {"coredns": "v1"}})

    def test_unknown_drivers(self) -> None:
        with pytest.raises(pulumi.InputPropertyError, match="ebs"):
            ClusterAddons("main", {"cluster": "c", "drivers": ["ebz"]})


class TestAccess:
    def test_the_api_is_private_by_default(self, recorder: Recorder) -> None:
        run(lambda: Cluster("main", args()).name)
        (network,) = [each["vpcConfig"] for each in recorder.inputs("Cluster")]
        assert network["endpointPrivateAccess"] is True
        assert network["endpointPublicAccess"] is False
        assert [each["cidrIpv4"] for each in recorder.inputs("SecurityGroupIngressRule")] == ["10.0.0.0/16"]

    def test_public_ranges_open_a_public_endpoint_and_private_ones_the_private(self, recorder: Recorder) -> None:
        run(lambda: Cluster("main", args(api_access=["203.0.113.7/32", "10.9.0.0/16"])).name)
        (network,) = [each["vpcConfig"] for each in recorder.inputs("Cluster")]
        assert network["publicAccessCidrs"] == ["203.0.113.7/32"]
        ranges = {each["cidrIpv4"] for each in recorder.inputs("SecurityGroupIngressRule")}
        assert ranges == {"10.0.0.0/16", "10.9.0.0/16"}

    def test_admins_have_entries_by_what_they_are(self, recorder: Recorder) -> None:
        arns = [f"arn:aws:iam::123456789012:role/{each}" for each in ("ci", "ops")]
        run(lambda: Cluster("main", args(admins=[*arns, arns[0]])).name)
        assert sorted(each["principalArn"] for each in recorder.inputs("AccessEntry")) == arns
        (made,) = recorder.inputs("Cluster")
        assert made["accessConfig"]["authenticationMode"] == "API"

    def test_the_kubeconfig_is_secret_and_holds_no_credentials(self, recorder: Recorder) -> None:
        made: list[Cluster] = []

        def program() -> Any:
            made.append(Cluster("main", args()))
            return pulumi.Output.all(made[0].kubeconfig, made[0].kubeconfig.is_secret())

        text, secret = run(program)
        config = json.loads(text)
        assert secret
        (user,) = config["users"]
        assert [*user["user"]] == ["exec"]
        assert user["user"]["exec"]["args"][:4] == ["--region", "us-east-1", "eks", "get-token"]
        assert config["clusters"][0]["cluster"] == {"server": "https://api", "certificate-authority-data": "Q0E="}


class TestProtection:
    def test_secrets_and_logs_are_under_a_key(self, recorder: Recorder) -> None:
        run(lambda: Cluster("main", args()).name)
        (made,), (logs,) = recorder.inputs("Cluster"), recorder.inputs("LogGroup")
        assert made["encryptionConfig"]["resources"] == ["secrets"]
        assert made["encryptionConfig"]["provider"]["keyArn"] == logs["kmsKeyId"]
        assert len(made["enabledClusterLogTypes"]) == 5
        assert logs["name"] == f"/aws/eks/{made['name']}/cluster"
        assert logs["retentionInDays"] == 365

    def test_a_key_of_ones_own_is_used(self, recorder: Recorder) -> None:
        run(lambda: Cluster("main", args(key_arn="arn:mine")).name)
        assert recorder.inputs("Key") == []
        assert recorder.inputs("LogGroup")[0]["kmsKeyId"] == "arn:mine"

    @pytest.mark.parametrize("protect", [True, False])
    def test_deletion_is_as_asked(self, recorder: Recorder, protect: bool) -> None:
        run(lambda: Cluster("main", args(protect=protect)).name)
        assert recorder.inputs("Cluster")[0]["deletionProtection"] is protect


class TestAddons:
    def test_the_cni_gives_addresses_in_prefixes_and_keeps_network_policies(self, recorder: Recorder) -> None:
        run(lambda: NodeAddons("main", {"cluster": "c", "oidc_provider_arn": "arn:aws:iam::1:oidc-provider/x"}).cluster)
        cni = next(each for each in recorder.inputs("Addon") if each["addonName"] == "vpc-cni")
        settings = json.loads(cni["configurationValues"])
        assert settings["env"]["ENABLE_PREFIX_DELEGATION"] == "true"
        assert settings["enableNetworkPolicy"] == "true"
        assert cni["serviceAccountRoleArn"]

    def test_versions_are_awss_own_unless_fixed(self, recorder: Recorder) -> None:
        run(lambda: ClusterAddons("main", {"cluster": "c", "versions": {"coredns": "v1.12.4-eksbuild.1"}}).cluster)
        versions = {each["addonName"]: each.get("addonVersion") for each in recorder.inputs("Addon")}
        assert versions == {
            "coredns": "v1.12.4-eksbuild.1",
            "metrics-server": None,
            "aws-ebs-csi-driver": None,
            "aws-fsx-csi-driver": None,
        }

    def test_one_service_account_takes_the_cnis_role(self) -> None:
        trust = cluster_addons.web_identity_trust(
            "arn:aws:iam::123456789012:oidc-provider/oidc.eks.us-east-1.amazonaws.com/id/A", "kube-system", "aws-node"
        )
        (statement,) = json.loads(document(trust))["Statement"]
        assert statement["Condition"]["StringEquals"] == {
            "oidc.eks.us-east-1.amazonaws.com/id/A:sub": "system:serviceaccount:kube-system:aws-node",
            "oidc.eks.us-east-1.amazonaws.com/id/A:aud": "sts.amazonaws.com",
        }

    def test_volumes_under_a_key_need_its_use(self, recorder: Recorder) -> None:
        run(lambda: ClusterAddons("main", {"cluster": "c", "key_arn": "arn:key"}).cluster)
        (policy,) = recorder.inputs("RolePolicy")
        assert '"arn:key"' in policy["policy"]
