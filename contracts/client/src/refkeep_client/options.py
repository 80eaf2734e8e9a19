"""What calls take beside what they are about, as keywords."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Literal, TypedDict
from uuid import UUID

import httpx

from refkeep_client.retry import Retry

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are through and their total, None where it is unknown. Starts over when a body does."""

VisibilityWord = Literal["public", "private"]


class CallOptions(TypedDict, total=False):
    """What every call takes.

    `traceparent` (W3C Trace Context) and `headers` are sent with each attempt; `timeout` and `retry` stand in for the
    client's own.
    """

    traceparent: str
    headers: Mapping[str, str]
    timeout: httpx.Timeout | float
    retry: Retry


class WriteOptions(CallOptions, total=False):
    """What writes take: the key that makes them happen once, made anew for each call unless given.

    Store it before the call and give it again after a crash, and the second call gets the answer of the first. It is 1 to
    255 visible ASCII characters.
    """

    idempotency_key: str


class ChangeOptions(WriteOptions, total=False):
    """What changes of refs take: `if_match` is the entity's version that they go by, else `VersionConflict`."""

    if_match: int


class LabelOptions(TypedDict, total=False):
    """What a ref says; `visibility` is the policy's default unless given."""

    filename: str
    alt: str
    owner: str
    visibility: VisibilityWord


class BodyOptions(TypedDict, total=False):
    """What goes with bytes.

    `media_type` is a claim that must fit what the bytes are found to be; `size` is their number where the content does
    not tell it; `progress` hears how far they are.
    """

    media_type: str
    size: int
    progress: Progress


class SendOptions(WriteOptions, BodyOptions, total=False):
    """What uploads take."""


class AttachOptions(ChangeOptions, LabelOptions, BodyOptions, total=False):
    """What append and insert take."""


class PutOptions(AttachOptions, total=False):
    """What put takes: `if_empty` fills only an empty slot, else `VersionConflict`."""

    if_empty: bool


class PatchOptions(ChangeOptions, total=False):
    """What to change of a ref: what is left out stays; None clears, and gives `visibility` back to the policy."""

    filename: str | None
    alt: str | None
    owner: str | None
    visibility: VisibilityWord | None


class MediaOptions(CallOptions, total=False):
    """What to narrow the list of media to; live refs alone unless `state` or `ref_ids` (≤ 100) is given."""

    state: Literal["live", "trashed", "all"]
    entity_type: str
    entity_id: str
    role: str
    sha256: str
    media_type: str
    ref_ids: Sequence[UUID | str]


class EventOptions(CallOptions, total=False):
    """What to narrow the feed to; `limit` is the most events in a page (≤ 500)."""

    limit: int
    entity_type: str
    entity_id: str
    ref_id: UUID | str
    sha256: str
    decision: str


class DownloadOptions(CallOptions, total=False):
    """What downloads take."""

    progress: Progress
