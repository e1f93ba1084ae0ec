"""Pools that Karpenter works: the manifests, and what its controller may do."""

import json
from typing import Any

import pulumi
import pytest
import yaml
from accelstack.aws import in_cluster, karpenter, karpenter_pool
from accelstack.aws.karpenter_pool import (
    KarpenterPool,
    KarpenterPoolArgs,
    node_class,
    node_class_spec,
    node_overlays,
    node_pool,
)
from accelstack.aws.policies import Place, document
from accelstack.plan.pool import PoolPlan
from syrupy.assertion import SnapshotAssertion

from tests.unit.test_aws_node_pool import RESERVATION, args, decide

HERE = Place("aws", "amazonaws.com", "us-east-1", "123456789012")
VERSIONS = {"cluster_autoscaler": "9.59.0", "device_plugin": "0.20.0", "efa_device_plugin": "0.5.30"}


def manifests(pool: PoolPlan, placement_group: str | None = None) -> list[dict[str, Any]]:
    spec = node_class_spec(
        pool,
        ["subnet-a"],
        ["sg-cluster", "sg-efa"],
        "nodes",
        "arn:aws:kms:us-east-1:123456789012:key/k",
        placement_group,
        root_gib=200,
        max_pods=32,
        tags={"team": "vision"},
    )
    return [node_class(pool, spec), node_pool(pool), *node_overlays(pool)]


@pytest.mark.parametrize(
    ("words", "group"),
    [
        ({"accelerator": "H100:8", "nodes": 4, "zones": ["use1-az6"]}, "train-1"),
        ({"accelerator": "L4:1", "nodes": 8, "capacity": "spot", "zones": ["use1-az1", "use1-az2"]}, None),
        (
            {
                "accelerator": "H200:8",
                "machine": "p5en.48xlarge",
                "nodes": 2,
                "capacity": "block",
                "reservation": RESERVATION,
                "zones": ["use1-az6"],
            },
            None,
        ),
        ({"accelerator": "cpu:4", "nodes": 3, "architecture": "arm64"}, None),
    ],
    ids=["efa", "spot", "block", "cpu"],
)
def test_manifests(snapshot: SnapshotAssertion, words: dict[str, Any], group: str | None) -> None:
    made = manifests(decide(**{"min_nodes": 0, **words}), group)
    assert yaml.safe_dump_all(made, sort_keys=False) == snapshot


class TestFabric:
    def test_every_efa_interface_is_asked_for(self) -> None:
        spec = manifests(decide(accelerator="H100:8", nodes=4, min_nodes=0))[0]["spec"]
        kinds = [each["interfaceType"] for each in spec["networkInterfaces"]]
        assert (kinds.count("interface"), kinds.count("efa-only")) == (1, 32)

    def test_karpenter_hears_of_huge_pages_and_works_efa_out_itself(self) -> None:
        (overlay,) = node_overlays(decide(accelerator="H100:8", nodes=4, min_nodes=0))
        assert overlay["spec"]["capacity"] == {"hugepages-2Mi": "5120Mi"}
        assert node_overlays(decide(accelerator="L4:1", min_nodes=0)) == []

    def test_a_reservation_gets_no_placement_group(self) -> None:
        words = {"capacity": "reservation", "reservation": RESERVATION, "zones": ["use1-az6"]}
        spec = manifests(decide(accelerator="H100:8", nodes=4, min_nodes=0, **words))[0]["spec"]
        assert "placementGroupSelector" not in spec
        assert spec["capacityReservationSelectorTerms"] == [{"id": RESERVATION}]


class TestDisruption:
    def test_nodes_that_train_end_only_when_they_are_empty(self) -> None:
        spec = node_pool(decide(accelerator="H100:8", nodes=4, min_nodes=0))["spec"]
        allowed = {reason: each["nodes"] for each in spec["disruption"]["budgets"] for reason in each["reasons"]}
        assert allowed == {"Empty": "100%", "Drifted": "0", "Underutilized": "0"}
        assert spec["disruption"]["consolidationPolicy"] == "WhenEmpty"
        assert spec["template"]["spec"]["expireAfter"] == "Never"

    def test_a_pool_has_no_more_accelerators_than_its_nodes(self) -> None:
        assert node_pool(decide(accelerator="H100:8", nodes=4, min_nodes=0))["spec"]["limits"] == {
            "nvidia.com/gpu": "32"
        }


def test_nodes_that_are_to_stay_are_refused() -> None:
    given: KarpenterPoolArgs = {**args(accelerator="L4:1", nodes=2), "instance_profile": "nodes", "key_arn": "arn"}
    with pytest.raises(pulumi.InputPropertyError, match="set it to 0") as caught:
        KarpenterPool("serve", given)
    assert caught.value.property_path == "min_nodes"


class TestPermissions:
    STATEMENTS = karpenter.permissions(HERE, "main", "arn:role", "arn:profile", "arn:queue", "arn:key")

    def test_it_fits_into_a_role(self) -> None:
        text = document(self.STATEMENTS)
        assert len(text.replace(" ", "")) <= 10_240  # IAM's limit for a role's inline policies, without blanks

    def test_what_it_ends_and_tags_is_its_own_clusters(self) -> None:
        tag, bound = (
            "kubernetes.io/cluster/main",
            {"ec2:TerminateInstances", "ec2:DeleteLaunchTemplate", "ec2:CreateTags"},
        )
        found = [statement for statement in self.STATEMENTS if bound & {*statement.actions}]
        assert bound <= {action for statement in found for action in statement.actions}
        assert all(tag in json.dumps(statement.conditions) for statement in found)

    def test_it_makes_no_identities(self) -> None:
        actions = {action for statement in self.STATEMENTS for action in statement.actions}
        assert {each for each in actions if each.startswith("iam:")} == {
            "iam:GetInstanceProfile",
            "iam:ListInstanceProfiles",
            "iam:PassRole",
        }

    def test_only_its_rule_sends_to_the_queue(self) -> None:
        allowed = [each for each in karpenter.queue_policy("arn:queue", "arn:rule") if not each.deny]
        assert [each.conditions for each in allowed] == [{"ArnEquals": {"aws:SourceArn": ["arn:rule"]}}]


class TestCharts:
    def test_device_plugins_run_whatever_taints_a_node_has(self) -> None:
        charts = in_cluster.device_plugins([decide(accelerator="H100:8", nodes=4)], VERSIONS)
        assert [each["name"] for each in charts] == ["nvidia-device-plugin", "aws-efa-k8s-device-plugin"]
        assert all(each["values"]["tolerations"] == [{"operator": "Exists"}] for each in charts)

    def test_the_efa_plugin_knows_the_pools_machines(self) -> None:
        _, efa = in_cluster.device_plugins([decide(accelerator="H100:8", nodes=4)], VERSIONS)
        assert efa["values"]["supportedInstanceLabels"]["values"] == ["p5.48xlarge"]

    def test_pools_without_devices_need_no_plugins(self) -> None:
        assert in_cluster.device_plugins([decide(accelerator="cpu:4")], VERSIONS) == []

    def test_the_autoscaler_has_kubernetes_own_version(self) -> None:
        chart = in_cluster.cluster_autoscaler(
            "main", "us-east-1", "cluster-autoscaler", {**VERSIONS, "kubernetes": "1.35"}
        )
        assert chart["values"]["image"] == {"tag": "v1.35.2"}

    def test_karpenter_takes_pools_with_huge_pages(self) -> None:
        chart = in_cluster.karpenter("main", "queue", "karpenter", "1.14.1")
        assert chart["values"]["settings"]["featureGates"]["nodeOverlay"] is True


def test_capacity_words_cover_what_aws_sells() -> None:
    assert {*karpenter_pool.CAPACITY} == {"on_demand", "spot", "reservation", "block"}
