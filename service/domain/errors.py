"""Everything that can be refused, each with the code that callers see.

An error is an exception; what a request may legitimately meet (a taken role, an unknown policy) carries a `code` of
contracts/problems. Its members are the facts that a problem document adds; HTTP statuses are the router's affair.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import ClassVar
from uuid import UUID


class RefkeepError(Exception):
    """Base of every refusal and fault that has a code; `str(error)` is a sentence for a person."""

    code: ClassVar[str]
    outcome: ClassVar[str] = "rejected"
    """How records of the call name its end, a word of contracts/telemetry.json; faults say `error`."""

    index: int | None = None
    """Which operation of a batch met it, counted from 0; None outside of batches."""

    def members(self) -> dict[str, object]:
        """Facts beside the sentence, JSON-ready."""
        return {}


@contextmanager
def operation(index: int) -> Iterator[None]:
    """What is refused within was met by this operation of a batch."""
    try:
        yield
    except RefkeepError as error:
        error.index = index
        raise


class BadHash(RefkeepError):
    """A hash in a write or a body that is not 64 lower-case hexadecimal digits."""

    code = "bad-hash"

    def __init__(self, text: str) -> None:
        super().__init__(f"A hash is 64 lower-case hexadecimal digits; {text[:80]!r} is not.")


class BadName(RefkeepError):
    """A name in a path or a body outside its alphabet."""

    code = "bad-request"

    def __init__(self, what: str, text: str, form: str | None = None) -> None:
        super().__init__(f"{text[:80]!r} is no valid {what}" + ("." if form is None else f": it must match {form}."))
        self.what = what

    def members(self) -> dict[str, object]:
        """The member that is wrong."""
        return {"member": self.what}


class StorageUnavailable(RefkeepError):
    """The store did not answer, refused, or answered with an error: nothing is known about the object."""

    code = "storage-unavailable"
    outcome = "error"


class StorageFull(RefkeepError):
    """No room is left in the store or in the spool."""

    code = "storage-full"
    outcome = "error"


class ObjectMissing(RefkeepError):
    """The store says that there is no object under this key."""

    code = "blob-missing"
    outcome = "error"

    def __init__(self, key: str) -> None:
        super().__init__("The bytes of this blob are missing from the store.")
        self.key = key


class BytesCorrupt(RefkeepError):
    """The store holds other bytes than were sent: they are not served until they come again."""

    code = "blob-missing"
    outcome = "error"

    def __init__(self) -> None:
        super().__init__("The bytes of this blob are damaged in the store.")


class BadRequest(RefkeepError):
    """Syntax: malformed JSON, an unknown member, a wrong type, a value outside its bounds, a broken body."""

    code = "bad-request"


class Rejected(RefkeepError):
    """Understood, refused by a rule, and recorded as an event where an entity is concerned."""


class PolicyUnknown(Rejected):
    """No policy covers this (entity_type, role)."""

    code = "policy-unknown"

    def __init__(self, entity_type: str, role: str, known: list[str]) -> None:
        super().__init__(f"No policy covers {entity_type}/{role}; known are {', '.join(known)}.")
        self.known = known

    def members(self) -> dict[str, object]:
        """The policies that exist."""
        return {"known": self.known}


class VisibilityNotAllowed(Rejected):
    """The policy keeps these refs private."""

    code = "visibility-not-allowed"


class TooLarge(Rejected):
    """More bytes than the service or the policy takes."""

    code = "too-large"

    def __init__(self, size: int | None, limit: int) -> None:
        sent = "The body" if size is None else f"{size} bytes"
        super().__init__(f"{sent} exceeds the limit of {limit} bytes.")
        self.limit = limit

    def members(self) -> dict[str, object]:
        """The limit in bytes."""
        return {"max_bytes": self.limit}


class MediaTypeMismatch(Rejected):
    """The claim is an image, video or audio type, the bytes are of another top-level type."""

    code = "media-type-mismatch"

    def __init__(self, claimed: str, found: str) -> None:
        super().__init__(f"The bytes are {found}, not {claimed}.")
        self.claimed, self.found = claimed, found

    def members(self) -> dict[str, object]:
        """The claim and what was found."""
        return {"claimed": self.claimed, "found": self.found}


class MediaTypeNotAllowed(Rejected):
    """The policy does not take this type."""

    code = "media-type-not-allowed"

    def __init__(self, found: str, allowed: tuple[str, ...]) -> None:
        super().__init__(f"The bytes are {found}; allowed are {', '.join(allowed)}.")
        self.found, self.allowed = found, allowed

    def members(self) -> dict[str, object]:
        """What was found and what is allowed."""
        return {"found": self.found, "allowed": list(self.allowed)}


class DimensionsExceeded(Rejected):
    """Too many pixels, or too long an edge."""

    code = "dimensions-exceeded"

    def __init__(self, width: int, height: int, max_pixels: int | None, max_edge: int | None) -> None:
        limits = [f"{max_pixels} pixels"] * (max_pixels is not None) + [f"an edge of {max_edge}"] * (
            max_edge is not None
        )
        super().__init__(f"{width} × {height} pixels exceed the limit of {' and '.join(limits)}.")
        self.facts: dict[str, object] = {
            "width": width,
            "height": height,
            "max_pixels": max_pixels,
            "max_edge": max_edge,
        }

    def members(self) -> dict[str, object]:
        """The dimensions and the limits, null where there is none."""
        return self.facts


class DurationExceeded(Rejected):
    """The video or sound is longer than the policy takes."""

    code = "duration-exceeded"

    def __init__(self, duration_ms: int, limit_ms: int) -> None:
        super().__init__(f"{duration_ms} ms exceed the limit of {limit_ms} ms.")
        self.facts: dict[str, object] = {"duration_ms": duration_ms, "max_duration_ms": limit_ms}

    def members(self) -> dict[str, object]:
        """The duration and the limit in milliseconds."""
        return self.facts


class UnreadableMedia(Rejected):
    """The bytes begin as this type but cannot be decoded to their end."""

    code = "unreadable-media"

    def __init__(self, media_type: str) -> None:
        super().__init__(f"The bytes begin as {media_type} but cannot be read to the end: truncated or corrupt.")


class RenderFailed(UnreadableMedia):
    """What decodes and encodes pictures died of these bytes, or took more time, memory or room than it may."""

    def __init__(self, media_type: str) -> None:
        super().__init__(media_type)
        self.args = (
            f"No picture can be made of these bytes, {media_type}, within the bounds of time, memory and size.",
        )


class RenderBusy(RefkeepError):
    """As many pictures wait to be made as may wait; a retry may succeed."""

    code = "unavailable"
    outcome = "error"

    def __init__(self) -> None:
        super().__init__("Too many pictures are being made at once.")


class ProbeUnavailable(RefkeepError):
    """The process that looks at media cannot be started."""

    code = "unavailable"
    outcome = "error"


class Unauthorized(RefkeepError):
    """No key, or one that is malformed, unknown, revoked or expired: which of them is never said."""

    code = "unauthorized"
    outcome = "forbidden"

    def __init__(self, sentence: str = "This call needs a valid API key.") -> None:
        super().__init__(sentence)


class Forbidden(RefkeepError):
    """A valid key without the scope, or not bound to the workspace it names."""

    code = "forbidden"
    outcome = "forbidden"


class WorkspaceRequired(RefkeepError):
    """A key bound to all workspaces must name one."""

    code = "workspace-required"

    def __init__(self) -> None:
        super().__init__("This key is bound to all workspaces: name one.")


class NotFound(RefkeepError):
    """Nothing is here, or nothing that this caller may know of."""

    code = "not-found"
    outcome = "not_found"


class Gone(RefkeepError):
    """The ref was purged; said only to its own workspace, for as long as its tombstone is kept."""

    code = "gone"
    outcome = "not_found"

    def __init__(self) -> None:
        super().__init__("This media was purged.")


class ImportRolledBack(RefkeepError):
    """The run of an import was rolled back while it went on."""

    code = "gone"

    def __init__(self, run_id: str) -> None:
        super().__init__(
            f"Import {run_id} was rolled back meanwhile. What was imported since is still there:"
            f" `refkeep import rollback {run_id}` takes that back, too."
        )


class VersionConflict(RefkeepError):
    """The entity has moved on since the caller looked, or the slot that should be empty is taken."""

    code = "version-conflict"

    def __init__(self, sentence: str, version: int) -> None:
        super().__init__(sentence)
        self.version = version

    def members(self) -> dict[str, object]:
        """The entity's version now."""
        return {"version": self.version}


class PreconditionRequired(RefkeepError):
    """Positions of a list move: the caller must say which version it saw."""

    code = "precondition-required"

    def __init__(self, version: int) -> None:
        super().__init__("Positions of a list move: say which version of the entity you saw.")
        self.version = version

    def members(self) -> dict[str, object]:
        """The entity's version now."""
        return {"version": self.version}


class IdempotencyKeyReuse(RefkeepError):
    """The key was used for another request."""

    code = "idempotency-key-reuse"

    def __init__(self) -> None:
        super().__init__("This key was used for another request; make a new one.")


class IdempotencyInProgress(RefkeepError):
    """The first request with this key has not ended yet."""

    code = "idempotency-in-progress"

    def __init__(self) -> None:
        super().__init__("A request with this key is still running; try again in a moment.")


class DigestMismatch(Rejected):
    """The bytes do not hash to the name or digest that came with them."""

    code = "digest-mismatch"

    def __init__(self, expected: str, actual: str) -> None:
        super().__init__(f"The bytes hash to {actual}, not to {expected}; nothing was kept.")
        self.facts: dict[str, object] = {"expected": expected, "actual": actual}

    def members(self) -> dict[str, object]:
        """Both hashes."""
        return self.facts


class QuotaExceeded(Rejected):
    """The workspace would hold more than its quota."""

    code = "quota-exceeded"

    def __init__(self) -> None:
        super().__init__("The workspace's quota has no room for these bytes; nothing was kept.")


class BlobInUse(RefkeepError):
    """A holding cannot be given up while refs of the workspace, live or trashed, need it."""

    code = "blob-in-use"

    def __init__(self) -> None:
        super().__init__("Refs of this workspace, live or in the trash, use this blob.")


class BlobNotHeld(Rejected):
    """The workspace has not sent these bytes; whether anyone else has is not said."""

    code = "blob-not-held"

    def __init__(self, sha256: str) -> None:
        super().__init__(f"This workspace does not hold {sha256}: send the bytes first, or with this request.")


class PositionOutOfRange(Rejected):
    """The position lies beyond the end of the list, or beyond 0 in a single role."""

    code = "position-out-of-range"

    def __init__(self, position: int, last: int) -> None:
        super().__init__(f"Position {position} is out of range: 0 to {last} can be filled now.")
        self.facts: dict[str, object] = {"position": position, "last": last}

    def members(self) -> dict[str, object]:
        """The position asked for and the last one that can be filled."""
        return self.facts


class RoleFull(Rejected):
    """The role holds as many refs as its policy takes."""

    code = "role-full"

    def __init__(self, role: str, capacity: int) -> None:
        super().__init__(f"The role {role} is full: it holds {capacity} of {capacity}.")
        self.facts: dict[str, object] = {"capacity": capacity}

    def members(self) -> dict[str, object]:
        """How many refs the role holds."""
        return self.facts


class SlotTaken(Rejected):
    """The single slot that a trashed ref would return to shows another one."""

    code = "slot-taken"

    def __init__(self, role: str, ref_id: UUID) -> None:
        super().__init__(f'The slot {role} shows another ref; {{"on_conflict": "replace"}} sends that to the trash.')
        self.ref_id = ref_id

    def members(self) -> dict[str, object]:
        """The ref that is there."""
        return {"ref_id": str(self.ref_id)}


class NotAPermutation(Rejected):
    """A new order must name every live ref of the role, each once, and nothing else."""

    code = "not-a-permutation"

    def __init__(self, missing: Sequence[UUID], surplus: Sequence[UUID]) -> None:
        super().__init__(
            f"The order must name each live ref of the role once: {len(missing)} missing, {len(surplus)} too many."
        )
        self.facts: dict[str, object] = {
            "missing": [str(id_) for id_ in missing],
            "surplus": [str(id_) for id_ in surplus],
        }

    def members(self) -> dict[str, object]:
        """Live refs that the order leaves out, and ids in it that are no live ref or come again."""
        return self.facts


class NotTrashed(Rejected):
    """Only what is in the trash can be purged."""

    code = "not-trashed"

    def __init__(self) -> None:
        super().__init__("This media is live: release it first, only what is in the trash can be purged.")


class InTrash(Rejected):
    """A ref in the trash stays as it was released."""

    code = "in-trash"

    def __init__(self) -> None:
        super().__init__("This media is in the trash: restore it first.")


class BadCursor(BadRequest):
    """A cursor that this service did not make."""

    code = "bad-cursor"

    def __init__(self) -> None:
        super().__init__("This cursor was not made here: use `next` of an earlier answer, or none.")


class CursorExpired(RefkeepError):
    """Events behind this cursor were dropped: who goes on from here would miss them without a word."""

    code = "cursor-expired"
    outcome = "not_found"

    def __init__(self) -> None:
        super().__init__("Events behind this cursor were dropped: read /snapshot, and go on from its cursor.")

    def members(self) -> dict[str, object]:
        """Where to begin anew."""
        return {"snapshot": "/snapshot"}


class ReadOnly(RefkeepError):
    """The service takes no writes for now."""

    code = "read-only"

    def __init__(self) -> None:
        super().__init__("The service is read-only for now: nothing was changed.")


class SigningDisabled(RefkeepError):
    """The service has no key to sign with."""

    code = "signing-disabled"

    def __init__(self) -> None:
        super().__init__("This service signs no URLs: REFKEEP_SIGNING_KEYS is not set.")


class Unavailable(RefkeepError):
    """The database does not answer, or something else holds a lock for too long; a retry may succeed."""

    code = "unavailable"
    outcome = "error"


class OnHold(Rejected):
    """An operator keeps these bytes from being served, sent again and removed."""

    code = "on-hold"
    outcome = "on_hold"

    def __init__(self) -> None:
        super().__init__("These bytes are on hold: they are neither served nor taken.")


class WrongStore(RefkeepError):
    """The store does not show the sentinel of this database."""

    code = "wrong-store"
    outcome = "error"

    def __init__(self, *, absent: bool) -> None:
        found = "has no sentinel" if absent else "has the sentinel of another database"
        super().__init__(f"The mounted folder or bucket is not the right one: it {found}. Nothing is collected.")


class BehindFence(RefkeepError):
    """The database is an earlier state of itself, or a copy: what it does not know of may be needed."""

    code = "behind-fence"
    outcome = "error"

    def __init__(self, why: str) -> None:
        super().__init__(f"{why} Nothing is collected until `refkeep fsck --adopt` has compared it with the store.")


class MoveRefused(RefkeepError):
    """A move between stores that cannot begin or go on as it was asked for."""

    code = "move-refused"
