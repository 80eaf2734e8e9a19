"""Snapshots as NDJSON: where to go on from, then a line for every live ref."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from service.ports.snapshot import EntitySnapshot
from service.schemas.media import Presenter, RefDocument


class SnapshotHead(msgspec.Struct, frozen=True):
    """The first line."""

    cursor: str


class SnapshotRef(RefDocument, frozen=True):
    """A live ref, and the version of its entity: events up to that one are in this line already."""

    version: int


def head_line(cursor: str) -> bytes:
    """The first line."""
    return msgspec.json.encode(SnapshotHead(cursor)) + b"\n"


def ref_lines(present: Presenter, entities: Sequence[EntitySnapshot]) -> bytes:
    """The lines of whole entities."""
    encoder = msgspec.json.Encoder()
    lines = (
        encoder.encode(SnapshotRef(**msgspec.structs.asdict(present.ref(ref)), version=found.version))
        for found in entities
        for ref in found.refs
    )
    return b"".join(line + b"\n" for line in lines)
