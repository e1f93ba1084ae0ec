"""How fast a job's machines reduce a tensor together: what each pod starts, which starts its `probe_worker`s."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NoReturn

import psutil

from accelstack_workloads.errors import EXIT_STOPPED, WorkloadError
from accelstack_workloads.lifeline import PARENT_VARIABLE
from accelstack_workloads.probe_worker import MEASURED_VARIABLE
from accelstack_workloads.steps import sockets

RESULT_VARIABLE, RESULT = "ACCELSTACK_RESULT_FILE", "/dev/termination-log"
INDEX_VARIABLE = "JOB_COMPLETION_INDEX"
"""The pod's number in an indexed Job; the first hosts the rendezvous and leaves the result."""
RESOLVE_SECONDS = 300.0
"""A pod has its name soon after it has its address, which it gets before its image is pulled."""
JOIN_SECONDS = 900
"""How much earlier than the last pod one may start: pulling an image of tens of gigabytes takes minutes."""
NETWORK = re.compile(r"NCCL INFO .* via NET/([^/]+)/\d+[^/\s]*(/GDRDMA)?")
"""How NCCL tells with NCCL_DEBUG=INFO what a channel to another machine uses, such as `NET/IB/0/GDRDMA`."""
LOCAL = re.compile(r"NCCL INFO .* via (P2P|SHM)")
NAMES = {"AWS Libfabric": "OFI", "Libfabric": "OFI"}
"""What aws-ofi-nccl calls itself, by the name that its documentation and log prefix have."""


def run(nodes: int, processes: int, rendezvous: str, megabytes: int | None = None) -> dict[str, Any]:
    """Measures between all pods of the job; each of them calls this, and gets what was measured.

    Args:
        nodes: pods of the job.
        processes: in each pod, one for each accelerator; 0 counts as 1.
        rendezvous: `host:port` at which they meet, in the first pod.
        megabytes: largest tensor, in MiB; 1024 with CUDA and 64 without if left out.

    Returns:
        bus_gbs and algorithm_gbs (1e9 bytes a second), bytes of the tensor that was fastest, ranks, backend, transport.
        The first pod also writes it to the file named by ACCELSTACK_RESULT_FILE, else /dev/termination-log.

    Raises:
        WorkloadError: an argument breaks its rule, or the host has no address within 5 minutes.
        SystemExit: 3 on SIGTERM, 1 where a worker failed or others never came; a line on stderr tells which.
    """
    host, port = _refuse(nodes, max(1, processes), rendezvous, megabytes)
    signal.signal(signal.SIGTERM, _stop)
    address, interface = wait_for(host, port, RESOLVE_SECONDS)
    print(f"probe: meets at {rendezvous} from {address} on {interface or 'an unknown interface'}", file=sys.stderr)
    index = os.environ.get(INDEX_VARIABLE, "")
    hosting = f",is_host={str(index == '0').lower()}" if index else ""
    with tempfile.TemporaryDirectory() as folder:
        command = [
            *(sys.executable, "-m", "torch.distributed.run", "--log-dir", folder),
            *("--nnodes", str(nodes), "--nproc-per-node", str(max(1, processes)), "--local-addr", address),
            *("--rdzv-backend", "c10d", "--rdzv-endpoint", rendezvous, "--rdzv-id", "probe"),
            *("--rdzv-conf", f"join_timeout={JOIN_SECONDS},read_timeout={JOIN_SECONDS}{hosting}"),
            *("-m", "accelstack_workloads.probe_worker", *([str(megabytes)] if megabytes else [])),
        ]
        measured = Path(folder, "measured.json")
        own = {MEASURED_VARIABLE: str(measured), PARENT_VARIABLE: str(os.getpid()), "NCCL_DEBUG": "INFO"}
        status, transport = _launch(command, {**sockets(interface), **os.environ, **own})
        if status or not measured.exists():
            print(
                f"error: probe: the {nodes} pods did not measure together at {rendezvous} (exit status {status}); "
                "see what its log tells above, here and in the other pods",
                file=sys.stderr,
            )
            raise SystemExit(1)
        result = json.loads(measured.read_text())
    result["transport"] = "tcp" if result["backend"] == "gloo" else transport
    if index in ("", "0"):
        _leave(result)
    return result


def network(line: str) -> str:
    """What a line of NCCL's log tells of the way between processes: NET/OFI+GDRDMA, P2P…; empty if nothing."""
    if found := NETWORK.search(line):
        name, direct = found.groups()
        return f"NET/{NAMES.get(name, name)}{'+GDRDMA' if direct else ''}"
    found = LOCAL.search(line)
    return found.group(1) if found else ""


def wait_for(host: str, port: int, seconds: float) -> tuple[str, str]:
    """This machine's address and network interface on the way to a host.

    Raises:
        WorkloadError: the host's name has no address in that many seconds.
    """
    end = time.monotonic() + seconds
    while True:
        try:
            family, kind, _, _, target = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            with socket.socket(family, kind) as way:
                way.connect(target)  # sends nothing: it only chooses the way
                address = way.getsockname()[0]
            break
        except OSError as error:
            if time.monotonic() >= end:
                raise WorkloadError(
                    f"rendezvous: {host!r} has no address after {seconds:g} s ({error}); give the name of the first "
                    "pod in a headless service that also publishes pods that are not ready"
                ) from error
            time.sleep(min(2.0, max(0.1, end - time.monotonic())))
    cards = psutil.net_if_addrs().items()
    return address, next((name for name, all_of in cards if any(one.address == address for one in all_of)), "")


def _refuse(nodes: int, processes: int, rendezvous: str, megabytes: int | None) -> tuple[str, int]:
    host, _, port = rendezvous.rpartition(":")
    if not host or not (port.isascii() and port.isdecimal() and 0 < int(port) < 2**16):
        raise WorkloadError(f"rendezvous: {rendezvous!r} is not HOST:PORT; give the first pod's name and a free port")
    if nodes < 1 or nodes * processes < 2:
        raise WorkloadError(f"nodes: {nodes} with {processes} processes each have no fabric between; give 2 or more")
    if megabytes is not None and megabytes < 1:
        raise WorkloadError(f"megabytes: {megabytes} is below 1; give the largest tensor's size in MiB")
    return host.strip("[]"), int(port)


def _launch(command: list[str], environment: dict[str, str]) -> tuple[int, str]:
    """Exit status of the workers' launcher, and the networks that NCCL tells of; passes on what it says."""
    seen, asked = set[str](), list[int]()
    signal.signal(signal.SIGTERM, lambda number, _: asked.append(number))  # or it would be left behind while it starts
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", env=environment
    )
    try:
        signal.signal(signal.SIGTERM, _stop)
        if asked:
            raise SystemExit(EXIT_STOPPED)
        for line in process.stdout or ():
            print(line, end="", file=sys.stderr, flush=True)
            seen.add(network(line))
        between = sorted(name for name in seen if name.startswith("NET/")) or sorted(seen - {""})
        return process.wait(), ", ".join(between) or "unknown"
    finally:
        if process.poll() is None:
            process.terminate()
            process.communicate()


def _stop(_number: int, _frame: object) -> NoReturn:
    raise SystemExit(EXIT_STOPPED)


def _leave(result: dict[str, Any]) -> None:
    path = Path(os.environ.get(RESULT_VARIABLE, RESULT))
    try:
        path.write_text(json.dumps(result))  # in place: in a pod it is a mounted file
    except OSError as error:
        raise WorkloadError(
            f"result: {path} cannot be written ({error.strerror}); name a file in {RESULT_VARIABLE}"
        ) from error
