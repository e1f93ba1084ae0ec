"""One control plane for the tests of a session, and a namespace for each of them."""

import re
from collections.abc import Iterator

import pytest

from tests.cluster import programs
from tests.cluster.control_plane import ControlPlane, running

PROGRAMS = ("etcd", "kubernetes", "kwok", "kueue", "jobset", "leader_worker_set")


@pytest.fixture(scope="session", autouse=True)
def built() -> None:
    """The programs, which take minutes to build on a new machine; tests need them or say why there are none."""
    try:
        for name in PROGRAMS:
            programs.folder(name)
    except programs.UnavailableError as reason:
        pytest.skip(f"no control plane: {reason}")


@pytest.fixture(scope="session")
def shared(built: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[ControlPlane]:
    """A control plane with everything, without nodes."""
    with running(tmp_path_factory.mktemp("shared")) as made:
        yield made


@pytest.fixture
def namespace(shared: ControlPlane, request: pytest.FixtureRequest) -> Iterator[str]:
    """A namespace of `shared` for one test, where pods must meet the restricted Pod Security Standard."""
    name = re.sub(r"[^a-z0-9]+", "-", request.node.name.lower())[:63].strip("-")
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    shared.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}}])
    yield name
    shared.kubectl("delete", "namespace", name, "--wait=false")
