"""Loopback ports: free ones, taken ones and who holds them."""

import socket

import psutil

HOST = "127.0.0.1"
WILDCARDS = ("0.0.0.0", "::")  # noqa: S104 - looked for, not bound


def free() -> int:
    """A loopback port that nobody holds now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]


def holder(port: int) -> str | None:
    """Who holds the loopback port, for people and for comparison: `name (pid N)`; None if it is free.

    The probe asks for the port alone, so a holder that shares its port with others is seen too.
    """
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # a port that only just closed is free
        try:
            probe.bind((HOST, port))
        except PermissionError:
            return "the system, which keeps ports below 1024 for its administrator"
        except OSError:
            return _name(holder_process(port))
    return None


def holder_process(port: int) -> psutil.Process | None:
    """The process that listens on the port, where the system lets us see it."""
    try:
        for connection in psutil.net_connections(kind="tcp"):
            listens = connection.status == psutil.CONN_LISTEN and connection.pid
            if listens and connection.laddr in [(address, port) for address in (HOST, *WILDCARDS)]:
                return psutil.Process(connection.pid)
    except (psutil.AccessDenied, psutil.NoSuchProcess):
        pass
    return None


def held_by_service(port: int) -> bool:
    """Whether a replica of an inference service listens on the port."""
    process = holder_process(port)
    try:
        return process is not None and "accelstack_workloads" in process.cmdline()
    except psutil.Error:
        return False


def _name(process: psutil.Process | None) -> str:
    try:
        return f"{process.name()} (pid {process.pid})" if process else "another process"
    except psutil.Error:
        return "another process"
