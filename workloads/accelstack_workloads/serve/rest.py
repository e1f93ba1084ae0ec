"""The REST side: Open Inference Protocol v2, /metrics, and what the page needs."""

from __future__ import annotations

import asyncio
import html
import logging
import re
import time
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from importlib.resources import files
from typing import Any
from urllib.parse import quote

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from accelstack_workloads.serve import json_codec
from accelstack_workloads.serve.answers import error_answer, json_answer
from accelstack_workloads.serve.body import is_for, media_type, read_body, read_sample
from accelstack_workloads.serve.guard import Guard
from accelstack_workloads.serve.metrics import CONTENT_TYPE
from accelstack_workloads.serve.protocol import (
    MAX_BODY_BYTES,
    PLATFORM,
    SERVER,
    RequestError,
)
from accelstack_workloads.serve.service import Service
from accelstack_workloads.tensors import TensorSpec

# Decoding more than this takes long enough to be felt by other requests, so it goes to another thread.
_INLINE_BYTES = 128 * 2**10

_PAGE = {
    "page.html": "text/html",
    "page.css": "text/css",
    "page.js": "text/javascript",
    "input.js": "text/javascript",
    "icon.svg": "image/svg+xml",
}

_log = logging.getLogger(__name__)


def application(service: Service, *, loopback: bool) -> Starlette:
    """The ASGI application; `loopback` says that the server is bound to this machine only."""
    rest = _Rest(service)
    model = "/v2/models/{name}"
    versioned = f"{model}/versions/{{version}}"
    routes = [
        Route("/v2", rest.server_metadata),
        Route("/v2/health/live", rest.live),
        Route("/v2/health/ready", rest.ready),
        *(Route(path, rest.model_metadata) for path in (model, versioned)),
        *(Route(f"{path}/ready", rest.model_ready) for path in (model, versioned)),
        *(Route(f"{path}/infer", rest.infer, methods=["POST"]) for path in (model, versioned)),
        Route("/predict", rest.predict, methods=["POST"]),
        Route("/ping", rest.ready),  # SageMaker's names, for its one model
        Route("/invocations", rest.invocations, methods=["POST"]),
        Route("/metrics", rest.metrics),
        *(Route("/" if name == "page.html" else f"/page/{name}", _page_file(name, service)) for name in _PAGE),
    ]
    handlers: dict[Any, Any] = {HTTPException: _refuse_route, RequestError: _refuse_request}
    return Starlette(
        routes=routes,
        middleware=[Middleware(Guard, loopback=loopback)],
        exception_handlers=handlers,
    )


class _Rest:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._model = service.model

    async def server_metadata(self, _request: Request) -> Response:
        return json_answer(SERVER)

    async def live(self, _request: Request) -> Response:
        return json_answer({"live": True})

    async def ready(self, _request: Request) -> Response:
        return json_answer({"ready": True})  # the port is bound only once the model is loaded and warm

    async def model_ready(self, request: Request) -> Response:
        self._check_model(request)
        return json_answer({"name": self._model.name, "ready": True})

    async def model_metadata(self, request: Request) -> Response:
        self._check_model(request)
        return json_answer(
            {
                "name": self._model.name,
                "versions": [self._model.version],
                "platform": PLATFORM,
                "inputs": [*map(_metadata, self._model.inputs)],
                "outputs": [*map(_metadata, self._model.outputs)],
            }
        )

    async def infer(self, request: Request) -> Response:
        return await self._measured("rest", self._infer, request)

    async def predict(self, request: Request) -> Response:
        return await self._measured("people", self._predict, request)

    async def invocations(self, request: Request) -> Response:
        # JSON is the protocol's own, unless it says to be of another kind.
        if is_for(self._service.form, kind := media_type(request)) and kind != "application/json":
            return await self.predict(request)
        answer = await self.infer(request)
        if length := answer.headers.get(json_codec.HEADER_LENGTH):  # no header but this one passes through SageMaker
            answer.headers["Content-Type"] = json_codec.sagemaker_type(length)
        return answer

    async def metrics(self, _request: Request) -> Response:
        return Response(self._service.metrics.render(), headers={"Content-Type": CONTENT_TYPE})

    async def _infer(self, request: Request) -> Response:
        self._check_model(request)
        body = await read_body(request, MAX_BODY_BYTES)
        compressed = "content-encoding" in request.headers
        inline = len(body) <= _INLINE_BYTES and not compressed
        decoded = self._decode(body, request) if inline else await asyncio.to_thread(self._decode, body, request)
        arrays = await self._service.predictor.predict(decoded.inputs)
        self._service.metrics.count("rest", len(next(iter(decoded.inputs.values()))))
        content, headers = json_codec.encode(arrays, decoded, self._model)
        return Response(content, headers=headers)

    def _decode(self, body: bytes, request: Request) -> json_codec.InferRequest:
        body = json_codec.decompress(body, request.headers.get("content-encoding", ""))
        return json_codec.decode(body, json_codec.header_length(request.headers), self._model)

    async def _predict(self, request: Request) -> Response:
        content = await read_sample(request, self._service.form)
        start = time.perf_counter()
        answer = await self._service.form.respond(content, self._service.predictor.predict)
        latency = (time.perf_counter() - start) * 1000
        self._service.metrics.count("people", 1)
        about = {"model": self._model.name, "version": self._model.version, "latency_ms": round(latency, 2)}
        return json_answer({**about, **answer})

    def _check_model(self, request: Request) -> None:
        named = request.path_params
        self._model.check_model(named.get("name", self._model.name), named.get("version", ""))

    async def _measured(
        self, protocol: str, handler: Callable[[Request], Awaitable[Response]], request: Request
    ) -> Response:
        with self._service.metrics.measure(protocol) as outcome:
            try:
                with self._service.predictor.slot():
                    answer = await handler(request)
            except RequestError as error:
                answer = error_answer(str(error), error.status)
            except Exception:
                _log.exception("%s failed", request.url.path)
                answer = error_answer("server: failed unexpectedly; its log says why", HTTPStatus.INTERNAL_SERVER_ERROR)
            outcome.code = str(answer.status_code)
            return answer


def _metadata(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": [-1, *spec.shape]}


async def _refuse_request(_request: Request, error: RequestError) -> Response:
    return error_answer(str(error), error.status)


async def _refuse_route(request: Request, error: HTTPException) -> Response:
    path = request.url.path[:200]
    if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = (error.headers or {}).get("Allow", "")
        answer = error_answer(f"method: {path!r} takes no {request.method}; use {allowed}", error.status_code)
        answer.headers["Allow"] = allowed
        return answer
    return error_answer(f"path: {path!r} is not served; see /v2/models/<name> and the page at /", error.status_code)


def _page_file(name: str, service: Service) -> Callable[[Request], Awaitable[Response]]:
    page, form = files("accelstack_workloads.serve") / "page", service.form
    content = (page / (f"{form.page}.js" if name == "input.js" else name)).read_text()
    if name == "page.html":
        model = service.model
        values = {"model": model.name, "version": model.version, "path": quote(model.name, safe="")}
        values |= {"noun": form.noun, "example": form.example, "accept": ",".join(form.media_types)}
        content = content.replace("{{input}}", (page / f"{form.page}.html").read_text())
        content = re.sub(r"{{(\w+)}}", lambda match: html.escape(values[match[1]]), content)

    async def serve(_request: Request) -> Response:
        return Response(content, media_type=_PAGE[name], headers={"Cache-Control": "no-cache"})

    return serve
