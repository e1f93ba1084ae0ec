"""Finds and stops the processes that a stack started, and only those."""

import contextlib
import shutil
from pathlib import Path

import psutil

from accelstack.dynamic import UserError

MARK = "ACCELSTACK_WORKS_IN"  # in the environment of each process that a stack starts: the folder it works in
GRACE = 15.0  # seconds for an orderly end: a checkpoint, or the last requests


def below(folder: Path) -> set[psutil.Process]:
    """The processes that a stack started to work in the folder or below, and what they started."""
    found: set[psutil.Process] = set()
    for process in psutil.process_iter():
        try:
            place = process.environ().get(MARK)
        except (psutil.Error, OSError):
            continue  # it has just ended, or is another user's
        if place and Path(place).is_relative_to(folder):
            found.add(process)
    return found


def stop(found: set[psutil.Process]) -> None:
    """Ends these processes: asks first, kills what is still there after the grace time.

    Raises:
        UserError: some cannot be ended.
    """
    # supervisors first, so that they do not restart what they lost
    for process in sorted(found, key=lambda process: process.pid):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.terminate()
    _, alive = psutil.wait_procs(found, timeout=GRACE)
    for process in alive:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()
    _, alive = psutil.wait_procs(alive, timeout=5)
    if alive:
        raise UserError(f"processes {[p.pid for p in alive]} do not end, even when killed; end them and try again")


def stop_all_below(folder: Path) -> None:
    """Ends every process that a stack started to work in the folder or below."""
    stop(below(folder))


def remove_folder(folder: Path) -> None:
    """Removes a folder of the stack and all in it; one that is gone already is fine.

    Raises:
        UserError: something in it cannot be removed.
    """
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise UserError(f"{folder} cannot be removed: {error}; mend that and try again") from error
