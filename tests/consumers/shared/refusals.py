"""What a service refuses, as its callers see it; and what Refkeep's refusals become on their way to them."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from refkeep_client import (
    Conflict,
    Gone,
    IdempotencyConflict,
    NotFound,
    OnHold,
    Problem,
    QuotaExceeded,
    RefkeepError,
    Rejected,
    Unavailable,
    Unreachable,
)

_log = logging.getLogger(__name__)


@dataclass(eq=False)  # an exception is itself alone
class Refusal(Exception):
    """A problem document (RFC 9457). With `retry_after`, in seconds, the same request may succeed later."""

    status: int
    code: str
    detail: str
    members: dict[str, Any] = field(default_factory=dict)
    retry_after: int | None = None


def bad_form(detail: str) -> Refusal:
    """The body is no form with one file."""
    return Refusal(400, "bad-form", detail)


def too_large(max_bytes: int) -> Refusal:
    """More bytes than any picture has."""
    return Refusal(413, "too-large", f"The picture exceeds {max_bytes} bytes.", {"max_bytes": max_bytes})


def not_found(what: str) -> Refusal:
    """There is nothing of this name."""
    return Refusal(404, "not-found", f"There is no {what}.")


def gone(what: str) -> Refusal:
    """It was deleted, and its name is not used again."""
    return Refusal(410, "gone", f"The {what} was deleted.")


def not_now() -> Refusal:
    """Refkeep did not answer in time, or cannot at the moment: with the same key nothing happens twice."""
    return Refusal(503, "media-unavailable", "Pictures cannot be changed now; try again.", retry_after=2)


def list_changed(status: int, version: int, ref_ids: list[str]) -> Refusal:
    """What was asked for does not fit the list, which the problem tells as it is now."""
    detail = "The list is another one by now; look at it and ask again."
    return Refusal(status, "list-changed", detail, {"version": version, "ref_ids": ref_ids})


@contextmanager
def refkeep_refusals() -> Iterator[None]:
    """Around calls of Refkeep: "not now" stays that, what the caller can mend is passed on, the rest is our defect."""
    try:
        yield
    except (Unavailable, Unreachable) as error:
        raise not_now() from error
    except IdempotencyConflict as error:
        raise (not_now() if error.retryable else _passed_on(error)) from error
    except (Rejected, Conflict, QuotaExceeded, OnHold, NotFound, Gone) as error:
        raise _passed_on(error) from error
    except RefkeepError as error:  # our key, our request, or a Refkeep that we do not understand
        _log.exception("Refkeep cannot be talked to")
        raise Refusal(502, "media-misunderstood", "Pictures cannot be changed; this has been noted.") from error


def _passed_on(problem: Problem) -> Refusal:
    return Refusal(problem.status, problem.code, problem.detail, problem.members)
