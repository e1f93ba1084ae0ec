"""Reads request bodies within limits of size and time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from fnmatch import fnmatchcase
from http import HTTPStatus

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect, Request

from accelstack_workloads.serve.form import Form
from accelstack_workloads.serve.json_codec import too_large
from accelstack_workloads.serve.protocol import RequestError

READ_SECONDS = 30


async def read_body(request: Request, limit: int) -> bytes:
    """The whole body, of `limit` bytes at most; a larger one is refused unread where its length is declared."""
    async with _in_time():
        return b"".join([chunk async for chunk in _chunks(request, limit)])


def media_type(request: Request) -> str:
    """What a request says that its body is, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def is_for(form: Form, kind: str) -> bool:
    """Whether people send a body of that type to the form."""
    return kind == "multipart/form-data" or any(fnmatchcase(kind, taken) for taken in form.media_types)


async def read_sample(request: Request, wanted: Form) -> bytes:
    """What people send to a form, as the body itself or as the field `file` of a form of HTML."""
    kind, limit = media_type(request), wanted.largest
    if not is_for(wanted, kind):
        raise RequestError(
            f"Content-Type: {kind[:80]!r} is not {wanted.noun}; send {', '.join(wanted.media_types)} or a form with "
            "the field 'file'",
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
        )
    if kind != "multipart/form-data":
        return await read_body(request, limit)
    parser = MultiPartParser(request.headers, _chunks(request, limit), max_files=1, max_fields=8)
    try:
        async with _in_time():
            form = await parser.parse()
    except (MultiPartException, KeyError, UnicodeError) as error:
        reason = getattr(error, "message", error)
        raise RequestError(f"body: is not a form ({reason}); send one file as the field 'file'") from error
    try:
        file = form.get("file")
        if not isinstance(file, UploadFile):
            raise RequestError("file: is missing from the form; send it as a file in the field 'file'")
        return await file.read()
    finally:
        await form.close()


@asynccontextmanager
async def _in_time() -> AsyncIterator[None]:
    """Turns a body that does not arrive in time, or only in part, into a refusal."""
    try:
        async with asyncio.timeout(READ_SECONDS):
            yield
    except TimeoutError as error:
        raise RequestError(
            f"body: did not arrive within {READ_SECONDS} s; send it faster or send less", HTTPStatus.REQUEST_TIMEOUT
        ) from error
    except ClientDisconnect as error:
        raise RequestError("body: the connection closed before its end") from error


async def _chunks(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > limit:
        raise too_large("body", limit)
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise too_large("body", limit)
        yield chunk
