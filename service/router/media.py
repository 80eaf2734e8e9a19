"""Refs by their ids: leafed through, changed, sent to the trash, brought back, ended."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Literal
from uuid import UUID

import msgspec
from litestar import Response, delete, get, patch, post

from service.domain.blob import parse_sha256
from service.domain.errors import BadName, BadRequest, NotFound
from service.domain.lifecycle import KEEP, Keep, Purge, ReleaseRef, Restore, Revise, Revision
from service.domain.ref import RefState, parse_ref_id
from service.domain.slot import parse_entity_id, parse_name
from service.ports.access import Scope
from service.ports.catalogue import MediaFilter
from service.router.answers import JSON, answer, respond, respond_to
from service.router.intake import (
    HttpRequest,
    claim_of,
    clean_labels,
    expectation_of,
    members_as,
    query_pairs,
    read_command,
    refuse_query,
    unique_members,
)
from service.router.presenting import present_ref
from service.router.use_cases import UseCases
from service.schemas.requests import (
    MAX_REF_IDS,
    ListQuery,
    RestoreRequest,
    RevisionRequest,
    SignListRequest,
    SignRequest,
)

_PATCHES = (JSON, "application/merge-patch+json")  # RFC 7396: what is left out stays, null clears
_WORD = r"[a-z0-9][a-z0-9!#$&^_.+-]*"  # RFC 6838 §4.2
_MEDIA_TYPE = re.compile(rf"{_WORD}/({_WORD}|\*)")


class MediaQuery(ListQuery, frozen=True, forbid_unknown_fields=True):
    """The query of the list, but for `ref_id`, which may come again and again."""

    state: Literal["live", "trashed", "all"] | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    role: str | None = None
    sha256: str | None = None
    media_type: str | None = None

    def wanted(self, ref_ids: tuple[UUID, ...] | None) -> MediaFilter:
        """What to narrow the list to: whoever names ids wants those refs, the others what is live.

        Raises `BadHash`, `BadName`.
        """
        state = self.state or ("live" if ref_ids is None else "all")
        return MediaFilter(
            None if state == "all" else RefState(state),
            None if self.entity_type is None else parse_name(self.entity_type, "entity_type"),
            None if self.entity_id is None else parse_entity_id(self.entity_id),
            None if self.role is None else parse_name(self.role, "role"),
            None if self.sha256 is None else parse_sha256(self.sha256),
            None if self.media_type is None else _media_type(self.media_type),
            ref_ids,
        )


@get("/media", operation="media.list")
async def get_media_list(request: HttpRequest, use: UseCases) -> Response[bytes]:
    """A page of the workspace's refs."""
    caller = await use.callers.require(request.headers, Scope.READ)
    pairs = query_pairs(request, most=MAX_REF_IDS + 32)
    query = members_as(MediaQuery, unique_members([pair for pair in pairs if pair[0] != "ref_id"]))
    wanted = query.wanted(_ref_ids([text for name, text in pairs if name == "ref_id"]))
    page = await use.list_media(caller.workspace, query.cursor, query.limit, wanted)
    return respond(answer(200, use.present.media_list(page)))


@get("/media/{ref_id:str}", operation="media.get")
async def get_media(request: HttpRequest, use: UseCases, ref_id: str) -> Response[bytes]:
    """Everything about a ref."""
    caller = await use.callers.require(request.headers, Scope.READ)
    return respond(answer(200, use.present.ref(await use.get_media(caller.workspace, _ref_id(ref_id)))))


@patch("/media/{ref_id:str}", operation="media.update")
async def patch_media(request: HttpRequest, use: UseCases, ref_id: str) -> Response[bytes]:
    """Change what a ref says, or who may fetch it."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    named = _ref_id(ref_id)
    asked = await read_command(request, RevisionRequest, types=_PATCHES)
    command = Revise(caller.workspace, named, revision_of(asked), caller.actor, expectation_of(request))
    present = present_ref(use.present)
    return respond_to(await use.revise_media(command, claim_of(request, present, asked)), present)


@delete("/media/{ref_id:str}", status_code=200, operation="media.release")
async def delete_media(request: HttpRequest, use: UseCases, ref_id: str) -> Response[bytes]:
    """Send a ref to the trash."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    refuse_query(request)
    command = ReleaseRef(caller.workspace, _ref_id(ref_id), caller.actor, expectation_of(request))
    present = present_ref(use.present)
    return respond_to(await use.release_media(command, claim_of(request, present)), present)


@post("/media/{ref_id:str}/restore", status_code=200, operation="media.restore")
async def restore_media(request: HttpRequest, use: UseCases, ref_id: str) -> Response[bytes]:
    """Bring a ref back from the trash."""
    caller = await use.callers.require(request.headers, Scope.WRITE)
    named = _ref_id(ref_id)
    asked = await read_command(request, RestoreRequest, empty=RestoreRequest())
    replaces = asked.on_conflict is not None
    command = Restore(caller.workspace, named, caller.actor, replaces, expectation_of(request))
    present = present_ref(use.present)
    return respond_to(await use.restore_media(command, claim_of(request, present, asked)), present)


@post("/media/{ref_id:str}/purge", status_code=200, operation="media.purge")
async def purge_media(request: HttpRequest, use: UseCases, ref_id: str) -> Response[bytes]:
    """End a trashed ref now."""
    caller = await use.callers.require(request.headers, Scope.ADMIN)
    refuse_query(request)
    command = Purge(caller.workspace, _ref_id(ref_id), caller.actor, expectation_of(request))
    present = present_ref(use.present)
    return respond_to(await use.purge_media(command, claim_of(request, present)), present)


@post("/media/{ref_id:str}/sign", status_code=200, operation="media.sign")
async def sign_media(request: HttpRequest, use: UseCases, ref_id: str) -> Response[bytes]:
    """Make an address that shows the bytes to whoever has it."""
    caller = await use.callers.require(request.headers, Scope.READ)
    named = _ref_id(ref_id)
    asked = await read_command(request, SignRequest, empty=SignRequest())
    signed = await use.sign_media(caller.workspace, named, timedelta(seconds=asked.expires_in))
    return respond(answer(200, use.present.signed(signed)))


@post("/media/sign", status_code=200, operation="media.sign")
async def sign_media_list(request: HttpRequest, use: UseCases) -> Response[bytes]:
    """Make such addresses for many refs."""
    caller = await use.callers.require(request.headers, Scope.READ)
    asked = await read_command(request, SignListRequest)
    lifetime = timedelta(seconds=asked.expires_in)
    return respond(
        answer(200, use.present.signed_list(await use.sign_media_list(caller.workspace, asked.ref_ids, lifetime)))
    )


def revision_of(asked: RevisionRequest) -> Revision:
    """What the request changes. Raises `BadName` for text that cannot be shown."""
    texts = {name: getattr(asked, name) for name in ("filename", "alt", "owner")}
    given = {name: text for name, text in texts.items() if text is not msgspec.UNSET}
    clean = clean_labels(**{name: given.get(name) for name in texts})
    labels: dict[str, str | Keep | None] = {name: getattr(clean, name) if name in given else KEEP for name in texts}
    visibility = KEEP if asked.visibility is msgspec.UNSET else asked.visibility
    return Revision(labels["filename"], labels["alt"], labels["owner"], visibility)


def _media_type(text: str) -> str:
    """A type, or all of a top-level type: `image/*`. Raises `BadName`."""
    if _MEDIA_TYPE.fullmatch(text.lower()) is None:
        raise BadName("media_type", text)
    return text.lower()


def _ref_ids(texts: list[str]) -> tuple[UUID, ...] | None:
    """The ids that are asked for, each alone or several with commas between them.

    Raises `BadRequest`, `BadName`.
    """
    if not texts:
        return None
    named = [name for text in texts for name in text.split(",")]
    if len(named) > MAX_REF_IDS:
        raise BadRequest(f"A list names at most {MAX_REF_IDS} ref_ids.")
    return tuple(parse_ref_id(name) for name in named)


def _ref_id(text: str) -> UUID:
    try:
        return parse_ref_id(text)
    except BadName:
        raise NotFound("There is no such media here.") from None


HANDLERS = [
    get_media_list,
    get_media,
    patch_media,
    delete_media,
    restore_media,
    purge_media,
    sign_media,
    sign_media_list,
]
