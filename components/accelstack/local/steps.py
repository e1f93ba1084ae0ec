"""Runs the steps of a workload as processes: live progress, a log, and an end when this process ends."""

import json
import os
import re
import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import psutil

from accelstack.dynamic import UserError
from accelstack.local import processes

MODULE = ["-m", "accelstack_workloads"]
LAST_WORDS = re.compile(r"error( \(process \d+\))?: |stopped after checkpoint")
WARNING = re.compile(r"W\d{4} ")  # of torchrun, for the log alone
FAILURE = re.compile(r"E\d{4} |Traceback ")
TAIL = 15  # lines that are shown of a step that failed without a word


class StepError(UserError):
    """A step failed. `lines` has the end of what it printed, `code` its exit code."""

    def __init__(self, message: str, lines: list[str], code: int) -> None:
        super().__init__(message)
        self.lines = lines
        self.code = code


def path_of(uri: str) -> Path:
    """The path that a `file://` URI names, as fsspec reads it: nothing in it is decoded.

    Raises:
        UserError: the URI names other storage.
    """
    if not uri.startswith("file:///"):
        raise UserError(f"store: {uri!r} is not on this machine; the local target takes file:///… alone")
    return Path(uri.removeprefix("file://"))


def torchrun(processes: int, notes: Path) -> list[str]:
    """The launcher for so many trainers on this machine, meeting on a free loopback port.

    Args:
        notes: folder for what it writes of failures; else it would leave one in the temporary folder each time.
    """
    own = ("--standalone", "--nproc-per-node", str(processes), "--log-dir", str(notes))
    return ["-m", "torch.distributed.run", *own]


def run(step: list[str], log: Path, launcher: list[str] | None = None, settings: dict[str, str] | None = None) -> None:
    """Runs one step to its end; each line goes to the log and, live, to the user.

    Raises:
        StepError: it failed; the message has the reason that it gave, or the end of its log.
    """
    command = [sys.executable, *(launcher or []), *MODULE, *step]
    log.parent.mkdir(parents=True, exist_ok=True)
    tail: deque[str] = deque(maxlen=TAIL)
    said: list[str] = []  # the step's own last words
    quiet = False  # from when the launcher tells of a failure in its own way: that is for the log
    with (
        log.open("a") as file,
        subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env={**_environment(log.parent), **(settings or {})},
            process_group=_foreground_group(),
        ) as process,
    ):
        for line in process.stdout or ():
            tail.append(line.rstrip())
            file.write(line)
            file.flush()
            last_words = LAST_WORDS.match(line) is not None
            said += [line.strip()] if last_words else []
            quiet = quiet or FAILURE.match(line) is not None
            if last_words or not (quiet or said or WARNING.match(line)):
                print(line, end="", flush=True)
    if process.returncode:
        if said:
            raise StepError(said[0].partition(": ")[2] or said[0], said, process.returncode)
        what = f"the step `{step[0]}` failed with exit code {process.returncode}; log: {log}"
        raise StepError("\n".join([what, *tail]), [*tail], process.returncode)


def ask(step: list[str], folder: Path) -> dict[str, Any]:
    """Runs one quick step that answers with a line of JSON.

    Raises:
        StepError: it failed.
    """
    command = [sys.executable, *MODULE, *step]
    answer = subprocess.run(command, env=_environment(folder), capture_output=True, text=True, check=False)
    if answer.returncode:
        lines = answer.stderr.splitlines()[-TAIL:]
        what = f"the step `{step[0]}` failed with exit code {answer.returncode}"
        raise StepError("\n".join([what, *lines]), lines, answer.returncode)
    return json.loads(answer.stdout)


def _environment(folder: Path) -> dict[str, str]:
    """This process's own, and what ties a step to it: whose end to watch, and the folder it works in."""
    own = {"PYTHONUNBUFFERED": "1", "ACCELSTACK_PARENT_PID": str(os.getpid()), processes.MARK: str(folder)}
    return {**os.environ, **own}


def _foreground_group() -> int | None:
    """The process group of the engine, so that Ctrl-C in its terminal reaches the step as it reaches the engine.

    The engine starts this provider in a group of its own and waits for it; the provider host ignores the engine's
    request to cancel. None (this provider's own group) where the engine is gone or in another session.
    """
    try:
        engine = psutil.Process(os.getpgrp()).ppid()
        group = os.getpgid(engine)
        return group if os.getsid(engine) == os.getsid(0) else None
    except (psutil.Error, OSError):
        return None
