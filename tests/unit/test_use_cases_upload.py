"""An upload, as it should go and as it may go wrong: nothing half-visible, nothing left over, nothing lost."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from service.adapters.memory.objects import MemoryObjects
from service.application.upload_blob import Admit, Received
from service.domain.blob import MediaInfo, Sha256
from service.domain.errors import (
    DigestMismatch,
    IdempotencyKeyReuse,
    MediaTypeMismatch,
    QuotaExceeded,
    StorageUnavailable,
    TooLarge,
    Unavailable,
)
from service.domain.event import DecisionKind
from service.ports.idempotency import Replay
from service.ports.objects import Reservation
from tests.parts.blobs import get, noise
from tests.parts.house import AnswerLost, FailingStorage, House, Sent, SignedProber, Stepped, Steps, digest
from tests.parts.ledgers import blob_claim_on, fresh_blob

pytestmark = pytest.mark.anyio

PICTURE = b"image/png\nthe rest of it"


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return await House(tmp_path).open()


async def failing(folder: Path, *breaks: str) -> House:
    """A house on a store that breaks."""
    return await House(folder, storage=FailingStorage(folder, *breaks)).open()


# --- as it should go --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 64 * 1024, 200_000, 2**20, 2**21 + 3])
async def test_bytes_of_any_size_come_in_whole(house: House, size: int) -> None:
    content = noise(size)
    outcome = fresh_blob(await house.upload(house.sent(content)))
    assert (outcome.decision, outcome.blob.sha256, outcome.blob.size) == (DecisionKind.INSERT, digest(content), size)
    [key] = await house.stored()
    assert await get(house.storage, key) == content
    assert await house.is_sound()


async def test_what_was_found_is_kept_whatever_was_claimed(house: House) -> None:
    outcome = fresh_blob(await house.upload(house.sent(PICTURE, sha256=digest(PICTURE), media_type="text/html")))
    assert outcome.blob.media == MediaInfo("image/png", 4, 3, readable=True)


async def test_bytes_that_are_held_are_not_stored_again(house: House) -> None:
    first = fresh_blob(await house.upload(house.sent(PICTURE)))
    again = fresh_blob(await house.upload(house.sent(PICTURE)))
    assert (again.decision, again.blob) == (DecisionKind.DUPLICATE, first.blob)
    assert await house.states() == {"live": 1}
    assert len(await house.events()) == 2


async def test_the_spare_object_of_another_workspace_is_removed(house: House) -> None:
    await house.upload(house.sent(PICTURE))
    await house.ledger.workspaces.ensure("other")
    outcome = fresh_blob(await house.upload(replace(house.sent(PICTURE), workspace="other")))
    assert outcome.decision is DecisionKind.INSERT
    assert await house.states() == {"live": 1}
    assert len(await house.stored()) == 1


async def test_of_equal_bytes_that_come_at_once_one_object_stays(house: House) -> None:
    outcomes = await asyncio.gather(*(house.upload(house.sent(PICTURE)) for _ in range(5)))
    decisions = sorted(fresh_blob(outcome).decision for outcome in outcomes)
    assert decisions == [*[DecisionKind.DUPLICATE] * 4, DecisionKind.INSERT]
    assert await house.states() == {"live": 1}
    assert await house.is_sound()


async def test_a_spare_object_that_cannot_be_removed_stays_condemned(tmp_path: Path) -> None:
    house = await failing(tmp_path, "delete")
    await house.upload(house.sent(PICTURE))
    await house.ledger.workspaces.ensure("other")
    await house.upload(replace(house.sent(PICTURE), workspace="other"))
    assert await house.states() == {"live": 1, "condemned": 1}
    assert await house.is_sound()


async def test_a_repeated_request_gets_the_first_answer(house: House) -> None:
    claim = blob_claim_on("a key")
    first = fresh_blob(await house.upload(house.sent(PICTURE), claim))
    assert await house.upload(house.sent(PICTURE), claim) == Replay(claim.render(first))
    with pytest.raises(IdempotencyKeyReuse):
        await house.upload(house.sent(b"other bytes"), claim)
    assert len(await house.events()) == 1
    assert await house.states() == {"live": 1}
    assert await house.is_sound()


@pytest.mark.parametrize(
    ("claim", "found"),
    [
        (None, b"text/plain\n"),
        ("", b"text/plain\n"),
        ("text/html", b"image/png\n"),
        ("application/octet-stream", b"image/png\n"),
        ("image/jpeg", b"image/png\n"),
        ("IMAGE/anything; q=1", b"image/png\n"),
        ("video/mp4", b"video/webm\n"),
        ("audio/mp4", b"video/mp4\n"),
    ],
)
async def test_a_claim_is_no_reason_to_refuse_unless_it_is_of_another_kind(
    house: House, claim: str | None, found: bytes
) -> None:
    outcome = fresh_blob(await house.upload(house.sent(found, media_type=claim)))
    assert outcome.blob.media.media_type == found.decode().strip()


async def test_bytes_that_nobody_recognises_may_be_of_a_type_that_nobody_knows(house: House) -> None:
    outcome = fresh_blob(await house.upload(house.sent(b"noise", media_type="image/unheard-of")))
    assert outcome.blob.media.media_type == "application/octet-stream"


# --- refused ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("claim", "found"),
    [("image/png", b"text/html\n"), ("Video/mp4", b"image/png\n"), ("audio/mpeg", b"noise"), (" image/png", b"")],
)
async def test_a_claim_of_another_kind_is_refused_and_nothing_is_left(house: House, claim: str, found: bytes) -> None:
    with pytest.raises(MediaTypeMismatch):
        await house.upload(house.sent(found, media_type=claim))
    assert await house.is_untouched()


async def test_bytes_that_do_not_hash_to_their_name_leave_nothing(house: House) -> None:
    with pytest.raises(DigestMismatch) as refused:
        await house.upload(house.sent(PICTURE, sha256=digest(b"other")))
    assert refused.value.members() == {"expected": digest(b"other"), "actual": digest(PICTURE)}
    assert await house.is_untouched()


async def test_a_body_that_announces_too_much_is_not_read(house: House) -> None:
    body = Sent([PICTURE])
    with pytest.raises(TooLarge) as refused:
        await house.upload(house.upload_of(body, declared=len(PICTURE), max_bytes=len(PICTURE) - 1))
    assert (body.read, refused.value.members()) == (0, {"max_bytes": len(PICTURE) - 1})
    assert await house.is_untouched()


@pytest.mark.parametrize("declared", [None, 1])
async def test_a_body_that_grows_too_large_is_read_no_further(house: House, declared: int | None) -> None:
    body = Sent([b"x" * 10] * 100)
    with pytest.raises(TooLarge):
        await house.upload(house.upload_of(body, declared=declared, max_bytes=25))
    assert body.read == 3
    assert await house.is_untouched()


async def test_the_last_byte_of_the_limit_is_taken(house: House) -> None:
    outcome = fresh_blob(await house.upload(house.sent(PICTURE, declared=len(PICTURE), max_bytes=len(PICTURE))))
    assert outcome.blob.size == len(PICTURE)


@pytest.mark.parametrize("size", [10, 3 * 2**20])
async def test_a_body_that_breaks_off_leaves_nothing(house: House, size: int) -> None:
    with pytest.raises(ConnectionResetError):
        await house.upload(house.upload_of(Sent([noise(size)], ConnectionResetError())))
    assert await house.is_untouched()


async def test_what_is_not_admitted_is_not_kept(house: House) -> None:
    seen: list[Received] = []

    async def refuse(received: Received) -> Replay | None:
        seen.append(received)
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await house.upload(house.sent(PICTURE), admit=refuse)
    [received] = seen
    found = (digest(PICTURE), len(PICTURE), MediaInfo("image/png", 4, 3, readable=True))
    assert received == Received(*found, received.path)
    assert await house.is_untouched()


async def test_what_was_carried_out_before_is_answered_and_not_kept(house: House) -> None:
    async def answered(received: Received) -> Replay | None:
        return Replay(b"as before")

    async def admitted(received: Received) -> Replay | None:
        return None

    assert await house.upload(house.sent(PICTURE), admit=answered) == Replay(b"as before")
    assert await house.is_untouched()
    never: Admit = admitted
    assert fresh_blob(await house.upload(house.sent(PICTURE), admit=never)).decision is DecisionKind.INSERT


async def test_bytes_beyond_the_quota_leave_nothing(tmp_path: Path) -> None:
    house = await House(tmp_path).open(max_bytes=len(PICTURE) - 1)
    with pytest.raises(QuotaExceeded):
        await house.upload(house.sent(PICTURE))
    assert await house.is_untouched()
    assert await house.events() == []


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("landed", [False, True])
async def test_after_a_failed_put_the_object_is_condemned_and_not_forgotten(tmp_path: Path, *, landed: bool) -> None:
    house = await failing(tmp_path, "after_put" if landed else "before_put")
    with pytest.raises(StorageUnavailable):
        await house.upload(house.sent(PICTURE))
    assert await house.states() == {"condemned": 1}
    assert await house.stored() == []
    assert await house.events() == []
    assert await house.is_sound()


async def test_bytes_that_landed_and_cannot_be_deleted_have_a_row_for_the_sweep(tmp_path: Path) -> None:
    house = await failing(tmp_path, "after_put", "delete")
    with pytest.raises(StorageUnavailable):
        await house.upload(house.sent(PICTURE))
    [key] = await house.stored()
    assert await house.ledger.object_states() == {key: "condemned"}


async def test_a_refused_publication_whose_bytes_cannot_be_deleted_keeps_its_row(tmp_path: Path) -> None:
    house = await failing(tmp_path, "delete")
    await house.ledger.workspaces.put(house.workspace, 1, None)
    with pytest.raises(QuotaExceeded):
        await house.upload(house.sent(PICTURE))
    [key] = await house.stored()
    assert await house.ledger.object_states() == {key: "condemned"}


async def test_a_ledger_that_is_lost_too_hides_no_reason_and_no_object(tmp_path: Path) -> None:
    class Lost(MemoryObjects):
        async def condemn(self, reservation: Reservation) -> bool:  # noqa: ARG002 - the signature of the port
            raise Unavailable("The database does not answer.")

    house = await failing(tmp_path, "after_put")
    house.rewire(objects=Lost(house.database))
    with pytest.raises(StorageUnavailable):
        await house.upload(house.sent(PICTURE))
    [key] = await house.stored()
    assert await house.ledger.object_states() == {key: "pending"}


async def test_a_publication_whose_answer_was_lost_keeps_its_bytes(house: House) -> None:
    house.rewire(blobs=AnswerLost(house.database))
    with pytest.raises(Unavailable):
        await house.upload(house.sent(PICTURE))
    [key] = await house.stored()
    assert await house.ledger.object_states() == {key: "live"}
    assert await get(house.storage, key) == PICTURE
    house.rewire()
    assert fresh_blob(await house.upload(house.sent(PICTURE))).decision is DecisionKind.DUPLICATE


async def test_an_object_that_a_sweep_condemned_meanwhile_is_not_published(house: House) -> None:
    class Swept(MemoryObjects):
        async def reserve(self, sha256: Sha256, size: int, lease: object) -> Reservation:
            reservation = await super().reserve(sha256, size, lease)  # type: ignore[arg-type]
            await self.condemn(reservation)
            return reservation

    house.rewire(objects=Swept(house.database))
    with pytest.raises(Unavailable):
        await house.upload(house.sent(PICTURE))
    assert await house.events() == []
    assert await house.states() == {"condemned": 1}


# --- cancellation -----------------------------------------------------------------------------------------------------


def stepped(house: House, steps: Steps) -> None:
    """Put a step before and after every call of a port."""
    house.rewire(
        storage=Stepped(house.storage, steps),
        prober=Stepped(SignedProber(), steps),
        objects=Stepped(house.ledger.objects, steps),
        blobs=Stepped(house.ledger.blobs, steps),
    )


async def cancelled_at(folder: Path, cancel_at: set[int], *, spare: bool) -> tuple[House, Steps, bool]:
    """An upload whose task is cancelled at these steps; whether it came to its end all the same."""
    folder.mkdir()
    house, steps = await House(folder).open(), Steps(cancel_at)
    if spare:
        await house.upload(house.sent(PICTURE))
        await house.ledger.workspaces.ensure("other")
    stepped(house, steps)
    upload = replace(house.sent(PICTURE), workspace="other" if spare else house.workspace)
    try:
        await steps.run(house.upload(upload))
    except asyncio.CancelledError:
        return house, steps, False
    return house, steps, True


@pytest.mark.parametrize("spare", [False, True])
@pytest.mark.parametrize("again_after", [None, 1, 2, 3])
async def test_an_upload_cancelled_at_any_step_is_kept_whole_or_not_at_all(
    tmp_path: Path, *, spare: bool, again_after: int | None
) -> None:
    uncancelled, all_steps, ended = await cancelled_at(tmp_path / "uncancelled", set(), spare=spare)
    assert ended
    assert await uncancelled.is_sound()
    for number in range(1, len(all_steps.taken) + 1):
        cancel_at = {number} if again_after is None else {number, number + again_after}
        house, steps, ended = await cancelled_at(tmp_path / str(number), cancel_at, spare=spare)
        where = steps.taken[number - 1]
        assert not ended, where
        assert await house.is_sound(), where
        workspace = "other" if spare else house.workspace
        published = await house.ledger.blobs.find(workspace, digest(PICTURE)) is not None
        assert published is (number > all_steps.taken.index("before publish") + 1), where
        assert len(await house.ledger.events(workspace)) == published, where
        if not published:
            assert len(await house.stored()) == spare, where
