"""What goes with calls of Refkeep."""

from __future__ import annotations

from typing import Any
from uuid import UUID, uuid4, uuid5

import httpx

from refkeep_client import NO_RETRY, Refkeep, Retry
from tests.consumers.shared.picture import Picture
from tests.consumers.shared.settings import Settings

RELEASE_S = 10.0
"""How long a release may take; the outbox lets nobody else try meanwhile."""
_OURS = UUID("0199b6f0-52a1-7c3e-9d51-3f6d1c0a7e11")


def refkeep_for(settings: Settings) -> Refkeep:
    """A client that gives up early enough for our own callers to be told in time."""
    retry = Retry(attempts=20, total_s=settings.patience, first_s=0.1, most_s=2.0)
    answer_s = max(settings.patience * 2 / 3, 1.0)
    timeout = httpx.Timeout(answer_s, connect=min(answer_s, 2.0))
    return Refkeep(settings.refkeep_url, key=settings.refkeep_key, retry=retry, timeout=timeout)


def idempotency_key(service: str, target: str, given: str | None) -> str:
    """One key for all attempts at one thing, our caller's included: theirs, made to be of this target alone.

    Keys belong to a workspace of Refkeep, which other services write to as well.
    """
    return str(uuid5(_OURS, f"{service} {target} {given}") if given else uuid4())


def sent_with(picture: Picture, key: str, traceparent: str | None) -> dict[str, Any]:
    """The options of a call that sends a picture; what is not known is left out."""
    known = {"filename": picture.filename, "media_type": picture.media_type}
    return traced(key, traceparent) | {name: value for name, value in known.items() if value is not None}


def sent_once(key: str, traceparent: str | None) -> dict[str, Any]:
    """The options of a call of the outbox, which tries again by itself."""
    return {**traced(key, traceparent), "retry": NO_RETRY, "timeout": RELEASE_S}


def traced(key: str, traceparent: str | None) -> dict[str, Any]:
    """The options of every write."""
    return {"idempotency_key": key, **({} if traceparent is None else {"traceparent": traceparent})}
