"""What operators do, and what everyone may ask of it: holds, workspaces, why bytes are still there."""

from __future__ import annotations

from http import HTTPStatus

from litestar import Response, delete, get, put

from service.domain.blob import parse_sha256
from service.domain.errors import BadName, Forbidden, NotFound
from service.domain.event import DecisionKind
from service.domain.hold import parse_reason
from service.domain.hold_decision import PlaceHold
from service.domain.workspace import parse_slug
from service.ports.access import WorkspaceOutcome
from service.ports.holds import HoldOutcome
from service.router.answers import Answer, answer, respond, respond_to
from service.router.intake import HttpRequest, claim_of, members_as, query_members, read_command, refuse_query
from service.router.paths import read_sha256
from service.router.use_cases import UseCases
from service.schemas.operators import (
    HoldRequest,
    Quota,
    UseQuery,
    hold_document,
    reasons_document,
    use_document,
    workspace_document,
)

_NOTHING = "There is nothing under this name."


@put("/holds/{sha256:str}", operation="hold.put")
async def put_hold(request: HttpRequest, use: UseCases, sha256: str) -> Response[bytes]:
    """Keep bytes from being served, taken and removed."""
    actor = await use.callers.operator(request.headers, writes=True)
    name, asked = parse_sha256(sha256), await read_command(request, HoldRequest)
    command = PlaceHold(name, asked.kind, parse_reason(asked.reason), actor, asked.status)
    return respond_to(await use.place_hold(command, claim_of(request, _placed, asked)), _placed)


@delete("/holds/{sha256:str}", status_code=200, operation="hold.delete")
async def delete_hold(request: HttpRequest, use: UseCases, sha256: str) -> Response[bytes]:
    """Lift a hold."""
    actor = await use.callers.operator(request.headers, writes=True)
    refuse_query(request)
    return respond_to(await use.lift_hold(parse_sha256(sha256), actor, claim_of(request, _lifted)), _lifted)


@get("/holds/{sha256:str}", operation="hold.get")
async def get_hold(request: HttpRequest, use: UseCases, sha256: str) -> Response[bytes]:
    """The hold on these bytes."""
    await use.callers.operator(request.headers, writes=False)
    return respond(answer(HTTPStatus.OK, hold_document(await use.get_hold(read_sha256(sha256, _NOTHING)))))


@get("/blobs/{sha256:str}/why", operation="blob.why")
async def get_blob_why(request: HttpRequest, use: UseCases, sha256: str) -> Response[bytes]:
    """Why these bytes are still there."""
    workspace = await use.callers.visitor(request.headers, request.headers.get("workspace"))
    name = read_sha256(sha256, _NOTHING)
    found = await use.explain_blob(name, workspace)
    return respond(answer(HTTPStatus.OK, reasons_document(name, found, copies=workspace is None)))


@get("/workspaces/{slug:str}", operation="workspace.get")
async def get_workspace(request: HttpRequest, use: UseCases, slug: str) -> Response[bytes]:
    """What a workspace may use, and what it uses."""
    is_operator = await use.callers.is_operator(request.headers)
    if not is_operator:
        await use.callers.visitor(request.headers, slug)
    asked = members_as(UseQuery, query_members(request)).physical
    if asked == "true" and not is_operator:
        raise Forbidden("A share of the store depends on what others hold: it is told to operators alone.")
    physical = is_operator and asked != "false"
    return respond(answer(HTTPStatus.OK, use_document(await use.get_workspace(_read_slug(slug), physical=physical))))


@put("/workspaces/{slug:str}", operation="workspace.put")
async def put_workspace(request: HttpRequest, use: UseCases, slug: str) -> Response[bytes]:
    """Make a workspace, or give it another quota."""
    await use.callers.operator(request.headers, writes=True)
    name, quota = parse_slug(slug), await read_command(request, Quota)
    claim = claim_of(request, _workspace_put, quota)
    return respond_to(await use.put_workspace(name, quota.max_bytes, quota.max_items, claim), _workspace_put)


def _placed(outcome: HoldOutcome) -> Answer:
    status = HTTPStatus.CREATED if outcome.decision is DecisionKind.INSERT else HTTPStatus.OK
    return answer(status, hold_document(outcome.hold))


def _lifted(_: HoldOutcome) -> Answer:
    return answer(HTTPStatus.NO_CONTENT, None)


def _workspace_put(outcome: WorkspaceOutcome) -> Answer:
    status = HTTPStatus.CREATED if outcome.is_new else HTTPStatus.OK
    return answer(status, workspace_document(outcome.workspace))


def _read_slug(text: str) -> str:
    try:
        return parse_slug(text)
    except BadName:
        raise NotFound(f"There is no workspace {text[:63]}.") from None


HANDLERS = [put_hold, delete_hold, get_hold, get_blob_why, get_workspace, put_workspace]
