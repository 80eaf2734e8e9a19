"""From headers to a caller: whose key, which scopes, which workspace."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from opentelemetry import trace

from service.application.authenticate import Authenticate, Principal
from service.domain.errors import Forbidden, ReadOnly, Unauthorized, WorkspaceRequired
from service.domain.event import Actor
from service.ports.access import Scope, WorkspaceStore

_BEARER = re.compile(r"Bearer +(\S+) *", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and for which workspace."""

    workspace: str
    actor: Actor


@dataclass(frozen=True, slots=True)
class Callers:
    """Knows who is calling."""

    authenticate: Authenticate
    workspaces: WorkspaceStore
    read_only: bool = False

    async def principal(self, headers: Mapping[str, str]) -> Principal | None:
        """The holder of the key in `Authorization`, None without that header. Raises `Unauthorized`."""
        value = headers.get("authorization")
        if value is None:
            return None
        bearer = _BEARER.fullmatch(value)
        if bearer is None:
            raise Unauthorized
        return await self.authenticate(bearer[1])

    async def require(self, headers: Mapping[str, str], scope: Scope) -> Caller:
        """The caller, who needs `scope` in the workspace it names.

        Raises `Unauthorized`, `Forbidden` without the scope or for a workspace that is not the key's or does not exist,
        `ReadOnly` for a write where none are taken, `WorkspaceRequired` where an unbound key names none.
        """
        principal = await self.principal(headers)
        if principal is None:
            raise Unauthorized
        if scope not in principal.scopes:
            raise Forbidden(f"This key lacks the scope {scope}.")
        if self.read_only and scope is not Scope.READ:
            raise ReadOnly
        workspace = await self._workspace(principal, headers.get("workspace"))
        if workspace is None:
            raise WorkspaceRequired
        return Caller(workspace, Actor(f"key:{principal.key_id}", _traceparent()))

    async def operator(self, headers: Mapping[str, str], *, writes: bool) -> Actor:
        """Who acts on all workspaces, whichever the request names.

        Raises `Unauthorized`, `Forbidden`, `ReadOnly` for a write where none are taken.
        """
        principal = await self.principal(headers)
        if principal is None:
            raise Unauthorized
        if Scope.OPERATOR not in principal.scopes:
            raise Forbidden(f"This key lacks the scope {Scope.OPERATOR}.")
        if self.read_only and writes:
            raise ReadOnly
        return Actor(f"key:{principal.key_id}", _traceparent())

    async def visitor(self, headers: Mapping[str, str], named: str | None) -> str | None:
        """Whose affairs the caller may read: the workspace's that is named, or else the key's own; None is everyone's.

        An operator may read everyone's, and does unless the request names a workspace. Raises as `require` does.
        """
        principal = await self.principal(headers)
        if principal is None:
            raise Unauthorized
        if Scope.OPERATOR in principal.scopes and named is None:
            return None
        if Scope.READ not in principal.scopes:
            raise Forbidden(f"This key lacks the scope {Scope.READ}.")
        workspace = await self._workspace(principal, named)
        if workspace is None:
            raise WorkspaceRequired
        return workspace

    async def is_operator(self, headers: Mapping[str, str]) -> bool:
        """Whether the key acts on all workspaces. Raises `Unauthorized` for a bad one."""
        principal = await self.principal(headers)
        return principal is not None and Scope.OPERATOR in principal.scopes

    async def reader(self, headers: Mapping[str, str]) -> str | None:
        """The workspace whose bytes this caller may read: None for anyone without a key, its scope or a workspace."""
        principal = await self.principal(headers)
        if principal is None or Scope.READ not in principal.scopes:
            return None
        return await self._workspace(principal, headers.get("workspace"))

    async def _workspace(self, principal: Principal, named: str | None) -> str | None:
        if named is None or named == principal.workspace:
            return principal.workspace
        if principal.bound or not await self.workspaces.exists(named):
            raise Forbidden("This key is not bound to that workspace, or there is none of that name.")
        return named


def _traceparent() -> str | None:
    """The W3C `traceparent` of the request's own span."""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"
