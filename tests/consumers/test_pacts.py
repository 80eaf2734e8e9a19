"""The contracts of contracts/consumers: written by what the services do, kept by Refkeep.

`WRITE_PACTS=1 make test ARGS=tests/consumers/test_pacts.py` writes them anew.
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pact import Verifier

from tests.consumers.pacts import book, library
from tests.consumers.pacts.scene import Scene
from tests.consumers.pacts.states import States, state_server
from tests.consumers.shared.database import opened_database
from tests.parts.broken import Damage, broken
from tests.parts.postgres import PostgresServer
from tests.parts.service import Refkeep, Yard

HERE = Path(__file__).parent
CONTRACTS = HERE.parents[1] / "contracts" / "consumers"
os.environ["PACT_DO_NOT_TRACK"] = "true"  # the verifier would tell its makers of each run
SCENES = {"library": library.SCENES, "book": book.SCENES}


async def play(consumer: str, scenes: Sequence[Scene], database_url: str, folder: Path) -> None:
    async with opened_database(database_url, consumer, HERE / consumer / "schema.sql") as pool:
        for scene in scenes:
            await scene.play(consumer, folder, pool)


def contract(path: Path) -> Any:
    """A contract but for the versions of the tools that wrote it."""
    document = json.loads(path.read_text())
    document["metadata"].pop("pactRust", None)
    return document


@pytest.mark.parametrize("consumer", SCENES)
def test_a_contract_is_what_its_service_asks_for_today(consumer: str, postgres: PostgresServer, tmp_path: Path) -> None:
    with postgres.database() as database_url:
        asyncio.run(play(consumer, SCENES[consumer], database_url, tmp_path))
    [written] = tmp_path.glob("*.json")
    kept = CONTRACTS / written.name
    if os.environ.get("WRITE_PACTS"):
        kept.write_text(json.dumps(contract(written), indent=2, ensure_ascii=False) + "\n")
    assert contract(kept) == contract(written)


@pytest.mark.parametrize("consumer", SCENES)
def test_refkeep_keeps_a_contract(consumer: str, refkeep: Refkeep) -> None:
    verify(consumer, refkeep)


def test_an_answer_that_lacks_what_a_contract_asks_for_is_found(yard: Yard) -> None:
    damage = Damage("PUT", "/refs/book/first/cover/0", without="ref.ref_id")
    with broken(yard, damage) as refkeep, pytest.raises(AssertionError) as found:
        verify("book", refkeep)
    [failure] = str(found.value).partition("Failures:")[2].split("1) Verifying")[1:]
    assert "There were 1 pact failures" in failure
    assert "$.ref -> Actual map is missing the following keys: ref_id" in failure


def verify(consumer: str, refkeep: Refkeep) -> None:
    """Ask what the contract asks, on states of a new workspace. Raises `AssertionError` with all that differs."""
    states = States(refkeep)
    with state_server(states) as address:
        verifier = Verifier("refkeep", host="127.0.0.1").add_transport(url=refkeep.url)
        verifier.state_handler(address, body=True).add_source(CONTRACTS / f"{consumer}-refkeep.json")
        try:
            verifier.verify()
        except RuntimeError:
            raise AssertionError(verifier.output(strip_ansi=True)) from None
