"""What AWS and the engine are known to do to an update at its worst moment, and how a person gets on from there.

The tests of a module's program build on each other in the order of the file: what one leaves, the next goes on from.
What a person does by hand is written here as the commands of docs/aws.md, or as the removal they end in.
"""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterator
from typing import Any

import pytest

from tests.engine import programs
from tests.engine.double import faults
from tests.engine.double.cloud import Resource
from tests.engine.programs import Program, Run

VPC, NAT = "aws:ec2/vpc:Vpc", "aws:ec2/natGateway:NatGateway"
GROUP, INTERFACE = "aws:ec2/securityGroup:SecurityGroup", "aws:ec2/networkInterface:NetworkInterface"
CLUSTER, NODES, ADDON = "aws:eks/cluster:Cluster", "aws:eks/nodeGroup:NodeGroup", "aws:eks/addon:Addon"
TAGS = {"accelstack:stack": "test/test"}
CPU = f"""
    from accelstack.aws.cluster import Cluster
    from accelstack.aws.cluster_addons import ClusterAddons, NodeAddons
    from accelstack.aws.network import Network
    from accelstack.aws.node_pool import NodePool
    from accelstack.aws.storage import ObjectStore

    provider = aws.Provider("aws", region="us-east-1", default_tags={{"tags": {TAGS}}})
    opts = pulumi.ResourceOptions(providers=[provider])
    zones = ["use1-az1", "use1-az2"]
    place = {{"cidr": "10.0.0.0/16", "zones": zones, "nat": "single", "endpoints": [], "protect": False}}
    net = Network("net", place, opts)
    home = net.private_subnet_ids.apply(lambda found: [*found.values()])
    cluster = Cluster(
        "cluster", {{"version": "1.35", "vpc_id": net.vpc_id, "subnet_ids": home, "protect": False}}, opts
    )
    names = {{"cluster": cluster.name, "oidc_provider_arn": cluster.oidc_provider_arn}}
    nodes = {{
        "cluster": NodeAddons("node-addons", names, opts).cluster,
        "region": "us-east-1",
        "version": "1.35",
        "vpc_id": net.vpc_id,
        "node_role_arn": cluster.node_role_arn,
        "security_group_id": cluster.security_group_id,
        "tags": {TAGS},
    }}
    usual = {{**nodes, "subnet_ids": net.private_subnet_ids, "accelerator": "cpu", "nodes": 2, "min_nodes": 2}}
    system = NodePool("system", usual, opts)
    ClusterAddons("addons", {{"cluster": system.cluster, "drivers": ["ebs"]}}, opts)
    ObjectStore("store", {{"protect": False}}, opts)
"""
GPU = """
    serve = {"subnet_ids": net.gpu_subnet_ids, "accelerator": "L4:1", "nodes": 2, "min_nodes": 1, "fabric": "none"}
    NodePool("gpu", {**nodes, **serve}, opts)
"""


@pytest.fixture(scope="module")
def refused(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A cluster of which AWS refuses one thing after another."""
    with programs.attached(tmp_path_factory.mktemp("refused") / "p") as made:
        made.write(CPU + GPU)
        yield made


@pytest.fixture(scope="module")
def cut(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A cluster whose updates are cut off one after another."""
    with programs.attached(tmp_path_factory.mktemp("cut") / "p") as made:
        made.write(CPU)
        yield made


def strays(program: Program) -> list[Resource]:
    """What exists in AWS without being in the state, which `stack export` thereby is shown to read."""
    known = {entry.id for entry in program.state()}
    return [one for one in program.cloud.resources if one.id not in known]


def tagged(program: Program) -> list[Resource]:
    """Strays as a person finds them: `aws resourcegroupstaggingapi get-resources --tag-filters`, less the state."""
    return [one for one in strays(program) if TAGS.items() <= one.outputs.get("tagsAll", {}).items()]


def fails(program: Program, *planned: faults.Fault, destroying: bool = False) -> str:
    """What an update with these failures says of them; the world is well again afterwards."""
    program.faults.plan(*planned)
    run = program.destroy() if destroying else program.up()
    program.faults.clear()
    assert not run.ok
    assert "Traceback" not in run.output
    return run.diagnostics


def converges(run: Run) -> None:
    assert run.ok, run.output


def killed(program: Program, command: str, operation: str, token: str, name: str) -> None:
    """The engine is killed right after AWS has done something; what a person does first is to take its lock away."""
    engine: list[Any] = []
    program.faults.plan(faults.struck(lambda: engine[0].kill()).at(token, name, operation))
    with program.in_background(command) as process:
        engine.append(process)
        process.wait(timeout=programs.PATIENCE)
    program.faults.clear()
    locked = program.up()
    assert "currently locked" in locked.output
    assert "pulumi cancel" in locked.output, "the message says what to do"
    assert program.pulumi("cancel", "--yes").returncode == 0


def pending(program: Program) -> set[str]:
    """Names of what the state says was being created when the engine ended."""
    operations = program.export()["deployment"].get("pending_operations", [])
    return {one["resource"]["urn"].rsplit("::", 1)[-1] for one in operations if one["type"] == "creating"}


def test_throttling_without_end_stops_the_update_alone(refused: Program) -> None:
    assert "ThrottlingException" in fails(refused, faults.throttled(math.inf).at(NAT))
    assert not strays(refused)


def test_a_role_that_is_never_assumable_is_named_after_throttling_has_passed(refused: Program) -> None:
    said = fails(refused, faults.throttled(20).at(NAT), faults.not_yet_assumable(math.inf).at(CLUSTER))
    assert "create cluster" in said
    assert "cannot be assumed" in said
    assert refused.cloud.one(NAT)
    assert not strays(refused)


def test_credentials_that_run_out_leave_what_was_made_in_the_state(refused: Program) -> None:
    assert "ExpiredToken" in fails(refused, faults.not_yet_assumable(20).at(CLUSTER), faults.expired().at(call=5))
    assert refused.cloud.one(CLUSTER)
    assert not strays(refused)


@pytest.mark.parametrize("fault", [faults.over_quota(), faults.no_capacity()], ids=["quota", "capacity"])
def test_a_pool_that_aws_has_no_machines_for_stops_the_update_with_its_reason(
    refused: Program, fault: faults.Fault
) -> None:
    said = fails(refused, fault.at(NODES, "gpu"))
    assert str(fault.error) in said
    assert "gpu" in said
    assert not strays(refused)


def test_a_pool_in_create_failed_is_not_taken_for_made_and_replaced_as_the_message_says(refused: Program) -> None:
    reason = "unexpected state 'CREATE_FAILED', wanted target 'ACTIVE'. last error: AsgInstanceLaunchFailures: Could"
    assert "VcpuLimitExceeded" in fails(
        refused, faults.half_way(f"{reason} not launch On-Demand Instances. VcpuLimitExceeded").at(NODES, "gpu")
    )
    broken = refused.cloud.one(NODES, "gpu").id
    assert not strays(refused)

    blocked = refused.up("--refresh")
    assert not blocked.ok
    assert "Traceback" not in blocked.output
    command = re.search(r"\((pulumi state taint '[^']+')\)", blocked.output)
    assert command, blocked.output
    assert refused.pulumi(*shlex.split(command[1])[1:], "--yes").returncode == 0

    refused.faults.plan(faults.throttled(20).at(ADDON), faults.not_yet_assumable(20).at(NODES))
    converges(refused.up("--refresh"))
    refused.faults.clear()
    assert refused.cloud.one(NODES, "gpu").id != broken
    assert not strays(refused)
    assert not refused.up("--refresh").changes.keys() - {"refresh"}


def test_credentials_that_run_out_during_removal_leave_the_rest_to_the_next_one(refused: Program) -> None:
    assert "ExpiredToken" in fails(refused, faults.expired().at(operation="delete", call=40), destroying=True)
    assert not strays(refused)
    assert refused.cloud.resources

    converges(refused.destroy())
    assert not refused.cloud.resources


def test_a_lost_answer_leaves_a_stray_that_its_tag_finds(cut: Program) -> None:
    assert "connection reset" in fails(cut, faults.lost().at(VPC))
    assert tagged(cut) == strays(cut) == cut.cloud.of(VPC)

    cut.cloud.remove(cut.cloud.one(VPC).id)  # aws ec2 delete-vpc --vpc-id …


def test_a_cluster_whose_making_was_cut_off_is_deleted_and_made_again(cut: Program) -> None:
    killed(cut, "up", "create", CLUSTER, "cluster")
    assert "cluster" in pending(cut)
    half = cut.cloud.one(CLUSTER)
    assert half in tagged(cut)
    assert "already" in fails(cut), "AWS refuses a second one of that name: no harm is done"

    for one in strays(cut):  # aws eks delete-cluster --name …
        assert one.name in pending(cut), "the state names what to look for"
        cut.cloud.remove(one.id)
    converges(cut.refresh("--clear-pending-creates"))
    assert not pending(cut)
    assert not strays(cut)


def test_nodes_whose_answer_was_lost_are_made_twice_and_the_first_are_found_by_their_tag(cut: Program) -> None:
    assert "connection reset" in fails(cut, faults.lost().at(NODES, "system"))
    first = cut.cloud.one(NODES)
    converges(cut.up())
    assert len(cut.cloud.of(NODES)) == 2, "EKS takes both: their names are drawn"
    assert tagged(cut) == strays(cut) == [first]

    cut.cloud.remove(first.id)  # aws eks delete-nodegroup --cluster-name … --nodegroup-name …


def test_a_pool_whose_making_was_cut_off_is_adopted_with_its_machines(cut: Program) -> None:
    cut.write(CPU + GPU)
    killed(cut, "up", "create", NODES, "gpu")
    assert pending(cut) == {"gpu"}
    (half,) = strays(cut)
    assert half in tagged(cut)
    assert half.name == "gpu"

    converges(cut.refresh("--clear-pending-creates"))
    (pool,) = (one.urn for one in cut.state() if one.type.endswith(":AwsNodePool") and one.name == "gpu")
    (provider,) = (one.urn for one in cut.state() if one.type == "pulumi:providers:aws")
    options = (f"--parent=pool={pool}", f"--provider=aws={provider}", "--protect=false")
    converges(cut.adopt(NODES, "gpu", half.id, *options))
    adopted = cut.up()
    converges(adopted)
    assert set(adopted.changes) == {"create"}, "what depends on the pool"
    assert cut.cloud.one(NODES, "gpu").id == half.id
    assert not strays(cut)


def test_a_removal_that_was_cut_off_is_taken_back_by_an_update_with_refresh(cut: Program) -> None:
    killed(cut, "destroy", "delete", NODES, "gpu")
    assert "gpu" not in {one.name for one in cut.cloud.of(NODES)}

    converges(cut.up("--refresh"))
    assert sorted(one.name for one in cut.cloud.of(NODES)) == ["gpu", "system"]
    assert not strays(cut)


def test_a_removal_stops_at_what_controllers_left_in_the_network_and_then_goes_on(cut: Program) -> None:
    subnet = cut.cloud.one("aws:ec2/subnet:Subnet", "net-private-use1-az1").id
    vpc = cut.cloud.one(VPC).id
    balancer = cut.cloud.add(GROUP, {"vpcId": vpc, "name": "k8s-elb-0", "description": "d"}, region="us-east-1")
    place = {"subnetId": subnet, "securityGroups": [balancer.id], "description": "aws-K8S-i-0"}
    plugged = cut.cloud.add(INTERFACE, place, region="us-east-1")
    killed(cut, "destroy", "delete", CLUSTER, "cluster")

    said = fails(cut, destroying=True)
    assert "DependencyViolation" in said
    assert subnet in said

    # aws ec2 describe-network-interfaces --filters Name=vpc-id,Values=…, then delete-network-interface, likewise groups
    cut.cloud.remove(plugged.id)
    cut.cloud.remove(balancer.id)
    killed(cut, "destroy", "delete", VPC, "net")
    converges(cut.destroy())
    assert not cut.cloud.resources
