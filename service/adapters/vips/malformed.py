"""What cannot be walked through; pure."""

from __future__ import annotations


class Malformed(ValueError):
    """The file is not built as its format says."""
