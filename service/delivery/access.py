"""Who may have which bytes, and who may keep a copy of the answer: pure decisions on descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus

from service.domain.blob import Sha256
from service.domain.policy import Visibility
from service.domain.ref import RefState
from service.domain.rendition import Format
from service.ports.descriptors import BlobDescriptor, MediaDescriptor, PurgedMedia, ServableBytes


class Refusal(Enum):
    """Why there are no bytes; a caller who may not have them learns the same as one who asks for nothing."""

    NOT_FOUND = auto()
    GONE = auto()
    ON_HOLD = auto()


class Reuse(Enum):
    """How an answer may be kept by caches.

    `SHARED` is for renditions of public blobs: the same for everybody, but other bytes once the preset is changed.
    """

    IMMUTABLE = auto()
    SHARED = auto()
    BRIEF = auto()
    SIGNED = auto()
    NEVER = auto()


ALIKE = frozenset({Reuse.IMMUTABLE, Reuse.SHARED})
"""Answers that are the same for everybody, so that caches hand them on: nothing in them is of one request."""


@dataclass(frozen=True, slots=True)
class Variant:
    """Which rendition of `parent` was asked for; `negotiated` where the path left the format to `Accept`."""

    parent: Sha256
    preset: str
    format: Format
    negotiated: bool

    @property
    def path(self) -> str:
        """Where these bytes and no others are, as long as the preset stays what it is."""
        return f"/blobs/{self.parent}/{self.preset}.{self.format.extension}"


@dataclass(frozen=True, slots=True)
class Grant:
    """These bytes may be sent; `media` is the ref they were asked through, None when they were asked for by hash.

    `variant` says which rendition they are, None for bytes as they were sent.
    """

    content: ServableBytes
    reuse: Reuse
    media: MediaDescriptor | None = None
    variant: Variant | None = None


def judge_blob(blob: BlobDescriptor | None) -> Grant | Refusal:
    """Bytes by their hash: to anyone while a live public ref shows them, otherwise to a workspace that holds them.

    A hold is told only to those who might have had the bytes.
    """
    if blob is None or not (blob.public or blob.held):
        return Refusal.NOT_FOUND
    if blob.hold is not None:
        return on_hold(blob.hold)
    return Grant(blob.content, Reuse.IMMUTABLE if blob.public else Reuse.NEVER)


def judge_media(media: MediaDescriptor | PurgedMedia | None) -> Grant | Refusal:
    """Bytes by a ref: to anyone while it is live and public, otherwise to its own workspace, from the trash too."""
    if isinstance(media, PurgedMedia):
        return Refusal.GONE if media.owned else Refusal.NOT_FOUND
    if media is None:
        return Refusal.NOT_FOUND
    public = media.state is RefState.LIVE and media.visibility is Visibility.PUBLIC
    if not (public or media.owned):
        return Refusal.NOT_FOUND
    if media.hold is not None:
        return on_hold(media.hold)
    return Grant(media.content, Reuse.BRIEF if public else Reuse.NEVER, media)


def judge_signed(media: MediaDescriptor | PurgedMedia | None) -> Grant | Refusal:
    """Bytes by a ref whose address is signed: while it is live, whatever its visibility."""
    if not isinstance(media, MediaDescriptor) or media.state is not RefState.LIVE:
        return Refusal.NOT_FOUND
    return Grant(media.content, Reuse.SIGNED, media) if media.hold is None else on_hold(media.hold)


def on_hold(status: int) -> Refusal:
    """What a hold of this HTTP status says."""
    return Refusal.NOT_FOUND if status == HTTPStatus.NOT_FOUND else Refusal.ON_HOLD
