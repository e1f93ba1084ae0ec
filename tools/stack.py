"""Runs one stack through the Pulumi CLI as a person would, and prints the command and environment that it uses.

usage: stack.py setup | env | up | preview | refresh | outputs | down  [--stack NAME]
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import secrets
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

ROOT = Path(__file__).resolve().parents[1]
BIN = ROOT / ".tools" / "bin"
HOME = ROOT / ".accelstack"
PASSPHRASE = HOME / "passphrase"
STATE = HOME / "state"
WHOLE = "?metadata=skip"
"""Of a state in a folder: nothing is written beside its files, which a kill could cut off and lock the state with."""
OWN_SECRETS = ("local", "private")
"""Targets without a cloud's key service: a passphrase keeps their secrets."""


class Stack:
    """One stack of this project: its settings file, its secrets provider and the environment its commands need."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.file = ROOT / "stacks" / f"Pulumi.{name}.yaml"
        self.settings = self.file.read_text() if self.file.exists() else ""

    @property
    def secrets_provider(self) -> str:
        """Where the stack's secrets are kept: its file's `secretsprovider`, else under the checkout's passphrase.

        Raises:
            SystemExit: a stack of a cloud names none.
        """
        named = re.search(r"^secretsprovider:\s*(\S+)", self.settings, re.MULTILINE)
        if named:
            return named.group(1)
        if self.target not in OWN_SECRETS:
            raise SystemExit(
                f"error: {self.file.relative_to(ROOT)} names no secretsprovider; the secrets of a {self.target} "
                "stack belong under a cloud's key: add `secretsprovider: awskms://alias/NAME?region=REGION` (or "
                "gcpkms://, azurekeyvault://) to it"
            )
        return "passphrase"

    @property
    def target(self) -> str:
        """Where it lands."""
        found = re.search(r"^\s+accelstack:target:\s*[\"']?(\w+)", self.settings, re.MULTILINE)
        return found.group(1) if found else "local"

    @property
    def production(self) -> bool:
        """Whether its file says that it is a production stack."""
        return re.search(r"^\s+accelstack:production:\s*[\"']?true", self.settings, re.MULTILINE) is not None

    def environment(self) -> dict[str, str]:
        """The variables to set beside the user's own: only what is missing there."""
        added = {"PULUMI_SKIP_UPDATE_CHECK": "true"}
        if not logged_in(os.environ):
            STATE.mkdir(parents=True, exist_ok=True)
            added["PULUMI_BACKEND_URL"] = f"{STATE.as_uri()}{WHOLE}"
        own_passphrase = os.environ.keys() & {"PULUMI_CONFIG_PASSPHRASE", "PULUMI_CONFIG_PASSPHRASE_FILE"}
        if self.secrets_provider == "passphrase" and not own_passphrase:
            self._ensure_passphrase()
            added["PULUMI_CONFIG_PASSPHRASE_FILE"] = str(PASSPHRASE)
        return added

    def _ensure_passphrase(self) -> None:
        if PASSPHRASE.exists():
            return
        if "secure:" in self.settings:
            raise SystemExit(
                f"error: {self.file.relative_to(ROOT)} holds secrets whose passphrase {PASSPHRASE} is gone; "
                "bring that file back, or take the `secure:` values out of the settings"
            )
        HOME.mkdir(parents=True, exist_ok=True)
        # whole or not at all: two first runs at once must end with one passphrase
        with tempfile.NamedTemporaryFile("w", dir=HOME) as file:  # readable by its owner alone
            file.write(secrets.token_urlsafe(32))
            file.flush()
            with contextlib.suppress(FileExistsError):
                os.link(file.name, PASSPHRASE)
        if "encryptionsalt:" in self.settings:  # of the former passphrase, which no secret needs any more
            self.settings = re.sub(r"^encryptionsalt:.*\n?", "", self.settings, flags=re.MULTILINE)
            self.file.write_text(self.settings)

    def ensure(self, environment: Mapping[str, str]) -> None:
        """Creates the stack in the state backend if it is not there: no resource yet."""
        known = pulumi(["stack", "export", "--stack", self.name], environment, capture=True)
        if known.returncode == 0:
            return
        created = pulumi(
            ["stack", "init", self.name, "--no-select", "--secrets-provider", self.secrets_provider],
            environment,
            capture=True,
        )
        if created.returncode and "already exists" not in created.stderr:
            sys.stderr.write(known.stderr + created.stderr)
            raise SystemExit(created.returncode)


def logged_in(environment: Mapping[str, str]) -> bool:
    """Whether the user chose a state backend: by variable, or by `pulumi login`."""
    backend = environment.get("PULUMI_BACKEND_URL")
    if environment.get("PULUMI_ACCESS_TOKEN") or (
        backend and backend != f"{STATE.as_uri()}{WHOLE}"
    ):  # ours: from `make env`
        return True
    home = Path(environment.get("PULUMI_HOME") or Path.home() / ".pulumi")
    try:
        return bool(json.loads((home / "credentials.json").read_text()).get("current"))
    except (OSError, ValueError):
        return False


def pulumi(
    arguments: list[str], environment: Mapping[str, str], capture: bool = False
) -> subprocess.CompletedProcess[str]:
    """Runs the CLI in the project. On Ctrl-C the CLI decides how to stop; this process waits for it."""
    before = signal.signal(signal.SIGINT, lambda *_: None)  # not SIG_IGN, which the CLI would inherit
    try:
        return subprocess.run(
            [str(BIN / "pulumi"), *arguments],
            cwd=ROOT,
            env={**os.environ, **environment, "PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"},
            capture_output=capture,
            text=True,
            check=False,
        )
    finally:
        signal.signal(signal.SIGINT, before)


def clear_stale_locks(stack: Stack, environment: Mapping[str, str]) -> bool:
    """Takes away locks whose `pulumi` on this machine is dead, killed or cut off; says whether there were any.

    Only in the checkout's own state: who else uses another backend cannot be seen from here.
    """
    if "PULUMI_BACKEND_URL" not in environment:
        return False
    locks = [*STATE.glob(f".pulumi/locks/organization/*/{stack.name}/*.json")]
    stale: list[Path] = []
    for path in locks:
        with contextlib.suppress(FileNotFoundError, ValueError):  # given back, or being written, just now
            stale += [path] if is_stale(json.loads(path.read_text())) else []
    for path in stale:
        say(f"removing the lock of a pulumi that was killed ({path.name})")
        path.unlink(missing_ok=True)
    return bool(stale)


def recover(stack: Stack, environment: Mapping[str, str]) -> None:
    """Makes good what a killed `pulumi` left in the state: its lock, and its notes of what it was creating.

    On this machine and in a private cluster the next `up` finds what was half created, and `down` removes it, so the
    notes can go. In a cloud they are all that tells of things which cost money, and the engine would make them a second
    time.

    Raises:
        SystemExit: there are such notes of a cloud.
    """
    cleared = clear_stale_locks(stack, environment)
    if stack.target in OWN_SECRETS:
        if cleared:
            pulumi(["refresh", "--stack", stack.name, "--yes", "--clear-pending-creates"], environment, capture=True)
        return
    exported = pulumi(["stack", "export", "--stack", stack.name], environment, capture=True)
    unsure = half_created(json.loads(exported.stdout)) if exported.returncode == 0 else []
    if unsure:
        listed = "".join(f"\n  {urn}" for urn in unsure)
        raise SystemExit(
            f"error: an earlier update of stack {stack.name} was cut off while it made what follows, which may be "
            f"there, and cost money:{listed}\n"
            'look for each, and delete or adopt it (docs/aws.md, "When something fails"); then drop the notes with '
            f"`pulumi refresh --stack {stack.name} --clear-pending-creates --yes`, and run this again"
        )


def half_created(exported: dict[str, Any]) -> list[str]:
    """URNs of what an update that was cut off was creating, of an exported stack."""
    pending = exported.get("deployment", {}).get("pending_operations") or []
    return [each["resource"]["urn"] for each in pending if each["type"] == "creating"]


def is_stale(lock: dict[str, Any]) -> bool:
    """Whether the process that took the lock, on this machine, is gone."""
    if lock["hostname"] != socket.gethostname():
        return False
    try:
        holder = psutil.Process(lock["pid"])
        taken = datetime.fromisoformat(re.sub(r"\.\d+", "", lock["timestamp"])).timestamp()
        return holder.create_time() > taken + 1  # a later process that got the same number
    except psutil.NoSuchProcess:
        return True


def show(command: list[str], environment: Mapping[str, str]) -> None:
    """Prints the command as it can be typed, to standard error."""
    settings = [f"{name}={shlex.quote(value)}" for name, value in environment.items()]
    say(f"running: PATH={shlex.quote(str(BIN))}:$PATH {' '.join([*settings, 'pulumi', *command])}")


def up(stack: Stack, environment: Mapping[str, str]) -> int:
    recover(stack, environment)
    command = ["up", "--stack", stack.name, "--yes", "--refresh"]
    show(command, environment)
    code = pulumi(command, environment).returncode
    if code == 0:
        address = outputs(stack, environment).get("inference", {}).get("console")
        if address:
            print(f"\nTry it: {address}   (all outputs: make outputs; remove everything: make down)")
    return code


def down(stack: Stack, environment: Mapping[str, str]) -> int:
    if stack.production:
        raise SystemExit(
            f"error: stack {stack.name} is a production stack and is not taken down; if it really shall go, run "
            f"`pulumi config set --stack {stack.name} production false` and `make up STACK={stack.name}`, which lifts "
            "the protection of its data and keys, then this again"
        )
    recover(stack, environment)
    command = ["destroy", "--stack", stack.name, "--yes"]
    show(command, environment)
    return pulumi(command, environment).returncode


def run(stack: Stack, environment: Mapping[str, str], command: list[str]) -> int:
    show(command, environment)
    return pulumi(command, environment).returncode


def outputs(stack: Stack, environment: Mapping[str, str]) -> dict[str, Any]:
    """The stack's outputs, secrets masked.

    Raises:
        SystemExit: the CLI cannot tell them; it has said why.
    """
    result = pulumi(["stack", "output", "--json", "--stack", stack.name], environment, capture=True)
    if result.returncode:
        sys.stderr.write(result.stderr)
        raise SystemExit(result.returncode)
    return json.loads(result.stdout or "{}")


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("action", choices=["setup", "env", "up", "preview", "refresh", "outputs", "down"])
    parser.add_argument("--stack", default="local")
    arguments = parser.parse_args()
    stack = Stack(arguments.stack)
    environment = stack.environment()
    if arguments.action == "env":
        for name, value in {"PATH": f"{BIN}:{os.environ['PATH']}", **environment}.items():
            print(f"export {name}={shlex.quote(value)}")
        return 0
    stack.ensure(environment)
    match arguments.action:
        case "up":
            return up(stack, environment)
        case "down":
            return down(stack, environment)
        case "preview":
            return run(stack, environment, ["preview", "--stack", stack.name])
        case "refresh":
            return run(stack, environment, ["refresh", "--stack", stack.name, "--yes"])
        case "outputs":
            print(json.dumps(outputs(stack, environment), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
