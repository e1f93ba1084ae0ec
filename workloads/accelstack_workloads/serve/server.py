"""One replica: loads a model, then serves it over REST and gRPC until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Generator
from pathlib import Path

import torch
import uvicorn
import uvloop

from accelstack_workloads.errors import WorkloadError
from accelstack_workloads.lifeline import STOP_SIGNALS, watch_parent
from accelstack_workloads.model_format import load
from accelstack_workloads.serve.grpc_service import create_server
from accelstack_workloads.serve.guard import is_loopback
from accelstack_workloads.serve.metrics import Metrics
from accelstack_workloads.serve.predictor import Predictor
from accelstack_workloads.serve.protocol import ModelInterface
from accelstack_workloads.serve.rest import application
from accelstack_workloads.serve.service import Service
from accelstack_workloads.workloads import workload

# Requests in flight get this long after a stop signal; a process that hangs beyond it is ended anyway.
DRAIN_SECONDS = 4
_LAST_RESORT_SECONDS = DRAIN_SECONDS + 0.8
_BACKLOG = 2048
# Longer than the idle time of common proxies, so that it is they who close a connection.
_KEEP_ALIVE_SECONDS = 75


def run(
    model: Path, name: str, version: str, host: str, rest_port: int, grpc_port: int, share_ports: bool = False
) -> None:
    """Serves the model directory until SIGTERM or SIGINT, or until the parent process ends.

    Blocks. Prints one line per address once it is ready. The ports are bound only after the model is loaded and warm,
    so a replica that listens is ready; several replicas may share the ports (SO_REUSEPORT).

    Args:
        model: a model directory.
        name: the model's name for clients.
        version: its version for clients.
        host: the address to bind; 127.0.0.1 for this machine only.
        rest_port: port of REST, metrics and the page; 0 for a free one.
        grpc_port: port of gRPC; 0 for a free one.
        share_ports: whether other replicas of the same user may bind the same ports, and the system spreads
            connections over them (Linux does).

    Raises:
        WorkloadError: the model cannot be loaded, or an address cannot be bound.
    """
    logging.basicConfig(format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    watch_parent(lambda: os.kill(os.getpid(), signal.SIGTERM))
    _check_ports(rest_port, grpc_port)
    torch.set_num_threads(_threads())
    loaded = load(model)
    form = workload(loaded.description.workload).form_class()(loaded.description)
    interface = ModelInterface(name, version, loaded.inputs, loaded.outputs, loaded.unit)
    with contextlib.closing(Predictor(loaded)) as predictor:
        predictor.warm_up()
        form.warm_up()
        service = Service(interface, form, predictor, Metrics(interface, lambda: predictor.waiting))
        with (
            _bound(host, rest_port, "rest_port", share_ports) as rest_socket,
            _bound(host, grpc_port, "grpc_port", share_ports) as grpc_socket,
            asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner,
        ):
            runner.run(_serve(service, rest_socket, grpc_socket))


async def _serve(service: Service, rest_socket: socket.socket, grpc_socket: socket.socket) -> None:
    grpc_server = create_server(service)
    # gRPC opens a socket of its own beside this one, which never listens but has found the port and holds it.
    grpc_server.add_insecure_port(_address(grpc_socket))
    await grpc_server.start()

    model = f"{service.model.name} version {service.model.version}"

    def announce() -> None:
        print(f"{model}: REST and page at http://{_address(rest_socket)}", flush=True)
        print(f"{model}: gRPC at {_address(grpc_socket)}", flush=True)

    rest_server = _RestServer(service, rest_socket, announce)
    stopping = asyncio.Event()

    def stop() -> None:
        rest_server.should_exit = True
        stopping.set()
        last_resort = threading.Timer(_LAST_RESORT_SECONDS, os._exit, (1,))
        last_resort.daemon = True
        last_resort.start()

    async def drain_grpc() -> None:
        await stopping.wait()
        await grpc_server.stop(DRAIN_SECONDS)

    for number in STOP_SIGNALS:
        asyncio.get_running_loop().add_signal_handler(number, stop)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(rest_server.serve([rest_socket]))
        tasks.create_task(drain_grpc())


class _RestServer(uvicorn.Server):
    """uvicorn, with its start announced and the signals left to `_serve`, which has two servers to stop."""

    def __init__(self, service: Service, bound: socket.socket, on_started: Callable[[], None]) -> None:
        super().__init__(
            uvicorn.Config(
                application(service, loopback=is_loopback(bound.getsockname()[0])),
                backlog=_BACKLOG,
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                proxy_headers=False,
                lifespan="off",
                ws="none",
                timeout_keep_alive=_KEEP_ALIVE_SECONDS,
                timeout_graceful_shutdown=DRAIN_SECONDS,
            )
        )
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._on_started()

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        yield


def _check_ports(rest_port: int, grpc_port: int) -> None:
    for name, port in (("rest_port", rest_port), ("grpc_port", grpc_port)):
        if not 0 <= port <= 65535:  # getaddrinfo would silently take the number modulo 65536
            raise WorkloadError(f"{name}: {port} is not a TCP port; give 1 to 65535, or 0 for a free one")
    if rest_port == grpc_port != 0:  # SO_REUSEPORT would let both have it
        raise WorkloadError(f"grpc_port: {grpc_port} is rest_port too; give each its own")


def _bound(host: str, port: int, name: str, share: bool) -> socket.socket:
    """A socket that is bound but does not listen, so that nobody is let in before both ports are had."""
    try:
        family, kind, number, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        bound = socket.socket(family, kind, number)
        if not share and port:
            with socket.socket(family, kind, number) as alone:  # fails where anybody listens, sharing or not
                alone.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                alone.bind(address)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # gRPC binds a socket of its own beside this one
        bound.bind(address)
    except OSError as error:
        reason = error.strerror or error
        raise WorkloadError(
            f"{name}: {port} on host {host!r} cannot be bound ({reason}); choose another port, or end what holds it"
        ) from error
    return bound


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _threads() -> int:
    """Threads of one forward pass: OMP_NUM_THREADS, or one, since more capacity comes from more replicas."""
    value = os.environ.get("OMP_NUM_THREADS", "")
    return max(1, int(value)) if value.isdecimal() else 1
