"""Schedules and buckets on a real API server, with Velero's own definitions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.admission import admitted, home, objects
from tests.cluster.control_plane import ControlPlane, running
from tests.unit.test_k8s_backup import made


@pytest.fixture(scope="module")
def plane(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    with running(tmp_path_factory.mktemp("plane"), controllers=False, components=["velero"]) as ready:
        home(ready, "velero")
        yield ready


@pytest.mark.parametrize(
    "own",
    [
        {},
        {"endpoint": "https://objects.example:9000", "credentials": "[default]", "volumes": True},
        {"bucket": "gs://backups", "schedule": "@weekly", "days": 7},
    ],
    ids=["aws", "own", "google"],
)
def test_every_object_is_admitted_without_a_warning(plane: ControlPlane, tmp_path: Path, own: dict[str, Any]) -> None:
    found = objects(made(**own)[0])
    assert {each["kind"] for each in found} >= {"BackupStorageLocation", "Schedule"}
    assert admitted(plane, tmp_path, found) == len(found)
