"""Which form of an answer a caller would rather have (RFC 9110 §12.5.1)."""

from __future__ import annotations

import re

_WEIGHT = re.compile(r"(?:0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?)")


def prefers(accept: str | None, media_type: str, default: str) -> bool:
    """Whether `accept` names `media_type` with a weight of its own, which is none of less than that of `default`."""
    weights = dict(_weighed(item) for item in (accept or "").lower().split(","))
    weight = weights.get(media_type, 0.0)
    return weight > 0 and weight >= weights.get(default, 0.0)


def _weighed(item: str) -> tuple[str, float]:
    media_type, *parameters = (part.strip() for part in item.split(";"))
    given = next((text[2:] for text in parameters if text.startswith("q=")), "1")
    return media_type, float(given) if _WEIGHT.fullmatch(given) else 0.0
