"""A policy as callers see it, so that a front end can say the rules before anyone sends."""

from __future__ import annotations

import msgspec

from service.domain.policy import Cardinality, Oversize, Policy, Visibility


class PolicyDocument(msgspec.Struct, frozen=True):
    """Bytes, pixels and milliseconds; null sets no limit. `max_items` is 1 for a single role."""

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


def policy_document(policy: Policy, max_upload_bytes: int) -> PolicyDocument:
    """The policy; nobody may send more than `max_upload_bytes`, whatever it says."""
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
    )
