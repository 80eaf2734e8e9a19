"""Outcomes to answers: which decision is which status, and which headers go with it."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from service.domain.event import DecisionKind
from service.ports.blobs import BlobOutcome
from service.ports.refs import BatchOutcome, RefOutcome
from service.router.answers import Answer, answer
from service.router.versions import version_etag
from service.schemas.batch import BatchResult
from service.schemas.media import Presenter


def present_blob(present: Presenter, *, locate: bool = False) -> Callable[[BlobOutcome], Answer]:
    """201 for an insert, 200 for a duplicate; `locate` adds where the named bytes are."""

    def answer_for(outcome: BlobOutcome) -> Answer:
        status = HTTPStatus.CREATED if outcome.decision is DecisionKind.INSERT else HTTPStatus.OK
        headers = {"location": f"{present.public_url}/blobs/{outcome.blob.sha256}"} if locate else {}
        return answer(status, present.blob_result(outcome), headers)

    return answer_for


def present_ref(present: Presenter) -> Callable[[RefOutcome], Answer]:
    """201 with its place for an insert, 200 for everything else; always the entity's version."""

    def answer_for(outcome: RefOutcome) -> Answer:
        result = present.ref_result(outcome)
        headers = {"etag": version_etag(outcome.version)}
        if outcome.decision is DecisionKind.INSERT and result.ref is not None:
            return answer(HTTPStatus.CREATED, result, {**headers, "location": result.ref.links.self})
        return answer(HTTPStatus.OK, result, headers)

    return answer_for


def present_batch(present: Presenter) -> Callable[[BatchOutcome], Answer]:
    """200 with what became of each operation."""

    def answer_for(outcomes: BatchOutcome) -> Answer:
        return answer(HTTPStatus.OK, BatchResult([present.ref_result(outcome) for outcome in outcomes]))

    return answer_for


def present_nothing(_: str) -> Answer:
    """204, whatever the event's id."""
    return answer(HTTPStatus.NO_CONTENT, None)
