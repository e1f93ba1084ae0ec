"""What the provider does to the inputs of an object before anything else: refuses, names and places them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pulumi.runtime.proto import provider_pb2

from tests.engine.double.kubernetes import asked, shape
from tests.engine.double.kubernetes.session import Session
from tests.engine.double.types import Autoname, Inputs, Problem
from tests.engine.double.wire import UNKNOWN

_NAME = Autoname(property="name", limit=253)


def about(token: str) -> tuple[str, str]:
    """`apiVersion` and `kind` of a type: `kubernetes:apps/v1:Deployment`, `kubernetes:core/v1:Pod`."""
    _, version, kind = token.split(":")
    return version.removeprefix("core/"), kind


def problems(token: str, inputs: Inputs, request: provider_pb2.CheckRequest) -> Iterator[Problem]:
    """Why inputs are refused whatever the cluster says."""
    version, kind = about(token)
    if kind.endswith("List"):
        yield Problem("kind", "lists cannot be created: use the type of what is in it")
    if kind.endswith("Patch"):
        yield Problem("kind", "the double knows no Patch resources")
    for name, value in (("apiVersion", version), ("kind", kind)):
        if inputs.get(name) != value:
            yield Problem(name, f"must be {value}, the type's own, and is {inputs.get(name)}")
    metadata = inputs.get("metadata", {})
    if metadata is UNKNOWN or not isinstance(metadata, dict):
        return
    if metadata.get("generateName") and not metadata.get("name"):
        yield Problem("metadata.generateName", "is not supported in Server-Side Apply mode")
    disabled = request.autonaming.mode == provider_pb2.CheckRequest.AutonamingOptions.DISABLE
    if disabled and not metadata.get("name"):
        yield Problem("metadata.name", "autonaming is disabled, resource requires the .metadata.name field to be set")


def completed(inputs: Inputs, olds: Inputs, request: provider_pb2.CheckRequest, session: Session) -> Inputs:
    """The inputs as they count: in one form, with a name, and with a namespace where the kind has one."""
    made = shape.normal(inputs)
    metadata = made.get("metadata", {})
    if not isinstance(metadata, dict):
        return made
    if not metadata.get("name"):
        metadata = _named(metadata, olds.get("metadata"), request)
    if not metadata.get("namespace") and session.namespaced(made):
        metadata = {**metadata, "namespace": session.namespace}
    return {**made, "metadata": metadata}


def _named(metadata: Inputs, old: Any, request: provider_pb2.CheckRequest) -> Inputs:
    """Metadata with the name that the object has already, else a new one; a mark says that it is no program's."""
    notes = metadata.get("annotations", {})
    if notes is UNKNOWN or not isinstance(notes, dict):
        notes = {}
    if isinstance(old, dict) and asked.of({"metadata": old}, "autonamed") == "true":
        name = old["name"]
    else:
        name = _NAME.make(request.name, request.autonaming.proposed_name, request.randomSeed)
    return {**metadata, "name": name, "annotations": {**notes, asked.AUTONAMED: "true"}}
