"""The framework's application: every route but those of bytes."""

from __future__ import annotations

from typing import cast

from litestar import Litestar
from litestar.di import Provide

from service.router import blobs, operations, reading, refs
from service.router.failures import EXCEPTION_HANDLERS
from service.router.gateway import App
from service.router.operations import Operations
from service.router.use_cases import UseCases

HANDLERS = [*blobs.HANDLERS, *refs.HANDLERS, *reading.HANDLERS, *operations.HANDLERS]


def create_api(use: UseCases, ops: Operations) -> App:
    """Handlers get `use` and `operations` by name; bodies are read as streams, within our own limits."""
    api = Litestar(
        HANDLERS,
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
