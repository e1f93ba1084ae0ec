"""A checkout of the project in a folder of its own: own state and stack, the real engine, the installed packages."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

PROJECT = Path(__file__).resolve().parents[2]
QUICK = {"epochs": "1", "accelerator": "cpu:1"}
PATIENCE = 120.0  # seconds: far more than any step takes


@dataclass
class Checkout:
    """Runs commands of the project as its users do."""

    path: Path

    @property
    def environment(self) -> dict[str, str]:
        """A user who is logged in nowhere, with the checkout's tools on PATH."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith("PULUMI_")}
        tools = f"{PROJECT / '.tools' / 'bin'}:{os.environ['PATH']}"
        return {**clean, "PULUMI_HOME": str(self.path / "home"), "PATH": tools}

    @property
    def engine_environment(self) -> dict[str, str]:
        """What `make env` sets for using pulumi directly."""
        return {
            **self.environment,
            "PULUMI_SKIP_UPDATE_CHECK": "true",
            "PULUMI_BACKEND_URL": (self.path / ".accelstack" / "state").as_uri() + "?metadata=skip",
            "PULUMI_CONFIG_PASSPHRASE_FILE": str(self.path / ".accelstack" / "passphrase"),
        }

    def tool(self, action: str) -> subprocess.CompletedProcess[str]:
        """What `make ACTION` runs."""
        return subprocess.run(
            [sys.executable, "tools/stack.py", action],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 3,
            check=False,
        )

    def pulumi(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Plain pulumi."""
        return subprocess.run(
            ["pulumi", *arguments],
            cwd=self.path,
            env=self.engine_environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE * 3,
            check=False,
        )

    def set(self, **values: str) -> None:
        """`pulumi config set` for each."""
        for name, value in values.items():
            result = self.pulumi("config", "set", "--stack", "local", "--", name, value)
            assert result.returncode == 0, result.stderr

    def outputs(self) -> dict[str, Any]:
        """What `make outputs` prints."""
        result = self.tool("outputs")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    @contextmanager
    def up_in_background(self) -> Iterator[Running]:
        """A plain `pulumi up`, in a process group of its own as a shell would start it."""
        log = self.path / "up.log"
        with (
            log.open("w") as output,
            subprocess.Popen(
                ["pulumi", "up", "--stack", "local", "--yes", "--skip-preview"],
                cwd=self.path,
                env=self.engine_environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                process_group=0,
            ) as process,
        ):
            running = Running(process, log)
            try:
                yield running
            finally:
                running.kill_engine()

    def processes(self) -> list[psutil.Process]:
        """Every process that works in this checkout, by its command line or its folder."""
        found: list[psutil.Process] = []
        for process in psutil.process_iter(["cmdline"]):
            try:
                if str(self.path) in " ".join([*(process.info["cmdline"] or []), process.cwd()]):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def leave_nothing(self) -> None:
        """Ends what a failed test left running."""
        for process in self.processes():
            with suppress(psutil.NoSuchProcess):
                process.kill()


@dataclass
class Running:
    """A `pulumi up` under way."""

    process: subprocess.Popen[bytes]
    log: Path

    def wait_for(self, text: str) -> None:
        """Until the text is seen in what it prints."""
        wait_until(lambda: text in self.log.read_text() or self.process.poll() is not None, text)
        assert text in self.log.read_text(), self.log.read_text()

    def interrupt(self) -> None:
        """Ctrl-C: the terminal sends it to the whole foreground process group."""
        os.killpg(self.process.pid, signal.SIGINT)

    def kill_engine(self) -> None:
        """The plug pulled: SIGKILL for the engine alone."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Polls until the condition holds.

    Raises:
        AssertionError: it does not within far more time than it should take.
    """
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"waited {PATIENCE} s in vain for: {what}"
        time.sleep(0.05)


def make(path: Path) -> Checkout:
    """A checkout with its local stack created, nothing provisioned."""
    path.mkdir(parents=True, exist_ok=True)
    for name in ("stacks", "tools"):
        ignored = shutil.ignore_patterns("__pycache__", "Pulumi.local.yaml")
        shutil.copytree(PROJECT / name, path / name, ignore=ignored, symlinks=True)
    for name in ("Pulumi.yaml", ".gitignore", "Makefile"):
        shutil.copy(PROJECT / name, path / name)
    for name in (".venv", ".tools"):
        (path / name).symlink_to(PROJECT / name)
    checkout = Checkout(path)
    result = checkout.tool("setup")
    assert result.returncode == 0, result.stderr
    return checkout
