"""A namespace for workloads: what it allows, and what it does not."""

from __future__ import annotations

from typing import Any

import pulumi
import pytest
from accelstack.k8s.namespace import Namespace, contents, manifest, policies

from tests.unit.k8s_engine import run


class TestNamespace:
    def test_is_restricted_unless_said_otherwise(self) -> None:
        labels = manifest("team", {})["metadata"]["labels"]
        for mode in ("enforce", "warn", "audit"):
            assert labels[f"pod-security.kubernetes.io/{mode}"] == "restricted"
            assert labels[f"pod-security.kubernetes.io/{mode}-version"] == "latest"
        other = manifest("team", {"level": "privileged"})["metadata"]["labels"]
        assert other["pod-security.kubernetes.io/enforce"] == "privileged"

    def test_an_unknown_level_is_refused(self) -> None:
        with pytest.raises(pulumi.InputPropertyError, match="did you mean restricted") as caught:
            Namespace("team", {"level": "restrictd"})
        assert caught.value.property_path == "level"

    def test_its_account_has_no_token(self) -> None:
        account = contents("team", {"identity": {"iam.gke.io/gcp-service-account": "a@b"}})["account"]
        assert account["automountServiceAccountToken"] is False
        assert account["metadata"]["annotations"] == {"iam.gke.io/gcp-service-account": "a@b"}

    def test_quota_and_defaults_are_there_where_asked(self) -> None:
        assert not {"quota", "defaults"} & contents("team", {}).keys()
        found = contents("team", {"quota": {"requests.nvidia.com/gpu": "16"}, "defaults": {"cpu": "1"}})
        assert found["quota"]["spec"] == {"hard": {"requests.nvidia.com/gpu": "16"}}
        assert found["defaults"]["spec"]["limits"][0]["default"] == {"cpu": "1"}

    def test_makes_all_under_its_own_name(self) -> None:
        cluster, (namespace, account) = run(lambda: outputs(Namespace("team", {"registry_auth": "{}"})))
        assert (namespace, account) == ("team", "workload")
        assert [name for _, name, _ in cluster.made if name.startswith("team")] == [name for _, name, _ in cluster.made]
        assert all(each["metadata"]["namespace"] == "team" for each in cluster.objects("NetworkPolicy"))
        (account,) = cluster.objects("ServiceAccount")
        (secret,) = cluster.objects("Secret")
        assert account["imagePullSecrets"] == [{"name": secret["metadata"]["name"]}]


class TestNetwork:
    def spec(self, key: str, **args: Any) -> dict[str, Any]:
        given: Any = args
        return policies("team", given)[key]["spec"]

    def test_all_is_denied_but_names(self) -> None:
        assert policies("team", {}).keys() == {"deny", "dns"}
        assert self.spec("deny") == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
        (rule,) = self.spec("dns")["egress"]
        assert {(each["port"], each["protocol"]) for each in rule["ports"]} == {(53, "UDP"), (53, "TCP")}

    def test_pods_reach_each_other_where_they_work_together(self) -> None:
        spec = self.spec("internal", internal=True)
        assert spec["ingress"] == [{"from": [{"podSelector": {}}]}]
        assert spec["egress"] == [{"to": [{"podSelector": {}}]}]

    def test_other_namespaces_are_let_in_by_name(self) -> None:
        (rule,) = self.spec("in", reachable_from=["monitoring"])["ingress"]
        assert rule["from"] == [{"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "monitoring"}}}]

    def test_the_way_out_is_443_and_what_is_named(self) -> None:
        given: Any = {"egress": True, "egress_to": [{"cidr": "10.1.0.0/16", "ports": [9000]}], "reaches": ["models"]}
        rules = self.spec("out", **given)["egress"]
        ports = {port["port"] for rule in rules for port in rule.get("ports", [])}
        assert ports == {443, 9000}
        (anywhere,) = [rule for rule in rules if rule.get("ports") == [{"port": 443, "protocol": "TCP"}]]
        assert anywhere["to"][0]["ipBlock"] == {"cidr": "0.0.0.0/0", "except": ["169.254.0.0/16"]}


def outputs(made: Namespace) -> list[pulumi.Output[str]]:
    return [made.namespace, made.service_account]
