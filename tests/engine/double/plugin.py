# ruff: noqa: N802 - the protocol's own method names
"""What every double is towards the engine: a plugin on a loopback port, one connection for each provider instance."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, NoReturn, TypeVar

import grpc
from google.protobuf import any_pb2, empty_pb2
from pulumi.runtime.proto import (
    engine_pb2,
    engine_pb2_grpc,
    plugin_pb2,
    provider_pb2,
    provider_pb2_grpc,
    status_pb2,
)

from tests.engine.double.faults import ATTEMPTS, Faults, Lost
from tests.engine.double.types import Refusal

T = TypeVar("T")


class Plugin(provider_pb2_grpc.ResourceProviderServicer):
    """The part of the provider protocol that has nothing to do with resources."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.faults = Faults()
        self._engines: dict[str, engine_pb2_grpc.EngineStub] = {}

    @contextmanager
    def serving(self) -> Iterator[str]:
        """Serves on a free loopback port: yields what belongs into PULUMI_DEBUG_PROVIDERS."""
        server = grpc.server(
            ThreadPoolExecutor(max_workers=64), options=[("grpc.max_receive_message_length", 400 * 2**20)]
        )
        provider_pb2_grpc.add_ResourceProviderServicer_to_server(self, server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            yield f"{self.name}:{port}"
        finally:
            server.stop(grace=None).wait()

    def Handshake(self, request: provider_pb2.ProviderHandshakeRequest, context: Any) -> Any:
        self._meet(context, request.engine_address)
        return provider_pb2.ProviderHandshakeResponse(accept_secrets=True, supports_autonaming_configuration=True)

    def Attach(self, request: plugin_pb2.PluginAttach, context: Any) -> empty_pb2.Empty:
        self._meet(context, request.address)
        return empty_pb2.Empty()

    def Cancel(self, request: empty_pb2.Empty, context: Any) -> empty_pb2.Empty:
        return empty_pb2.Empty()

    def GetPluginInfo(self, request: empty_pb2.Empty, context: Any) -> plugin_pb2.PluginInfo:
        return plugin_pb2.PluginInfo(version="999.0.0")  # higher than any SDK's, or each load warns

    def _meet(self, context: Any, address: str) -> None:
        channel = grpc.insecure_channel(address)
        self._engines[context.peer()] = engine_pb2_grpc.EngineStub(channel)

    def _warn(self, context: Any, urn: str, message: str) -> None:
        """Shows a warning on the resource's line."""
        entry = engine_pb2.LogRequest(severity=engine_pb2.LogSeverity.WARNING, message=message, urn=urn)
        self._engines[context.peer()].Log(entry)

    def _attempt(self, operation: str, token: str, name: str, context: Any, effect: Callable[[], T]) -> T:
        """Does it with the planned faults around it, again and again where the refusal is a passing one."""
        try:
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    self.faults.strike(operation, token, name, after=False)
                    result = effect()
                    self.faults.strike(operation, token, name, after=True)
                    return result
                except Refusal as refusal:
                    if not refusal.passing or attempt == ATTEMPTS:
                        raise
        except Refusal as refusal:
            context.abort(grpc.StatusCode.UNKNOWN, f"{operation} {name or token}: {refusal}")
        except Lost as lost:
            context.abort(grpc.StatusCode.UNAVAILABLE, str(lost))
        raise AssertionError("every attempt returns or raises")


def fail_half_way(context: Any, id: str, properties: Any, inputs: Any, reason: str) -> NoReturn:  # noqa: A002
    """Tells the engine that the resource is there, and broken."""
    detail = any_pb2.Any()
    detail.Pack(provider_pb2.ErrorResourceInitFailed(id=id, properties=properties, inputs=inputs, reasons=[reason]))
    code = grpc.StatusCode.UNKNOWN
    status = status_pb2.Status(code=code.value[0], message=reason, details=[detail])
    context.set_trailing_metadata((("grpc-status-details-bin", status.SerializeToString()),))
    context.abort(code, reason)
    raise AssertionError("abort raises")
