"""A control plane for tests: etcd, API server, controllers, scheduler, KWOK, and Kueue, JobSet and LeaderWorkerSet.

    with running(folder) as plane:
        plane.apply(nodes(pool, 4))

All are the real programs, on ports of loopback that were free, in seconds; nothing of them is left afterwards, even
where the process that started them is killed. `python -m tests.cluster.control_plane --hold` keeps one up until it is
interrupted, and prints its kubeconfig.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from tests.cluster import certificates as certificates_
from tests.cluster import controllers as controllers_
from tests.cluster import crds, launch, programs
from tests.cluster.crds import Manifest
from tests.cluster.nodes import cpu_pool, gpu_pool, nodes
from tests.engine.double.kubernetes.api import Cluster, Refused, Unreachable
from tests.engine.double.kubernetes.kubeconfig import access

PATIENCE = 60.0  # seconds: far more than any step takes
_INTERVAL = 0.1
_PARALLEL = 16
_KEEPER = Path(__file__).with_name("keeper.py")
T = TypeVar("T")


class ControlPlaneError(Exception):
    """A program of the control plane ended, or something did not come to be in time."""


@dataclass
class ControlPlane:
    """A control plane that runs, as its administrator uses it."""

    home: Path
    """Folder of all that it keeps, which goes with it."""
    certificates: certificates_.Certificates
    server: str
    """Address of the API server."""
    processes: dict[str, psutil.Process] = field(default_factory=dict[str, psutil.Process])
    """By program."""

    @property
    def kubeconfig(self) -> Path:
        """For its administrator, with the certificates in it."""
        return self.home / "kubeconfig"

    @cached_property
    def api(self) -> Cluster:
        """A client of the API server."""
        return Cluster(access(str(self.kubeconfig)))

    def kubectl(self, *arguments: str, input: str | None = None) -> str:  # noqa: A002 - as subprocess has it
        """What kubectl prints.

        Raises:
            ControlPlaneError: it fails; the message is what it says.
        """
        own = [f"--kubeconfig={self.kubeconfig}", f"--cache-dir={self.home / 'cache'}"]
        done = subprocess.run(
            [programs.folder("kubernetes") / "kubectl", *own, *arguments],
            input=input,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 2,
            check=False,
        )
        if done.returncode:
            raise ControlPlaneError(done.stderr.strip())
        return done.stdout

    def apply(self, manifests: Iterable[Manifest]) -> None:
        """Server-side apply of manifests in their order; definitions of kinds can be used when it returns.

        Raises:
            tests.engine.double.kubernetes.api.Refused: the API server does not take one, or knows a field of it not.
        """
        defined: list[str] = []
        for manifest in manifests:
            self.api.apply(manifest, "tests", force=True)
            if manifest["kind"] == "CustomResourceDefinition":
                defined.append(manifest["metadata"]["name"])
        self._wait_for_definitions(defined)

    def create_all(self, manifests: Iterable[Manifest]) -> None:
        """Creates many objects that are not there, whose order does not matter, side by side."""
        with ThreadPoolExecutor(_PARALLEL) as threads:
            for _ in threads.map(self.api.create, manifests):
                pass

    def install(self, *components: str) -> None:
        """Installs the definitions of components, such as `keda`."""
        found = [each for component in components for each in crds.crds(component)]
        with ThreadPoolExecutor(_PARALLEL) as threads:
            for _ in threads.map(lambda each: self.api.apply(each, "tests", force=True), found):
                pass
        self._wait_for_definitions(each["metadata"]["name"] for each in found)

    def get(self, kind: str, name: str, namespace: str = "") -> dict[str, Any] | None:
        """An object, or None where there is none; the kind as kubectl takes it, such as `jobset`."""
        where = [f"--namespace={namespace}"] if namespace else []
        found = self.kubectl("get", kind, name, *where, "--ignore-not-found", "--output=json")
        return json.loads(found) if found else None

    def wait(self, condition: Callable[[], T], what: str, seconds: float = PATIENCE) -> T:
        """Polls until the condition gives something true, and returns that.

        Raises:
            ControlPlaneError: it does not within that time, or a program of the control plane ended.
        """
        until = time.monotonic() + seconds
        while True:
            if found := condition():
                return found
            self.check()
            if time.monotonic() > until:
                raise ControlPlaneError(f"{what}: not within {seconds:g} s")
            time.sleep(_INTERVAL)

    def check(self) -> None:
        """Looks whether all programs run.

        Raises:
            ControlPlaneError: one ended; the message ends with the last lines that it wrote.
        """
        for name, process in self.processes.items():
            if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
                raise ControlPlaneError(f"{name} ended: {self.log(name)[-3000:]}")

    def log(self, name: str) -> str:
        """What a program wrote."""
        return (self.home / f"{name}.log").read_text(errors="replace")

    def _wait_for_definitions(self, names: Iterable[str]) -> None:
        for name in names:
            self.wait(lambda name=name: self._established(name), f"definition {name}")

    def _established(self, name: str) -> bool:
        found = self.api.get("apiextensions.k8s.io/v1", "CustomResourceDefinition", "", name) or {}
        return any(
            each["type"] == "Established" and each["status"] == "True"
            for each in found.get("status", {}).get("conditions") or []
        )


@contextlib.contextmanager
def running(
    folder: Path,
    *,
    controllers: bool = True,
    components: Iterable[str] = (),
    job_seconds: float = 0.0,
    kueue: Mapping[str, Any] | None = None,
) -> Iterator[ControlPlane]:
    """A control plane, ready, in a folder of its own below the one given.

    Args:
        controllers: with scheduler, controllers and KWOK; else an API server alone.
        components: whose definitions it has besides those of its controllers.
        job_seconds: how long pods of Jobs run before they succeed, where the annotation `launch.DELAY` does not say.
        kueue: more of Kueue's configuration.

    Raises:
        tests.cluster.programs.UnavailableError: there is no Go to build the programs with.
        ControlPlaneError: it does not come up.
    """
    home = Path(tempfile.mkdtemp(prefix="control-plane-", dir=folder))
    certificates = certificates_.make(home / "certificates")
    ports = launch.free_ports(3 + 2 * len(controllers_.CONTROLLERS))
    plane = ControlPlane(home, certificates, f"https://127.0.0.1:{ports[0]}")
    plane.kubeconfig.touch(mode=0o600)
    plane.kubeconfig.write_text(certificates.kubeconfig(plane.server))
    with _keeper(plane) as start:
        start("etcd", launch.etcd(home, *ports[1:3]))
        start("kube-apiserver", launch.api_server(certificates, ports[0], ports[1]))
        plane.wait(lambda: _ready(plane), "the API server")
        if controllers:
            start("kube-scheduler", launch.scheduler(plane.kubeconfig, home))
            start("kube-controller-manager", launch.controller_manager(plane.kubeconfig, certificates))
            start("kwok", launch.kwok(plane.kubeconfig, home, job_seconds))
            _start_controllers(plane, start, ports[3:], kueue or {})
        plane.install(*components)
        if controllers:
            plane.wait(lambda: plane.api.get("v1", "ServiceAccount", "default", "default"), "the controllers")
        yield plane


Start = Callable[[str, list[str]], None]


def _start_controllers(plane: ControlPlane, start: Start, ports: list[int], kueue: Mapping[str, Any]) -> None:
    """Starts what comes on top of Kubernetes, and registers its webhooks once they answer."""
    plane.install(*(each.component for each in controllers_.CONTROLLERS))
    listening: list[tuple[controllers_.Controller, int, int]] = []
    for controller, webhooks, health in zip(controllers_.CONTROLLERS, ports[::2], ports[1::2], strict=True):
        plane.apply([{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": controller.namespace}}])
        settings = kueue if controller.component == "kueue" else {}
        start(
            controller.program,
            controllers_.command(controller, plane.home, plane.certificates, webhooks, health, settings),
        )
        listening.append((controller, webhooks, health))
    for controller, webhooks, health in listening:
        plane.wait(lambda health=health: _answers(f"http://127.0.0.1:{health}/readyz"), controller.program)
        plane.apply(controllers_.webhooks(controller, plane.certificates, webhooks))


@contextlib.contextmanager
def _keeper(plane: ControlPlane) -> Iterator[Start]:
    """Starts programs that end with this process."""
    command = [sys.executable, str(_KEEPER), str(plane.home)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, start_new_session=True
    ) as keeper:
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        told, answers = keeper.stdin, keeper.stdout

        def start(name: str, arguments: list[str]) -> None:
            environment = {"KUBECONFIG": str(plane.kubeconfig), "HOME": str(plane.home)}
            told.write(json.dumps({"name": name, "command": arguments, "environment": environment}) + "\n")
            told.flush()
            plane.processes[name] = psutil.Process(int(answers.readline()))

        try:
            yield start
        finally:
            told.close()
            keeper.wait(PATIENCE)
            shutil.rmtree(plane.home, ignore_errors=True)


def _ready(plane: ControlPlane) -> bool:
    """Whether the API server answers and has made what it makes at its first start."""
    try:
        found = plane.api.get("rbac.authorization.k8s.io/v1", "ClusterRole", "", "cluster-admin")
        return found is not None and plane.api.get("v1", "Namespace", "", "default") is not None
    except (Refused, Unreachable):
        return False


def _answers(address: str) -> bool:
    try:
        return httpx.get(address, trust_env=False).is_success
    except httpx.TransportError:
        return False


def main() -> None:
    """Keeps a control plane up until it is interrupted."""
    parser = argparse.ArgumentParser(description="A Kubernetes control plane for trying manifests.")
    parser.add_argument("--hold", action="store_true", required=True, help="keep it up until Ctrl-C")
    parser.parse_args()
    pools = (cpu_pool(), gpu_pool())
    with tempfile.TemporaryDirectory() as folder, running(Path(folder), components=crds.COMPONENTS) as plane:
        plane.create_all(node for pool in pools for node in nodes(pool, 6))
        print(plane.kubeconfig, flush=True)
        with contextlib.suppress(KeyboardInterrupt):
            while True:
                plane.check()
                time.sleep(1)


if __name__ == "__main__":
    main()
