"""The rules of a role."""

from __future__ import annotations

from litestar import Response, get

from service.domain.errors import BadName, NotFound
from service.domain.slot import parse_name
from service.ports.access import Scope
from service.router.answers import answer, respond
from service.router.intake import HttpRequest
from service.router.use_cases import UseCases
from service.schemas.policies import policy_document


@get("/policies/{entity_type:str}/{role:str}", operation="policy.get")
async def get_policy(request: HttpRequest, use: UseCases, entity_type: str, role: str) -> Response[bytes]:
    """What a role accepts."""
    await use.callers.require(request.headers, Scope.READ)
    try:
        names = parse_name(entity_type, "entity_type"), parse_name(role, "role")
    except BadName as error:
        raise NotFound(str(error)) from None
    policy = use.policies.of(*names)
    return respond(answer(200, policy_document(use.policies, policy, use.max_upload_bytes)))


HANDLERS = [get_policy]
