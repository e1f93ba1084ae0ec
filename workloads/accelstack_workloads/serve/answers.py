"""The answers that every REST route shares."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response


def json_answer(content: Any, status: int = HTTPStatus.OK) -> Response:
    """An answer in JSON."""
    return Response(orjson.dumps(content), status, media_type="application/json")


def error_answer(reason: str, status: int) -> Response:
    """The protocol's own error; one that asks to wait says for how long."""
    answer = json_answer({"error": reason}, status)
    if status == HTTPStatus.SERVICE_UNAVAILABLE:
        answer.headers["Retry-After"] = "1"
    return answer
