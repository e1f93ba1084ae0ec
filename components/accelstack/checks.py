"""What a target's doctor finds: what is well, what is wrong with the command that mends it, what could not be seen."""

import socket
from dataclasses import dataclass
from enum import StrEnum

PATIENCE = 5
"""Seconds to wait for an answer."""


class State(StrEnum):
    """How a check went."""

    OK = "ok"
    FAILED = "failed"
    UNCHECKED = "not checked"


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was looked at."""

    name: str
    state: State
    detail: str
    fix: str = ""
    """The command, or the step, that mends it; empty where nothing need be done."""


def reachable(name: str, host: str, port: int, fix: str) -> Check:
    """Whether a TCP connection can be made from here."""
    try:
        with socket.create_connection((host, port), timeout=PATIENCE):
            return Check(name, State.OK, f"{host}:{port} answers")
    except OSError as error:
        return Check(name, State.FAILED, f"{host}:{port} cannot be reached from here ({error})", fix)
