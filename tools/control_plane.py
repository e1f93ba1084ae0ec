"""Builds the programs of a Kubernetes control plane into `.tools/control_plane`, from pinned Go modules.

Beside each program lie the manifests (CRDs, webhooks, charts) of its module's archive, so that nothing but that folder
is needed later. Prints where everything is, as JSON. Takes minutes on a new machine and no time afterwards: what is
there is keyed by its pins.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from engine import UnavailableError, find_go, say
from packages import ROOT

HOME = ROOT / ".tools" / "control_plane"
PINS = ROOT / "tools" / "control_plane"
STATIC = {"CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
UNAVAILABLE = 3
"""Exit code where there is no Go, or no way to the modules."""


@dataclass(frozen=True)
class Built:
    """Programs of one module, whose version the folder of the same name under `tools/control_plane` pins."""

    module: str
    programs: Mapping[str, str]
    """Package by the program's name."""
    manifests: tuple[str, ...] = ()
    """Paths in the module's archive, which may be patterns."""
    variables: Mapping[str, str] = field(default_factory=dict[str, str])
    """Set at linking; `{version}`, `{major}` and `{minor}` are filled in."""
    edits: Mapping[str, str] = field(default_factory=dict[str, str])
    """Texts of the main file that are replaced in a copy of it, where a program leaves no other choice."""


@dataclass(frozen=True)
class Archive:
    """A module of which only manifests are wanted: its version and the checksum that go.sum would have."""

    module: str
    version: str
    checksum: str
    manifests: tuple[str, ...]


_VERSIONED = "k8s.io/component-base/version."
BUILT = {
    "etcd": Built("go.etcd.io/etcd/server/v3", {"etcd": "go.etcd.io/etcd/server/v3"}),
    "kubernetes": Built(
        "k8s.io/kubernetes",
        {
            name: f"k8s.io/kubernetes/cmd/{name}"
            for name in ("kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl")
        },
        variables={  # without them clients cannot parse the server's version
            f"{_VERSIONED}gitVersion": "{version}",
            f"{_VERSIONED}gitMajor": "{major}",
            f"{_VERSIONED}gitMinor": "{minor}",
            f"{_VERSIONED}gitTreeState": "clean",
        },
    ),
    "kwok": Built("sigs.k8s.io/kwok", {"kwok": "sigs.k8s.io/kwok/cmd/kwok"}, ("kustomize/stage",)),
    "jobset": Built("sigs.k8s.io/jobset", {"jobset": "sigs.k8s.io/jobset"}, ("config/components", "charts")),
    "kueue": Built(
        "sigs.k8s.io/kueue",
        {"kueue": "sigs.k8s.io/kueue/cmd/kueue"},
        ("config/components", "charts/kueue"),
        edits={'"/etc/kueue/metrics/certs"': '"certificates"'},  # a folder that no setting moves
    ),
    "leader_worker_set": Built("sigs.k8s.io/lws", {"lws": "sigs.k8s.io/lws/cmd"}, ("config", "charts")),
    "helm": Built(
        "helm.sh/helm/v3",
        {"helm": "helm.sh/helm/v3/cmd/helm"},
        variables={"helm.sh/helm/v3/internal/version.version": "{version}"},
    ),
}
ARCHIVES = {
    "gateway_api": Archive(
        "sigs.k8s.io/gateway-api",
        "v1.6.3",
        "h1:lKpJa5bGlraC/QeACvCpsHLdmO6y0iKfzVl6gzaFEYc=",
        ("config/crd/standard/gateway*.yaml",),
    ),
    "cert_manager": Archive(
        "github.com/cert-manager/cert-manager",
        "v1.21.2",
        "h1:UWgoYM+KLNtRlqmoWOKjKBOBUPVHeepQ6/ac3ERJW68=",
        ("deploy/crds/*.yaml",),
    ),
    "keda": Archive(
        "github.com/kedacore/keda/v2",
        "v2.20.2",
        "h1:SR60v8uIcelbveS8n/1jcl8tLdBBIbHMxmdOHw8tKqA=",
        ("config/crd/bases/*.yaml",),
    ),
    "prometheus_operator": Archive(
        "github.com/prometheus-operator/prometheus-operator",
        "v0.92.1",
        "h1:rHWuFo6SVya4FBSCNg2DCzyc4xAv54zk3eDTzp5mQZc=",
        ("example/prometheus-operator-crd/*.yaml",),
    ),
    "velero": Archive(
        "github.com/vmware-tanzu/velero",
        "v1.18.3",
        "h1:9uwN5yxTWQl9PsF5ljX4xiG+7VIq3I9mxOQ0DyyZ31A=",
        ("config/crd/*/bases/*.yaml",),
    ),
    "karpenter": Archive(
        "github.com/aws/karpenter-provider-aws",
        "v1.14.1",
        "h1:WGtIQTQcxpElYMdWfWuPwaF2+9muR+hYhPZsTtoY8Gs=",
        ("pkg/apis/crds/*.yaml",),
    ),
    "dra_driver": Archive(
        "sigs.k8s.io/dra-driver-nvidia-gpu",
        "v0.5.0",
        "h1:CjUBJwemlt4kYy5AN+I7Ce4mMp9V4VKR97EBogSoDus=",
        ("deployments/helm/dra-driver-nvidia-gpu/crds/*.yaml",),
    ),
    "gke_networking": Archive(
        "github.com/GoogleCloudPlatform/gke-networking-api",
        "v0.2.11",
        "h1:U9n3hHMyWvGHO+wiEUxoLHQlqUxU0oARuCHoDZTDxUQ=",
        ("config/crds/networking.gke.io_networks.yaml", "config/crds/networking.gke.io_gkenetworkparamsets.yaml"),
    ),
}


def pinned(name: str) -> str:
    """The version that a folder pins, such as `v3.6.8`."""
    module = BUILT[name].module
    found = re.search(rf"^\s*(?:require\s+)?{re.escape(module)} (v\S+)", (PINS / name / "go.mod").read_text(), re.M)
    if found is None:
        raise UnavailableError(f"{PINS / name / 'go.mod'} does not pin {module}")
    return found.group(1)


def built(name: str) -> Path:
    """The folder of a module's programs and of its manifests, which it builds if they are not there."""
    what, version = BUILT[name], pinned(name)
    pins = b"".join(file.read_bytes() for file in (PINS / name / "go.mod", PINS / name / "go.sum", *_shared(name)))
    key = hashlib.sha256(pins + repr(what).encode()).hexdigest()[:8]
    with _made(HOME / f"{name}-{version}-{key}") as folder:
        if folder is not None:
            say(f"building {', '.join(what.programs)} {version} (minutes on a new machine)")
            _build(name, what, version, folder)
            _copy(_downloaded(PINS / name, what.module)["Dir"], what.manifests, folder)
    return HOME / f"{name}-{version}-{key}"


def _shared(name: str) -> list[Path]:
    """The workspace of a module, if it is in one: there all have the same versions of what they share, which is then
    compiled once."""
    workspace = PINS / "go.work"
    together = f"./{name}\n" in workspace.read_text()
    return [workspace, PINS / "go.work.sum"] if together else []


def extracted(name: str) -> Path:
    """The folder of a module's manifests, which it downloads if they are not there."""
    what = ARCHIVES[name]
    key = hashlib.sha256(repr(what).encode()).hexdigest()[:8]
    with _made(HOME / f"{name}-{what.version}-{key}") as folder:
        if folder is not None:
            found = _downloaded(folder, f"{what.module}@{what.version}")
            if found["Sum"] != what.checksum:
                raise UnavailableError(f"{what.module} {what.version} has the checksum {found['Sum']}")
            _copy(found["Dir"], what.manifests, folder)
    return HOME / f"{name}-{what.version}-{key}"


def _build(name: str, what: Built, version: str, folder: Path) -> None:
    major, minor, *_ = version.removeprefix("v").split(".")
    values = {
        variable: text.format(version=version, major=major, minor=minor) for variable, text in what.variables.items()
    }
    flags = " ".join(["-s", "-w", *(f"-X {variable}={text}" for variable, text in values.items())])
    build = ["-trimpath", "-buildvcs=false", "-ldflags", flags, "-o"]
    if what.edits:
        ((program, package),) = what.programs.items()
        archive = Path(_downloaded(PINS / name, what.module)["Dir"])
        text = (archive / package.removeprefix(what.module).lstrip("/") / "main.go").read_text()
        for old, new in what.edits.items():
            if text.count(old) != 1:
                raise UnavailableError(f"{package} {version} does not say {old} once")
            text = text.replace(old, new)
        main = folder / "main.go"
        main.write_text(text)
        _go("build", PINS / name, *build, str(folder / program), str(main))
        main.unlink()
        return
    _go("build", PINS / name, *build, f"{folder}/", *what.programs.values())
    for program, package in what.programs.items():
        own = next(part for part in reversed(package.split("/")) if not re.fullmatch(r"v\d+", part))
        (folder / own).rename(folder / program)


def _downloaded(where: Path, module: str) -> dict[str, str]:
    return json.loads(_go("mod download", where, "-json", module))


def _go(verb: str, where: Path, *arguments: str) -> str:
    """What a go command prints, run in a folder."""
    alone = {} if _shared(where.name) else {"GOWORK": "off"}
    command = [*find_go(), *verb.split(), "-C", str(where), *arguments]
    try:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, **STATIC, **alone}
        )
    except (OSError, subprocess.SubprocessError, SystemExit) as error:
        raise UnavailableError(str(error)) from error
    return done.stdout


def _copy(archive: str, patterns: tuple[str, ...], folder: Path) -> None:
    for pattern in patterns:
        for found in sorted(Path(archive).glob(pattern)):
            for file in (found, *found.rglob("*")):
                if file.is_file():  # one by one, since folders of archives are read-only
                    target = folder / file.relative_to(archive)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    shutil.copyfile(file, target)


@contextmanager
def _made(folder: Path) -> Iterator[Path | None]:
    """A folder to fill that takes its name, and its older kin's place, once it is full; None where it is there.

    One process at a time.
    """
    HOME.mkdir(parents=True, exist_ok=True)
    with (HOME / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            yield None
            return
        for left in HOME.glob("filling-*"):  # by a build that was killed
            shutil.rmtree(left)
        with tempfile.TemporaryDirectory(dir=HOME, prefix="filling-") as filling:
            full = Path(filling) / "full"
            full.mkdir()
            yield full
            for old in HOME.glob(f"{folder.name.partition('-')[0]}-*"):
                shutil.rmtree(old)
            full.rename(folder)


def main() -> None:
    """Builds what is named, or all, and prints the folder of each as JSON."""
    names = sys.argv[1:] or [*BUILT, *ARCHIVES]
    try:
        folders = {name: str(built(name) if name in BUILT else extracted(name)) for name in names}
    except UnavailableError as reason:
        say(f"no control plane: {reason}")
        raise SystemExit(UNAVAILABLE) from reason
    print(json.dumps(folders))


if __name__ == "__main__":
    main()
