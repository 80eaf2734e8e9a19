"""The names of workspaces."""

from __future__ import annotations

import re

from service.domain.errors import BadName

_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def parse_slug(text: str) -> str:
    """Return a workspace's name; raise `BadName` unless `[a-z0-9][a-z0-9-]{0,62}`."""
    if _SLUG.fullmatch(text) is None:
        raise BadName("workspace", text)
    return text
