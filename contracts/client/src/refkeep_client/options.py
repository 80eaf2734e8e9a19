"""What calls take beside what they are about, as keywords."""

from __future__ import annotations

import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Literal, TypedDict
from uuid import UUID

import httpx

from refkeep_client.retry import Retry

Progress = Callable[[int, int | None], None]
"""Called with the bytes that are through and their total, None where it is unknown. Starts over when a body does."""

VisibilityWord = Literal["public", "private"]


EventHooks = Mapping[str, Sequence[Callable[..., Awaitable[Any]]]]


class ClientOptions(TypedDict, total=False):
    """What a client takes.

    `timeout` and `retry` are what calls use that bring none of their own, `headers` go with every request. `transport`
    and `event_hooks` are those of httpx; instrumentation goes there, each attempt passes through them. `verify` says
    whose certificates to trust where that is not everybody's.
    """

    timeout: httpx.Timeout | float
    retry: Retry
    headers: Mapping[str, str]
    transport: httpx.AsyncBaseTransport
    event_hooks: EventHooks
    verify: ssl.SSLContext


class CallOptions(TypedDict, total=False):
    """What every call takes. None is as good as leaving a keyword out, here and below.

    `traceparent` (W3C Trace Context) and `headers` are sent with each attempt; `timeout` and `retry` stand in for the
    client's own.
    """

    traceparent: str | None
    headers: Mapping[str, str]
    timeout: httpx.Timeout | float
    retry: Retry


class WriteOptions(CallOptions, total=False):
    """What writes take: the key that makes them happen once, made anew for each call unless given.

    Store it before the call and give it again after a crash, and the second call gets the answer of the
    first. It is 1 to 255 visible ASCII characters.
    """

    idempotency_key: str | None


class ChangeOptions(WriteOptions, total=False):
    """What changes of refs take: `if_match` is the entity's version that they go by, else `VersionConflict`."""

    if_match: int | None


class LabelOptions(TypedDict, total=False):
    """What a ref says; `visibility` is the policy's default unless given."""

    filename: str | None
    alt: str | None
    owner: str | None
    visibility: VisibilityWord | None


class BodyOptions(TypedDict, total=False):
    """What goes with bytes.

    `media_type` is a claim that must fit what the bytes are found to be; `size` is their number where the content does
    not tell it; `progress` hears how far they are.
    """

    media_type: str | None
    size: int | None
    progress: Progress | None


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

    state: Literal["live", "trashed", "all"] | None
    entity_type: str | None
    entity_id: str | None
    role: str | None
    sha256: str | None
    media_type: str | None
    ref_ids: Sequence[UUID | str] | None


class EventOptions(CallOptions, total=False):
    """What to narrow the feed to; `limit` is the most events in a page (≤ 500)."""

    limit: int | None
    entity_type: str | None
    entity_id: str | None
    ref_id: UUID | str | None
    sha256: str | None
    decision: str | None


class DownloadOptions(CallOptions, total=False):
    """What downloads take: with `preset` a rendition instead of the bytes, such as `thumb.webp`."""

    progress: Progress | None
    preset: str | None
