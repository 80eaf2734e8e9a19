"""What one (entity_type, role) accepts, and the verdict on one blob under it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from service.domain.blob import MediaInfo
from service.domain.errors import (
    DimensionsExceeded,
    DurationExceeded,
    MediaTypeNotAllowed,
    PolicyUnknown,
    Rejected,
    TooLarge,
    UnreadableMedia,
    VisibilityNotAllowed,
)
from service.domain.rendition import PICTURE_TYPES, Normalisation, Preset

WILDCARD = "*"


class Cardinality(StrEnum):
    """How many refs a role holds: one, or a list in order."""

    SINGLE = "single"
    LIST = "list"


class Visibility(StrEnum):
    """Who may fetch a ref's bytes: anyone, or the workspace alone."""

    PUBLIC = "public"
    PRIVATE = "private"


class Oversize(StrEnum):
    """What happens to a picture whose longest edge exceeds `max_edge`."""

    REJECT = "reject"
    DOWNSCALE = "downscale"


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one role, as the policy file states them.

    `media_types` are `type/subtype`, `type/*` or `*/*`. `max_bytes` is bytes as sent, `max_pixels` pixels of one frame,
    `max_edge` pixels of the longest edge, `max_duration_ms` milliseconds; None sets no limit. `max_items` caps a list.

    `presets` names the renditions that may be asked for, `eager` those of them that are made on attach.
    `normalisation` is what a picture is made to comply with when it is attached, None to leave it as it was sent;
    `keep_original` says whether what was sent is then kept, privately.
    """

    entity_type: str
    role: str
    cardinality: Cardinality
    visibility: Visibility
    public_allowed: bool = True
    media_types: tuple[str, ...] = ("*/*",)
    max_bytes: int | None = None
    max_pixels: int | None = None
    max_edge: int | None = None
    oversize: Oversize = Oversize.REJECT
    max_duration_ms: int | None = None
    max_items: int = 1000
    presets: tuple[str, ...] = ()
    eager: tuple[str, ...] = ()
    keep_original: bool = True
    normalisation: Normalisation | None = None

    @property
    def capacity(self) -> int:
        """The most live refs that the role holds at once."""
        return 1 if self.cardinality is Cardinality.SINGLE else self.max_items

    def accepts_type(self, media_type: str) -> bool:
        """Whether `media_type` is one of `media_types`, wildcards included."""
        top = media_type.partition("/")[0]
        return any(allowed in {media_type, f"{top}/*", "*/*"} for allowed in self.media_types)


@dataclass(frozen=True, slots=True)
class RoleRule:
    """Whether roles of these names admit something; `*` stands for any name."""

    entity_type: str
    role: str
    admits: bool


@dataclass(frozen=True, slots=True)
class Policies:
    """All policies of a deployment, found by exact name first, then `type/*`, `*/role`, `*/*`."""

    items: tuple[Policy, ...]
    presets: tuple[Preset, ...] = ()

    @property
    def need_pictures(self) -> bool:
        """Whether any role makes pictures of what is attached or asked for."""
        return any(policy.presets or policy.normalisation is not None for policy in self.items)

    def preset(self, name: str) -> Preset | None:
        """The preset of this name."""
        return next((preset for preset in self.presets if preset.name == name), None)

    def admitting(self, preset: str) -> tuple[RoleRule, ...]:
        """Which roles' renditions may be asked for by this preset; the first rule that fits a role counts."""
        exact_first = sorted(self.items, key=lambda each: (each.entity_type == WILDCARD, each.role == WILDCARD))
        return tuple(RoleRule(each.entity_type, each.role, preset in each.presets) for each in exact_first)

    def known(self) -> list[str]:
        """The names `entity_type/role` of all policies, sorted."""
        return sorted(f"{policy.entity_type}/{policy.role}" for policy in self.items)

    def find(self, entity_type: str, role: str) -> Policy | None:
        """The policy for this pair."""
        by_name = {(policy.entity_type, policy.role): policy for policy in self.items}
        names = ((entity_type, role), (entity_type, WILDCARD), (WILDCARD, role), (WILDCARD, WILDCARD))
        return next((by_name[name] for name in names if name in by_name), None)

    def of(self, entity_type: str, role: str) -> Policy:
        """The policy for this pair; raise `PolicyUnknown`, naming the known ones, where there is none."""
        policy = self.find(entity_type, role)
        if policy is None:
            raise PolicyUnknown(entity_type, role, self.known())
        return policy


def resolve_visibility(policy: Policy, asked: Visibility | None) -> Visibility | Rejected:
    """The visibility a ref gets: what its writer asks for, or the policy's default, or a refusal."""
    visibility = asked or policy.visibility
    if visibility is Visibility.PUBLIC and not policy.public_allowed:
        return VisibilityNotAllowed(f"Refs of {policy.entity_type}/{policy.role} are private by policy.")
    return visibility


def refusal_of(policy: Policy, size: int, media: MediaInfo) -> Rejected | None:
    """Why a blob of `size` bytes may not be attached under `policy`, or None when it may.

    Cheap facts are judged before costly ones, so that an image bomb is refused for its dimensions.
    """
    if policy.max_bytes is not None and size > policy.max_bytes:
        return TooLarge(size, policy.max_bytes)
    if (found := _type_refusal(policy, media) or _dimensions_refusal(policy, media)) is not None:
        return found
    if policy.max_duration_ms is not None and (media.duration_ms or 0) > policy.max_duration_ms:
        return DurationExceeded(media.duration_ms or 0, policy.max_duration_ms)
    if media.readable is False:
        return UnreadableMedia(media.media_type)
    return None


def normalisation_for(policy: Policy, media: MediaInfo) -> Normalisation | None:
    """What bytes of this kind are made to comply with; None where they are shown as they were sent."""
    return policy.normalisation if _is_picture(media) else None


def _type_refusal(policy: Policy, media: MediaInfo) -> Rejected | None:
    if not policy.accepts_type(media.media_type):
        return MediaTypeNotAllowed(media.media_type, policy.media_types)
    if policy.normalisation is not None and _is_unknown_picture(media):
        return MediaTypeNotAllowed(media.media_type, tuple(filter(policy.accepts_type, PICTURE_TYPES)))
    return None


def _dimensions_refusal(policy: Policy, media: MediaInfo) -> Rejected | None:
    if media.width is None or media.height is None:
        return None
    too_many = policy.max_pixels is not None and media.width * media.height > policy.max_pixels
    too_long = policy.max_edge is not None and max(media.width, media.height) > policy.max_edge
    if too_many or (too_long and not _is_scaled_down(policy, media)):
        return DimensionsExceeded(media.width, media.height, policy.max_pixels, policy.max_edge)
    return None


def _is_scaled_down(policy: Policy, media: MediaInfo) -> bool:
    return policy.oversize is Oversize.DOWNSCALE and _is_picture(media)


def _is_picture(media: MediaInfo) -> bool:
    return media.media_type in PICTURE_TYPES


def _is_unknown_picture(media: MediaInfo) -> bool:
    """A picture that nothing here can take the place and the owner out of, such as HEIC, TIFF and SVG."""
    return media.media_type.startswith("image/") and not _is_picture(media)
