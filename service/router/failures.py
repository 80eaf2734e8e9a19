"""Whatever a handler raises, as a problem document."""

from __future__ import annotations

from litestar import Response
from litestar.exceptions import HTTPException, MethodNotAllowedException, NotFoundException
from litestar.types import ExceptionHandlersMap

from service.domain.errors import RefkeepError
from service.observability import current
from service.router.intake import HttpRequest
from service.router.problems import instance_of, problem_answer


def refused(request: HttpRequest, error: RefkeepError) -> Response[bytes]:
    """A refusal or fault with a code of its own."""
    members = error.members() if error.index is None else {**error.members(), "index": error.index}
    return _problem(request, error, error.code, str(error), members)


def unrouted(request: HttpRequest, error: HTTPException) -> Response[bytes]:
    """What the framework refuses: an unknown path, another method, a request that it cannot read."""
    if isinstance(error, NotFoundException):
        return _problem(request, error, "not-found", "Nothing is here.")
    if isinstance(error, MethodNotAllowedException):
        response = _problem(request, error, "method-not-allowed", f"{request.method} is not allowed here.")
        response.headers["allow"] = _with_head((error.headers or {}).get("allow", ""))
        return response
    if error.status_code >= 500:
        return crashed(request, error)
    return _problem(request, error, "bad-request", error.detail)


def crashed(request: HttpRequest, error: Exception) -> Response[bytes]:
    """A defect: the caller learns that there is one, the log what it is."""
    return _problem(request, error, "internal", "Something broke here; it was recorded.")


EXCEPTION_HANDLERS: ExceptionHandlersMap = {
    RefkeepError: refused,
    HTTPException: unrouted,
    Exception: crashed,
}


def _problem(
    request: HttpRequest,
    error: Exception,
    code: str,
    detail: str,
    members: dict[str, object] | None = None,
) -> Response[bytes]:
    observation = current()
    if observation is not None:
        observation.note_failure(error)
    status, headers, body = problem_answer(code, detail, instance_of(request.scope), members)
    named = {name.decode(): value.decode() for name, value in headers if name != b"content-length"}
    return Response(body, status_code=status, headers=named, media_type=named.pop("content-type"))


def _with_head(allow: str) -> str:
    """The framework's list, and HEAD where there is GET."""
    methods = set(allow.split(", "))
    return ", ".join(sorted(methods | {"HEAD"} if "GET" in methods else methods))
