"""Kubeconfigs: found as kubectl finds them, one context chosen, made to stand alone."""

import base64
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

FILES = {
    "clusters": {"certificate-authority": "certificate-authority-data"},
    "users": {"client-certificate": "client-certificate-data", "client-key": "client-key-data"},
}
"""Fields of a cluster and a user that name files, and those that hold what is in them."""
SECTIONS = {"clusters": "cluster", "users": "user", "contexts": "context"}


class ClusterError(ValueError):
    """An existing cluster cannot be used: by its kubeconfig, its credentials, or because it does not answer."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(f"{reason}; {fix}")
        self.reason, self.fix = reason, fix


def standing_alone(given: str, context: str = "") -> dict[str, Any]:
    """The kubeconfig of one context, with what its files hold in it: it means the same in any folder.

    Args:
        given: path of a file, or what it holds; empty for kubectl's own choice.
        context: its name; empty for the current one.

    Raises:
        ClusterError: there is none, it is no kubeconfig, has no such context, or names files that cannot be read.
    """
    config = _given(given)
    chosen = context or str(config.get("current-context") or "")
    contexts = _names(config, "contexts")
    if not chosen:
        raise ClusterError("no context is chosen", f"set context to one of: {', '.join(contexts) or 'none there'}")
    if chosen not in contexts:
        raise ClusterError(f"there is no context {chosen!r}", f"use one of: {', '.join(contexts) or 'none there'}")
    joined = _entry(config, "contexts", chosen)
    cluster, user = str(joined.get("cluster", "")), str(joined.get("user", ""))
    if not _entry(config, "clusters", cluster).get("server"):
        raise ClusterError(f"context {chosen!r} names cluster {cluster!r}, which has no server", "mend the kubeconfig")
    if user not in _names(config, "users"):
        raise ClusterError(f"context {chosen!r} names user {user!r}, who is not there", "mend the kubeconfig")
    if "auth-provider" in (signing_in := _entry(config, "users", user)):
        fix = "have its tool write the kubeconfig anew (`aws eks update-kubeconfig`, `gcloud … get-credentials`)"
        raise ClusterError(f"user {user!r} signs in by auth-provider, which clients no longer know", fix)
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": chosen,
        "contexts": [{"name": chosen, "context": dict(joined)}],
        "clusters": [{"name": cluster, "cluster": dict(_entry(config, "clusters", cluster))}],
        "users": [{"name": user, "user": dict(signing_in)}],
    }


def server(config: Mapping[str, Any]) -> str:
    """URL of the API server of a kubeconfig that stands alone."""
    return str(config["clusters"][0]["cluster"]["server"])


def user(config: Mapping[str, Any]) -> dict[str, Any]:
    """How a kubeconfig that stands alone signs in."""
    return config["users"][0]["user"]


def _given(given: str) -> dict[str, Any]:
    if "\n" in given or given.lstrip().startswith("{"):
        return _parsed(given, "the kubeconfig", Path.cwd())
    named = [given] if given else os.environ.get("KUBECONFIG", "").split(os.pathsep)
    paths = [Path(each).expanduser() for each in named if each] or [Path("~/.kube/config").expanduser()]
    there = [path for path in paths if path.is_file()]
    if not there:
        fix = "set kubeconfig to a file, or KUBECONFIG in the environment"
        raise ClusterError(f"there is no kubeconfig at {', '.join(map(str, paths))}", fix)
    merged: dict[str, Any] = {key: [] for key in SECTIONS}
    for path in there:  # as kubectl merges them: the first to name something has it
        try:
            config = _parsed(path.read_text(encoding="utf-8"), str(path), path.parent)
        except (OSError, UnicodeDecodeError) as error:
            raise ClusterError(f"{path} cannot be read: {error}", "name a file that can be") from None
        for key in SECTIONS:
            merged[key] += [each for each in config[key] if each["name"] not in _names(merged, key)]
        merged["current-context"] = merged.get("current-context") or config.get("current-context")
    return merged


def _parsed(text: str, where: str, folder: Path) -> dict[str, Any]:
    """A kubeconfig with what its files hold in it. `folder` is what their paths are relative to."""
    fix = "name a file that `kubectl config view` understands"
    try:
        read: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise ClusterError(f"{where} is no YAML: {str(error).splitlines()[0]}", fix) from None
    if not isinstance(read, dict):
        raise ClusterError(f"{where} is no kubeconfig", fix)
    config = cast(dict[str, Any], read)
    for section, key in SECTIONS.items():
        entries: Any = config.get(section) or []
        if not isinstance(entries, list) or not all(_is_entry(each, key) for each in cast(list[Any], entries)):
            raise ClusterError(f"{where} is no kubeconfig: {section} is no list of names with a {key} each", fix)
        config[section] = entries
        for entry in cast(list[dict[str, Any]], entries):
            entry[key] = _inlined(entry.get(key) or {}, FILES.get(section, {}), folder)
    return config


def _is_entry(entry: Any, key: str) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(cast(dict[str, Any], entry).get("name"), str)
        and isinstance(cast(dict[str, Any], entry).get(key) or {}, dict)
    )


def _inlined(fields: Mapping[str, Any], files: Mapping[str, str], folder: Path) -> dict[str, Any]:
    found = dict(fields)
    for named, inline in files.items():
        path = found.pop(named, None)
        if path and not found.get(inline):
            try:
                found[inline] = base64.b64encode((folder / Path(path).expanduser()).read_bytes()).decode()
            except OSError as error:
                raise ClusterError(f"{named} {path} cannot be read: {error.strerror}", "mend the kubeconfig") from None
    if token := found.get("tokenFile"):  # stays a file: tokens in it are renewed
        found["tokenFile"] = str((folder / Path(token).expanduser()).resolve())
    program: dict[str, Any] = found.get("exec") or {}
    if "/" in str(program.get("command", "")):
        found["exec"] = {**program, "command": str((folder / str(program["command"])).resolve())}
    return found


def _names(config: Mapping[str, Any], section: str) -> list[str]:
    return [str(each["name"]) for each in config[section]]


def _entry(config: Mapping[str, Any], section: str, name: str) -> dict[str, Any]:
    nothing: dict[str, Any] = {}
    return next((each[SECTIONS[section]] for each in config[section] if each["name"] == name), nothing)
