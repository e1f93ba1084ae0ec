"""Runs the steps of a workload as processes: live progress, a log, and an end when this process ends."""

import json
import os
import re
import subprocess
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import urlparse
from urllib.request import url2pathname

import psutil

from accelstack.local.provider import LocalError

MODULE = ["-m", "accelstack_workloads"]
LAST_WORDS = re.compile(r"error( \(process \d+\))?: |stopped after checkpoint")
LAUNCHER = re.compile(r"[EW]\d{4} |Traceback |terminate called")
TAIL = 15  # lines that are shown of a step that failed without a word


class StepError(LocalError):
    """A step failed. `lines` has the end of what it printed."""

    def __init__(self, message: str, lines: list[str]) -> None:
        super().__init__(message)
        self.lines = lines


def path_of(uri: str) -> Path:
    """The path that a `file://` URI names."""
    return Path(url2pathname(urlparse(uri).path))


def torchrun(processes: int) -> list[str]:
    """The launcher for so many trainers on this machine, meeting on a free loopback port."""
    return ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(processes)]


def run(step: list[str], log: Path, launcher: list[str] | None = None, threads: int | None = None) -> float:
    """Runs one step to its end; each line goes to the log and, live, to the user. Returns the seconds it took.

    Raises:
        StepError: it failed; the message has the reason that it gave, or the end of its log.
    """
    environment = {**os.environ, "PYTHONUNBUFFERED": "1", "ACCELSTACK_PARENT_PID": str(os.getpid())}
    if threads:
        environment["OMP_NUM_THREADS"] = str(threads)
    command = [sys.executable, *(launcher or []), *MODULE, *step]
    log.parent.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
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
            env=environment,
            process_group=_foreground_group(),
        ) as process,
    ):
        for line in process.stdout or ():
            tail.append(line.rstrip())
            file.write(line)
            file.flush()
            last_words = LAST_WORDS.match(line) is not None
            said += [line.strip()] if last_words else []
            quiet = quiet or LAUNCHER.match(line) is not None
            if last_words or not (quiet or said):
                print(line, end="", flush=True)
    if process.returncode:
        if said:
            raise StepError(said[0].partition(": ")[2] or said[0], said)
        what = f"the step `{step[0]}` failed with exit code {process.returncode}; log: {log}"
        raise StepError("\n".join([what, *tail]), [*tail])
    return round(time.monotonic() - began, 2)


def ask(step: list[str]) -> dict[str, Any]:
    """Runs one quick step that answers with a line of JSON.

    Raises:
        StepError: it failed.
    """
    answer = subprocess.run([sys.executable, *MODULE, *step], capture_output=True, text=True, check=False)
    if answer.returncode:
        lines = answer.stderr.splitlines()[-TAIL:]
        raise StepError("\n".join([f"the step `{step[0]}` failed with exit code {answer.returncode}", *lines]), lines)
    return json.loads(answer.stdout)


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
