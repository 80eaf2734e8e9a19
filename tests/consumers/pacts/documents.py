"""Documents of Refkeep as far as our services rely on them: of each member an example, and what it must be like."""

from __future__ import annotations

from typing import Any

from pact import match
from pact.match.matcher import AbstractMatcher

from tests.parts.caller import sha256_of

REF_ID, OTHER_REF_ID = "01932c07-a5f2-7a0e-8d3b-4c1e5f6a7b80", "01932c07-a5f2-7a0e-8d3b-4c1e5f6a7b81"
_TIME = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"


def time() -> Any:
    """RFC 3339, UTC, milliseconds."""
    return match.regex("2026-01-02T03:04:05.678Z", regex=_TIME)


def ref_id(example: str = REF_ID) -> Any:
    """The id of a ref."""
    return match.uuid(example)


def sha256(content: bytes) -> Any:
    """A hash; the example's must be right, since the client compares it with what it sent."""
    return match.regex(sha256_of(content), regex="[0-9a-f]{64}")


def ref(slot: str, content: bytes, example: str = REF_ID, **changes: Any) -> dict[str, Any]:
    """A live ref in a slot `book/42/cover/0`."""
    entity_type, entity_id, role, position = slot.split("/")
    return {
        "ref_id": ref_id(example),
        "workspace": match.str("acme"),
        "entity_type": entity_type,
        "entity_id": entity_id,
        "role": role,
        "position": int(position),
        "state": "live",
        "visibility": match.regex("public", regex="public|private"),
        "blob": {
            "sha256": sha256(content),
            "size": match.int(len(content)),
            "media_type": match.regex("image/jpeg", regex="image/[a-z]+"),
            "width": match.int(96),
            "height": match.int(64),
        },
        "filename": match.str("cover.jpg"),
        "alt": None,
        "owner": None,
        "created_at": time(),
        "trashed_at": None,
        "purge_after": None,
        "links": {"self": match.str("/media/1"), "file": match.str("/media/1/file"), "blob": match.str("/blobs/1")},
        **changes,
    }


def trashed(slot: str, content: bytes, example: str = OTHER_REF_ID) -> dict[str, Any]:
    """What had the slot before."""
    gone = {"position": None, "state": "trashed", "trashed_at": time(), "purge_after": time()}
    return ref(slot, content, example, **gone)


def entity(entity_type: str, entity_id: str, version: int) -> dict[str, Any]:
    """An entity and its version."""
    return {"type": entity_type, "id": entity_id, "version": match.int(version)}


def problem(status: int, code: str, **members: Any) -> dict[str, Any]:
    """A problem document with its code; the words are Refkeep's affair."""
    return {
        "status": status,
        "code": code,
        "title": match.str("A title"),
        "detail": match.str("A sentence."),
        "retryable": match.bool(False),
        **members,
    }


def event_ref(role: str, content: bytes) -> dict[str, Any]:
    """A ref as an event tells it."""
    return {
        "ref_id": ref_id(),
        "role": role,
        "position": match.int(0),
        "former_position": None,
        "state": "live",
        "visibility": match.regex("public", regex="public|private"),
        "sha256": sha256(content),
        "filename": match.str("cover.jpg"),
        "alt": None,
        "owner": None,
        "created_at": time(),
        "trashed_at": None,
        "purge_after": None,
    }


def inserted(entity_type: str, entity_id: str, role: str, content: bytes) -> dict[str, Any]:
    """The event of a first ref."""
    return {
        "id": match.str("1-2f0-1"),
        "type": "refkeep.ref.inserted.v1",
        "time": time(),
        "subject": f"{entity_type}/{entity_id}",
        "data": {
            "decision": "insert",
            "workspace": match.str("acme"),
            "actor": match.str("key"),
            "entity": {"type": entity_type, "id": entity_id, "version": 1},
            "ref": event_ref(role, content),
        },
    }


def example(document: Any) -> Any:
    """A document with its examples in the place of its matchers."""
    if isinstance(document, AbstractMatcher):
        return example(getattr(document, "value"))  # noqa: B009 (the abstract one does not declare it)
    if isinstance(document, dict):
        return {name: example(value) for name, value in document.items()}
    return document
