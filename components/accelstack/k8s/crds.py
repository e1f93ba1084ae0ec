"""Custom resource definitions, read from where a project or a mirror publishes them."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import fsspec  # pyright: ignore[reportMissingTypeStubs]
import pulumi
import yaml

KIND = "CustomResourceDefinition"
Manifest = dict[str, Any]


def read(component: str, version: str, urls: Sequence[str], lock: Mapping[str, Any]) -> list[Manifest]:
    """The definitions in these files, by name; other objects in them are left out.

    Args:
        urls: as fsspec takes them: folders of this machine, `https://`, `s3://` and others.
        lock: `crds` in it are digests as `digest` gives them, by `<component>-<version>`.

    Raises:
        pulumi.InputPropertyError: a file cannot be read, has no definition, or is not what the lock says.
    """
    found = [each for url in urls for each in _definitions(component, version, url)]
    found.sort(key=lambda each: each["metadata"]["name"])
    locked = lock.get("crds", {}).get(f"{component}-{version}")
    if locked and locked != digest(found):
        reason = f"the definitions of {component} {version} at {urls[0]} have digest {digest(found)}, the lock {locked}"
        raise pulumi.InputPropertyError("crds", f"{reason}; find out why, and make the lock anew if it is right")
    return found


def digest(definitions: Sequence[Manifest]) -> str:
    """The digest of definitions, wherever and in however many files they lie."""
    ordered = sorted(definitions, key=lambda each: each["metadata"]["name"])
    return "sha256:" + hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()


def parse(text: str) -> list[Manifest]:
    """The definitions among the objects of a YAML file, without the parts that the API server writes."""
    objects: list[Manifest | None] = list(yaml.load_all(text, _Loader))
    made = [{**each} for each in objects if each and each["kind"] == KIND]
    for each in made:
        each.pop("status", None)
        each["metadata"].pop("creationTimestamp", None)
    return made


class _Loader(yaml.SafeLoader):
    """Takes a bare `=` for the text that it is, as Prometheus Operator's definitions need."""


_Loader.add_constructor("tag:yaml.org,2002:value", _Loader.construct_yaml_str)  # pyright: ignore


def _definitions(component: str, version: str, url: str) -> list[Manifest]:
    where = f"the definitions of {component} {version}"
    fix = f"set crds to a folder or URL that has {component}-{version}.yaml"
    try:
        files, path = fsspec.core.url_to_fs(url)  # pyright: ignore
        text: bytes = files.cat_file(path)  # pyright: ignore
        found = parse(text.decode())
    except Exception as error:  # each kind of store has errors of its own
        reason = f"{where} cannot be read from {url}: {type(error).__name__}: {error}"
        raise pulumi.InputPropertyError("crds", f"{reason}; {fix}") from error
    if not found:
        raise pulumi.InputPropertyError("crds", f"{where} are not in {url}; {fix}")
    return found
