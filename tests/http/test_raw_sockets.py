"""The service as shipped, against bytes that no well-behaved client sends: one answer or a clean close, and soon."""

from __future__ import annotations

import asyncio

import pytest

from tests import samples
from tests.parts.caller import Caller
from tests.parts.corpus import Case, corpus
from tests.parts.service import Refkeep
from tests.parts.wire import Heard, overhear

NAMES = [case.name for case in corpus("", b"/blobs/" + b"0" * 64)]
IDLE_S = 5.0
"""After so long without a request the service closes."""
SOON_S = 12.0


async def overhear_all(port: int, cases: list[Case]) -> list[Heard]:
    each = [overhear(port, *(case.pieces or [case.sent]), end=case.end, pause=case.pause) for case in cases]
    return await asyncio.gather(*each)


@pytest.fixture(scope="module")
def heard(service: Refkeep) -> dict[str, tuple[Case, Heard]]:
    """What came of each, all at the same time: whoever waits for a close waits with the others."""
    caller = service.caller("read", "write")
    blob = caller.put("book/1/cover/0", samples.jpeg()).json()["ref"]["links"]["blob"]
    cases = corpus(caller.token, blob.encode())
    return {
        case.name: (case, told)
        for case, told in zip(cases, asyncio.run(overhear_all(service.port, cases)), strict=True)
    }


def test_every_case_has_a_name_of_its_own() -> None:
    assert len(NAMES) == len(set(NAMES))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_answered_as_it_may_be_and_the_connection_ends(heard: dict[str, tuple[Case, Heard]], name: str) -> None:
    case, told = heard[name]
    assert told.statuses in case.may
    assert told.rest == b"", "half an answer"
    assert told.closed
    assert told.seconds < SOON_S
    for answer in told.answers:
        assert answer.status_code < 500


def test_nothing_broke_meanwhile(heard: dict[str, tuple[Case, Heard]], service: Refkeep, anyone: Caller) -> None:
    assert heard
    assert anyone.http.get("/livez").status_code == 200
    log = service.log.read_text()
    assert "Traceback" not in log
    assert "panicked" not in log
