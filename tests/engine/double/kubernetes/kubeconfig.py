"""Where an API server is and how to sign in to it, from what the provider is configured with."""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import yaml


class Unusable(Exception):  # noqa: N818 - an answer, not a mistake of this program
    """The kubeconfig does not lead to an API server."""


@dataclass(frozen=True)
class Access:
    """One cluster of a kubeconfig, as one of its users."""

    server: str
    """`https://127.0.0.1:6443`."""
    authority: bytes | None
    """Certificates in PEM that the server's own is held against; None believes any."""
    certificate: bytes | None
    """The user's certificate in PEM, and its key."""
    key: bytes | None
    token: str
    namespace: str
    """The namespace of the context; `default` where it names none."""

    @property
    def local(self) -> bool:
        """Whether the server is on this machine."""
        host = urlsplit(self.server).hostname or ""
        try:
            return ipaddress.ip_address(host).is_loopback
        except ValueError:
            return host == "localhost"

    def kubeconfig(self) -> str:
        """The same as a kubeconfig of its own, for programs such as helm."""
        cluster: dict[str, Any] = {"server": self.server}
        cluster |= (
            {"certificate-authority-data": _encoded(self.authority)}
            if self.authority
            else {"insecure-skip-tls-verify": True}
        )
        user: dict[str, Any] = {"token": self.token} if self.token else {}
        if self.certificate and self.key:
            user |= {"client-certificate-data": _encoded(self.certificate), "client-key-data": _encoded(self.key)}
        return yaml.safe_dump(
            {
                "apiVersion": "v1",
                "kind": "Config",
                "clusters": [{"name": "it", "cluster": cluster}],
                "users": [{"name": "it", "user": user}],
                "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it", "namespace": self.namespace}}],
                "current-context": "it",
            }
        )


def parse(given: str) -> dict[str, Any]:
    """A kubeconfig from its contents (YAML or JSON) or the path of its file.

    Raises:
        Unusable: there is no such file, or it is no kubeconfig.
    """
    text = given
    if "\n" not in given and not given.lstrip().startswith("{"):
        file = Path(given).expanduser()
        if not file.is_file():
            raise Unusable(f"there is no kubeconfig {given}")
        text = file.read_text()
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise Unusable(f"the kubeconfig is no YAML: {error}") from error
    if not isinstance(found, dict) or not found.get("clusters"):
        raise Unusable("the kubeconfig names no cluster")
    return found


def access(given: str, context: str = "", cluster: str = "") -> Access:
    """Who signs in where.

    Args:
        given: contents of a kubeconfig or the path of its file.
        context: instead of the kubeconfig's current one.
        cluster: instead of the context's.

    Raises:
        Unusable: it names no cluster that can be addressed so.
    """
    config = parse(given)
    chosen = _named(config, "contexts", "context", context or config.get("current-context", ""))
    named = cluster or chosen.get("cluster", "")
    where, user = _named(config, "clusters", "cluster", named), _named(config, "users", "user", chosen.get("user", ""))
    if not where.get("server"):
        raise Unusable(f"cluster {named} has no server")
    return Access(
        server=str(where["server"]).rstrip("/"),
        authority=None if where.get("insecure-skip-tls-verify") else _data(where, "certificate-authority"),
        certificate=_data(user, "client-certificate"),
        key=_data(user, "client-key"),
        token=str(user.get("token", "")),
        namespace=chosen.get("namespace") or "default",
    )


def _named(config: Mapping[str, Any], group: str, member: str, name: str) -> dict[str, Any]:
    for one in config.get(group) or []:
        if one["name"] == name:
            return one.get(member) or {}
    raise Unusable(f"the kubeconfig has no {member} {name!r}")


def _data(entry: Mapping[str, Any], name: str) -> bytes | None:
    """What an entry gives in place (`<name>-data`, base64) or as the path of a file."""
    if f"{name}-data" in entry:
        return base64.b64decode(entry[f"{name}-data"])
    return Path(entry[name]).read_bytes() if name in entry else None


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()
