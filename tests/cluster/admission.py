"""What a real API server says to objects: unknown fields, wrong values, pods that its Pod Security Standard forbids."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from accelstack.k8s import namespace

from tests.cluster.control_plane import ControlPlane
from tests.unit.k8s_engine import Cluster
from tests.unit.k8s_secrets import plain


def home(plane: ControlPlane, name: str) -> None:
    """A restricted namespace with the account that pods run as."""
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "workload", "namespace": name}}
    plane.apply([namespace.manifest(name, {}), account])


def objects(cluster: Cluster) -> list[dict[str, Any]]:
    """What components asked the engine to make, and a pod of each template in it."""
    found = [plain(inputs) for _, _, inputs in cluster.made if "kind" in inputs]
    return found + [
        _pod(each) for each in found if "template" in each.get("spec", {}) and each["apiVersion"] == "apps/v1"
    ]


def admitted(plane: ControlPlane, folder: Path, found: Sequence[dict[str, Any]]) -> int:
    """How many objects the API server takes without an error or a warning; it keeps none of them."""
    file = folder / "objects.json"
    file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": found}))
    strictly = ("--server-side", "--dry-run=server", "--validate=strict", "--warnings-as-errors")
    told = plane.kubectl("apply", *strictly, "--filename", str(file), "--output", "name")
    return len(told.split())


def _pod(owner: dict[str, Any]) -> dict[str, Any]:
    template, names = owner["spec"]["template"], owner["metadata"]
    claims = [
        {"name": each["metadata"]["name"], "persistentVolumeClaim": {"claimName": each["metadata"]["name"]}}
        for each in owner["spec"].get("volumeClaimTemplates", [])
    ]
    spec = {**template["spec"], "volumes": [*template["spec"]["volumes"], *claims]}
    metadata = {**template["metadata"], "name": f"{names['name']}-0", "namespace": names["namespace"]}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": spec}
