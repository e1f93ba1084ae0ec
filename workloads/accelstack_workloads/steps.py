"""Steps of a job as processes, one after the other: what they print is passed on, and so is the wish to stop."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading

import psutil

from accelstack_workloads.errors import EXIT_STOPPED

LAST_WORDS = re.compile(r"error( \(process \d+\))?: ")
TORCHRUN = re.compile(r"E\d{4} |Traceback ")
STOPPED = re.compile(rf"stopped after checkpoint|exitcode *: {EXIT_STOPPED}\b")
"""What a trainer says that was asked to stop, or torchrun of it on the other hosts."""


class Steps:
    """Runs commands one after the other, prints what they print, and ends them on SIGTERM.

    Args:
        interface: network interface between the machines; else gloo and NCCL may choose one that others cannot reach.
            Empty to leave it to them.
        restarts: whether a launcher would start its trainers again when they end.
    """

    def __init__(self, interface: str = "", *, restarts: bool = False) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._restarts = restarts
        self.stopping = False
        self._environment = {**sockets(interface), **os.environ, "PYTHONUNBUFFERED": "1"}
        signal.signal(signal.SIGTERM, self._stop)

    def run(self, commands: list[list[str]]) -> tuple[int, str]:
        """Exit status, and the reason of a failure; of a stop on request there is none."""
        for command in commands:
            status, said, stopped = self._step(command)
            if self.stopping or stopped:
                return EXIT_STOPPED, ""
            if status:
                return status, said
        return 0, ""

    def _step(self, command: list[str]) -> tuple[int, str, bool]:
        """Exit status, the step's last words, and whether it stopped on request.

        What torchrun says of a trainer that ended is printed only where the trainer itself said nothing.
        """
        said, stopped, held = "", False, list[str]()
        with subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            env=self._environment,
        ) as self._process:
            for line in self._process.stdout or ():
                said = said or (line.strip() if LAST_WORDS.match(line) else "")
                stopped = stopped or STOPPED.search(line) is not None
                if held or TORCHRUN.match(line):
                    held.append(line)
                else:
                    print(line, end="", flush=True)
        if not (said or stopped):
            print("".join(held), end="", flush=True)
        return self._process.returncode, said or f"exit status {self._process.returncode}; see the log", stopped

    def _stop(self, _number: int, _frame: object) -> None:
        """Ends the trainers rather than torchrun, which would leave them 30 of the 120 seconds."""
        self.stopping = True
        if self._process is None or self._process.poll() is not None:
            return
        try:
            process = psutil.Process(self._process.pid)
            children = process.children()
            if self._restarts and children:  # it must not see that they end
                process.suspend()
                threading.Thread(target=_end_after, args=(process, children), daemon=True).start()
            for child in children or [process]:
                child.terminate()
        except psutil.NoSuchProcess:
            return


def _end_after(process: psutil.Process, children: list[psutil.Process]) -> None:
    """Ends a process that stands still, once its children are gone or nobody but it keeps them."""
    while any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children):
        threading.Event().wait(0.2)
    process.kill()


def sockets(interface: str) -> dict[str, str]:
    """Variables that keep gloo's and NCCL's sockets to a network interface; none for an unknown one."""
    return {f"{library}_SOCKET_IFNAME": interface for library in ("GLOO", "NCCL")} if interface else {}
