"""What AWS has where: zones, and machines as moto carries them from DescribeInstanceTypes."""

from __future__ import annotations

import gzip
import importlib.util
import json
from functools import cache
from pathlib import Path
from typing import Any

ZONES: dict[str, dict[str, str]] = {
    "us-east-1": {"a": "use1-az6", "b": "use1-az1", "c": "use1-az2", "d": "use1-az4", "e": "use1-az3", "f": "use1-az5"},
    "us-east-2": {"a": "use2-az1", "b": "use2-az2", "c": "use2-az3"},
    "us-west-2": {"a": "usw2-az2", "b": "usw2-az1", "c": "usw2-az3", "d": "usw2-az4"},
    "eu-west-1": {"a": "euw1-az3", "b": "euw1-az1", "c": "euw1-az2"},
    "eu-central-1": {"a": "euc1-az2", "b": "euc1-az3", "c": "euc1-az1"},
    "ap-northeast-1": {"a": "apne1-az4", "c": "apne1-az1", "d": "apne1-az2"},
    "cn-north-1": {"a": "cnn1-az1", "b": "cnn1-az2", "d": "cnn1-az4"},
    "us-gov-west-1": {"a": "usgw1-az1", "b": "usgw1-az2", "c": "usgw1-az3"},
}
"""Zone ids by region and the letter that ends a zone's name. Which letter means which zone differs between accounts:
this is one account's view, https://docs.aws.amazon.com/ram/latest/userguide/working-with-az-ids.html."""


def zone_ids(region: str) -> dict[str, str]:
    """Zone names of a region to their ids."""
    return {f"{region}{letter}": zone for letter, zone in ZONES.get(region, {}).items()}


def zone_name(region: str, zone: str) -> str:
    """The name of a zone given by id or name; empty where the region has none such."""
    found = zone_ids(region)
    return zone if zone in found else next((name for name, known in found.items() if known == zone), "")


@cache
def machines() -> dict[str, Any]:
    """Machine types by name, as DescribeInstanceTypes answers."""
    return _load("instance_types.json.gz")


@cache
def offered(region: str) -> dict[str, frozenset[str]]:
    """Machine types by zone id; empty for the partitions of China and GovCloud, which moto does not carry."""
    found: dict[str, set[str]] = {}
    if region.startswith(("cn-", "us-gov-")):
        return {}
    for row in _load(f"instance_type_offerings/availability-zone-id/{region}.json.gz"):
        found.setdefault(row["Location"], set()).add(row["InstanceType"])
    return {zone: frozenset(types) for zone, types in found.items()}


def _load(name: str) -> Any:
    origin = importlib.util.find_spec("moto")
    assert origin is not None
    assert origin.origin is not None
    return json.loads(gzip.decompress((Path(origin.origin).parent / "ec2" / "resources" / name).read_bytes()))
