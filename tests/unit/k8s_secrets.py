"""Secrets as the engine is sent them."""

from __future__ import annotations

from typing import Any

from pulumi.runtime import rpc

MARK = {rpc._special_sig_key: rpc._special_secret_sig}


def unwrapped(sent: dict[str, Any]) -> Any:
    """What a secret holds; it must be one."""
    assert sent.items() >= MARK.items()
    return sent["value"]


def plain(sent: Any) -> Any:
    """What an API server is sent of it: all of it, secrets too."""
    if isinstance(sent, dict):
        return plain(sent["value"]) if sent.items() >= MARK.items() else {key: plain(sent[key]) for key in sent}
    return [plain(each) for each in sent] if isinstance(sent, list) else sent
