"""Policies and workspaces: what may be sent, and how much."""

from __future__ import annotations

from typing import Unpack

from refkeep_client.calls import read
from refkeep_client.options import CallOptions
from refkeep_client.results import Policy, Workspace
from refkeep_client.sending import Sender
from refkeep_client.texts import path_of


class Policies:
    """`refkeep.policies`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def get(self, entity_type: str, role: str, **options: Unpack[CallOptions]) -> Policy:
        """What a role accepts, to say it before anything is sent. Raises `Rejected` (`policy-unknown`)."""
        return await self._sender.ask(read("GET", path_of("policies", entity_type, role), options), Policy)


class Workspaces:
    """`refkeep.workspaces`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def get(self, slug: str, *, physical: bool | None = None, **options: Unpack[CallOptions]) -> Workspace:
        """Quota and use of a workspace; `physical` has its share of the store counted, too, for operators.

        Raises `NotFound`, `Forbidden`.
        """
        call = read("GET", path_of("workspaces", slug), options, {"physical": physical})
        return await self._sender.ask(call, Workspace)
