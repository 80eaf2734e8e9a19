"""Several operations on refs in one request, all of them or none."""

from __future__ import annotations

from dataclasses import replace

from litestar import Response, post
from msgspec import Raw
from msgspec.json import Decoder
from uuid_utils.compat import uuid7

from service.application.changes import Command
from service.domain.arrangement import ReleaseAll, Reorder
from service.domain.blob import parse_sha256
from service.domain.decision import Attach, Expectation, Release
from service.domain.errors import BadRequest, operation
from service.domain.lifecycle import ReleaseRef, Restore, Revise
from service.domain.slot import EntityKey, parse_entity_id, parse_name
from service.ports.access import Scope
from service.router.answers import respond_to
from service.router.body import only_good_json
from service.router.callers import Caller
from service.router.intake import HttpRequest, claim_of, clean_labels, read_command
from service.router.media import revision_of
from service.router.presenting import present_batch
from service.router.use_cases import UseCases
from service.router.versions import parse_if_match
from service.schemas.batch import (
    AppendOperation,
    BatchRequest,
    Operation,
    OrderOperation,
    PatchOperation,
    PutOperation,
    ReleaseOperation,
    RestoreOperation,
    Version,
)

_OPERATION: Decoder[Operation] = Decoder(Operation)


@post("/refs/batch", status_code=200, operation="ref.batch")
async def post_batch(request: HttpRequest, use: UseCases) -> Response[bytes]:
    """Carry out operations in their order."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    batch = await read_command(request, BatchRequest)
    operations = [_read(index, raw) for index, raw in enumerate(batch.operations)]
    commands = [_command(caller, index, each) for index, each in enumerate(operations)]
    present = present_batch(use.present)
    claim = claim_of(request, present, operations)
    return respond_to(await use.change_refs(caller.workspace, commands, claim), present)


def _read(index: int, raw: Raw) -> Operation:
    with operation(index), only_good_json():
        return _OPERATION.decode(raw)


def _command(caller: Caller, index: int, asked: Operation) -> Command:
    """What the operation asks for. Raises `BadRequest`, `BadName` and `BadHash`, with its index."""
    with operation(index):
        return _to_command(caller, asked, Expectation(_versions(asked.if_match)))


def _to_command(caller: Caller, asked: Operation, expectation: Expectation) -> Command:
    match asked:
        case PutOperation() | AppendOperation():
            return _attach(caller, asked, expectation)
        case OrderOperation():
            role, ref_ids = parse_name(asked.role, "role"), tuple(asked.ref_ids)
            return Reorder(_entity(caller, asked), role, ref_ids, caller.actor, expectation)
        case ReleaseOperation():
            return _release(caller, asked, expectation)
        case RestoreOperation():
            replaces = asked.on_conflict is not None
            return Restore(caller.workspace, asked.ref_id, caller.actor, replaces, expectation)
        case PatchOperation():
            return Revise(caller.workspace, asked.ref_id, revision_of(asked), caller.actor, expectation)


def _attach(caller: Caller, asked: PutOperation | AppendOperation, expectation: Expectation) -> Attach:
    puts = isinstance(asked, PutOperation)
    empty_slot = isinstance(asked, PutOperation) and asked.if_none_match is not None
    return Attach(
        _entity(caller, asked),
        parse_name(asked.role, "role"),
        asked.position,
        not puts,
        parse_sha256(asked.sha256),
        clean_labels(asked.filename, asked.alt, asked.owner),
        asked.visibility,
        uuid7(),
        caller.actor,
        replace(expectation, empty_slot=empty_slot),
    )


def _release(caller: Caller, asked: ReleaseOperation, expectation: Expectation) -> Command:
    slot = asked.entity_type, asked.entity_id, asked.role, asked.position
    if asked.ref_id is not None:
        if slot != (None, None, None, None):
            raise BadRequest("A release names a ref_id, or an entity, its role and a position, not both.")
        return ReleaseRef(caller.workspace, asked.ref_id, caller.actor, expectation)
    entity, role = _entity(caller, asked), None if asked.role is None else parse_name(asked.role, "role")
    if asked.position is None:
        return ReleaseAll(entity, role, caller.actor, expectation)
    if role is None:
        raise BadRequest("A position is one of a role.")
    return Release(entity, role, asked.position, caller.actor, expectation)


def _entity(caller: Caller, asked: PutOperation | AppendOperation | OrderOperation | ReleaseOperation) -> EntityKey:
    if asked.entity_type is None or asked.entity_id is None:
        raise BadRequest("An entity has entity_type and entity_id.")
    return EntityKey(caller.workspace, parse_name(asked.entity_type, "entity_type"), parse_entity_id(asked.entity_id))


def _versions(if_match: Version | None) -> frozenset[int] | None:
    """A number, or what `If-Match` takes, with or without its quotes. Raises `BadRequest`."""
    if isinstance(if_match, str):
        return parse_if_match(f'"{if_match}"' if if_match.isdecimal() else if_match)
    return None if if_match is None else frozenset({if_match})


HANDLERS = [post_batch]
