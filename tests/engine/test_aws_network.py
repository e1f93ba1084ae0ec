"""Networks on AWS through the real engine: made, left alone, grown, changed, adopted and removed."""

import json
from collections.abc import Iterator
from ipaddress import IPv6Network, ip_network
from pathlib import Path

import pytest

from tests.engine import programs
from tests.engine.programs import Program

VPC, SUBNET, NAT = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:ec2/natGateway:NatGateway"
GATEWAY, ADDRESS = "aws:ec2/internetGateway:InternetGateway", "aws:ec2/eip:Eip"
ROUTE, ASSOCIATION = "aws:ec2/route:Route", "aws:ec2/routeTableAssociation:RouteTableAssociation"
ENDPOINT, FLOW_LOG = "aws:ec2/vpcEndpoint:VpcEndpoint", "aws:ec2/flowLog:FlowLog"
DEFAULT_GROUP, GROUP = "aws:ec2/defaultSecurityGroup:DefaultSecurityGroup", "aws:ec2/securityGroup:SecurityGroup"
ZONES = ["use1-az1", "use1-az2", "use1-az4"]


@pytest.fixture
def program(tmp_path: Path) -> Iterator[Program]:
    """A project in us-east-1."""
    with programs.attached(tmp_path / "p") as made:
        made.configure(aws__region="us-east-1")
        yield made


def write(program: Program, **settings: object) -> None:
    """A network over two zones with these settings."""
    args = {"cidr": "10.0.0.0/16", "zones": ZONES[:2], "protect": False, "endpoints": ["sts"], **settings}
    program.write(f"""
        from accelstack.aws.network import Network
        net = Network("net", {args!r})
        for name in ("vpc_id", "cidrs", "public_subnet_ids", "private_subnet_ids", "gpu_subnet_ids"):
            pulumi.export(name, getattr(net, name))
    """)


def add_tenant(program: Program) -> None:
    """Something that lives in a GPU subnet, and would be replaced with it."""
    text = (program.path / "__main__.py").read_text()
    subnet = 'net.gpu_subnet_ids["use1-az1"]'
    tenant = f'aws.ec2.NatGateway("tenant", connectivity_type="private", subnet_id={subnet})'
    (program.path / "__main__.py").write_text(f"{text}\n{tenant}\n")


def succeeded(run: programs.Run) -> programs.Run:
    assert run.ok, run.output
    return run


def gateway_of(program: Program, subnet: str) -> str:
    """Logical name of the NAT gateway that a subnet's traffic leaves by."""
    table = program.cloud.one(ASSOCIATION, subnet).inputs["routeTableId"]
    routes = [each.inputs for each in program.cloud.of(ROUTE) if each.inputs["routeTableId"] == table]
    (way,) = [each["natGatewayId"] for each in routes if each.get("destinationCidrBlock") == "0.0.0.0/0"]
    return next(each.name for each in program.cloud.of(NAT) if each.id == way)


@pytest.fixture(scope="class")
def standing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A network that has come up, for tests that only look."""
    with programs.attached(tmp_path_factory.mktemp("standing") / "p") as made:
        made.configure(aws__region="us-east-1")
        write(made, protect=True)
        succeeded(made.up())
        yield made


class TestStandingNetwork:
    def test_nothing_in_it_is_reached_from_outside(self, standing: Program) -> None:
        assert {each.inputs["mapPublicIpOnLaunch"] for each in standing.cloud.of(SUBNET)} == {False}
        default = standing.cloud.one(DEFAULT_GROUP).inputs
        assert (default["ingress"], default["egress"]) == ([], [])
        (ingress,) = standing.cloud.one(GROUP).inputs["ingress"]
        assert (ingress["cidrBlocks"], ingress["fromPort"], ingress["toPort"]) == (["10.0.0.0/16"], 443, 443)

    def test_its_flow_logs_are_encrypted_kept_a_year_and_written_by_their_role_alone(self, standing: Program) -> None:
        group = standing.cloud.one("aws:cloudwatch/logGroup:LogGroup")
        key = standing.cloud.one("aws:kms/key:Key")
        assert group.inputs["retentionInDays"] == 365
        assert group.inputs["kmsKeyId"] == key.outputs["arn"]
        assert key.inputs["enableKeyRotation"]
        assert standing.cloud.one(FLOW_LOG).inputs["trafficType"] == "ALL"
        policy = json.loads(standing.cloud.one("aws:iam/rolePolicy:RolePolicy").inputs["policy"])
        arn = group.outputs["arn"]
        assert [each["Resource"] for each in policy["Statement"]] == [[arn, f"{arn}:*"]]

    def test_each_zone_has_its_own_way_out(self, standing: Program) -> None:
        for zone in ZONES[:2]:
            assert gateway_of(standing, f"net-private-{zone}") == f"net-{zone}"
            assert gateway_of(standing, f"net-gpu-{zone}") == f"net-{zone}"

    def test_its_logs_and_key_are_kept_unless_told_otherwise(self, standing: Program) -> None:
        kept = {each.type for each in standing.state() if each.protect}
        assert kept == {"aws:kms/key:Key", "aws:cloudwatch/logGroup:LogGroup"}


class TestNetwork:
    def test_comes_up_stays_as_it_is_and_goes_in_one_go(self, program: Program) -> None:
        write(program, zones=ZONES)
        planned = succeeded(program.preview()).changes["create"]
        assert succeeded(program.up()).changes["create"] == planned
        assert not succeeded(program.up()).changes
        succeeded(program.refresh())
        assert not succeeded(program.up()).changes
        succeeded(program.destroy())
        assert not program.cloud.resources
        gone = [each.token for each in program.cloud.seen if each.operation == "delete"]
        assert gone.index(GATEWAY) > max(place for place, token in enumerate(gone) if token == NAT)

    def test_one_gateway_for_all_is_an_edit_that_leaves_the_subnets(self, program: Program) -> None:
        write(program)
        succeeded(program.up())
        write(program, nat="single")
        run = succeeded(program.up())
        assert set(run.changes) == {"update", "delete"}
        assert gateway_of(program, f"net-gpu-{ZONES[1]}") == f"net-{ZONES[0]}"

    def test_another_zone_changes_nothing_in_the_others(self, program: Program) -> None:
        write(program)
        add_tenant(program)
        succeeded(program.up())
        before = program.outputs()
        write(program, zones=[ZONES[2], *ZONES[:2]], endpoint_zones=ZONES[:2])
        add_tenant(program)
        assert set(succeeded(program.preview()).changes) == {"create", "update"}
        steps = succeeded(program.up()).steps
        assert {name for operation, name in steps if operation == "update"} == {"net-endpoints-s3"}
        after = program.outputs()
        assert {zone: after["gpu_subnet_ids"][zone] for zone in ZONES[:2]} == before["gpu_subnet_ids"]

    def test_another_range_is_another_network_with_the_same_public_addresses(self, program: Program) -> None:
        write(program)
        succeeded(program.up())
        addresses = {each.id for each in program.cloud.of(ADDRESS)}
        write(program, cidr="10.8.0.0/16")
        assert succeeded(program.up()).changes["delete-replaced"]
        assert program.cloud.one(VPC).inputs["cidrBlock"] == "10.8.0.0/16"
        assert {each.id for each in program.cloud.of(ADDRESS)} == addresses
        assert not succeeded(program.up()).changes

    def test_ipv6_is_added_in_place_and_lies_as_the_subnets_do(self, program: Program) -> None:
        write(program)
        succeeded(program.up())
        write(program, ipv6=True)
        run = succeeded(program.up())
        assert not {"replace", "delete"} & set(run.changes)
        _, whole = map(ip_network, program.outputs()["cidrs"])
        inner = [IPv6Network(each.inputs["ipv6CidrBlock"]) for each in program.cloud.of(SUBNET)]
        assert all(each.subnet_of(whole) and each.prefixlen == 64 for each in inner)
        assert len({*inner}) == len(inner) == 6

    def test_endpoints_lie_where_they_are_asked_for(self, program: Program) -> None:
        write(program, zones=ZONES, endpoints=["sts", "logs"], endpoint_zones=[ZONES[1]])
        succeeded(program.up())
        private = program.cloud.one(SUBNET, f"net-private-{ZONES[1]}").id
        interfaces = [each for each in program.cloud.of(ENDPOINT) if each.inputs["vpcEndpointType"] == "Interface"]
        assert [each.inputs["subnetIds"] for each in interfaces] == [[private], [private]]
        (gateway,) = [each for each in program.cloud.of(ENDPOINT) if each.inputs["vpcEndpointType"] == "Gateway"]
        assert len(gateway.inputs["routeTableIds"]) == len(ZONES) + 1


class TestExistingNetwork:
    def test_has_the_outputs_of_a_network_and_makes_nothing(self, program: Program) -> None:
        vpc, private = existing(program, ["use1-az1", "use1-az2"])
        adopt(program, vpc, private)
        run = succeeded(program.up())
        assert run.changes["create"] == 2  # the stack and the component
        by_zone = dict(zip(["use1-az1", "use1-az2"], private, strict=True))
        expected = {"private_subnet_ids": by_zone, "gpu_subnet_ids": by_zone, "public_subnet_ids": {}}
        assert program.outputs() == {"vpc_id": vpc, "cidrs": ["10.0.0.0/16"], **expected}
        assert not succeeded(program.up()).changes

    @pytest.mark.parametrize(
        ("zones", "foreign", "settings", "said"),
        [
            (["use1-az1", "use1-az2"], True, {}, "is of vpc-"),
            (["use1-az1", "use1-az1"], False, {}, "is in use1-az1, as subnet-"),
            (["use1-az1", "use1-az2"], False, {"enableDnsHostnames": False}, "has DNS host names off"),
        ],
        ids=["another-vpc", "one-zone-twice", "no-dns-names"],
    )
    def test_a_network_that_does_not_fit_is_refused_before_anything_is_made_in_it(
        self, program: Program, zones: list[str], foreign: bool, settings: dict[str, bool], said: str
    ) -> None:
        vpc, private = existing(program, zones, **settings)
        if foreign:
            other, strangers = existing(program, zones, cidr="10.1.0.0/16")
            assert other != vpc
            private = [private[0], strangers[1]]
        adopt(program, vpc, private, 'aws.ec2.SecurityGroup("inside", vpc_id=net.vpc_id)')
        there = len(program.cloud.resources)
        run = program.up()
        assert not run.ok
        assert said in run.diagnostics
        assert "Traceback" not in run.diagnostics
        assert len(program.cloud.resources) == there


def existing(program: Program, zones: list[str], cidr: str = "10.0.0.0/16", **settings: bool) -> tuple[str, list[str]]:
    """A VPC that others have made, and its subnets in these zones."""
    add = program.cloud.add
    vpc = add(VPC, {"cidrBlock": cidr, "enableDnsHostnames": True, **settings}, region="us-east-1").id
    ranges = list(ip_network(cidr).subnets(new_prefix=20))
    places = [
        {"vpcId": vpc, "cidrBlock": str(each), "availabilityZoneId": zone}
        for zone, each in zip(zones, ranges, strict=False)
    ]
    return vpc, [add(SUBNET, place, region="us-east-1").id for place in places]


def adopt(program: Program, vpc: str, private: list[str], more: str = "") -> None:
    program.write(f"""
        from accelstack.aws.existing_network import ExistingNetwork
        net = ExistingNetwork("net", {{"vpc_id": {vpc!r}, "private_subnets": {private!r}}})
        for name in ("vpc_id", "cidrs", "public_subnet_ids", "private_subnet_ids", "gpu_subnet_ids"):
            pulumi.export(name, getattr(net, name))
        {more}
    """)
