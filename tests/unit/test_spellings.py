"""Texts of callers that become part of a record: taken as they are meant, or refused."""

from __future__ import annotations

from uuid import UUID

import pytest

from service.domain.errors import BadName
from service.domain.hold import parse_reason
from service.domain.ref import parse_ref_id

REF_ID = "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(("text", "reason"), [("virus", "virus"), ("  a claim of 3 May\n", None), (" §12 ", "§12")])
def test_a_reason_is_what_can_be_read(text: str, reason: str | None) -> None:
    if reason is None:
        with pytest.raises(BadName):
            parse_reason(text)
    else:
        assert parse_reason(text) == reason


@pytest.mark.parametrize("text", ["", "   ", "\t", "a\x00b", "a\x1b[31mb", "a\x07", "\ud800"])
def test_a_reason_that_says_nothing_or_cannot_be_shown_is_refused(text: str) -> None:
    with pytest.raises(BadName):
        parse_reason(text)


def test_a_ref_id_has_one_spelling() -> None:
    assert parse_ref_id(REF_ID) == UUID(REF_ID)


@pytest.mark.parametrize(
    "text",
    ["", "x", REF_ID.upper(), f"{{{REF_ID}}}", f"urn:uuid:{REF_ID}", REF_ID.replace("-", ""), f"{REF_ID}\n"],
)
def test_any_other_spelling_of_a_ref_id_is_refused(text: str) -> None:
    with pytest.raises(BadName):
        parse_ref_id(text)
