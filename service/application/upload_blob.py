"""Bytes come in: staged, hashed, looked at, reserved, put, published. Only then is anything visible."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from service.application.lifetimes import Lifetimes
from service.application.put_object import PutObject
from service.application.staging import Staged, stage
from service.domain.blob import UNRECOGNISED, MediaInfo, Sha256
from service.domain.errors import DigestMismatch, MediaTypeMismatch, QuotaExceeded, TooLarge
from service.domain.event import Actor, HoldingEvent
from service.domain.holding_decision import HoldingState, decide_arrival
from service.observability import observed
from service.ports.blobs import BlobLedger, BlobOutcome, Published
from service.ports.idempotency import Claim, Replay
from service.ports.objects import ObjectLedger, Reservation
from service.ports.prober import Prober
from service.ports.storage import Storage

_CLAIMS_CHECKED = ("image", "video", "audio")
_WORTH_ASKING = 1024 * 1024
"""Bytes from which on a look at the quota costs less than taking in what cannot be kept."""


@dataclass(frozen=True, slots=True)
class Upload:
    """What a caller sends.

    `sha256` is the name or digest it gave, None to have the server name the bytes; `media_type` its claim about them;
    `max_bytes` the most that may come, `declared` how many it says will; `keyed` when the whole request, of which this
    is a part, may have been carried out before, or other bytes may be kept in the place of these.
    """

    workspace: str
    actor: Actor
    chunks: AsyncIterator[bytes]
    max_bytes: int
    declared: int | None = None
    sha256: Sha256 | None = None
    media_type: str | None = None
    keyed: bool = False


@dataclass(frozen=True, slots=True)
class Received:
    """Bytes that arrived whole in the local file `path`, before anything is kept."""

    sha256: Sha256
    size: int
    media: MediaInfo
    path: Path


Admit = Callable[[Received], Awaitable[Replay | None]]
"""Asked before bytes are kept: raises to refuse them, or answers for a request that was carried out before."""


def _size(outcome: BlobOutcome | Replay) -> dict[str, int]:
    return {} if isinstance(outcome, Replay) else {"bytes": outcome.blob.size}


@dataclass(frozen=True, slots=True)
class UploadBlob:
    """Keep the bytes of an upload for a workspace."""

    storage: Storage
    prober: Prober
    objects: ObjectLedger
    blobs: BlobLedger
    lifetimes: Lifetimes
    _put: PutObject = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """What it puts bytes into the store with is made of the same parts."""
        object.__setattr__(self, "_put", PutObject(self.storage, self.objects, self.lifetimes))

    @observed("media.file.upload", layer="usecase", facts=_size)
    async def __call__(
        self, upload: Upload, claim: Claim[BlobOutcome] | None = None, admit: Admit | None = None
    ) -> BlobOutcome | Replay:
        """The decision about the bytes, durable on return; on any error nothing of them is visible.

        Raises `TooLarge`, `DigestMismatch`, `MediaTypeMismatch`, `QuotaExceeded`, `StorageFull`, `StorageUnavailable`,
        `Unavailable`, and what `admit` or the stream raises.
        """
        if upload.declared is not None and upload.declared > upload.max_bytes:
            raise TooLarge(upload.declared, upload.max_bytes)
        if claim is None and not upload.keyed and upload.sha256 is not None:
            await self._require_room(upload.workspace, upload.sha256, upload.declared or 0)
        staged = await stage(self.storage, upload.chunks, upload.max_bytes)
        try:
            if upload.sha256 not in {None, staged.sha256}:
                raise DigestMismatch(str(upload.sha256), staged.sha256)
            media = await self.prober.probe(staged.object.path)
            self._check_claim(upload.media_type, media.media_type)
            received = Received(staged.sha256, staged.size, media, staged.object.path)
            if admit is not None and (replay := await admit(received)) is not None:
                return replay
            return await self._keep(upload, staged, media, None if claim is None else claim.about(staged.sha256))
        finally:
            await asyncio.shield(staged.object.cancel())

    async def require_room_for_all(self, workspace: str, sizes: Mapping[Sha256, int]) -> None:
        """Raises `QuotaExceeded` for bytes of which some alone could be kept."""
        if not await self.blobs.fits(workspace, sizes):
            raise QuotaExceeded

    async def _require_room(self, workspace: str, sha256: Sha256, size: int) -> None:
        """Raises `QuotaExceeded` for much that cannot be kept, before it is taken in and before it is stored.

        Not asked for a request with a key: it may have been carried out, and its answer is stored whatever fits now.
        """
        if size >= _WORTH_ASKING:
            await self.require_room_for_all(workspace, {sha256: size})

    def _check_claim(self, claim: str | None, found: str) -> None:
        """Raises `MediaTypeMismatch`; bytes that nobody recognises may be of a type that nobody here knows."""
        claimed = (claim or "").partition(";")[0].strip().lower()
        recognised = found != UNRECOGNISED or self.prober.knows(claimed)
        if recognised and is_lie(claimed, found):
            raise MediaTypeMismatch(claimed, found)

    async def _keep(
        self, upload: Upload, staged: Staged, media: MediaInfo, claim: Claim[BlobOutcome] | None
    ) -> BlobOutcome | Replay:
        def judge(state: HoldingState) -> HoldingEvent:
            lease = self.lifetimes.holding
            return decide_arrival(state, upload.workspace, staged.sha256, staged.size, lease, upload.actor)

        held = await self.blobs.renew(upload.workspace, [staged.sha256], judge, claim, media)
        if (outcome := held.get(staged.sha256)) is not None:
            return outcome
        if claim is None:
            await self._require_room(upload.workspace, staged.sha256, staged.size)

        async def publish(reservation: Reservation) -> Published:
            return await self.blobs.publish(upload.workspace, reservation, media, judge, claim)

        return (await self._put(staged, publish)).outcome


def is_lie(claimed: str, found: str) -> bool:
    """Whether a claim is of an image, video or audio type, and the bytes are of another top-level type.

    Sound alone in a container of video goes by the container's usual name, which is no lie.
    """
    (top, _, subtype), (found_top, _, found_subtype) = claimed.partition("/"), found.partition("/")
    same_container = {top, found_top} == {"audio", "video"} and subtype == found_subtype
    return top in _CLAIMS_CHECKED and top != found_top and not same_container
