"""What goes wrong, as exceptions. None of them ever carries a key."""

from __future__ import annotations

from typing import Any

import msgspec


class RefkeepError(Exception):
    """Everything that this package raises, but for mistakes of its caller (`ValueError`, `TypeError`)."""


class Unreachable(RefkeepError):
    """No answer: nobody listens, the connection broke, or it took too long. The call may have taken effect.

    Repeating it with the same `idempotency_key` is safe. `may_have_arrived` is false where no connection came about.
    """

    def __init__(self, message: str, *, may_have_arrived: bool = True) -> None:
        super().__init__(message)
        self.may_have_arrived = may_have_arrived


class NotRewindable(RefkeepError):
    """An upload failed after the first byte of an iterator, which cannot be sent again; `__cause__` is the failure.

    Give bytes, a path, a seekable file, or a function that makes the iterator, and it is.
    """


class Corrupted(RefkeepError):
    """Bytes arrived that are not those that were sent; nothing was kept of a download."""


class Unexpected(RefkeepError):
    """An answer that this package does not understand: not Refkeep's, or of a version that broke its promises."""


class ProblemDocument(msgspec.Struct, frozen=True, kw_only=True):
    """An RFC 9457 document; `members` are those that the code adds, such as `version` or `max_bytes`."""

    status: int
    code: str
    title: str = ""
    detail: str = ""
    retryable: bool = False
    instance: str | None = None
    members: dict[str, Any] = {}


class Problem(RefkeepError):
    """An answer that is a refusal or a failure.

    `code` is stable (`version-conflict`), `detail` is a sentence, `members` what the code adds. `retryable` says that
    the same call may succeed later. `request_id` finds it in the service's logs; `retry_after` is in seconds.
    """

    def __init__(
        self, document: ProblemDocument, request_id: str | None = None, retry_after: float | None = None
    ) -> None:
        super().__init__(document, request_id, retry_after)
        self.document = document
        self.request_id = request_id
        self.retry_after = retry_after

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.document.status

    @property
    def code(self) -> str:
        """Which problem it is; `http-<status>` where the answer was no problem document."""
        return self.document.code

    @property
    def detail(self) -> str:
        """A sentence for people."""
        return self.document.detail

    @property
    def retryable(self) -> bool:
        """Whether the same call may succeed later."""
        return self.document.retryable

    @property
    def members(self) -> dict[str, Any]:
        """What the code adds."""
        return self.document.members

    def __str__(self) -> str:
        traced = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.status} {self.code}: {self.detail or self.document.title}{traced}"


class BadRequest(Problem):
    """400: malformed; a defect of the caller."""


class Unauthorized(Problem):
    """401: no key, or one that is unknown or revoked."""


class Forbidden(Problem):
    """403: a valid key without the scope, or of another workspace."""


class NotFound(Problem):
    """404: not there, or not this workspace's."""


class Gone(Problem):
    """410: it was purged."""


class CursorExpired(Problem):
    """410 of a feed: events behind the cursor were dropped. Take a snapshot and go on from its cursor."""


class Conflict(Problem):
    """409: what is there does not allow it: `blob-in-use`, `slot-taken`, `not-trashed`, `in-trash`, `role-full`."""


class IdempotencyConflict(Problem):
    """The idempotency key was used for another request, or the first one with it still runs after all attempts."""


class VersionConflict(Problem):
    """412: the entity has moved on, or the slot that should be empty is taken."""

    @property
    def version(self) -> int | None:
        """The entity's version now."""
        return _number(self.members.get("version"))


class PreconditionRequired(Problem):
    """428: positions of a list would move under a blind retry; say in `if_match` which version you saw."""

    @property
    def version(self) -> int | None:
        """The entity's version now."""
        return _number(self.members.get("version"))


class Rejected(Problem):
    """Understood and refused: 413, 415, 422. The same call is refused again."""


class BlobNotHeld(Rejected):
    """422: the workspace has not sent these bytes; send them first."""


class TooLarge(Rejected):
    """413: more bytes than the service or the policy takes."""

    @property
    def max_bytes(self) -> int | None:
        """The most that would be taken."""
        return _number(self.members.get("max_bytes"))


class DigestMismatch(Rejected):
    """422: the bytes hash to another name than they were sent under."""


class OnHold(Problem):
    """451: an operator keeps these bytes from being served and taken."""


class QuotaExceeded(Problem):
    """507: the workspace would hold more than its quota."""


class Unavailable(Problem):
    """429, 502, 503, 504: not now; raised once all attempts are spent."""


def _number(value: object) -> int | None:
    return value if isinstance(value, int) else None
