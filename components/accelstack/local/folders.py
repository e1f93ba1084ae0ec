"""Folders that a component owns: made, marked with its owner, and removed by it alone."""

from pathlib import Path

import pulumi

from accelstack.dynamic import UserError
from accelstack.local import processes

MARKER = ".accelstack-owner"


def owner(kind: str, name: str) -> str:
    """Who owns a folder: this project's component of that kind and name, in this stack."""
    return f"{pulumi.get_project()}/{pulumi.get_stack()}/{kind}/{name}"


def refuse_relative(folder: str) -> None:
    """Refuses a path that depends on where a process happens to run.

    Raises:
        pulumi.InputPropertyError: the path is relative.
    """
    if not Path(folder).is_absolute():
        raise pulumi.InputPropertyError("folder", f"{folder!r} is relative; give an absolute path")


def owned(folder: Path, by: str) -> bool:
    """Whether the folder is there and is that owner's."""
    marker = folder / MARKER
    return marker.exists() and marker.read_text() == by


def problems(folder: Path, by: str) -> dict[str, str]:
    """Why the folder cannot be that owner's, by property; empty if it can."""
    foreign = folder.exists() and not owned(folder, by) and (not folder.is_dir() or any(folder.iterdir()))
    return {"folder": f"{folder} holds something else; name a folder that is new or empty"} if foreign else {}


def claim(folder: Path, by: str) -> None:
    """Makes the folder and marks it.

    Raises:
        UserError: it holds something else.
    """
    for reason in problems(folder, by).values():
        raise UserError(f"folder: {reason}")
    folder.mkdir(parents=True, exist_ok=True)
    (folder / MARKER).write_text(by)


def give_up(folder: Path, by: str) -> None:
    """Ends what the stack runs in the folder, what a killed engine left there too, and removes the folder if it is the
    owner's."""
    processes.stop_all_below(folder)
    if owned(folder, by):
        processes.remove_folder(folder)
