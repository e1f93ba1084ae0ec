"""What a pool on AWS becomes: its launch template, sizes, and what the autoscaler knows of it at zero nodes."""

import base64
from collections import Counter
from email import message_from_string
from typing import Any, cast

import pulumi
import pytest
import yaml
from accelstack.aws import autoscaling, launch_template, node_pool, pools
from accelstack.plan.pool import PoolPlan
from pulumi_aws import ec2

RESERVATION = "cr-0123456789abcdef0"
ZONES = {zone: f"subnet-{zone}" for zone in ("use1-az1", "use1-az2", "use1-az4", "use1-az5", "use1-az6", "use1-az3")}
PREFIX = "k8s.io/cluster-autoscaler/node-template"


def args(**words: Any) -> pools.PoolArgs:
    given = {
        "region": "us-east-1",
        "version": "1.35",
        "vpc_id": "vpc-1",
        "subnet_ids": ZONES,
        "security_group_id": "sg-cluster",
    }
    return cast(pools.PoolArgs, {**given, **words})


def decide(**words: Any) -> PoolPlan:
    return pools.decide("train", args(**words))


def template(pool: PoolPlan, placement_group: str | None = None) -> ec2.LaunchTemplateArgs:
    groups = ["sg-cluster", "sg-efa"] if pool.fabric.name == "efa" else ["sg-cluster"]
    return launch_template.template(pool, groups, placement_group, "arn:key", 200, 32, {"team": "vision"})


def node_config(text: str) -> dict[str, Any]:
    message = message_from_string(text)
    assert message.get_content_type() == "multipart/mixed"
    (part,) = cast(list[Any], message.get_payload())
    assert part.get_content_type() == "application/node.eks.aws"
    return yaml.safe_load(part.get_payload())


class TestEfa:
    @pytest.mark.parametrize(
        ("accelerator", "efa", "primary"),
        [("H100:8", 32, 1), ("A100-40:8", 4, 1), ("B200:8", 8, 1)],
    )
    def test_every_card_is_used(self, accelerator: str, efa: int, primary: int) -> None:
        interfaces = launch_template.network_interfaces(decide(accelerator=accelerator, nodes=4), ["sg-a", "sg-b"])
        kinds = Counter(each.interface_type for each in interfaces)
        assert kinds == {"efa-only": efa, "interface": primary}
        cards = [each.network_card_index for each in interfaces if each.interface_type == "efa-only"]
        assert sorted(cast(list[int], cards)) == [*range(efa)]

    def test_groups_lie_inside_each_interface_and_nowhere_else(self) -> None:
        made = template(decide(accelerator="H100:8", nodes=4))
        interfaces = cast(list[ec2.LaunchTemplateNetworkInterfaceArgs], made.network_interfaces)
        assert all(each.security_groups == ["sg-cluster", "sg-efa"] for each in interfaces)
        assert all(each.subnet_id is None for each in interfaces)
        assert all(each.delete_on_termination == "true" for each in interfaces)
        assert made.vpc_security_group_ids is None

    def test_what_carries_no_address_is_asked_for_none(self) -> None:
        interfaces = launch_template.network_interfaces(decide(accelerator="H100:8", nodes=4), [])
        assert {each.interface_type: each.associate_public_ip_address for each in interfaces} == {
            "interface": "false",
            "efa-only": None,
        }

    def test_a_node_alone_has_its_one_interface(self) -> None:
        made = template(decide(accelerator="H100:8", nodes=1))
        assert made.network_interfaces is None
        assert made.vpc_security_group_ids == ["sg-cluster"]


class TestPlacement:
    def test_nodes_on_one_fabric_start_in_a_cluster_group(self) -> None:
        pool = decide(accelerator="H100:8", nodes=4)
        assert pool.terms.placement == "cluster"
        assert placed(template(pool, "group")) == "group"

    @pytest.mark.parametrize("capacity", ["reservation", "block"])
    def test_a_reservation_gets_no_group_that_it_was_not_made_in(self, capacity: str) -> None:
        pool = decide(accelerator="H100:8", nodes=4, capacity=capacity, reservation=RESERVATION, zones=["use1-az6"])
        assert pools.placement_group(cast(pulumi.Resource, None), "train", pool) is None
        assert placed(template(pool)) is None
        assert reserved(template(pool)) == RESERVATION

    def test_a_reservation_goes_with_the_group_that_it_was_made_in(self) -> None:
        pool = decide(
            accelerator="H100:8",
            nodes=4,
            capacity="reservation",
            reservation=RESERVATION,
            zones=["use1-az6"],
            placement_group="theirs",
        )
        assert pools.placement_group(cast(pulumi.Resource, None), "train", pool) == "theirs"

    def test_a_capacity_block_says_so_and_names_its_machine(self) -> None:
        pool = decide(
            accelerator="H200:8",
            nodes=4,
            capacity="block",
            reservation=RESERVATION,
            zones=["use1-az6"],
            machine="p5en.48xlarge",
        )
        made = template(pool)
        market = cast(ec2.LaunchTemplateInstanceMarketOptionsArgs, made.instance_market_options)
        assert market.market_type == "capacity-block"
        assert made.instance_type == "p5en.48xlarge"

    def test_other_capacity_leaves_the_machine_to_the_node_group(self) -> None:
        made = template(decide(accelerator="L4:1", capacity="spot"))
        assert made.instance_type is None
        assert made.instance_market_options is None
        assert made.capacity_reservation_specification is None


class TestSizes:
    def test_a_block_begins_empty_since_it_may_begin_later(self) -> None:
        pool = decide(accelerator="H100:8", nodes=4, capacity="block", reservation=RESERVATION, zones=["use1-az6"])
        assert sizes(pool) == (0, 0, 4)
        assert node_pool.autoscaled(pool)

    def test_a_pool_of_fixed_size_has_all_its_nodes_and_no_autoscaler(self) -> None:
        pool = decide(accelerator="H100:8", nodes=4)
        assert sizes(pool) == (4, 4, 4)
        assert not node_pool.autoscaled(pool)

    def test_a_pool_from_zero_begins_with_none(self) -> None:
        pool = decide(accelerator="L4:1", nodes=8, min_nodes=0)
        assert sizes(pool) == (0, 0, 8)
        assert node_pool.autoscaled(pool)


class TestFromZero:
    def test_the_autoscaler_knows_efa_huge_pages_gpus_and_taints(self) -> None:
        tags = autoscaling.node_template_tags(decide(accelerator="H100:8", nodes=4, min_nodes=0), 200)
        assert tags == {
            f"{PREFIX}/label/accelstack/pool": "train",
            f"{PREFIX}/label/accelstack/accelerator": "H100-80",
            f"{PREFIX}/label/nvidia.com/gpu.present": "true",
            f"{PREFIX}/label/k8s.amazonaws.com/accelerator": "h100-80",
            f"{PREFIX}/taint/nvidia.com/gpu": "present:NoSchedule",
            f"{PREFIX}/resources/nvidia.com/gpu": "8",
            f"{PREFIX}/resources/vpc.amazonaws.com/efa": "32",
            f"{PREFIX}/resources/hugepages-2Mi": "5120Mi",
            f"{PREFIX}/resources/ephemeral-storage": "25480Gi",
        }

    def test_spot_nodes_are_known_by_their_taint(self) -> None:
        tags = autoscaling.node_template_tags(decide(accelerator="L4:1", capacity="spot", min_nodes=0), 200)
        assert tags[f"{PREFIX}/taint/accelstack/capacity"] == "spot:NoSchedule"

    def test_a_disk_of_its_own_is_the_root_volume_where_the_machine_has_none(self) -> None:
        tags = autoscaling.node_template_tags(decide(accelerator="cpu:4", min_nodes=0), 80)
        assert tags[f"{PREFIX}/resources/ephemeral-storage"] == "72Gi"


class TestUserData:
    def test_it_reaches_eks_as_mime_that_it_can_merge(self) -> None:
        made = template(decide(accelerator="H100:8", nodes=4))
        text = base64.b64decode(cast(str, made.user_data)).decode()
        assert node_config(text) == {
            "apiVersion": "node.eks.aws/v1alpha1",
            "kind": "NodeConfig",
            "spec": {
                "kubelet": {"config": {"maxPods": 32}, "flags": ["--max-pods=32"]},
                "instance": {"localStorage": {"strategy": "RAID0"}},
            },
        }

    def test_a_machine_without_local_disks_is_told_of_none(self) -> None:
        config = node_config(launch_template.user_data(decide(accelerator="cpu:4"), 110))
        assert "instance" not in config["spec"]


def test_nodes_are_closed_and_encrypted_by_default() -> None:
    made = template(decide(accelerator="L4:1"))
    metadata = cast(ec2.LaunchTemplateMetadataOptionsArgs, made.metadata_options)
    assert (metadata.http_tokens, metadata.http_put_response_hop_limit) == ("required", 1)
    (disk,) = cast(list[ec2.LaunchTemplateBlockDeviceMappingArgs], made.block_device_mappings)
    volume = cast(ec2.LaunchTemplateBlockDeviceMappingEbsArgs, disk.ebs)
    assert (volume.encrypted, volume.kms_key_id, volume.volume_type) == ("true", "arn:key", "gp3")


def test_tags_reach_what_aws_does_not_tag_by_itself() -> None:
    specifications = cast(
        list[ec2.LaunchTemplateTagSpecificationArgs], template(decide(accelerator="L4:1")).tag_specifications
    )
    assert {each.resource_type for each in specifications} == {"instance", "volume", "network-interface"}
    assert all(cast(dict[str, str], each.tags)["team"] == "vision" for each in specifications)


class TestRefusals:
    @pytest.mark.parametrize(
        ("words", "path", "said"),
        [
            ({"accelerator": "L4:1", "version": "1.29"}, "version", "kubernetes must be"),
            ({"accelerator": "X9:1"}, "accelerator", "X9"),
            ({"accelerator": "H100:8", "capacity": "reservation"}, "reservation", "needs the reservation"),
            ({"accelerator": "L4:1", "region": "nowhere-1"}, "region", "nowhere-1"),
            ({"accelerator": "L4:1", "nodes": 0}, "nodes", "between 1"),
        ],
    )
    def test_what_the_plan_finds_names_the_arg(self, words: dict[str, Any], path: str, said: str) -> None:
        with pytest.raises(pulumi.InputPropertyError, match=said) as caught:
            decide(**words)
        assert caught.value.property_path == path

    @pytest.mark.parametrize("name", ["GPU", "a" * 64])
    def test_a_name_that_no_pool_can_have(self, name: str) -> None:
        with pytest.raises(pulumi.InputPropertyError) as caught:
            pools.decide(name, args(accelerator="L4:1"))
        assert caught.value.property_path == "name"

    def test_a_machine_without_an_image_of_eks(self) -> None:
        with pytest.raises(pulumi.InputPropertyError, match="RTX-PRO-4500") as caught:
            decide(accelerator="RTX-PRO-4500:1")
        assert caught.value.property_path == "accelerator"

    def test_a_zone_without_a_subnet(self) -> None:
        with pytest.raises(pulumi.InputPropertyError, match="no subnet in use1-az1") as caught:
            decide(accelerator="L4:1", zones=["use1-az1"], subnet_ids={"use1-az2": "subnet-b"})
        assert caught.value.property_path == "subnet_ids"

    def test_zones_left_open_are_those_with_subnets(self) -> None:
        by_zone = {"use1-az2": "subnet-b", "use1-az4": "subnet-d"}
        given = args(accelerator="cpu:4", subnet_ids=by_zone)
        pool = pools.decide("train", given)
        assert pools.nodes_subnets(pool, by_zone, asked=False) == ["subnet-b", "subnet-d"]


def placed(made: ec2.LaunchTemplateArgs) -> Any:
    return made.placement and cast(ec2.LaunchTemplatePlacementArgs, made.placement).group_name


def reserved(made: ec2.LaunchTemplateArgs) -> Any:
    wanted = cast(ec2.LaunchTemplateCapacityReservationSpecificationArgs, made.capacity_reservation_specification)
    target = cast(
        ec2.LaunchTemplateCapacityReservationSpecificationCapacityReservationTargetArgs,
        wanted.capacity_reservation_target,
    )
    return target.capacity_reservation_id


def sizes(pool: PoolPlan) -> tuple[Any, Any, Any]:
    made = node_pool.scaling(pool)
    return made.min_size, made.desired_size, made.max_size
