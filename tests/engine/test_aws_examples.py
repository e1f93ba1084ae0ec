"""Stacks that people really run on AWS, through the real engine: made, found unchanged, edited, drifted, removed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.engine import programs
from tests.engine.programs import DOUBLES, Program, Run

CLUSTER = "aws:eks/cluster:Cluster"
GROUP = "aws:eks/nodeGroup:NodeGroup"
TEMPLATE = "aws:ec2/launchTemplate:LaunchTemplate"
PLACEMENT = "aws:ec2/placementGroup:PlacementGroup"
SUBNET = "aws:ec2/subnet:Subnet"
TAG = "aws:autoscaling/tag:Tag"
BLOCK = "cr-0123456789abcdef0"
TRAIN = {"accelerator": "H100:8", "nodes": 4, "zones": ["use1-az1"]}
SERVE = {"accelerator": "L4:1", "nodes": 6, "min_nodes": 0, "capacity": "spot", "fabric": "none"}
BLOCK_POOL = {
    "accelerator": "H200:8",
    "machine": "p5en.48xlarge",
    "nodes": 2,
    "capacity": "block",
    "reservation": BLOCK,
    "zones": ["use2-az3"],
}
MODELS = [{"version": n, "digest": f"sha256:{n * 64}", "uri": f"s3://models/{n}"} for n in ("1", "2")]
IMAGES = ("base", "mlflow", "postgres", "engine")
WORKLOADS = {
    "registry": "true",
    "observability": "true",
    "backup": "s3://backups/test",
    "teams": '{"vision": {"share": 0.5}, "speech": {"weight": 2}}',
    "team": "speech",
    "engine": "triton",
    "serving": json.dumps(MODELS[0]),
    "canary": json.dumps({**MODELS[1], "percent": 10}),
    "max_replicas": "4",
    "min_replicas": "1",
    "scale_on": "queue",
    "gateway_class": "envoy",
    "hostname": "vision.example.com",
    "issuer": "letsencrypt",
    "images": json.dumps({name: f"registry.example.com/{name}@sha256:{'c' * 64}" for name in IMAGES}),
}
EXAMPLES: dict[str, tuple[str, dict[str, Any], dict[str, str]]] = {
    "h100-efa": ("us-east-1", {"train": TRAIN}, {}),
    "l4-spot-from-zero": ("us-east-1", {"serve": SERVE}, {"nat": "single"}),
    "p5en-block": ("us-east-2", {"train": BLOCK_POOL}, {"alerts": '["ops@example.com"]'}),
    "karpenter": ("us-east-1", {"train": {**TRAIN, "min_nodes": 0}}, {"autoscaler": "karpenter"}),
    "workloads": ("us-east-1", {"train": TRAIN, "serve": {**SERVE, "min_nodes": 1}}, WORKLOADS),
    "everything": (
        "us-east-1",
        {"train": TRAIN, "serve": SERVE},
        {"replica_region": "us-west-2", "lustre_gib": "1200", "shared_files": "true", "ipv6": "true"},
    ),
}


def configure(program: Program, region: str, pools: Mapping[str, Any], more: Mapping[str, str]) -> None:
    image = f"123456789012.dkr.ecr.{region}.amazonaws.com/workload@sha256:{'a' * 64}"
    spread = {"batch_size": "192"}  # evenly over each number of nodes here
    program.configure(target="aws", region=region, image=image, pools=json.dumps(pools), **spread, **more)


def succeeded(run: Run) -> Run:
    assert run.ok, run.output
    return run


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Program]:
    """This project's program in a stack of its own, with the block of the examples bought."""
    with programs.attached(tmp_path / "stack", DOUBLES, stacks=True) as program:
        bought = {"instanceType": "p5en.48xlarge", "instanceCount": 2, "availabilityZone": "us-east-2c"}
        bought |= {"instancePlatform": "Linux/UNIX"}
        program.cloud.add("aws:ec2/capacityReservation:CapacityReservation", bought, BLOCK, region="us-east-2")
        yield program


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_stack_is_planned_made_found_unchanged_and_removed_in_one_go(name: str, stack: Program) -> None:
    before = [resource.id for resource in stack.cloud.resources]
    configure(stack, *EXAMPLES[name])
    for key in ("registry_password", "backup_credentials"):
        hidden = stack.pulumi("config", "set", "--secret", key, "swordfish", "--stack", "test")
        assert hidden.returncode == 0, hidden.stderr
    planned = succeeded(stack.preview()).changes["create"]
    made = succeeded(stack.up())
    assert made.changes["create"] == planned
    assert not succeeded(stack.up()).steps
    drifted = [step for step in succeeded(stack.refresh()).steps if step[0] != "refresh"]
    assert drifted == []
    succeeded(stack.destroy())
    assert [resource.id for resource in stack.cloud.resources] == before


def test_efa_is_whole_from_the_card_to_the_autoscaler(stack: Program) -> None:
    configure(stack, "us-east-1", {"train": {**TRAIN, "min_nodes": 0}}, {})
    succeeded(stack.up())
    template = next(one for one in stack.cloud.of(TEMPLATE) if one.name == "train").inputs
    cards = template["networkInterfaces"]
    assert [card["interfaceType"] for card in cards].count("efa-only") == 32
    assert all(len(card["securityGroups"]) == 2 for card in cards)
    assert "vpcSecurityGroupIds" not in template
    assert template["metadataOptions"] == {
        "httpEndpoint": "enabled",
        "httpTokens": "required",
        "httpPutResponseHopLimit": 1,
    }
    assert all(disk["ebs"]["encrypted"] == "true" for disk in template["blockDeviceMappings"])
    assert template["placement"]["groupName"] == stack.cloud.one(PLACEMENT).inputs["name"]
    tags = {one.inputs["tag"]["key"]: one.inputs["tag"]["value"] for one in stack.cloud.of(TAG)}
    resources = "k8s.io/cluster-autoscaler/node-template/resources/"
    assert (tags[f"{resources}vpc.amazonaws.com/efa"], tags[f"{resources}nvidia.com/gpu"]) == ("32", "8")


def test_a_block_is_launched_into_with_nothing_that_would_break_it(stack: Program) -> None:
    configure(stack, *EXAMPLES["p5en-block"])
    succeeded(stack.up())
    template = next(one for one in stack.cloud.of(TEMPLATE) if one.name == "train").inputs
    group = next(one for one in stack.cloud.of(GROUP) if one.name == "train").inputs
    assert template["instanceMarketOptions"]["marketType"] == "capacity-block"
    reservation = template["capacityReservationSpecification"]["capacityReservationTarget"]
    assert reservation["capacityReservationId"] == BLOCK
    assert "placement" not in template
    assert not stack.cloud.of(PLACEMENT)
    assert (group["capacityType"], len(group["subnetIds"])) == ("CAPACITY_BLOCK", 1)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A stack with a training pool and nothing else, which the tests below edit one after the other."""
    with programs.attached(tmp_path_factory.mktemp("edits") / "stack", DOUBLES, stacks=True) as program:
        configure(program, "us-east-1", {"train": TRAIN}, {})
        succeeded(program.up())
        yield program


@pytest.fixture(scope="module")
def first(trained: Program) -> set[str]:
    """Ids of its cluster, its subnets and its training pool's node group, before any edit."""
    kept = {one.id for token in (CLUSTER, SUBNET) for one in trained.cloud.of(token)}
    return kept | {one.id for one in trained.cloud.of(GROUP) if one.name == "train"}


KEPT: dict[str, tuple[dict[str, Any], dict[str, str]]] = {
    "more nodes": ({"train": {**TRAIN, "nodes": 6}}, {}),
    "another pool": ({"train": TRAIN, "serve": SERVE}, {}),
    "a pool in a zone of its own": ({"train": TRAIN, "other": {**TRAIN, "zones": ["use1-az6"], "nodes": 2}}, {}),
    "one gateway, an open API": ({"train": TRAIN}, {"nat": "single", "api_access": "203.0.113.7/32"}),
    "scaling to zero": ({"train": {**TRAIN, "min_nodes": 0}}, {}),
    "a newer Kubernetes": ({"train": TRAIN}, {"versions": '{"kubernetes": "1.36"}'}),  # last: AWS never takes it back
}


@pytest.mark.parametrize("edit", KEPT)
def test_an_edit_keeps_the_training_pool_the_cluster_and_the_subnets(
    edit: str, trained: Program, first: set[str]
) -> None:
    pools, more = KEPT[edit]
    configure(trained, "us-east-1", pools, {"nat": "per_zone", "api_access": "", "versions": "{}", **more})
    run = succeeded(trained.up())
    assert run.steps
    assert first <= {one.id for one in trained.cloud.resources}
    assert not succeeded(trained.up()).steps


def test_only_another_machine_or_zone_replaces_the_pool(trained: Program) -> None:
    before = next(one.id for one in trained.cloud.of(GROUP) if one.name == "train")
    cluster = trained.cloud.one(CLUSTER).id
    moved = {**TRAIN, "zones": ["use1-az2"]}
    configure(trained, "us-east-1", {"train": moved}, {"versions": '{"kubernetes": "1.36"}'})
    succeeded(trained.up())
    assert before not in {one.id for one in trained.cloud.resources}
    assert trained.cloud.one(CLUSTER).id == cluster
    assert not succeeded(trained.up()).steps


def test_drift_is_put_right_and_what_the_autoscaler_sized_is_left_alone(trained: Program) -> None:
    pools = {"train": {**TRAIN, "zones": ["use1-az2"]}, "serve": SERVE}
    configure(trained, "us-east-1", pools, {"versions": '{"kubernetes": "1.36"}'})
    succeeded(trained.up())
    serve = next(one for one in trained.cloud.of(GROUP) if one.name == "serve")
    trained.cloud.change(serve.id, "scalingConfig.desiredSize", 5)
    succeeded(trained.refresh())
    assert not succeeded(trained.up()).steps
    assert serve.inputs["scalingConfig"]["desiredSize"] == 5
    trained.cloud.remove(trained.cloud.of(TAG)[0].id)
    trained.cloud.change(trained.cloud.one(CLUSTER).id, "tags.accelstack:stack", "nobody's")
    succeeded(trained.refresh())
    put_right = succeeded(trained.up()).changes
    assert (put_right["create"], put_right["update"]) == (1, 1)
    assert not succeeded(trained.up()).steps
    succeeded(trained.destroy())
    assert not trained.cloud.resources
