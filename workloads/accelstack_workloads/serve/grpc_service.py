"""The gRPC side of the Open Inference Protocol v2, on the messages of Triton's client."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any

import grpc
import numpy as np
from tritonclient.grpc import service_pb2, service_pb2_grpc

from accelstack_workloads.serve.protocol import (
    DATATYPE,
    INPUT,
    MAX_BODY_BYTES,
    OUTPUT,
    PLATFORM,
    SERVER,
    RequestError,
    TensorHeader,
    check_extensions,
    from_bytes,
    from_values,
    to_bytes,
)
from accelstack_workloads.serve.service import Service

messages: Any = service_pb2  # its classes are made at run time, unseen by type checkers

_CODES = {
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
# What a message may weigh beyond its tensor, as over REST the headers come on top of the body.
_ENVELOPE_BYTES = 64 * 2**10

_log = logging.getLogger(__name__)


def create_server(service: Service) -> grpc.aio.Server:
    """The gRPC server, without a port yet."""
    server = grpc.aio.server(
        options=[
            ("grpc.so_reuseport", 1),
            ("grpc.max_receive_message_length", MAX_BODY_BYTES + _ENVELOPE_BYTES),
        ]
    )
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(InferenceService(service), server)
    return server


class InferenceService(service_pb2_grpc.GRPCInferenceServiceServicer):
    """Health, metadata and inference; the protocol's other methods are answered UNIMPLEMENTED, by name."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self._model = service.model

    async def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802
        return messages.ServerLiveResponse(live=True)

    async def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return messages.ServerReadyResponse(ready=True)

    async def ServerMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        return messages.ServerMetadataResponse(**SERVER)

    async def ModelReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._check_model(request, context)
        return messages.ModelReadyResponse(ready=True)

    async def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        await self._check_model(request, context)
        tensor = messages.ModelMetadataResponse.TensorMetadata
        return messages.ModelMetadataResponse(
            name=self._model.name,
            versions=[self._model.version],
            platform=PLATFORM,
            inputs=[tensor(name=INPUT, datatype=DATATYPE, shape=self._model.input_shape)],
            outputs=[tensor(name=OUTPUT, datatype=DATATYPE, shape=self._model.output_shape)],
        )

    async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
        with self._service.metrics.measure("grpc") as outcome:
            try:
                with self._service.predictor.slot():
                    answer = await self._infer(request)
                outcome.code = "OK"
                return answer
            except RequestError as error:
                code, reason = _code(error), str(error)
            except Exception:
                _log.exception("ModelInfer failed")
                code, reason = grpc.StatusCode.INTERNAL, "server: failed unexpectedly; its log says why"
            outcome.code = code.name
            return await context.abort(code, reason)

    async def _check_model(self, request: Any, context: Any) -> None:
        try:
            self._model.check_model(request.name, request.version)
        except RequestError as error:
            await context.abort(_code(error), str(error))

    async def _infer(self, request: Any) -> Any:
        self._model.check_model(request.model_name, request.model_version)
        shape = self._model.check_inputs([TensorHeader(i.name, i.datatype, i.shape) for i in request.inputs])
        self._model.check_outputs([output.name for output in request.outputs])
        for path, item in (("inputs[0]", request.inputs[0]), *(("outputs[0]", output) for output in request.outputs)):
            check_extensions(item.parameters, f"{path}.parameters")
        probabilities = await self._service.predictor.predict(_pictures(request, shape))
        self._service.metrics.classified("grpc", len(probabilities))

        answer = messages.ModelInferResponse(
            model_name=self._model.name, model_version=self._model.version, id=request.id
        )
        output = answer.outputs.add(name=OUTPUT, datatype=DATATYPE, shape=probabilities.shape)
        # The answer comes in the form of the question: a client that sent typed contents need not know of raw ones.
        if request.raw_input_contents:
            answer.raw_output_contents.append(to_bytes(probabilities))
        else:
            output.contents.fp32_contents.extend(probabilities.ravel().tolist())
        return answer


def _pictures(request: Any, shape: tuple[int, ...]) -> np.ndarray:
    raw, contents = request.raw_input_contents, request.inputs[0].contents
    filled = [field.name for field, _ in contents.ListFields()]
    if raw:
        if len(raw) > 1:
            raise RequestError(f"raw_input_contents: has {len(raw)} entries for 1 input; send one per input")
        if filled:
            raise RequestError(f"inputs[0].contents: {filled[0]} comes on top of raw_input_contents; send one of them")
        return from_bytes(raw[0], shape)
    if filled and filled != ["fp32_contents"]:
        raise RequestError(f"inputs[0].contents: {', '.join(filled)} is not for {DATATYPE}; use fp32_contents")
    return from_values(contents.fp32_contents, shape)


def _code(error: RequestError) -> grpc.StatusCode:
    return _CODES.get(error.status, grpc.StatusCode.INVALID_ARGUMENT)


def _unimplemented(name: str) -> Callable[..., Awaitable[None]]:
    async def refuse(_self: InferenceService, _request: Any, context: Any) -> None:
        await context.abort(
            grpc.StatusCode.UNIMPLEMENTED,
            f"{name}: this server serves one fixed model; use ModelInfer and the health calls",
        )

    return refuse


for _method in messages.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods:
    if _method.name not in vars(InferenceService):
        setattr(InferenceService, _method.name, _unimplemented(_method.name))
