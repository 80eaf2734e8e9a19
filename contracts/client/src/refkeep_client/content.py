"""Bytes to send, from wherever they come, without ever being in memory all at once."""

from __future__ import annotations

from collections.abc import AsyncIterable, Callable, Iterable
from pathlib import Path
from typing import BinaryIO

Pieces = AsyncIterable[bytes] | Iterable[bytes]
Content = bytes | bytearray | memoryview | Path | BinaryIO | Pieces | Callable[[], Pieces]
"""What can be sent.

Bytes, a path, a file that is open for reading bytes (from where it stands), an iterator of pieces, or a function that
makes such an iterator. All but a bare iterator and a file that cannot seek can be sent again after a failure.
"""
