"""Failures on demand: what each leaves behind, and how the next update goes on from there."""

from __future__ import annotations

import math
from typing import Any

from tests.engine import programs
from tests.engine.double import faults

VPC, SUBNET, KEY = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:kms/key:Key"
NETWORK = """
    vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", tags={"team": "a", "a.b/c": "d"})
    subnet = aws.ec2.Subnet("sub", vpc_id=vpc.id, cidr_block="10.0.0.0/24", availability_zone_id="use1-az1")
    table = aws.ec2.RouteTable("table", vpc_id=vpc.id)
    aws.ec2.RouteTableAssociation("join", subnet_id=subnet.id, route_table_id=table.id)
    pulumi.export("zone", subnet.availability_zone)
"""


def test_throttling_passes_or_fails_and_the_next_update_converges(program: programs.Program) -> None:
    program.write(NETWORK)
    program.faults.plan(faults.throttled(times=3).at(VPC), faults.throttled(times=math.inf).at(SUBNET))
    run = program.up()
    assert not run.ok
    assert "ThrottlingException" in run.diagnostics
    assert program.cloud.one(VPC).name == "net"

    program.faults.clear()
    assert program.up().ok
    assert len(program.cloud.resources) == 4


def test_after_each_refusal_the_next_update_converges(program: programs.Program) -> None:
    program.write(NETWORK)
    for fault in (faults.over_quota(), faults.no_capacity(), faults.expired()):
        program.faults.plan(fault.at(SUBNET, "sub"))
        run = program.up()
        assert not run.ok
        assert str(fault.error) in run.diagnostics
        program.faults.clear()

    again = program.up()
    assert again.ok, again.output
    assert len(program.cloud.resources) == 4
    assert program.destroy().ok
    assert not program.cloud.resources


def test_what_exists_and_what_aws_publishes_is_found(program: programs.Program) -> None:
    vpc = program.cloud.add(VPC, {"cidrBlock": "10.9.0.0/16"}, region="us-east-1")
    program.write(
        f"""
        pulumi.export("range", aws.ec2.get_vpc(id="{vpc.id}").cidr_block)
        image = "/aws/service/eks/optimized-ami/1.34/amazon-linux-2023/x86_64/nvidia/recommended/image_id"
        pulumi.export("image", aws.ssm.get_parameter(name=image).value)
        """
    )
    run = program.up()
    assert run.ok, run.output
    assert program.outputs()["range"] == "10.9.0.0/16"
    assert program.outputs()["image"].startswith("ami-")

    program.write('aws.ssm.get_parameter(name="/aws/service/eks/optimised-ami")')
    assert "ParameterNotFound" in program.up().output


def test_a_role_not_yet_assumable_is_waited_for(program: programs.Program) -> None:
    program.write('aws.kms.Key("key")')
    program.faults.plan(faults.not_yet_assumable(times=5).at(KEY))
    assert program.up().ok

    program.faults.plan(faults.not_yet_assumable(times=math.inf).at(VPC))
    program.write('aws.ec2.Vpc("net", cidr_block="10.0.0.0/16")')
    assert "cannot be assumed" in program.up().diagnostics


def test_what_came_up_broken_is_kept_and_updated(program: programs.Program) -> None:
    program.write(NETWORK)
    program.faults.plan(faults.half_way("NodeCreationFailure: nodes did not join").at(SUBNET))
    run = program.up()
    assert not run.ok
    assert "nodes did not join" in run.diagnostics
    broken = program.cloud.one(SUBNET).id
    assert broken in {entry.id for entry in program.state()}

    again = program.up()
    assert again.ok, again.output
    assert program.destroy().ok
    assert not program.cloud.resources


def test_a_lost_answer_leaves_what_the_engine_cannot_know(program: programs.Program) -> None:
    program.write('aws.ec2.Vpc("net", cidr_block="10.0.0.0/16")')
    program.faults.plan(faults.lost().at(VPC))
    run = program.up()
    assert not run.ok
    assert "connection reset" in run.diagnostics
    assert len(program.cloud.of(VPC)) == 1

    assert program.up().ok
    assert len(program.cloud.of(VPC)) == 2, "an orphan: only a look at the account finds it"


def test_the_engine_killed_leaves_a_pending_creation_that_an_import_adopts(program: programs.Program) -> None:
    program.write(NETWORK.split("    table =")[0])
    engine: list[Any] = []
    program.faults.plan(faults.struck(lambda: engine[0].kill()).at(SUBNET))
    with program.in_background() as process:
        engine.append(process)
        process.wait(timeout=programs.PATIENCE)
    made = program.cloud.one(SUBNET)
    pending = program.export()["deployment"]["pending_operations"]
    assert [(one["type"], one["resource"]["urn"].rsplit("::", 1)[-1]) for one in pending] == [("creating", "sub")]

    assert "currently locked" in program.up().output
    assert program.pulumi("cancel", "--yes").returncode == 0
    assert "InvalidSubnet.Conflict" in program.up().output, "the subnet is there, though the state does not have it"

    assert program.refresh("--clear-pending-creates").ok
    assert program.adopt(SUBNET, "sub", made.id, "--protect=false").ok
    again = program.up()
    assert again.ok, again.output
    assert program.cloud.one(SUBNET).id == made.id
