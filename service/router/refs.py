"""Refs: what an entity shows, and the writes that change it."""

from __future__ import annotations

from typing import NamedTuple

from litestar import Response, delete, get, post, put
from uuid_utils.compat import uuid7

from service.application.attach_bytes import Target
from service.domain.arrangement import ReleaseAll, Reorder
from service.domain.blob import Sha256, parse_sha256
from service.domain.decision import Attach, Release
from service.domain.errors import BadName, BadRequest, NotFound
from service.domain.slot import EntityKey, parse_entity_id, parse_name, parse_position
from service.ports.access import Scope
from service.router.answers import answer, respond, respond_to
from service.router.callers import Caller
from service.router.intake import (
    HttpRequest,
    Intake,
    claim_of,
    expectation_of,
    members_as,
    query_members,
    read_command,
    read_intake,
    refuse_query,
    upload_of,
)
from service.router.presenting import present_ref
from service.router.use_cases import UseCases
from service.router.versions import version_etag
from service.schemas.cursor import parse_place
from service.schemas.requests import ListQuery, OrderRequest


class _Slot(NamedTuple):
    """What a path, and the position beside it, say of where a ref goes."""

    entity: EntityKey
    role: str
    position: int | None
    shift: bool


@get("/refs/{entity_type:str}/{entity_id:str}", operation="ref.list")
async def get_entity_refs(request: HttpRequest, use: UseCases, entity_type: str, entity_id: str) -> Response[bytes]:
    """The live refs of an entity."""
    caller = await use.callers.require(request.headers, Scope.READ)
    return await _list(request, use, _read_entity(caller, entity_type, entity_id), None)


@get("/refs/{entity_type:str}/{entity_id:str}/{role:str}", operation="ref.list")
async def get_role_refs(
    request: HttpRequest, use: UseCases, entity_type: str, entity_id: str, role: str
) -> Response[bytes]:
    """The live refs of a role, in order."""
    caller = await use.callers.require(request.headers, Scope.READ)
    return await _list(request, use, _read_entity(caller, entity_type, entity_id), _read_name(role))


@put("/refs/{entity_type:str}/{entity_id:str}/{role:str}/{position:str}", operation="ref.put")
async def put_ref(
    request: HttpRequest, use: UseCases, entity_type: str, entity_id: str, role: str, position: str
) -> Response[bytes]:
    """Fill a slot, with bytes sent before or with this request."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    entity, name = _entity(caller, entity_type, entity_id), parse_name(role, "role")
    slot = _Slot(entity, name, parse_position(position), shift=False)
    intake = await read_intake(request, use.max_upload_bytes)
    if intake.fields.position is not None:
        raise BadRequest("The position of a PUT stands in its path.")
    return await _attach(request, use, caller, intake, _target(request, caller, intake, slot))


@post("/refs/{entity_type:str}/{entity_id:str}/{role:str}", operation="ref.append")
async def post_ref(request: HttpRequest, use: UseCases, entity_type: str, entity_id: str, role: str) -> Response[bytes]:
    """Append a ref to a role, or insert it at a position."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    entity, name = _entity(caller, entity_type, entity_id), parse_name(role, "role")
    intake = await read_intake(request, use.max_upload_bytes)
    slot = _Slot(entity, name, intake.fields.position, shift=True)
    return await _attach(request, use, caller, intake, _target(request, caller, intake, slot))


@delete("/refs/{entity_type:str}/{entity_id:str}/{role:str}/{position:str}", status_code=200, operation="ref.release")
async def delete_ref(
    request: HttpRequest, use: UseCases, entity_type: str, entity_id: str, role: str, position: str
) -> Response[bytes]:
    """Release the ref of a slot to the trash."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    entity, name = _entity(caller, entity_type, entity_id), parse_name(role, "role")
    refuse_query(request)
    command = Release(entity, name, parse_position(position), caller.actor, expectation_of(request))
    present = present_ref(use.present)
    return respond_to(await use.release_slot(command, claim_of(request, present)), present)


@put("/refs/{entity_type:str}/{entity_id:str}/{role:str}/order", operation="ref.reorder")
async def put_order(
    request: HttpRequest, use: UseCases, entity_type: str, entity_id: str, role: str
) -> Response[bytes]:
    """Put the live refs of a role in another order."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    entity, name = _entity(caller, entity_type, entity_id), parse_name(role, "role")
    order = await read_command(request, OrderRequest)
    command = Reorder(entity, name, tuple(order.ref_ids), caller.actor, expectation_of(request))
    present = present_ref(use.present)
    return respond_to(await use.reorder_role(command, claim_of(request, present, order)), present)


@delete("/refs/{entity_type:str}/{entity_id:str}/{role:str}", status_code=200, operation="ref.release")
async def delete_role_refs(
    request: HttpRequest, use: UseCases, entity_type: str, entity_id: str, role: str
) -> Response[bytes]:
    """Release every ref of a role to the trash."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    entity, name = _entity(caller, entity_type, entity_id), parse_name(role, "role")
    return await _release_all(request, use, ReleaseAll(entity, name, caller.actor, expectation_of(request)))


@delete("/refs/{entity_type:str}/{entity_id:str}", status_code=200, operation="ref.release")
async def delete_entity_refs(request: HttpRequest, use: UseCases, entity_type: str, entity_id: str) -> Response[bytes]:
    """Release every ref of an entity that is gone."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    entity = _entity(caller, entity_type, entity_id)
    return await _release_all(request, use, ReleaseAll(entity, None, caller.actor, expectation_of(request)))


async def _release_all(request: HttpRequest, use: UseCases, command: ReleaseAll) -> Response[bytes]:
    refuse_query(request)
    present = present_ref(use.present)
    return respond_to(await use.release_refs(command, claim_of(request, present)), present)


async def _list(request: HttpRequest, use: UseCases, entity: EntityKey, role: str | None) -> Response[bytes]:
    query = members_as(ListQuery, query_members(request))
    after = ("", 0) if query.cursor is None else parse_place(query.cursor)
    listed = await use.list_refs(entity, role, after, query.limit)
    return respond(answer(200, use.present.refs(entity, listed), {"etag": version_etag(listed.version)}))


async def _attach(
    request: HttpRequest, use: UseCases, caller: Caller, intake: Intake, target: Target
) -> Response[bytes]:
    present = present_ref(use.present)
    claim = claim_of(request, present, (intake.fields, intake.labels()))
    if intake.bytes is None:
        sha256 = parse_sha256(intake.fields.sha256 or "")
        return respond_to(await use.attach_blob(target.command(sha256), claim), present)
    upload = upload_of(caller, intake.bytes, use.max_upload_bytes, intake.sha256())
    return respond_to(await use.attach_bytes(upload, target, claim), present)


def _target(request: HttpRequest, caller: Caller, intake: Intake, slot: _Slot) -> Target:
    labels, expectation, ref_id = intake.labels(), expectation_of(request), uuid7()

    def command(sha256: Sha256) -> Attach:
        visibility = intake.fields.visibility
        return Attach(*slot, sha256, labels, visibility, ref_id, caller.actor, expectation)

    return Target(slot.entity, slot.role, command)


def _entity(caller: Caller, entity_type: str, entity_id: str) -> EntityKey:
    return EntityKey(caller.workspace, parse_name(entity_type, "entity_type"), parse_entity_id(entity_id))


def _read_entity(caller: Caller, entity_type: str, entity_id: str) -> EntityKey:
    try:
        return _entity(caller, entity_type, entity_id)
    except BadName as error:
        raise NotFound(str(error)) from None


def _read_name(role: str) -> str:
    try:
        return parse_name(role, "role")
    except BadName as error:
        raise NotFound(str(error)) from None


HANDLERS = [
    get_entity_refs,
    get_role_refs,
    put_ref,
    post_ref,
    put_order,
    delete_ref,
    delete_role_refs,
    delete_entity_refs,
]
