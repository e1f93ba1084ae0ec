"""Data sources about the account, its region and zones, and what AWS publishes for everyone."""

from __future__ import annotations

import json
import re
import zlib
from typing import Any

from tests.engine.double.aws import facts
from tests.engine.double.types import Inputs, Refusal, Situation


def _region(inputs: Inputs, at: Situation) -> dict[str, Any]:
    region = inputs.get("name") or at.config["region"]
    return {
        "id": region,
        "name": region,
        "region": region,
        "description": region,
        "endpoint": f"ec2.{region}.amazonaws.com",
    }


def _partition(inputs: Inputs, at: Situation) -> dict[str, Any]:
    partition, suffix = at.config["partition"], at.config["dns_suffix"]
    reverse = ".".join(reversed(suffix.split(".")))
    return {"id": partition, "partition": partition, "dnsSuffix": suffix, "reverseDnsPrefix": reverse}


def _caller(inputs: Inputs, at: Situation) -> dict[str, Any]:
    account = at.config["account"]
    arn = f"arn:{at.config['partition']}:iam::{account}:user/deployer"
    return {"id": account, "accountId": account, "arn": arn, "userId": "AIDAEXAMPLEEXAMPLE"}


def _zones(inputs: Inputs, at: Situation) -> dict[str, Any]:
    region = at.config["region"]
    left_out = {*inputs.get("excludeNames", []), *inputs.get("excludeZoneIds", [])}
    found = {name: zone for name, zone in facts.zone_ids(region).items() if not {name, zone} & left_out}
    for wanted in inputs.get("filters", []):
        if wanted["name"] in ("zone-id", "zone-name"):
            found = {name: zone for name, zone in found.items() if {name, zone} & set(wanted["values"])}
    return {**inputs, "id": region, "names": list(found), "zoneIds": list(found.values()), "groupNames": [region]}


def _parameter(inputs: Inputs, at: Situation) -> dict[str, Any]:
    """AWS's public parameters: the recommended node images, which are all that a stack reads there."""
    name, region = inputs["name"], at.config["region"]
    if not re.fullmatch(
        r"/aws/service/(eks/optimized-ami/\d+\.\d+/[\w./-]+|ami-amazon-linux-latest/[\w.-]+|bottlerocket/.+)", name
    ):
        raise Refusal("ParameterNotFound", f"{name} in {region}")
    image = f"ami-{zlib.crc32(f'{region}{name}'.encode()):017x}"
    value = "1.34.0-20260101" if name.endswith("release_version") else image
    arn = f"arn:{at.config['partition']}:ssm:{region}::parameter{name}"
    return {
        "id": name,
        "name": name,
        "arn": arn,
        "type": "String",
        "value": value,
        "insecureValue": value,
        "version": 1,
    }


def _policy_document(inputs: Inputs, at: Situation) -> dict[str, Any]:
    """Statements as IAM writes them."""
    statements: list[dict[str, Any]] = []
    for given in inputs.get("statements", []):
        statement: dict[str, Any] = {"Effect": given.get("effect", "Allow")}
        for name, key in (("sid", "Sid"), ("actions", "Action"), ("notActions", "NotAction")):
            statement |= {key: given[name]} if name in given else {}
        for name, key in (("resources", "Resource"), ("notResources", "NotResource")):
            statement |= {key: given[name]} if name in given else {}
        for one in given.get("principals", []):
            statement.setdefault("Principal", {})[one["type"]] = one["identifiers"]
        for one in given.get("conditions", []):
            statement.setdefault("Condition", {}).setdefault(one["test"], {})[one["variable"]] = one["values"]
        statements.append(statement)
    document = json.dumps({"Version": inputs.get("version", "2012-10-17"), "Statement": statements})
    return {**inputs, "id": f"{zlib.crc32(document.encode())}", "json": document, "minifiedJson": document}


FUNCTIONS = {
    "aws:iam/getPolicyDocument:getPolicyDocument": _policy_document,
    "aws:ssm/getParameter:getParameter": _parameter,
    "aws:index/getRegion:getRegion": _region,
    "aws:index/getPartition:getPartition": _partition,
    "aws:index/getCallerIdentity:getCallerIdentity": _caller,
    "aws:index/getAvailabilityZones:getAvailabilityZones": _zones,
}
