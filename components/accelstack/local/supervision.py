"""Replicas of a server, kept alive by supervisord: written, started, watched and stopped."""

import contextlib
import http.client
import os
import shlex
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from accelstack.dynamic import UserError
from accelstack.local import ports, processes

READY_WITHIN = 120.0  # seconds; a replica imports torch, loads the model and answers one warm-up request
MENDED_WITHIN = 15.0  # seconds; time for a replica that died to be back
POLL = 0.1
INHERITED = ("PATH", "HOME", "USER", "LANG", "LC_", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "CUDA_", "NVIDIA_", "OMP_")

SETTINGS = """\
[supervisord]
nodaemon=true
logfile={folder}/supervisord.log
logfile_maxbytes=1MB
logfile_backups=1
pidfile={folder}/supervisord.pid
childlogdir={folder}

[program:replica]
command={command}
process_name=%(program_name)s-%(process_num)d
numprocs={replicas}
autorestart=true
startsecs=15
startretries=5
stopsignal=TERM
stopwaitsecs=10
redirect_stderr=true
stdout_logfile={folder}/replica-%(process_num)d.log
stdout_logfile_maxbytes=10MB
stdout_logfile_backups=2
"""


def write(folder: Path, command: list[str], replicas: int) -> Path:
    """Writes supervisord's settings for so many replicas of the command; its logs go beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "supervisord.log").unlink(missing_ok=True)  # how a former start failed is no news of this one
    settings = folder / "supervisord.conf"
    escaped = {"folder": str(folder).replace("%", "%%"), "command": shlex.join(command).replace("%", "%%")}
    settings.write_text(SETTINGS.format(**escaped, replicas=replicas))
    return settings


def start(settings: Path) -> None:
    """Starts supervisord apart from this process: it outlives the command line and the terminal.

    The shell's own number becomes supervisord's, so that replicas can tell when their supervisor was killed.
    """
    script = 'ACCELSTACK_PARENT_PID=$$ exec "$@"'
    with (settings.parent / "supervisord.out").open("a") as output:
        subprocess.Popen(
            ["sh", "-c", script, "sh", sys.executable, "-m", "supervisor.supervisord", "-c", str(settings)],
            cwd=settings.parent,
            env={**inherited(os.environ), processes.MARK: str(settings.parent)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def inherited(environment: Mapping[str, str]) -> dict[str, str]:
    """What a service may know of its starter's environment: no password, token or key of the deployment."""
    return {name: value for name, value in environment.items() if name.startswith(INHERITED)}


def supervisor(folder: Path) -> psutil.Process | None:
    """The supervisord that works in the folder, if it lives."""
    for process in processes.below(folder):
        with contextlib.suppress(psutil.NoSuchProcess):
            if "supervisor.supervisord" in process.cmdline() and process.status() != psutil.STATUS_ZOMBIE:
                return process
    return None


def listening(process: psutil.Process, used: set[int]) -> bool:
    """Whether the process listens on all these ports."""
    try:
        open_ports = {c.laddr.port for c in process.net_connections("tcp") if c.status == psutil.CONN_LISTEN}
    except psutil.Error:
        return False
    return used <= open_ports


def answers(port: int, path: str) -> bool:
    """Whether the loopback port answers a GET of the path with success."""
    connection = http.client.HTTPConnection(ports.HOST, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


@dataclass(frozen=True)
class Service:
    """What to expect of a service: so many replicas, each on both ports, and an answer at the health path.

    Attributes:
        folder: where its supervisor works.
        replicas: how many share the ports.
        rest_port: loopback port of REST.
        grpc_port: loopback port of gRPC.
        health: path of a GET on the REST port that succeeds when the model is ready.
    """

    folder: Path
    replicas: int
    rest_port: int
    grpc_port: int
    health: str


def ready(service: Service) -> bool:
    """Whether the service is all there."""
    parent = supervisor(service.folder)
    if parent is None:
        return False
    try:
        serving = [c for c in parent.children() if listening(c, {service.rest_port, service.grpc_port})]
    except psutil.NoSuchProcess:
        return False
    return len(serving) >= service.replicas and answers(service.rest_port, service.health)


def alive(service: Service) -> bool:
    """Whether the service is all there, or gets there while its supervisor mends it."""
    deadline = time.monotonic() + MENDED_WITHIN
    while not ready(service):
        if supervisor(service.folder) is None or time.monotonic() > deadline:
            return False
        time.sleep(POLL)
    return True


def wait_ready(service: Service) -> None:
    """Waits until the service is all there.

    Raises:
        UserError: it does not come up; the message has the end of a replica's log.
    """
    folder = service.folder
    deadline = time.monotonic() + READY_WITHIN
    while not ready(service):
        log = folder / "supervisord.log"
        given_up = log.exists() and "entered FATAL state" in log.read_text(errors="replace")
        if given_up or time.monotonic() > deadline:
            why = "its replicas keep ending" if given_up else f"it was not ready within {READY_WITHIN:.0f} s"
            raise UserError("\n".join([f"the inference service did not come up: {why}; logs: {folder}", *tail(folder)]))
        time.sleep(POLL)


def tail(folder: Path) -> list[str]:
    """The last lines of the replicas' logs."""
    logs = sorted(folder.glob("replica-*.log")) or [folder / "supervisord.out"]
    return logs[0].read_text(errors="replace").splitlines()[-10:] if logs[0].exists() else []
