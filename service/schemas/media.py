"""Blobs, refs and outcomes as callers see them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import msgspec

from service.application.signing import SignedFile
from service.domain.blob import Blob
from service.domain.event import DecisionKind
from service.domain.policy import Visibility
from service.domain.ref import RefState, ResolvedRef
from service.domain.slot import EntityKey
from service.ports.blobs import BlobOutcome
from service.ports.catalogue import MediaPage
from service.ports.refs import EntityRefs, RefOutcome
from service.schemas.cursor import place_cursor
from service.schemas.events import EntityVersion, rfc3339
from service.schemas.texts import HashText, TimeText


class PlaceholderFacts(msgspec.Struct, frozen=True):
    """What stands in a picture's place while it loads: a ThumbHash in base64, `#rrggbb`, width over height, upright."""

    thumbhash: str
    colour: str
    aspect: float


class BlobFacts(msgspec.Struct, frozen=True):
    """What is known of a blob's bytes: size in bytes, pixels, milliseconds; null where it does not apply."""

    sha256: HashText
    size: int
    media_type: str
    width: int | None
    height: int | None
    frames: int | None
    duration_ms: int | None
    readable: bool | None
    placeholder: PlaceholderFacts | None


class Links(msgspec.Struct, frozen=True):
    """Where to go on: absolute where the service knows its public address."""

    self: str
    file: str
    blob: str


class OriginalFacts(msgspec.Struct, frozen=True):
    """What was sent, where a ref shows what was made of it; `kept` when those bytes stay as long as the ref."""

    sha256: HashText
    kept: bool


class RefDocument(msgspec.Struct, frozen=True):
    """A ref; null where a member does not apply."""

    ref_id: UUID
    workspace: str
    entity_type: str
    entity_id: str
    role: str
    position: int | None
    state: RefState
    visibility: Visibility
    blob: BlobFacts
    original: OriginalFacts | None
    filename: str | None
    alt: str | None
    owner: str | None
    created_at: TimeText
    trashed_at: TimeText | None
    purge_after: TimeText | None
    links: Links


class RefResult(msgspec.Struct, frozen=True, omit_defaults=True):
    """The outcome of a change.

    The ref that it is about, the one that it pushed out, the entity's version, the id of the last event. `refs` instead
    of `ref` where a whole role or entity is concerned: all of them, by role and position.
    """

    decision: DecisionKind
    ref: RefDocument | None
    entity: EntityVersion
    event: str | None
    replaced: RefDocument | msgspec.UnsetType = msgspec.UNSET
    refs: list[RefDocument] | msgspec.UnsetType = msgspec.UNSET


class BlobResult(msgspec.Struct, frozen=True):
    """The outcome of an upload."""

    decision: DecisionKind
    blob: BlobFacts
    event: str


class BlobMeta(BlobFacts, frozen=True):
    """A blob that the workspace holds since `created_at`, and the workspace's refs to it."""

    created_at: TimeText
    refs: list[RefDocument]


class RefList(msgspec.Struct, frozen=True):
    """The live refs of an entity or a role, in order."""

    entity: EntityVersion
    items: list[RefDocument]
    next: str | None = None


class MediaList(msgspec.Struct, frozen=True):
    """A page of refs; `next` is the cursor of the next one, null after the last."""

    items: list[RefDocument]
    next: str | None


class SignedUrl(msgspec.Struct, frozen=True):
    """An address that shows a ref's bytes to whoever has it, with GET or HEAD, until `expires_at`."""

    ref_id: UUID
    url: str
    expires_at: TimeText


class SignedUrlList(msgspec.Struct, frozen=True):
    """The addresses of those refs that are there, in the order asked."""

    items: list[SignedUrl]


@dataclass(frozen=True, slots=True)
class Presenter:
    """Domain values to documents. `public_url` starts every link, empty where the service does not know its address."""

    public_url: str = ""

    def blob(self, blob: Blob) -> BlobFacts:
        """The facts of a blob."""
        media, look = blob.media, blob.media.placeholder
        return BlobFacts(
            blob.sha256,
            blob.size,
            media.media_type,
            media.width,
            media.height,
            media.frames,
            media.duration_ms,
            media.readable,
            None if look is None else PlaceholderFacts(look.thumbhash, look.colour, look.aspect),
        )

    def ref(self, resolved: ResolvedRef) -> RefDocument:
        """The whole of a ref."""
        ref = resolved.ref
        media = f"{self.public_url}/media/{ref.ref_id}"
        return RefDocument(
            ref.ref_id,
            ref.entity.workspace,
            ref.entity.type,
            ref.entity.id,
            ref.role,
            ref.position,
            ref.state,
            ref.visibility,
            self.blob(resolved.blob),
            None if ref.original is None else OriginalFacts(ref.original.sha256, ref.original.kept),
            ref.labels.filename,
            ref.labels.alt,
            ref.labels.owner,
            rfc3339(ref.created_at),
            None if ref.trashed_at is None else rfc3339(ref.trashed_at),
            None if ref.purge_after is None else rfc3339(ref.purge_after),
            Links(media, f"{media}/file", f"{self.public_url}/blobs/{ref.sha256}"),
        )

    def refs(self, entity: EntityKey, listed: EntityRefs) -> RefList:
        """A page of refs with the version it belongs to."""
        last = listed.refs[-1].ref if listed.more else None
        following = None if last is None else place_cursor(last.role, last.position or 0)
        version = EntityVersion(entity.type, entity.id, listed.version)
        return RefList(version, [self.ref(ref) for ref in listed.refs], following)

    def ref_result(self, outcome: RefOutcome) -> RefResult:
        """The answer to a change."""
        return RefResult(
            outcome.decision,
            None if outcome.ref is None else self.ref(outcome.ref),
            EntityVersion(outcome.entity.type, outcome.entity.id, outcome.version),
            outcome.event_id,
            msgspec.UNSET if outcome.replaced is None else self.ref(outcome.replaced),
            msgspec.UNSET if outcome.refs is None else [self.ref(ref) for ref in outcome.refs],
        )

    def media_list(self, page: MediaPage) -> MediaList:
        """A page of the catalogue."""
        return MediaList([self.ref(ref) for ref in page.items], page.next_cursor)

    def signed(self, file: SignedFile) -> SignedUrl:
        """A signed address."""
        return SignedUrl(file.ref_id, f"{self.public_url}{file.target}", rfc3339(file.expires_at))

    def signed_list(self, files: Sequence[SignedFile]) -> SignedUrlList:
        """Signed addresses."""
        return SignedUrlList([self.signed(file) for file in files])

    def blob_result(self, outcome: BlobOutcome) -> BlobResult:
        """The answer to an upload."""
        return BlobResult(outcome.decision, self.blob(outcome.blob), outcome.event_id)

    def meta(self, blob: Blob, refs: tuple[ResolvedRef, ...]) -> BlobMeta:
        """Everything a workspace may know of a blob."""
        facts = msgspec.structs.asdict(self.blob(blob))
        return BlobMeta(**facts, created_at=rfc3339(blob.created_at), refs=[self.ref(ref) for ref in refs])
