"""The use cases that sign addresses, over memory."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from service.adapters.memory.database import MemoryDatabase
from service.application.sign_media import SignMedia
from service.application.sign_media_list import SignMediaList
from service.application.signing import Signer
from service.domain.errors import NotFound, SigningDisabled
from service.domain.signature import Signatures, SigningKey
from tests.parts.ledgers import Ledger, attach, book, memory_ledger, ref_of, release_ref

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 11, 22, 10, 1, tzinfo=UTC)
KEYS = Signatures((SigningKey("2026", b"n" * 32),))
SIGNER = Signer(KEYS, NOW.timestamp)
HOUR = timedelta(hours=1)


@pytest.fixture
async def ledger() -> Ledger:
    ledger = memory_ledger(MemoryDatabase())
    for workspace in ("demo", "other"):
        await ledger.workspaces.ensure(workspace)
    return ledger


async def page(ledger: Ledger, workspace: str = "demo") -> UUID:
    sha256 = await ledger.hold(workspace)
    return ref_of(await ledger.attach(attach(book(workspace), "pages", sha256))).ref_id


async def test_a_file_is_signed_until_a_full_five_minutes(ledger: Ledger) -> None:
    ref_id = await page(ledger)
    signed = await SignMedia(ledger.refs, SIGNER)("demo", ref_id, HOUR)
    assert (signed.ref_id, signed.expires_at) == (ref_id, datetime(2026, 11, 22, 11, 5, tzinfo=UTC))
    path, _, query = signed.target.partition("?")
    assert path == f"/media/{ref_id}/file"
    assert KEYS.expiry(path, query, NOW.timestamp()) == signed.expires_at.timestamp()


async def test_what_is_not_there_or_anothers_is_not_signed(ledger: Ledger) -> None:
    ref_id = await page(ledger, "other")
    with pytest.raises(NotFound):
        await SignMedia(ledger.refs, SIGNER)("demo", ref_id, HOUR)
    assert await SignMediaList(ledger.catalogue, SIGNER)("demo", [ref_id], HOUR) == []


async def test_many_are_signed_in_the_order_asked_each_once(ledger: Ledger) -> None:
    first, second, trashed = [await page(ledger) for _ in range(3)]
    await ledger.change(release_ref("demo", trashed))
    asked = [trashed, second, first, second]
    signed = await SignMediaList(ledger.catalogue, SIGNER)("demo", asked, HOUR)
    assert [file.ref_id for file in signed] == [trashed, second, first]
    assert await SignMediaList(ledger.catalogue, SIGNER)("demo", [], HOUR) == []


async def test_without_keys_signing_is_refused(ledger: Ledger) -> None:
    ref_id = await page(ledger)
    with pytest.raises(SigningDisabled):
        await SignMedia(ledger.refs, Signer(Signatures()))("demo", ref_id, HOUR)
    with pytest.raises(SigningDisabled):
        await SignMediaList(ledger.catalogue, Signer(Signatures()))("demo", [ref_id], HOUR)
