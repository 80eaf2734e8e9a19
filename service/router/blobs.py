"""Blobs: send bytes, ask for them, give them up. Reading the bytes is delivery's."""

from __future__ import annotations

from litestar import Response, delete, get, post, put

from service.domain.blob import Sha256, parse_sha256
from service.domain.errors import TooLarge
from service.ports.access import Scope
from service.router.answers import answer, respond, respond_to
from service.router.callers import Caller
from service.router.intake import (
    HttpRequest,
    claim_of,
    raw_body,
    read_command,
    read_form,
    refuse_query,
    upload_of,
)
from service.router.multipart import is_form
from service.router.paths import read_sha256
from service.router.presenting import present_blob, present_nothing
from service.router.use_cases import UseCases
from service.schemas.requests import MissingRequest, MissingResult


@put("/blobs/{sha256:str}", operation="media.file.upload")
async def put_blob(request: HttpRequest, use: UseCases, sha256: str) -> Response[bytes]:
    """Send bytes under their name."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    expected = parse_sha256(sha256)
    refuse_query(request)
    present = present_blob(use.present)
    upload = upload_of(caller, raw_body(request, use.max_upload_bytes), use.max_upload_bytes, expected)
    if (upload.declared or 0) > upload.max_bytes:
        raise TooLarge(upload.declared, upload.max_bytes)
    if (early := await _held_already(request, use, caller, expected)) is not None:
        return early
    return respond_to(await use.upload_blob(upload, claim_of(request, present)), present)


@post("/blobs", operation="media.file.upload")
async def post_blob(request: HttpRequest, use: UseCases) -> Response[bytes]:
    """Send bytes and learn their name."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    refuse_query(request)
    expected = None
    if is_form(request.headers.get("content-type")):
        fields, body = await read_form(request, use.max_upload_bytes, known=frozenset({"sha256"}))
        expected = None if fields.sha256 is None else parse_sha256(fields.sha256)
    else:
        body = raw_body(request, use.max_upload_bytes)
    upload = upload_of(caller, body, use.max_upload_bytes, expected)
    present = present_blob(use.present, locate=True)
    return respond_to(await use.upload_blob(upload, claim_of(request, present)), present)


@post("/blobs/missing", operation="blob.missing")
async def post_missing(request: HttpRequest, use: UseCases) -> Response[bytes]:
    """Ask which bytes must be sent."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    asked = await read_command(request, MissingRequest)
    hashes = [parse_sha256(text) for text in asked.sha256]
    missing = await use.find_missing(caller.workspace, hashes, caller.actor)
    return respond(answer(200, MissingResult(list(missing))))


@get("/blobs/{sha256:str}/meta", operation="blob.meta")
async def get_blob_meta(request: HttpRequest, use: UseCases, sha256: str) -> Response[bytes]:
    """What is known of a held blob, and where it is used."""
    caller = await use.callers.require(request.headers, Scope.READ)
    described = await use.describe_blob(caller.workspace, read_sha256(sha256, "This workspace holds no such blob."))
    return respond(answer(200, use.present.meta(described.blob, described.refs)))


@delete("/blobs/{sha256:str}", status_code=200, operation="blob.release")
async def delete_blob(request: HttpRequest, use: UseCases, sha256: str) -> Response[bytes]:
    """Give up the workspace's holding."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    refuse_query(request)
    claim = claim_of(request, present_nothing)
    outcome = await use.give_up_holding(caller.workspace, parse_sha256(sha256), caller.actor, claim)
    return respond_to(outcome, present_nothing)


@put("/holdings/{sha256:str}", operation="holding.grant")
async def put_holding(request: HttpRequest, use: UseCases, sha256: str) -> Response[bytes]:
    """Let the named workspace have bytes that it never sent."""
    caller = await use.callers.require(request.headers, Scope.OPERATOR)
    refuse_query(request)
    present = present_blob(use.present)
    claim = claim_of(request, present)
    outcome = await use.grant_holding(caller.workspace, parse_sha256(sha256), caller.actor, claim)
    return respond_to(outcome, present)


async def _held_already(request: HttpRequest, use: UseCases, caller: Caller, sha256: Sha256) -> Response[bytes] | None:
    """The answer to `Expect: 100-continue` for bytes that need not be sent (RFC 9110 §10.1.1)."""
    if request.headers.get("expect", "").lower() != "100-continue":
        return None
    present = present_blob(use.present)
    outcome = await use.confirm_holding(caller.workspace, sha256, caller.actor, claim_of(request, present))
    return None if outcome is None else respond_to(outcome, present)


HANDLERS = [put_blob, post_blob, post_missing, get_blob_meta, delete_blob, put_holding]
