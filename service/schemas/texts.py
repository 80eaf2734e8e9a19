"""Texts that have a form. What goes out has it already and what comes in is judged elsewhere: only documents say it."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta

HashText = Annotated[str, Meta(extra_json_schema={"pattern": "^[0-9a-f]{64}$"})]
"""A SHA-256 in lower-case hexadecimal digits."""

TimeText = Annotated[str, Meta(extra_json_schema={"format": "date-time"})]
"""RFC 3339, UTC, with milliseconds: `2026-01-02T03:04:05.678Z`."""
