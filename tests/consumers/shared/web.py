"""HTTP: forms in, problem documents out, and a process that serves."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import asyncpg
import msgspec
from granian.constants import HTTPModes, Interfaces
from granian.log import LogLevels
from granian.server.embed import Server
from litestar import Litestar, Request, Response
from litestar.exceptions import HTTPException
from litestar.types import ControllerRouterHandler
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware

from tests.consumers.shared.calls import idempotency_key
from tests.consumers.shared.picture import Picture, received_picture
from tests.consumers.shared.refusals import Refusal, not_now
from tests.consumers.shared.tracing import tracing

HttpRequest = Request[Any, Any, Any]
Lifespan = Callable[[Litestar], AbstractAsyncContextManager[None]]


def received(request: HttpRequest) -> AbstractAsyncContextManager[Picture]:
    """The picture in the request's form. Raises `Refusal`."""
    return received_picture(request.headers.get("content-type", ""), request.stream())


def key_of(request: HttpRequest, service: str) -> str:
    """The key of idempotency for Refkeep: the same for each repetition by our caller, if they give us one."""
    return idempotency_key(service, f"{request.method} {request.url.path}", request.headers.get("idempotency-key"))


def build_app(handlers: Sequence[ControllerRouterHandler], lifespan: Lifespan) -> Litestar:
    """The service as an ASGI application."""
    return Litestar(
        handlers,
        lifespan=[lifespan],
        exception_handlers={
            Refusal: _refuse,
            HTTPException: _refuse_http,
            asyncpg.PostgresError: _refuse_database,
            asyncpg.InterfaceError: _refuse_database,
            OSError: _refuse_database,
        },
        before_request=_name_span,
        openapi_config=None,
        logging_config=None,
        request_max_body_size=None,
    )


def serve(name: str, app: Litestar, port: int) -> None:
    """Serve on the loopback interface until SIGTERM; one process, which a kill ends with everything it does."""
    logging.basicConfig(level=logging.INFO, format=f"{name} %(levelname)s %(name)s: %(message)s")
    with tracing(name):
        asyncio.run(
            _serve(OpenTelemetryMiddleware(app, default_span_details=_unnamed, exclude_spans=["send", "receive"]), port)
        )


@asynccontextmanager
async def running(*coroutines: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Work that goes on beside requests; it ends with the block.

    Where it ends by itself, the process does: one that answers while its feed stands still looks healthy, and is not.
    """
    tasks = [asyncio.create_task(each) for each in coroutines]
    for task in tasks:
        task.add_done_callback(_leave_if_broken)
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _leave_if_broken(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        logging.getLogger(__name__).critical("the service leaves", exc_info=task.exception())
        os.kill(os.getpid(), signal.SIGTERM)


async def _serve(app: Any, port: int) -> None:
    server = Server(
        app,
        address="127.0.0.1",
        port=port,
        interface=Interfaces.ASGI,
        http=HTTPModes.http1,
        websockets=False,
        log_level=LogLevels.warning,
    )
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, server.stop)
    await server.serve()


def problem(refusal: Refusal) -> Response[bytes]:
    """A problem document (RFC 9457)."""
    document = {**refusal.members, "status": refusal.status, "code": refusal.code, "detail": refusal.detail}
    headers: Mapping[str, str] = {"cache-control": "no-store"}
    if refusal.retry_after is not None:
        headers = {**headers, "retry-after": str(refusal.retry_after)}
    body = msgspec.json.encode(document)
    return Response(body, status_code=refusal.status, headers=headers, media_type="application/problem+json")


def _unnamed(scope: Any) -> tuple[str, dict[str, Any]]:
    """What a span is called until its path is known."""
    return str(scope["method"]), {}


def _name_span(request: HttpRequest) -> None:
    """By the template of its path: ids in names of spans would make one of each."""
    trace.get_current_span().update_name(f"{request.method} {request.scope['path_template']}")


def _refuse(_: HttpRequest, refusal: Refusal) -> Response[bytes]:
    return problem(refusal)


def _refuse_http(_: HttpRequest, error: HTTPException) -> Response[bytes]:
    return problem(Refusal(error.status_code, "http", error.detail))


def _refuse_database(_: HttpRequest, error: Exception) -> Response[bytes]:
    logging.getLogger(__name__).error("the database did not do its part", exc_info=error)
    return problem(not_now())
