"""Policies and workspaces: what may be sent, and how much."""

from __future__ import annotations

from typing import Unpack

from refkeep_client.options import CallOptions
from refkeep_client.results import Policy, Workspace
from refkeep_client.sending import Sender


class Policies:
    """`refkeep.policies`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def get(self, entity_type: str, role: str, **options: Unpack[CallOptions]) -> Policy:
        """What a role accepts, to say it before anything is sent. Raises `Rejected` (`policy-unknown`)."""
        raise NotImplementedError


class Workspaces:
    """`refkeep.workspaces`."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def get(self, slug: str, *, physical: bool | None = None, **options: Unpack[CallOptions]) -> Workspace:
        """Quota and use of a workspace. Raises `NotFound`, `Forbidden`."""
        raise NotImplementedError
