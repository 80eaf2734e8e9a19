"""A policy as callers see it, so that a front end can say the rules before anyone sends."""

from __future__ import annotations

import msgspec

from service.domain.policy import Cardinality, Oversize, Policies, Policy, Visibility
from service.domain.rendition import Colour, Fit, Format, Normalisation, Preset


class NormaliseDocument(msgspec.Struct, frozen=True):
    """What a picture becomes before a ref shows it, upright in any case; limits as in the policy, null sets none."""

    max_edge: int | None
    strip: bool
    colour: Colour
    format: Format
    max_frames: int
    max_animation_ms: int | None


class PresetDocument(msgspec.Struct, frozen=True):
    """A rendition that may be asked for by its name; pixels, null where an edge is free.

    `formats` are offered best first, `original` stands for that of the picture; `eager` ones are made ahead.
    """

    name: str
    width: int | None
    height: int | None
    fit: Fit
    formats: list[Format]
    enlarge: bool
    eager: bool


class PolicyDocument(msgspec.Struct, frozen=True):
    """Bytes, pixels and milliseconds; null sets no limit. `max_items` is 1 for a single role.

    `normalise` is null where pictures are shown as sent; else `keep_original` says whether what was sent stays.
    """

    entity_type: str
    role: str
    cardinality: Cardinality
    max_items: int
    media_types: list[str]
    max_bytes: int
    max_pixels: int | None
    max_edge: int | None
    oversize: Oversize
    max_duration_ms: int | None
    visibility: Visibility
    public_allowed: bool
    normalise: NormaliseDocument | None
    keep_original: bool | None
    presets: list[PresetDocument]


def policy_document(policies: Policies, policy: Policy, max_upload_bytes: int) -> PolicyDocument:
    """One of the policies; nobody may send more than `max_upload_bytes`, whatever it says."""
    presets = (policies.preset(name) for name in policy.presets)
    return PolicyDocument(
        policy.entity_type,
        policy.role,
        policy.cardinality,
        policy.capacity,
        list(policy.media_types),
        min(policy.max_bytes or max_upload_bytes, max_upload_bytes),
        policy.max_pixels,
        policy.max_edge,
        policy.oversize,
        policy.max_duration_ms,
        policy.visibility,
        policy.public_allowed,
        None if policy.normalisation is None else _normalise(policy.normalisation),
        None if policy.normalisation is None else policy.keep_original,
        [_preset(preset, eager=preset.name in policy.eager) for preset in presets if preset is not None],
    )


def _normalise(wanted: Normalisation) -> NormaliseDocument:
    animation = wanted.animation
    return NormaliseDocument(
        wanted.max_edge, wanted.strip, wanted.colour, wanted.format, animation.max_frames, animation.max_duration_ms
    )


def _preset(preset: Preset, *, eager: bool) -> PresetDocument:
    return PresetDocument(
        preset.name, preset.width, preset.height, preset.fit, list(preset.formats), preset.enlarge, eager
    )
