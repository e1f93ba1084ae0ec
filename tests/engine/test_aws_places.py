"""Stacks where the place is the point: a network that is there already, and two regions at once."""

from __future__ import annotations

import json
from pathlib import Path

from tests.engine import programs
from tests.engine.programs import DOUBLES

IMAGE = f"123456789012.dkr.ecr.us-east-1.amazonaws.com/workload@sha256:{'a' * 64}"
VPC, SUBNET, CLUSTER = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:eks/cluster:Cluster"
TWO_REGIONS = """
    from accelstack.aws import Cluster, Network, ObjectStore
    for region, zones in {"us-east-1": ["use1-az1", "use1-az2"], "us-west-2": ["usw2-az1", "usw2-az2"]}.items():
        opts = pulumi.ResourceOptions(providers=[aws.Provider(region, region=region)])
        network = Network(region, {"cidr": "10.0.0.0/16", "zones": zones, "nat": "single", "protect": False}, opts)
        subnets = pulumi.Output.all(*(network.private_subnet_ids[zone] for zone in zones))
        Cluster(region, {"version": "1.35", "vpc_id": network.vpc_id, "subnet_ids": subnets, "protect": False}, opts)
        ObjectStore(region, {"protect": False}, opts)
"""


def test_a_stack_in_an_existing_network_makes_none_and_leaves_it(tmp_path: Path) -> None:
    with programs.attached(tmp_path / "stack", DOUBLES, stacks=True) as program:
        vpc = program.cloud.add(
            VPC, {"cidrBlock": "10.0.0.0/16", "enableDnsHostnames": True, "enableDnsSupport": True}, region="us-east-1"
        )
        subnets = [
            program.cloud.add(
                SUBNET,
                {"vpcId": vpc.id, "cidrBlock": f"10.0.{number * 16}.0/20", "availabilityZoneId": f"use1-az{number}"},
                region="us-east-1",
            )
            for number in (1, 2)
        ]
        program.configure(
            target="aws",
            region="us-east-1",
            image=IMAGE,
            network=vpc.id,
            private_subnets=json.dumps([subnet.id for subnet in subnets]),
            zones='["use1-az1", "use1-az2"]',
            pools='{"serve": {"accelerator": "L4:1", "fabric": "none"}, "system": {"accelerator": "cpu:4", '
            '"zones": ["use1-az1", "use1-az2"], "nodes": 2}}',
        )
        for run in (program.preview(), program.up()):
            assert run.ok, run.output
        assert program.cloud.one(VPC).id == vpc.id
        again = program.up()
        assert again.ok, again.output
        assert not again.steps
        gone = program.destroy()
        assert gone.ok, gone.output
        assert {one.id for one in program.cloud.resources} == {vpc.id, *(subnet.id for subnet in subnets)}


def test_components_land_in_the_region_of_their_provider(tmp_path: Path) -> None:
    with programs.attached(tmp_path / "program") as program:
        program.configure(aws__region="us-east-1")
        program.write(TWO_REGIONS)
        for run in (program.preview(), program.up()):
            assert run.ok, run.output
        assert {one.config["region"] for one in program.cloud.of(CLUSTER)} == {"us-east-1", "us-west-2"}
        again = program.up()
        assert again.ok, again.output
        assert not again.steps
        gone = program.destroy()
        assert gone.ok, gone.output
        assert not program.cloud.resources
