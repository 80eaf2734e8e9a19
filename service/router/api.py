"""The framework's application: every route but those of bytes."""

from __future__ import annotations

from itertools import groupby
from typing import cast

from litestar import Litestar, Response, route
from litestar.di import Provide
from litestar.handlers import HTTPRouteHandler

from service.router import batch, blobs, documentation, feed, media, operations, operators, reading, refs
from service.router.failures import EXCEPTION_HANDLERS
from service.router.gateway import App
from service.router.operations import Operations
from service.router.use_cases import UseCases

HANDLERS = [
    *blobs.HANDLERS,
    *refs.HANDLERS,
    *batch.HANDLERS,
    *media.HANDLERS,
    *reading.HANDLERS,
    *feed.HANDLERS,
    *operators.HANDLERS,
    *operations.HANDLERS,
    *documentation.HANDLERS,
]


def create_api(use: UseCases, ops: Operations) -> App:
    """Handlers get `use` and `operations` by name; bodies are read as streams, within our own limits."""
    api = Litestar(
        [*_options_handlers(), *HANDLERS],
        dependencies={
            "use": Provide(lambda: use, sync_to_thread=False),
            "operations": Provide(lambda: ops, sync_to_thread=False),
        },
        exception_handlers=EXCEPTION_HANDLERS,
        openapi_config=None,
        request_max_body_size=None,
        logging_config=None,
    )
    return cast("App", api)


def operations_by_route() -> list[tuple[str, str, str]]:
    """Method, template as OpenAPI writes it, and operation of every route here."""
    return [
        (str(method), path.replace(":str", ""), str(handler.opt["operation"]))
        for handler in HANDLERS
        for path in handler.paths
        for method in handler.http_methods
    ]


def _options_handlers() -> list[HTTPRouteHandler]:
    """A handler of OPTIONS for every path: the framework's own one forgets methods that have handlers of their own."""
    routes = sorted(
        (path, str(method)) for handler in HANDLERS for path in handler.paths for method in handler.http_methods
    )
    return [
        _options_handler(path, [method for _, method in found])
        for path, found in groupby(routes, key=lambda route: route[0])
    ]


def _options_handler(path: str, methods: list[str]) -> HTTPRouteHandler:
    allow = ", ".join(sorted([*methods, "OPTIONS", *(["HEAD"] if "GET" in methods else [])]))

    @route(path, http_method="OPTIONS", status_code=204, sync_to_thread=False)
    def say_allowed() -> Response[None]:
        return Response(None, status_code=204, headers={"allow": allow, "cache-control": "no-store"})

    return say_allowed
