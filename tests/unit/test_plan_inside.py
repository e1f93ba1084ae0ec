"""Settings of what runs inside a cluster: each mistake is named, at its property, with what would do instead."""

from dataclasses import replace
from typing import Any

import pytest
from accelstack.plan import inside
from accelstack.plan.inside import USUAL

MODEL = {"version": "3", "digest": f"sha256:{'a' * 64}", "uri": "s3://models/runs/3/model"}
OUTSIDE = {"gateway": "default/shared", "hostname": "vision.example.com"}
POOLS = ["system", "train", "serve"]


def wrong(**given: Any) -> dict[str, str]:
    """What each property's findings say."""
    return {each.property: str(each) for each in inside.check(replace(USUAL, **given), POOLS)}


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"train_on": "train", "serve_on": "serve"},
        {"teams": {"vision": {"share": 0.5}, "speech": {}}, "team": "speech"},
        {"serving": MODEL, **OUTSIDE, "canary": {**MODEL, "version": "4", "percent": 10}},
        {"canary": {**MODEL, "percent": 0}, "gateway_class": "example", "hostname": "vision.example.com"},
        {"max_replicas": 4},
        {"min_replicas": 0, "max_replicas": 4, "scale_on": "queue"},
        {"images": {"base": f"registry.example.com/python@sha256:{'b' * 64}"}},
    ],
)
def test_what_people_ask_for_is_taken(given: dict[str, Any]) -> None:
    assert wrong(**given) == {}


@pytest.mark.parametrize(
    ("given", "at", "told"),
    [
        ({"probe": "maybe"}, "probe", "gate"),
        ({"priority": "urgent"}, "priority", "high"),
        ({"engine": "tritn"}, "engine", "did you mean triton"),
        ({"scale_on": "gpu"}, "scale_on", "did you mean cpu"),
        ({"train_on": "trian"}, "train_on", "did you mean train"),
        ({"teams": {"Vision": {}}}, "teams", "small letters"),
        ({"teams": {"vision": 0.5}}, "teams.vision", "{share: 0.5}"),
        ({"teams": {"vision": {}}, "team": "speech"}, "team", "vision"),
        ({"serving": {**MODEL, "digest": ""}}, "serving.digest", "is not given"),
        ({"serving": {**MODEL, "digest": "sha256:1"}}, "serving.digest", "64 hexadecimal digits"),
        ({"serving": {**MODEL, "weight": 1}}, "serving.weight", "part of a model version"),
        ({"canary": {**MODEL, "percent": 101}, **OUTSIDE}, "canary.percent", "101"),
        ({"canary": {**MODEL, "percent": True}, **OUTSIDE}, "canary.percent", "whole number"),
        ({"canary": {**MODEL, "percent": 10}}, "canary", "needs a Gateway"),
        ({"max_replicas": 1, "min_replicas": 2}, "max_replicas", "less than min_replicas, 2"),
        ({"max_replicas": 4, "min_replicas": 0}, "min_replicas", "scale_on: queue"),
        ({"teams": {"serving": {}}}, "teams", "another name"),
        ({"teams": {"a": {"shar": 1}}}, "teams.a.shar", "share"),
        ({"serve_on": "train", "wait_minutes": 5}, "serve_on", "add a pool"),
        ({"mirror": "https://own.example"}, "mirror", "without https"),
        ({"backup": "gs://backups"}, "backup", "s3://"),
        ({"engine": "triton"}, "images.engine", "by digest"),
        ({"registry": True}, "images.mlflow", "by digest"),
        ({"replica_nodes": 2}, "replica_nodes", "use engine vllm"),
        ({"replica_nodes": 0, "engine": "vllm"}, "replica_nodes", "use 1 or more"),
        ({"gateway": "shared"}, "gateway", "<namespace>/<name>"),
        ({"gateway": "default/shared"}, "hostname", "set hostname"),
        ({**OUTSIDE, "gateway_class": "example"}, "gateway_class", "one of gateway"),
        ({"issuer": "letsencrypt"}, "issuer", "set hostname"),
        ({"images": {"base": "python:3.11"}}, "images.base", "digest"),
    ],
)
def test_a_mistake_is_named_with_what_mends_it(given: dict[str, Any], at: str, told: str) -> None:
    found = wrong(**given)
    assert told in found.get(at, ""), found


@pytest.mark.parametrize(
    ("names", "asked", "usual", "chosen"),
    [
        (POOLS, "", "train", "train"),
        (POOLS, "serve", "train", "serve"),
        (["system", "gpus"], "", "train", "gpus"),
    ],
)
def test_a_use_has_the_pool_of_its_name_or_the_first_for_workloads(
    names: list[str], asked: str, usual: str, chosen: str
) -> None:
    assert inside.pool_for(names, asked, usual) == chosen
