"""Operations: is it alive, is it ready, what does it measure, how is it used."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import anyio
from litestar import Response, get

from service.domain.errors import RefkeepError
from service.router.answers import answer, respond
from service.router.intake import HttpRequest

Check = Callable[[], Awaitable[None]]
"""Returns when its part is well; raises a `RefkeepError` that says what is wrong."""

CHECK_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Operations:
    """What these routes need. `checks` by the name of their part; `is_draining` while the process takes its leave."""

    checks: Mapping[str, Check]
    is_draining: Callable[[], bool]
    render_metrics: Callable[[str], Awaitable[tuple[bytes, str]]]


@get("/livez", operation="health.live")
async def get_livez() -> Response[bytes]:
    """The process answers."""
    return respond(answer(200, {"status": "alive"}))


@get("/readyz", operation="health.ready")
async def get_readyz(operations: Operations) -> Response[bytes]:
    """Whether requests should come here, and which part fails if not."""
    parts: dict[str, str] = {}
    async with anyio.create_task_group() as group:
        for name, check in operations.checks.items():
            group.start_soon(_run, parts, name, check)
    if operations.is_draining():
        parts["server"] = "draining"
    ready = all(state == "ok" for state in parts.values())
    return respond(answer(200 if ready else 503, {"status": "ready" if ready else "not ready", "parts": parts}))


@get("/metrics", operation="metrics.get")
async def get_metrics(request: HttpRequest, operations: Operations) -> Response[bytes]:
    """The metrics of all workers as Prometheus reads them."""
    body, media_type = await operations.render_metrics(request.headers.get("accept", ""))
    essence = media_type.removesuffix("; charset=utf-8") if media_type.startswith("text/") else media_type
    return Response(body, headers={"cache-control": "no-store"}, media_type=essence)  # which adds that of texts again


async def _run(parts: dict[str, str], name: str, check: Check) -> None:
    try:
        with anyio.fail_after(CHECK_SECONDS):
            await check()
        parts[name] = "ok"
    except RefkeepError as error:
        parts[name] = str(error)
    except TimeoutError:
        parts[name] = "no answer in time"
    except Exception:  # noqa: BLE001 - whatever breaks in a check, its part is not ready and the others have their say
        parts[name] = "broken"


HANDLERS = [get_livez, get_readyz, get_metrics]
