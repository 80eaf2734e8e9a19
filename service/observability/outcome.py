"""How a call ended, in words that dashboards rely on.

An exception classifies itself by two class attributes: `outcome` (an `Outcome`) and `code`, whose dashes become
underscores in `error_type`; so the list of types is closed by the classes that exist.
"""

from __future__ import annotations

from asyncio import CancelledError
from typing import Final, Literal, cast, get_args

Layer = Literal["handler", "usecase", "repo", "storage"]
Outcome = Literal["success", "not_found", "forbidden", "rejected", "not_modified", "client_aborted", "on_hold", "error"]
Fact = str | bool | int | float
"""What a span attribute and a log field may hold."""

UNEXPECTED: Final = "internal"
"""The error type of an exception that says nothing of itself: a defect, logged with its traceback."""

CANCELLED: Final = "cancelled"
"""The error type of a call whose caller went away."""

_STATUS_OUTCOMES: Final[dict[int, Outcome]] = {
    304: "not_modified",
    401: "forbidden",
    403: "forbidden",
    404: "not_found",
    410: "not_found",
    451: "on_hold",
}


def classify(error: BaseException) -> tuple[Outcome, str]:
    """Return (outcome, error_type) of an exception: what its class says, else what it is, else `internal`."""
    outcome = getattr(error, "outcome", None)
    if outcome in get_args(Outcome):
        unnamed = CANCELLED if outcome == "client_aborted" else UNEXPECTED
        return cast("Outcome", outcome), str(getattr(error, "code", unnamed)).replace("-", "_")
    if isinstance(error, CancelledError):
        return "client_aborted", CANCELLED
    return "error", "timeout" if isinstance(error, TimeoutError) else UNEXPECTED


def outcome_of_status(status: int) -> Outcome:
    """Return the outcome that an HTTP status tells when nothing more exact is known."""
    if (exact := _STATUS_OUTCOMES.get(status)) is not None:
        return exact
    return "success" if status < 400 else "rejected" if status < 500 else "error"


def sqlstate(error: BaseException | None) -> str | None:
    """Return the SQLSTATE of a driver's error or of the one that it was translated from."""
    while error is not None:
        if isinstance(code := getattr(error, "sqlstate", None), str):
            return code
        error = error.__cause__
    return None
