"""`helm.v3.Release` on a real API server: the real helm for charts that are at hand, a note of the others.

Package registries have no Helm charts, but the archives of some Go modules do. A release of one of those charts, by
name, is installed, upgraded and uninstalled by helm itself, waiting as the provider does unless `skipAwait` is set. The
folder's chart counts, whatever version the release names. A release of any other chart is only recorded, in a ConfigMap
of its name and namespace: a double of a double, which proves its inputs and its order and nothing else.
"""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import httpx
import yaml
from pulumi.runtime.proto import provider_pb2

from tests.cluster import programs
from tests.engine.double import diff, wire
from tests.engine.double.kubernetes import objects
from tests.engine.double.kubernetes.api import Cluster, Refused
from tests.engine.double.kubernetes.session import HalfMade, Made, Session
from tests.engine.double.types import Inputs, Problem
from tests.engine.double.wire import UNKNOWN

PATIENCE = 300
"""Seconds that helm waits where the release names none: the provider's default."""
_SWITCHES = {"skipCrds": "--skip-crds", "atomic": "--atomic", "waitForJobs": "--wait-for-jobs"}
_PREFIX = "helm-release-"


class Releases:
    """Releases in a provider instance's cluster.

    Args:
        charts: folders of charts by the chart's name, which is the last part of an `oci://` reference.
    """

    def __init__(self, session: Session, charts: Mapping[str, Path]) -> None:
        self.session = session
        self.charts = charts

    def check(self, news: Inputs, request: provider_pb2.CheckRequest) -> tuple[Inputs, list[Problem]]:
        """Inputs as they are, and what is wrong with them."""
        return news, list(objects.TYPES[objects.RELEASE].problems(wire.reveal(news)))

    def diff(self, request: provider_pb2.DiffRequest) -> provider_pb2.DiffResponse:
        """What the program says differently; another name or namespace is another release."""
        old, new = wire.read(request.old_inputs), wire.read(request.news)
        return diff.answer(old, new, ["name", "namespace"], request.ignoreChanges)

    def preview(self, inputs: Inputs, request: Any) -> Inputs:
        """The inputs; nobody knows what helm will say."""
        return {**inputs, "status": UNKNOWN, "resourceNames": UNKNOWN}

    def create(self, inputs: Inputs, request: provider_pb2.CreateRequest) -> Made:
        """Installs a release.

        Raises:
            Refused: helm does not.
            HalfMade: it is installed, and did not come up.
        """
        return self._put("install", inputs)

    def update(self, inputs: Inputs, request: provider_pb2.UpdateRequest) -> Made:
        """Upgrades a release.

        Raises:
            Refused: there is none.
            HalfMade: it did not come up.
        """
        return self._put("upgrade", inputs)

    def read(self, request: provider_pb2.ReadRequest) -> Made | None:
        """What helm says of a release; None where there is none. What it installed is not looked at."""
        inputs = wire.read(request.inputs)
        namespace, _, name = request.id.rpartition("/")
        plain = wire.reveal(inputs) or {"name": name, "namespace": namespace}
        status = self._status(plain)
        if status is None:
            return None
        found = inputs or {**plain, "chart": status["chart"], "version": status["version"]}
        return Made(request.id, self._outputs(found, status), found)

    def delete(self, request: provider_pb2.DeleteRequest) -> None:
        """Uninstalls a release and waits until its objects are gone.

        Raises:
            Refused: helm does not.
        """
        plain = wire.reveal(wire.read(request.properties))
        if self._folder(plain) is None:
            self._cluster.delete("v1", "ConfigMap", plain["namespace"], _PREFIX + plain["name"])
            return
        if self._status(plain) is None:
            return
        waits = [] if plain.get("skipAwait") else ["--wait", "--timeout", f"{plain.get('timeout', PATIENCE)}s"]
        done = self._helm("uninstall", plain["name"], "--namespace", plain["namespace"], *waits)
        if done.returncode:
            raise Refused(httpx.codes.CONFLICT, "Helm", done.stderr.strip())

    # -- steps -------------------------------------------------------------------------------------------------------

    @property
    def _cluster(self) -> Cluster:
        assert self.session.cluster is not None, self.session.unreachable
        return self.session.cluster

    def _folder(self, plain: Inputs) -> Path | None:
        return self.charts.get(str(plain.get("chart", "")).rstrip("/").rpartition("/")[2])

    def _put(self, verb: str, inputs: Inputs) -> Made:
        plain = wire.reveal(inputs)
        id = f"{plain['namespace']}/{plain['name']}"  # noqa: A001
        folder = self._folder(plain)
        if folder is None:
            self._record(verb, plain)
            return Made(id, self._outputs(inputs, self._status(plain) or {}), inputs)
        options = ["--namespace", plain["namespace"], "--timeout", f"{plain.get('timeout', PATIENCE)}s"]
        options += [] if plain.get("skipAwait") else ["--wait"]
        switches = _SWITCHES | ({"createNamespace": "--create-namespace"} if verb == "install" else {})
        options += [switch for name, switch in switches.items() if plain.get(name)]
        values = json.dumps(plain.get("values", {}))
        done = self._helm(verb, plain["name"], str(folder), "--values", "-", *options, given=values)
        status = self._status(plain)
        if done.returncode and status is None:
            raise Refused(httpx.codes.CONFLICT, "Helm", done.stderr.strip())
        made = Made(id, self._outputs(inputs, status or {}), inputs)
        if done.returncode:
            raise HalfMade(made, f"Helm release {id} failed to initialize completely: {done.stderr.strip()}")
        return made

    def _record(self, verb: str, plain: Inputs) -> None:
        about = {"name": _PREFIX + plain["name"], "namespace": plain["namespace"]}
        values = {"chart": plain["chart"], "version": plain["version"], "values": json.dumps(plain.get("values", {}))}
        manifest = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": about, "data": values}
        if plain.get("createNamespace") and self._cluster.get("v1", "Namespace", "", about["namespace"]) is None:
            self._cluster.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": about["namespace"]}})
        if verb == "install":
            self._cluster.create(manifest)
        else:
            self._cluster.apply(manifest, "recorder", force=True)

    def _status(self, plain: Inputs) -> Inputs | None:
        """Name, namespace, chart, version, revision and status of a release."""
        recorded = self._cluster.get("v1", "ConfigMap", plain["namespace"], _PREFIX + plain["name"])
        if recorded:
            data = recorded["data"]
            return {"name": plain["name"], "chart": data["chart"], "version": data["version"], "status": "deployed"}
        if not self.charts:
            return None
        done = self._helm("get", "metadata", plain["name"], "--namespace", plain["namespace"], "--output", "json")
        if done.returncode == 0:
            return json.loads(done.stdout)
        if "not found" in done.stderr:
            return None
        raise Refused(httpx.codes.BAD_GATEWAY, "Helm", done.stderr.strip())

    def _outputs(self, inputs: Inputs, status: Inputs) -> Inputs:
        plain = wire.reveal(inputs)
        names = dict(self._made(plain)) if self._folder(plain) else {}
        shown = {key: status[key] for key in ("name", "chart", "version", "revision", "status") if key in status}
        return {**inputs, "status": {**shown, "namespace": plain["namespace"]}, "resourceNames": names}

    def _made(self, plain: Inputs) -> Iterator[tuple[str, list[str]]]:
        """The objects of a release by kind, as the provider lists them."""
        done = self._helm("get", "manifest", plain["name"], "--namespace", plain["namespace"])
        objects = [one for one in yaml.safe_load_all(done.stdout) if one]
        kinds = sorted({(one["kind"], one["apiVersion"]) for one in objects})
        for kind, version in kinds:
            group = f".{version.rpartition('/')[0]}" if "/" in version else ""
            about = [one["metadata"] for one in objects if (one["kind"], one["apiVersion"]) == (kind, version)]
            yield f"{kind}{group}/{version}", [f"{one.get('namespace', '')}/{one['name']}".lstrip("/") for one in about]

    def _helm(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        with tempfile.TemporaryDirectory() as folder:
            config = Path(folder) / "kubeconfig"
            config.write_text(self._cluster.access.kubeconfig())
            config.chmod(0o600)
            surroundings = {f"HELM_{what}_HOME": folder for what in ("CACHE", "CONFIG", "DATA")}
            return subprocess.run(
                [programs.folder("helm") / "helm", *arguments, "--kubeconfig", config],
                input=given,
                env=surroundings,
                capture_output=True,
                text=True,
                check=False,
            )
