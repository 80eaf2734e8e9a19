"""Answers as frozen values. Members that a later service adds are ignored; words that it adds arrive as text."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID

import msgspec


class Decision(StrEnum):
    """What became of a request: the words of today. Results carry plain text, which compares equal to these."""

    INSERT = "insert"
    DUPLICATE = "duplicate"
    REPLACE = "replace"
    NOOP = "noop"
    REJECT = "reject"
    RELEASE = "release"
    RESTORE = "restore"
    PURGE = "purge"
    REORDER = "reorder"
    UPDATE = "update"


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What every answer is."""


class Placeholder(Result, frozen=True, kw_only=True):
    """What stands in a picture's place while it loads: a ThumbHash in base64, `#rrggbb`, width over height, upright."""

    thumbhash: str
    colour: str
    aspect: float


class Blob(Result, frozen=True, kw_only=True):
    """What is known of bytes: size in bytes, edges in pixels, duration in milliseconds; None where it does not apply.

    `readable` is whether a picture or film could be decoded; edges are those stored, a placeholder is upright.
    """

    sha256: str
    size: int
    media_type: str
    width: int | None = None
    height: int | None = None
    frames: int | None = None
    duration_ms: int | None = None
    readable: bool | None = None
    placeholder: Placeholder | None = None


class Original(Result, frozen=True, kw_only=True):
    """What was sent, where a ref shows what was made of it; `kept` when those bytes stay as long as the ref."""

    sha256: str
    kept: bool


class Links(Result, frozen=True, kw_only=True):
    """Where a ref is found; absolute where the service knows its public address, else relative to it."""

    self: str
    file: str
    blob: str


class Ref(Result, frozen=True, kw_only=True):
    """One use of a blob. Store `ref_id`: it never shows other bytes. `position` is None in the trash."""

    ref_id: UUID
    workspace: str
    entity_type: str
    entity_id: str
    role: str
    position: int | None
    state: str
    visibility: str
    blob: Blob
    filename: str | None
    alt: str | None
    owner: str | None
    created_at: datetime
    trashed_at: datetime | None
    purge_after: datetime | None
    links: Links
    original: Original | None = None


class Entity(Result, frozen=True, kw_only=True):
    """An entity and its version: every change to its refs raises it by one, 0 is before the first."""

    type: str
    id: str
    version: int


class Attached(Result, frozen=True, kw_only=True):
    """The outcome of put, append and insert: `insert`, `replace` or `noop`.

    `replaced` is the ref that is in the trash now, `event` the id of the event that tells it, None for a noop;
    `replayed` says that this is the stored answer to an earlier attempt with the same idempotency key.
    """

    decision: str
    ref: Ref
    entity: Entity
    event: str | None = None
    replaced: Ref | None = None
    replayed: bool = False


class Changed(Result, frozen=True, kw_only=True):
    """The outcome of any other change of refs; `noop` where nothing was to be done.

    `ref` is None where several are concerned (then `refs` has all of them) or none is.
    """

    decision: str
    ref: Ref | None
    entity: Entity
    event: str | None = None
    replaced: Ref | None = None
    refs: tuple[Ref, ...] = ()
    replayed: bool = False


class EntityRefs(Result, frozen=True, kw_only=True):
    """All live refs of an entity or a role by role and position, and the version that they are of."""

    entity: Entity
    items: tuple[Ref, ...]


class Sent(Result, frozen=True, kw_only=True):
    """The outcome of an upload: `insert`, or `duplicate` where the workspace held the bytes before.

    `event` is None where nothing was sent, because the workspace held them already.
    """

    decision: str
    blob: Blob
    event: str | None = None
    replayed: bool = False


class BlobMeta(Blob, frozen=True, kw_only=True):
    """A blob that the workspace holds, and the workspace's refs to it."""

    created_at: datetime
    refs: tuple[Ref, ...]


class Reason(Result, frozen=True, kw_only=True):
    """Something that keeps bytes alive: `holding`, `ref`, `trash`, `original`, `rendition` or `hold`.

    `until` is when it ends by itself; `parent` is what a rendition was made of, told to operators alone.
    """

    kind: str
    since: datetime
    until: datetime | None
    workspace: str | None = None
    ref_id: UUID | None = None
    entity_type: str | None = None
    entity_id: str | None = None
    role: str | None = None
    parent: str | None = None


class Reasons(Result, frozen=True, kw_only=True):
    """Why bytes are still there; `next_review` is when the collector looks at them next."""

    sha256: str
    reasons: tuple[Reason, ...]
    complete: bool
    next_review: datetime | None


class MediaPage(Result, frozen=True, kw_only=True):
    """Some refs; `next` is the cursor of the next page, None after the last."""

    items: tuple[Ref, ...]
    next: str | None


class SignedUrl(Result, frozen=True, kw_only=True):
    """An address that shows a ref's bytes to whoever has it, until `expires_at`."""

    ref_id: UUID
    url: str
    expires_at: datetime


class Normalise(Result, frozen=True, kw_only=True):
    """What a picture becomes before a ref shows it, upright in any case; None sets no limit."""

    max_edge: int | None
    strip: bool
    colour: str
    format: str
    max_frames: int
    max_animation_ms: int | None


class Preset(Result, frozen=True, kw_only=True):
    """A rendition that downloads may ask for by its name; pixels, None where an edge is free."""

    name: str
    width: int | None
    height: int | None
    fit: str
    formats: tuple[str, ...]
    enlarge: bool
    eager: bool


class Policy(Result, frozen=True, kw_only=True):
    """What a role accepts: bytes, pixels, milliseconds; None sets no limit. `max_items` is 1 for a single role.

    `normalise` is None where pictures are shown as they are sent, and of a service that does not tell.
    """

    entity_type: str
    role: str
    cardinality: str
    max_items: int
    media_types: tuple[str, ...]
    max_bytes: int
    max_pixels: int | None
    max_edge: int | None
    oversize: str
    max_duration_ms: int | None
    visibility: str
    public_allowed: bool
    normalise: Normalise | None = None
    keep_original: bool | None = None
    presets: tuple[Preset, ...] = ()


class Quota(Result, frozen=True, kw_only=True):
    """The most that a workspace may hold, in bytes and in blobs; None is no limit."""

    max_bytes: int | None = None
    max_items: int | None = None


class Use(Result, frozen=True, kw_only=True):
    """What a workspace uses: bytes and blobs that its quota counts; its share of the store, told to operators alone."""

    logical_bytes: int
    items: int
    physical_bytes: int | None = None


class Workspace(Result, frozen=True, kw_only=True):
    """A workspace, its quota and its use."""

    slug: str
    quota: Quota
    used: Use
    created_at: datetime


class EventRef(Result, frozen=True, kw_only=True):
    """A ref as an event tells it; `former_position` is where a trashed one was."""

    ref_id: UUID
    role: str
    position: int | None
    former_position: int | None
    state: str
    visibility: str
    sha256: str
    filename: str | None
    alt: str | None
    owner: str | None
    created_at: datetime
    trashed_at: datetime | None
    purge_after: datetime | None
    original: Original | None = None


class EventData(Result, frozen=True, kw_only=True):
    """What was decided. What does not apply is None.

    `ref` is the ref after it, `replaced` the one that it pushed out, `ref_ids` the order of a reordered role, `code`
    why something was refused.
    """

    decision: str
    workspace: str | None
    actor: str
    traceparent: str | None = None
    entity: Entity | None = None
    role: str | None = None
    sha256: str | None = None
    ref: EventRef | None = None
    replaced: EventRef | None = None
    code: str | None = None
    ref_ids: tuple[UUID, ...] | None = None
    holding: dict[str, Any] | None = None
    hold: dict[str, Any] | None = None
    health: str | None = None


class Event(Result, frozen=True, kw_only=True):
    """A CloudEvent 1.0: `id` is the cursor behind it, `subject` the entity (`book/42`) or `blobs/<sha256>`."""

    id: str
    type: str
    time: datetime
    subject: str
    data: EventData
    specversion: str = "1.0"
    source: str = "refkeep"
    datacontenttype: str = "application/json"


class EventPage(Result, frozen=True, kw_only=True):
    """Events in order. `next` is the cursor to store once they are applied; it moves on where none matched, too."""

    events: tuple[Event, ...]
    next: str
    caught_up: bool


class SnapshotRef(Ref, frozen=True, kw_only=True):
    """A live ref, and the version of its entity: events up to that one are in it already."""

    version: int


class Downloaded(Result, frozen=True, kw_only=True):
    """A file that is there, whole and verified; `resumed` is how often the connection broke on the way."""

    path: str
    sha256: str
    size: int
    resumed: int = 0
