"""The double with the real engine: what it keeps, changes, replaces, finds again and hides."""

from __future__ import annotations

import json

import pytest

from tests.engine import programs

VPC, SUBNET, KEY, ROLE = "aws:ec2/vpc:Vpc", "aws:ec2/subnet:Subnet", "aws:kms/key:Key", "aws:iam/role:Role"
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "sts:AssumeRole", "Principal": {"Service": "eks.amazonaws.com"}}],
}
NETWORK = """
    vpc = aws.ec2.Vpc("net", cidr_block="10.0.0.0/16", tags={"team": "a", "a.b/c": "d"})
    subnet = aws.ec2.Subnet("sub", vpc_id=vpc.id, cidr_block="10.0.0.0/24", availability_zone_id="use1-az1")
    table = aws.ec2.RouteTable("table", vpc_id=vpc.id)
    aws.ec2.RouteTableAssociation("join", subnet_id=subnet.id, route_table_id=table.id)
    pulumi.export("zone", subnet.availability_zone)
"""


def test_a_stack_is_previewed_made_changed_and_removed(program: programs.Program) -> None:
    program.write(NETWORK)
    assert program.preview().changes["create"] == 5, "the stack itself and four resources"
    assert not program.cloud.resources, "a preview makes nothing"

    first = program.up()
    assert first.ok, first.output
    assert program.outputs() == {"zone": "us-east-1b"}
    assert program.cloud.one(SUBNET).outputs["vpcId"] == program.cloud.one(VPC).id
    assert not program.preview().changes

    program.write(NETWORK.replace('"team": "a"', '"team": "b"'))
    changed = program.up()
    assert changed.changes == {"update": 1}
    assert changed.detail("net") == {"tags.team": "update"}

    before = program.cloud.one(SUBNET).id
    program.write(NETWORK.replace("10.0.0.0/24", "10.0.1.0/24"))
    replaced = program.up()
    assert replaced.ok, replaced.output
    assert {name for operation, name in replaced.steps if operation == "replace"} == {"sub", "join"}
    assert program.cloud.one(SUBNET).id != before

    assert program.destroy().ok
    assert not program.cloud.resources


def test_drift_is_seen_and_healed(program: programs.Program) -> None:
    program.write(NETWORK)
    assert program.up().ok
    program.cloud.change(program.cloud.one(VPC).id, "tags.team", "someone-else")
    program.cloud.remove(program.cloud.one("aws:ec2/routeTableAssociation:RouteTableAssociation").id)

    refreshed = program.refresh()
    assert refreshed.ok, refreshed.output
    assert {entry.name for entry in program.state()} >= {"net", "sub", "table"}
    assert "join" not in {entry.name for entry in program.state()}
    assert next(one for one in program.state() if one.name == "net").inputs["tags"]["team"] == "someone-else"

    healed = program.up()
    assert healed.changes == {"update": 1, "create": 1}
    assert program.cloud.one(VPC).inputs["tags"]["team"] == "a"


def test_what_exists_is_adopted(program: programs.Program) -> None:
    program.write("")
    assert program.up().ok
    old = program.cloud.add(VPC, {"cidrBlock": "10.9.0.0/16", "tags": {"by": "hand"}}, region="us-east-1")

    adopted = program.adopt(VPC, "net", old.id)
    assert adopted.ok, adopted.output
    assert not program.adopt(VPC, "none", "vpc-0").ok

    program.write('aws.ec2.Vpc("net", cidr_block="10.9.0.0/16", tags={"by": "hand"})')
    assert not program.preview().changes


def test_secrets_stay_secret(program: programs.Program) -> None:
    program.write(
        """
        key = aws.kms.Key("key", description=pulumi.Output.secret("hush"))
        pulumi.export("description", key.description)
        """
    )
    assert program.up().ok
    assert program.cloud.one(KEY).inputs["description"] == "hush"
    assert "hush" not in json.dumps(program.export())
    assert program.outputs() == {"description": "hush"}
    assert program.refresh().ok
    assert "hush" not in json.dumps(program.export())
    assert not program.preview().changes


def test_names_are_made_once_and_never_collide(program: programs.Program) -> None:
    role = f"""
        import json
        aws.iam.Role("run", assume_role_policy=json.dumps({TRUST}), path="/a/")
    """
    program.write(role)
    assert program.up().ok
    first = program.cloud.one(ROLE).id
    assert first.startswith("run-")
    assert len(first) == len("run-1234567")
    assert not program.up().changes

    program.write(role.replace("/a/", "/b/"))
    assert program.up().ok
    assert program.cloud.one(ROLE).id != first

    program.write(role.replace('path="/a/"', 'name="fixed"'))
    assert program.up().ok
    program.write(role.replace('path="/a/"', 'name="fixed", path="/c/"'))
    collided = program.up()
    assert not collided.ok
    assert "AlreadyExists" in collided.diagnostics


def test_default_tags_and_regions_belong_to_the_provider(program: programs.Program) -> None:
    program.write(
        """
        west = aws.Provider("west", region="us-west-2", default_tags={"tags": {"stack": "s"}})
        aws.ec2.Vpc("far", cidr_block="10.0.0.0/16", tags={"a": "b"}, opts=pulumi.ResourceOptions(provider=west))
        aws.ec2.Vpc("farther", cidr_block="10.0.0.0/16", region="eu-west-1")
        pulumi.export("region", aws.get_region_output(opts=pulumi.InvokeOutputOptions(provider=west)).region)
        """
    )
    assert program.up().ok
    far, farther = program.cloud.one(VPC, "far"), program.cloud.one(VPC, "farther")
    assert far.outputs["tagsAll"] == {"stack": "s", "a": "b"}
    assert ":us-west-2:" in far.outputs["arn"]
    assert ":eu-west-1:" in farther.outputs["arn"]
    assert program.outputs() == {"region": "us-west-2"}
    assert program.refresh().ok
    assert not program.preview().changes


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ('aws.kms.Key("key", key_usage="READ")', "is one of SIGN_VERIFY"),
        ('aws.lightsail.Bucket("b", bundle_id="small", name="b")', "no map describes aws:lightsail/bucket:Bucket"),
        ("aws.get_billing_service_account()", "no function answers aws:index/getBillingServiceAccount"),
        ('aws.ec2.Vpc("v", cidr_block="10.0.0.0/16", region="mars-1")', "AWS has no region 'mars-1'"),
    ],
)
def test_a_preview_fails_on_what_is_wrong(program: programs.Program, text: str, reason: str) -> None:
    program.write(text)
    run = program.preview()

    assert not run.ok
    assert reason in run.output


def test_made_up_outputs_cannot_be_relied_on(program: programs.Program) -> None:
    program.write(
        """
        address = aws.ec2.Eip("address")
        aws.kms.Key("key", description=address.carrier_ip)
        """
    )
    run = program.up()

    assert not run.ok
    assert "comes from made-up:carrierIp" in run.diagnostics
