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
    MAX_BODY_BYTES,
    PLATFORM,
    SERVER,
    Place,
    RequestError,
    TensorHeader,
    check_extensions,
    from_bytes,
    from_values,
    to_bytes,
)
from accelstack_workloads.serve.service import Service
from accelstack_workloads.tensors import TensorSpec

messages: Any = service_pb2  # its classes are made at run time, unseen by type checkers

_CODES = {
    HTTPStatus.NOT_FOUND: grpc.StatusCode.NOT_FOUND,
    HTTPStatus.SERVICE_UNAVAILABLE: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
# Fields of typed contents, by datatype.
_FIELDS = {"FP32": "fp32_contents", "INT64": "int64_contents"}
# What a message may weigh beyond its tensors, as over REST the headers come on top of the body.
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
        return messages.ModelMetadataResponse(
            name=self._model.name,
            versions=[self._model.version],
            platform=PLATFORM,
            inputs=[*map(_metadata, self._model.inputs)],
            outputs=[*map(_metadata, self._model.outputs)],
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
        places = self._model.check_inputs([TensorHeader(i.name, i.datatype, i.shape) for i in request.inputs])
        outputs = self._model.check_outputs([output.name for output in request.outputs])
        for kind, items in (("inputs", request.inputs), ("outputs", request.outputs)):
            for index, item in enumerate(items):
                check_extensions(item.parameters, f"{kind}[{index}].parameters")
        arrays = await self._service.predictor.predict({p.spec.name: _values(request, p) for p in places})
        self._service.metrics.count("grpc", places[0].shape[0])

        answer = messages.ModelInferResponse(
            model_name=self._model.name, model_version=self._model.version, id=request.id
        )
        for spec in outputs:
            array = arrays[spec.name]
            output = answer.outputs.add(name=spec.name, datatype=spec.datatype, shape=array.shape)
            # The answer comes in the form of the question: a client that sent typed contents need not know of raw ones.
            if request.raw_input_contents:
                answer.raw_output_contents.append(to_bytes(array, spec))
            else:
                getattr(output.contents, _FIELDS[spec.datatype]).extend(array.ravel().tolist())
        return answer


def _metadata(spec: TensorSpec) -> Any:
    return messages.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype, shape=[-1, *spec.shape]
    )


def _values(request: Any, place: Place) -> np.ndarray:
    raw, contents = request.raw_input_contents, request.inputs[place.index].contents
    filled = [field.name for field, _ in contents.ListFields()]
    if raw:
        if len(raw) != len(request.inputs):
            count = len(request.inputs)
            raise RequestError(
                f"raw_input_contents: has {len(raw)} entries for {count} input{'s' * (count > 1)}; send one per input"
            )
        if filled:
            raise RequestError(
                f"{place.path}.contents: {filled[0]} comes on top of raw_input_contents; send one of them"
            )
        return from_bytes(raw[place.index], place)
    field = _FIELDS[place.spec.datatype]
    if filled and filled != [field]:
        raise RequestError(f"{place.path}.contents: {', '.join(filled)} is not for {place.spec.datatype}; use {field}")
    return from_values(getattr(contents, field), place)


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
