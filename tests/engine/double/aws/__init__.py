"""AWS: what every type has in common. Each module beside this one describes the types of one service."""

from __future__ import annotations

import json
from collections.abc import Mapping
from functools import cache
from typing import Any

import botocore.session

from tests.engine.double.types import Inputs, Refusal, Type

ACCOUNT = "123456789012"
ECHOES = {"tagsAll": "tags"}
KNOWN = {
    "accessKey", "allowedAccountIds", "assumeRoles", "defaultTags", "maxRetries", "profile", "region", "retryMode",
    "secretKey", "skipCredentialsValidation", "skipMetadataApiCheck", "skipRegionValidation", "skipRequestingAccountId",
    "token", "version",
}  # fmt: skip


@cache
def partitions() -> dict[str, tuple[str, str]]:
    """Every region with its partition and that partition's DNS suffix, as botocore knows them."""
    found: dict[str, tuple[str, str]] = {}
    session = botocore.session.get_session()
    for partition in session.get_data("partitions")["partitions"]:
        for region in partition["regions"]:
            found[region] = (partition["id"], partition["outputs"]["dnsSuffix"])
    return found


def surroundings(config: Inputs) -> dict[str, Any]:
    """What a provider instance works in: `region`, `account`, `partition`, `dns_suffix`, `default_tags`.

    Raises:
        Refusal: configuration that the double does not know, or a region that AWS does not have.
    """
    given = {name: _decoded(value) for name, value in config.items()}
    if unknown := set(given) - KNOWN:
        raise Refusal("UnknownConfiguration", f"the double knows no {sorted(unknown)}")
    region = given.get("region", "")
    allowed = given.get("allowedAccountIds", [ACCOUNT])
    if ACCOUNT not in allowed:
        raise Refusal("AccountNotAllowed", f"the credentials are of {ACCOUNT}, not of {', '.join(allowed)}")
    if not isinstance(region, str):  # a preview that does not know it yet
        region = "us-east-1"
    if region not in partitions():
        raise Refusal("InvalidRegion", f"AWS has no region {region!r}: set aws:region")
    partition, suffix = partitions()[region]
    tags = (given.get("defaultTags") or {}).get("tags", {})
    return {"region": region, "account": ACCOUNT, "partition": partition, "dns_suffix": suffix, "default_tags": tags}


def prepare(type_: Type, inputs: Inputs, config: Mapping[str, Any]) -> Inputs:
    """Default tags go into the inputs of everything that takes tags, as the AWS provider has it."""
    if "tags" not in type_.properties or not config["default_tags"]:
        return inputs
    given = inputs.get("tags", {})
    return {**inputs, "tags": {**config["default_tags"], **given}} if isinstance(given, dict) else inputs


def _decoded(value: Any) -> Any:
    """Nested configuration travels as JSON text."""
    if isinstance(value, str) and value[:1] in ("{", "["):
        return json.loads(value)
    return value == "true" if value in ("true", "false") else value
