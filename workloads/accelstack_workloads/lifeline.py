"""When to stop: the signals a process gets, and the parent process that it must not outlive."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable

import psutil

from accelstack_workloads.errors import WorkloadError

PARENT_VARIABLE = "ACCELSTACK_PARENT_PID"
POLL_SECONDS = 0.5
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def watch_parent(on_gone: Callable[[], None]) -> None:
    """Calls `on_gone` once, from a daemon thread, when the process named by ACCELSTACK_PARENT_PID has ended.

    Does nothing where the variable is unset or empty. A process that had already ended counts as gone.

    Raises:
        WorkloadError: the variable is not a process id.
    """
    value = os.environ.get(PARENT_VARIABLE, "")
    if not value:
        return
    if not (value.isascii() and value.isdecimal() and int(value) > 0):
        raise WorkloadError(
            f"{PARENT_VARIABLE}: {value!r} is not a process id; give a whole number above 0, or unset it"
        )
    watch_process(int(value), on_gone)


def watch_process(pid: int, on_gone: Callable[[], None]) -> None:
    """Calls `on_gone` once, from a daemon thread, when the process `pid` has ended."""
    try:
        process = psutil.Process(pid)
    except psutil.NoSuchProcess:
        process = None

    def wait() -> None:
        pause = threading.Event()
        while process is not None and _alive(process):
            pause.wait(POLL_SECONDS)
        on_gone()

    threading.Thread(target=wait, name=f"watch-{pid}", daemon=True).start()


def _alive(process: psutil.Process) -> bool:
    """False once the process has ended, also where its number was taken by another or nobody has reaped it."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


class StopRequest:
    """Whether somebody asked this process to stop: by SIGTERM, SIGINT or SIGHUP, or by a parent that ended.

    A request is only noted, so that the work can stop at a point of its own choice; further ones change nothing.
    Create it in the main thread, which alone may install signal handlers.
    """

    def __init__(self) -> None:
        self.reason = ""
        for number in STOP_SIGNALS:
            signal.signal(number, self._on_signal)
        watch_parent(lambda: self._ask("the parent process ended"))
        if "TORCHELASTIC_RUN_ID" in os.environ:
            # A killed torchrun leaves its workers running; nobody else would end them.
            watch_process(os.getppid(), lambda: self._ask("torchrun ended"))

    def __bool__(self) -> bool:
        return bool(self.reason)

    def _on_signal(self, number: int, _frame: object) -> None:
        self._ask(signal.Signals(number).name)

    def _ask(self, reason: str) -> None:
        self.reason = self.reason or reason
