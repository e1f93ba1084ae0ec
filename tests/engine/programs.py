"""Pulumi programs run by the real engine against doubles of the clouds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import textwrap
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from accelstack.plan.addons import addons
from accelstack.plan.compatibility import defaults

from tests.engine.double.cloud import Cloud
from tests.engine.double.faults import Faults
from tests.engine.double.kubernetes.provider import ClusterDouble
from tests.engine.double.server import Double

PROJECT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0  # seconds: far more than any run takes
DOUBLES = ("aws", "docker-build", "kubernetes")
"""The providers of this project's own program on AWS."""
HEADER = "import pulumi\nimport pulumi_aws as aws\n"


@dataclass(frozen=True)
class Run:
    """What one command of the engine did."""

    returncode: int
    output: str
    """Standard output and error together."""
    events: list[dict[str, Any]]
    """The engine's event log."""

    @property
    def ok(self) -> bool:
        """Whether it succeeded."""
        return self.returncode == 0

    @property
    def steps(self) -> list[tuple[str, str]]:
        """Each step as operation and name, `("create", "net-public-use1-az1")`, without providers
        and those that change nothing."""
        found = [event["resourcePreEvent"]["metadata"] for event in self.events if "resourcePreEvent" in event]
        kept = [
            one
            for one in found
            if one["op"] not in ("same", "read") and not one["type"].startswith("pulumi:providers:")
        ]
        return [(step["op"], step["urn"].rsplit("::", 1)[-1]) for step in kept]

    @property
    def changes(self) -> Counter[str]:
        """Steps by operation."""
        return Counter(operation for operation, _ in self.steps)

    @property
    def diagnostics(self) -> str:
        """Errors and warnings, as the engine shows them."""
        found = [event["diagnosticEvent"] for event in self.events if "diagnosticEvent" in event]
        return "\n".join(one["message"] for one in found if one["severity"] in ("error", "warning"))

    def detail(self, name: str) -> dict[str, str]:
        """The property paths in which a resource differs, and how, from the step that the engine planned for it."""
        for event in self.events:
            step = event.get("resourcePreEvent", {}).get("metadata", {})
            if step.get("urn", "").endswith(f"::{name}") and step.get("detailedDiff"):
                return {path: change["diffKind"] for path, change in step["detailedDiff"].items()}
        return {}


@dataclass(frozen=True)
class Entry:
    """A resource in the stack's state."""

    urn: str
    type: str
    name: str
    id: str
    parent: str
    """The parent's URN."""
    protect: bool
    inputs: dict[str, Any]
    outputs: dict[str, Any]
    dependencies: list[str]
    """URNs of what it depends on."""


@dataclass
class Program:
    """A project of one program, its state beside it, and the doubles that it meets."""

    path: Path
    doubles: dict[str, Double | ClusterDouble]
    providers: str
    """The doubles' addresses, for PULUMI_DEBUG_PROVIDERS."""
    settings: Path
    """The stack's configuration file."""
    project: str
    runs: int = 0
    usual: dict[str, str] = field(default_factory=dict)
    """Settings that it begins with."""

    @property
    def cloud(self) -> Cloud:
        """What exists in AWS."""
        double = self.doubles["aws"]
        assert isinstance(double, Double)
        return double.cloud

    @property
    def cluster(self) -> ClusterDouble:
        """The provider of Kubernetes, where it was attached with an API server."""
        double = self.doubles["kubernetes"]
        assert isinstance(double, ClusterDouble)
        return double

    @property
    def faults(self) -> Faults:
        """What is planned to go wrong in AWS."""
        return self.doubles["aws"].faults

    @property
    def environment(self) -> dict[str, str]:
        """A user with a local state who is logged in nowhere."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("PULUMI_", "AWS_"))}
        return {
            **clean,
            "PATH": f"{PROJECT / '.tools' / 'bin'}:{os.environ['PATH']}",
            "PULUMI_HOME": str(self.path / "home"),
            "PULUMI_BACKEND_URL": (self.path / "state").as_uri() + "?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE": "test",
            "PULUMI_DEBUG_COMMANDS": "true",
            "PULUMI_DEBUG_PROVIDERS": self.providers,
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
            "PULUMI_SKIP_UPDATE_CHECK": "true",
        }

    def write(self, text: str, header: str = HEADER) -> None:
        """Sets the program: its text after `import pulumi` and `import pulumi_aws as aws`, or another beginning."""
        (self.path / "__main__.py").write_text(header + textwrap.dedent(text))

    def configure(self, **values: str) -> None:
        """Sets configuration: the project's own, or `aws__region="us-west-2"` with two underscores for a colon."""
        keyed = {name.replace("__", ":") if "__" in name else f"{self.project}:{name}": values[name] for name in values}
        known = yaml.safe_load(self.settings.read_text()) if self.settings.exists() else {"config": dict(self.usual)}
        known["config"].update(keyed)
        self.settings.write_text(json.dumps(known))  # JSON is YAML

    def preview(self, *options: str) -> Run:
        """`pulumi preview`."""
        return self._operate("preview", "--diff", *options)

    def up(self, *options: str) -> Run:
        """`pulumi up`, without a preview first."""
        return self._operate("up", "--yes", "--skip-preview", *options)

    def refresh(self, *options: str) -> Run:
        """`pulumi refresh`, without a preview first."""
        return self._operate("refresh", "--yes", "--skip-preview", *options)

    def destroy(self, *options: str) -> Run:
        """`pulumi destroy`, without a preview first."""
        return self._operate("destroy", "--yes", "--skip-preview", *options)

    def adopt(self, token: str, name: str, id: str, *options: str) -> Run:  # noqa: A002
        """`pulumi import` of one resource."""
        return self._operate("import", "--yes", "--skip-preview", "--generate-code=false", *options, token, name, id)

    def state(self) -> list[Entry]:
        """The stack's resources, as exported."""
        exported = self.export()["deployment"]
        return [
            Entry(
                urn=one["urn"],
                type=one["type"],
                name=one["urn"].rsplit("::", 1)[-1],
                id=one.get("id", ""),
                parent=one.get("parent", ""),
                protect=one.get("protect", False),
                inputs=one.get("inputs", {}),
                outputs=one.get("outputs", {}),
                dependencies=one.get("dependencies", []),
            )
            for one in exported.get("resources") or []
        ]

    def export(self, *options: str) -> dict[str, Any]:
        """`pulumi stack export`."""
        result = self.pulumi("stack", "export", *options)
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def outputs(self) -> dict[str, Any]:
        """`pulumi stack output`, secrets shown."""
        result = self.pulumi("stack", "output", "--json", "--show-secrets")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Any command."""
        return subprocess.run(
            ["pulumi", "--non-interactive", *arguments],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    @contextmanager
    def in_background(self, command: str = "up") -> Iterator[subprocess.Popen[bytes]]:
        """`pulumi up`, or `destroy`, that a test can kill; its output is in `up.log`."""
        with (
            (self.path / f"{command}.log").open("w") as log,
            subprocess.Popen(
                ["pulumi", "--non-interactive", command, "--yes", "--skip-preview"],
                cwd=self.path,
                env=self.environment,
                stdout=log,
                stderr=subprocess.STDOUT,
            ) as process,
        ):
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def _operate(self, command: str, *options: str) -> Run:
        self.runs += 1
        log = self.path / f"events-{self.runs}.json"
        result = self.pulumi(command, "--event-log", str(log), *options)
        events = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        return Run(result.returncode, result.stdout + result.stderr, events)


def definitions(folder: Path) -> Path:
    """A folder with a stand-in for each add-on's definitions, which programs read before their first resource."""
    folder.mkdir()
    for component, release in defaults("aws", [each.defined_by for each in addons().values() if each.crds]).items():
        kind = {"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition"}
        made = {**kind, "metadata": {"name": f"things.{component.replace('_', '-')}.test"}, "spec": {}}
        (folder / f"{component}-{release}.yaml").write_text(yaml.safe_dump(made))
    return folder


@contextmanager
def attached(
    path: Path,
    names: Sequence[str] = ("aws",),
    *,
    stacks: bool = False,
    kubernetes: Path | None = None,
    charts: Mapping[str, Path] | None = None,
) -> Iterator[Program]:
    """A new project in a folder, with a double for each of these providers; ends them afterwards.

    Args:
        stacks: whether it is this project's own program instead of one that the test writes.
        kubernetes: kubeconfig of a real API server. With it, provider `kubernetes` works on the cluster that the
            program's kubeconfig leads to when that is on this machine, and on this one in the place of any other, such
            as a cluster that the double of a cloud made. Without it, the provider's objects are in memory.
        charts: folders of Helm charts by name, which are then installed by helm.
    """
    path.mkdir(parents=True, exist_ok=True)
    (path / "state").mkdir()
    for name in names:  # never run, but looked for where the state names a plugin
        folder = path / "home" / "plugins" / f"resource-{name}-v{version(f'pulumi-{name}')}"
        folder.mkdir(parents=True)
        launcher = folder / f"pulumi-resource-{name}"
        launcher.write_text("#!/bin/sh\nexit 1\n")
        launcher.chmod(0o755)
    if stacks:
        ignored = shutil.ignore_patterns("__pycache__", "Pulumi.*.yaml")
        shutil.copytree(PROJECT / "stacks", path / "stacks", ignore=ignored)
        shutil.copy(PROJECT / "Pulumi.yaml", path)
        (path / ".venv").symlink_to(PROJECT / ".venv")
    else:
        (path / "Pulumi.yaml").write_text("name: test\nruntime: python\n")
    settings = (path / "stacks" if stacks else path) / "Pulumi.test.yaml"
    with ExitStack() as stack:
        cluster = {"kubernetes": ClusterDouble(kubernetes, charts)} if kubernetes else {}
        doubles = {name: cluster.get(name) or Double(name) for name in names}
        addresses = [stack.enter_context(double.serving()) for double in doubles.values()]
        program = Program(path, doubles, ",".join(addresses), settings, "accelstack" if stacks else "test")
        if stacks:
            program.usual["accelstack:crds"] = str(definitions(path / "definitions"))
            program.usual["accelstack:probe"] = "off"  # no fabric is there to measure
        result = program.pulumi("stack", "init", "test")
        assert result.returncode == 0, result.stderr
        settings.unlink(missing_ok=True)  # it holds the passphrase's salt, and is written anew
        yield program
