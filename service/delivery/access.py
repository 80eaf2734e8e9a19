"""Who may have which bytes, and who may keep a copy of the answer: pure decisions on descriptors."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto
from http import HTTPStatus

from service.domain.policy import Visibility
from service.domain.ref import RefState
from service.ports.descriptors import BlobDescriptor, MediaDescriptor, PurgedMedia, ServableBytes


class Refusal(Enum):
    """Why there are no bytes; a caller who may not have them learns the same as one who asks for nothing."""

    NOT_FOUND = auto()
    GONE = auto()
    ON_HOLD = auto()


class Reuse(Enum):
    """How an answer may be kept by caches."""

    IMMUTABLE = auto()
    BRIEF = auto()
    SIGNED = auto()
    NEVER = auto()


@dataclass(frozen=True, slots=True)
class Grant:
    """These bytes may be sent; `media` is the ref they were asked through, None when they were asked for by hash."""

    content: ServableBytes
    reuse: Reuse
    media: MediaDescriptor | None = None


def judge_blob(blob: BlobDescriptor | None) -> Grant | Refusal:
    """Bytes by their hash: to anyone while a live public ref shows them, otherwise to a workspace that holds them.

    A hold is told only to those who might have had the bytes.
    """
    if blob is None or not (blob.public or blob.held):
        return Refusal.NOT_FOUND
    if blob.hold is not None:
        return _on_hold(blob.hold)
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
        return _on_hold(media.hold)
    return Grant(media.content, Reuse.BRIEF if public else Reuse.NEVER, media)


def judge_signed(media: MediaDescriptor | PurgedMedia | None) -> Grant | Refusal:
    """Bytes by a ref whose address is signed: while it is live, whatever its visibility."""
    if not isinstance(media, MediaDescriptor) or media.state is not RefState.LIVE:
        return Refusal.NOT_FOUND
    return Grant(media.content, Reuse.SIGNED, media) if media.hold is None else _on_hold(media.hold)


def _on_hold(status: int) -> Refusal:
    return Refusal.NOT_FOUND if status == HTTPStatus.NOT_FOUND else Refusal.ON_HOLD
