"""What a network on AWS refuses, and where its addresses and ways out lie."""

from collections.abc import Callable
from typing import Any

import pulumi
import pytest
from accelstack.aws.endpoints import service_name
from accelstack.aws.existing_network import ExistingNetwork
from accelstack.aws.flow_logs import check_days
from accelstack.aws.network import Network, ipv6_subnet, nat_zones
from accelstack.plan.network import zone_subnets

ZONES = ["use1-az1", "use1-az2", "use1-az4", "use1-bos1-az1"]
VPC, SUBNETS = "vpc-0123456789abcdef0", ["subnet-0123456789abcdef0", "subnet-0123456789abcdef1"]


def refusal(component: Callable[..., Any], **args: object) -> tuple[str, str]:
    """The property that a component refuses, and what it says."""
    with pytest.raises(pulumi.InputPropertyError) as refused:
        component("net", args)
    return refused.value.property_path, refused.value.reason


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"zones": ["us-east-1a", "us-east-1b"]}, "zones", "use ids such as use1-az1"),
        ({"zones": ["use1-az1"]}, "zones", "2 to 6 zones"),
        ({"gpu_zones": ["use1-az6"]}, "gpu_zones", "add it to zones"),
        ({"cidr": "10.0.0.0"}, "cidr", "use one such as 10.0.0.0/16"),
        ({"cidr": "10.0.0.0/24"}, "cidr", "use a /21 or larger block"),
        ({"nat": "one"}, "nat", "single"),
        ({"endpoint_zones": ["use1-az6"]}, "endpoint_zones", "is no known zone of the network"),
        ({"log_days": 100}, "log_days", "use 120"),
    ],
)
def test_a_network_that_cannot_be_is_refused_with_the_fix(change: dict[str, Any], path: str, said: str) -> None:
    where, reason = refusal(Network, **{"cidr": "10.0.0.0/16", "zones": ZONES[:2], **change})
    assert where == path
    assert said in reason


@pytest.mark.parametrize(
    ("change", "path", "said"),
    [
        ({"vpc_id": "default"}, "vpc_id", "vpc-0123456789abcdef0"),
        ({"private_subnets": SUBNETS[:1]}, "private_subnets", "name one in each"),
        ({"gpu_subnets": ["use1-az1"]}, "gpu_subnets[0]", "is no id of a subnet"),
    ],
)
def test_an_adopted_network_is_named_by_ids(change: dict[str, Any], path: str, said: str) -> None:
    where, reason = refusal(ExistingNetwork, **{"vpc_id": VPC, "private_subnets": SUBNETS, **change})
    assert where == path
    assert said in reason


def test_a_zone_that_is_lost_takes_no_other_zones_way_out_with_it() -> None:
    assert nat_zones(ZONES[:3], "per_zone") == {zone: zone for zone in ZONES[:3]}


def test_one_gateway_serves_all_zones_and_a_local_zone_has_none_of_its_own() -> None:
    assert {*nat_zones(ZONES, "single").values()} == {"use1-az1"}
    assert nat_zones(["use1-bos1-az1", "use1-az2"], "per_zone")["use1-bos1-az1"] == "use1-az2"


@pytest.mark.parametrize("cidr", ["10.0.0.0/16", "10.64.0.0/18", "192.168.8.0/21"])
def test_ipv6_ranges_are_64s_of_the_network_that_no_two_subnets_share(cidr: str) -> None:
    subnets, findings = zone_subnets(cidr, ZONES, ZONES)
    assert not findings
    ranges = [ipv6_subnet("2600:1f18:1:ab00::/56", cidr, each.cidr) for each in subnets]
    assert len({*ranges}) == len(subnets) == 12
    assert all(each.startswith("2600:1f18:1:ab") and each.endswith("::/64") for each in ranges)


def test_an_ipv6_range_depends_on_its_own_subnet_alone() -> None:
    assert ipv6_subnet("2600:1f18:1:ab00::/56", "10.0.0.0/16", "10.0.32.0/20") == "2600:1f18:1:ab08::/64"


def test_services_are_named_as_in_the_region_unless_named_in_full() -> None:
    assert service_name("eu-west-1", "ecr.api") == "com.amazonaws.eu-west-1.ecr.api"
    assert service_name("cn-north-1", "cn.com.amazonaws.cn-north-1.ecr.api") == "cn.com.amazonaws.cn-north-1.ecr.api"


def test_logs_are_kept_for_as_long_as_cloudwatch_can() -> None:
    assert check_days("log_days", 365) is None
    longest = check_days("log_days", 9999)
    assert longest
    assert longest.fix == "use 3653"
