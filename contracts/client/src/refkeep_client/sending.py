"""Attempts: requests that go out, answers that come back, and what is tried again."""

from __future__ import annotations

from dataclasses import dataclass

import httpx

from refkeep_client.retry import Retry


@dataclass(frozen=True, slots=True)
class Sender:
    """Sends calls, again where that is safe and of use."""

    http: httpx.AsyncClient
    retry: Retry
