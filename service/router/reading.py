"""The rules of a role, the event log."""

from __future__ import annotations

from typing import Annotated
from uuid import UUID

import msgspec
from litestar import Response, get

from service.domain.blob import parse_sha256
from service.domain.errors import BadName, NotFound
from service.domain.event import DecisionKind
from service.domain.slot import parse_entity_id, parse_name
from service.ports.access import Scope
from service.ports.feed import EventFilter
from service.router.answers import answer, respond
from service.router.intake import HttpRequest, members_as, query_members
from service.router.use_cases import UseCases
from service.schemas.feed import event_page
from service.schemas.policies import policy_document
from service.schemas.requests import MAX_PAGE

_DEFAULT_PAGE = 100


class EventQuery(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The query of the feed."""

    after: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=MAX_PAGE)] = _DEFAULT_PAGE
    entity_type: str | None = None
    entity_id: str | None = None
    ref_id: UUID | None = None
    sha256: str | None = None
    decision: DecisionKind | None = None

    def wanted(self) -> EventFilter:
        """What to narrow the feed to. Raises `BadHash`, `BadName`."""
        if self.entity_type is not None:
            parse_name(self.entity_type, "entity_type")
        if self.entity_id is not None:
            parse_entity_id(self.entity_id)
        sha256 = None if self.sha256 is None else parse_sha256(self.sha256)
        return EventFilter(self.entity_type, self.entity_id, self.ref_id, sha256, self.decision)


@get("/policies/{entity_type:str}/{role:str}", operation="policy.get")
async def get_policy(request: HttpRequest, use: UseCases, entity_type: str, role: str) -> Response[bytes]:
    """What a role accepts."""
    await use.callers.require(request.headers, Scope.READ)
    try:
        names = parse_name(entity_type, "entity_type"), parse_name(role, "role")
    except BadName as error:
        raise NotFound(str(error)) from None
    policy = use.policies.of(*names)
    return respond(answer(200, policy_document(policy, use.max_upload_bytes)))


@get("/events", operation="event.list")
async def get_events(request: HttpRequest, use: UseCases) -> Response[bytes]:
    """A page of the event log."""
    caller = await use.callers.require(request.headers, Scope.READ)
    query = members_as(EventQuery, query_members(request))
    page = await use.list_events(caller.workspace, query.after, query.limit, query.wanted())
    return respond(answer(200, event_page(page)))


HANDLERS = [get_policy, get_events]
