"""Pictures are made to comply before a ref shows them, however their bytes came; a renderer of words makes them."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from service.adapters.filesystem.storage import FilesystemStorage
from service.application.changes import Rules
from service.application.drop_stale import current_definitions
from service.domain.blob import Blob, MediaInfo
from service.domain.decision import Attach, RoleState, decide_attach
from service.domain.errors import (
    BlobInUse,
    BlobNotHeld,
    BytesCorrupt,
    MediaTypeNotAllowed,
    OnHold,
    PreconditionRequired,
    QuotaExceeded,
    RenderBusy,
    RenderFailed,
    RoleFull,
)
from service.domain.event import DecisionKind, EventType, HoldingEvent, RefEvent
from service.domain.policy import Cardinality, Policies, Policy, Visibility
from service.domain.ref import Original
from service.domain.rendition import Normalisation, Preset
from service.ports.idempotency import Replay
from service.ports.refs import RefOutcome
from service.ports.renderer import Rendered
from tests.parts.house import HeldBytes, House, digest
from tests.parts.ledgers import (
    ACTOR,
    RULES,
    attach,
    batch_claim_on,
    book,
    claim_on,
    fresh,
    fresh_batch,
    purge,
    ref_of,
    release_ref,
)
from tests.parts.rendering import WordRenderer
from tests.telemetry_recorder import recording

pytestmark = pytest.mark.anyio

PHOTO, BARE, PLAIN = b"image/png\nGPS photo", b"image/png\n photo", b"image/png\nplain"
MADE = digest(BARE)
NORMALISED = Normalisation(max_edge=100)
POLICIES = Policies(
    (
        *RULES.policies.items,
        Policy("book", "portrait", Cardinality.SINGLE, Visibility.PUBLIC, normalisation=NORMALISED, keep_original=False,
               media_types=("image/*", "text/*")),
        Policy("book", "album", Cardinality.LIST, Visibility.PRIVATE, normalisation=NORMALISED, max_items=2),
    )
)  # fmt: skip


@pytest.fixture
async def house(tmp_path: Path) -> House:
    return await House(tmp_path, rules=Rules(POLICIES, RULES.lifetimes)).open()


def asked(house: House, content: bytes, role: str = "portrait", position: int | None = 0, **changes: object) -> Attach:
    command = attach(book(house.workspace), role, digest(content), position)
    return replace(command, **changes)  # type: ignore[arg-type]


async def sent(house: House, content: bytes) -> None:
    await house.upload(house.sent(content))


async def shown(house: House, role: str = "portrait") -> list[tuple[str, Original | None]]:
    found = await house.ledger.refs.of_entity(book(house.workspace), role)
    return [(each.ref.sha256, each.ref.original) for each in found.refs]


async def codes(house: House) -> list[str | None]:
    return [event.code for event in await house.events() if isinstance(event, RefEvent) and event.code]


def holds(house: House, content: bytes) -> bool:
    return (house.workspace, digest(content)) in house.database.holdings


async def test_a_ref_shows_what_was_made_of_the_picture_and_remembers_it(house: House) -> None:
    await sent(house, PHOTO)
    outcome = fresh(await house.attach(asked(house, PHOTO)))
    assert outcome.decision is DecisionKind.INSERT
    assert await shown(house) == [(MADE, Original(digest(PHOTO), kept=False))]
    assert holds(house, BARE)
    assert await house.is_sound()


async def test_the_same_picture_again_changes_nothing_and_is_not_made_again(house: House) -> None:
    await sent(house, PHOTO)
    await house.attach(asked(house, PHOTO))
    events = await house.events()
    assert fresh(await house.attach(asked(house, PHOTO))).decision is DecisionKind.NOOP
    assert await house.events() == events
    assert len(house.renderer.seen) == 1


async def test_a_picture_that_complies_is_shown_byte_for_byte_and_looked_at_once(house: House) -> None:
    await sent(house, PLAIN)
    for expected in (DecisionKind.INSERT, DecisionKind.NOOP):
        assert fresh(await house.attach(asked(house, PLAIN))).decision is expected
    assert await shown(house) == [(digest(PLAIN), None)]
    assert len(house.renderer.seen) == 1


async def test_what_is_no_picture_is_left_alone(house: House) -> None:
    text = b"text/plain\nGPS"
    await sent(house, text)
    await house.attach(asked(house, text))
    await house.attach_bytes(house.sent(text), house.target("portrait", 0))
    assert await shown(house) == [(digest(text), None)]
    assert house.renderer.seen == []


async def test_bytes_sent_with_the_attach_are_not_kept_where_the_policy_lets_them_go(house: House) -> None:
    for expected in (DecisionKind.INSERT, DecisionKind.NOOP):
        outcome = fresh(await house.attach_bytes(house.sent(PHOTO), house.target("portrait", 0)))
        assert outcome.decision is expected
    assert await shown(house) == [(MADE, Original(digest(PHOTO), kept=False))]
    assert not holds(house, PHOTO)
    assert [key[6:70] for key in await house.stored()] == [MADE]
    assert await house.is_sound()


async def test_bytes_sent_with_the_attach_are_kept_where_the_policy_says_so(house: House) -> None:
    await house.attach_bytes(house.sent(PHOTO), house.target("album"))
    assert await shown(house, "album") == [(MADE, Original(digest(PHOTO), kept=True))]
    assert holds(house, PHOTO)
    assert await house.is_sound()


async def test_a_picture_that_complies_may_be_sent_with_the_attach(house: House) -> None:
    await house.attach_bytes(house.sent(PLAIN), house.target("portrait", 0))
    assert await shown(house) == [(digest(PLAIN), None)]


async def test_another_original_of_the_same_picture_is_kept_in_the_place_of_the_first(house: House) -> None:
    other = b"image/png\n phoGPSto"
    first = ref_of(fresh(await house.attach_bytes(house.sent(PHOTO), house.target("album", 0))))
    outcome = fresh(await house.attach_bytes(house.sent(other), house.target("album", 0)))
    assert (outcome.decision, ref_of(outcome).ref_id) == (DecisionKind.UPDATE, first.ref_id)
    assert await shown(house, "album") == [(MADE, Original(digest(other), kept=True))]


async def test_what_the_policy_refuses_is_never_decoded(house: House) -> None:
    video = b"video/mp4\nGPS"
    await sent(house, video)
    with pytest.raises(MediaTypeNotAllowed):
        await house.attach(asked(house, video))
    with pytest.raises(MediaTypeNotAllowed):
        await house.attach_bytes(house.sent(video + b"2"), house.target("portrait", 0))
    with pytest.raises(BlobNotHeld):
        await house.attach(asked(house, b"never sent"))
    assert house.renderer.seen == []
    assert await codes(house) == ["media-type-not-allowed", "blob-not-held"]


async def test_a_full_role_refuses_before_anything_is_made(house: House) -> None:
    for number in range(2):
        await house.attach_bytes(house.sent(b"image/png\n%d" % number), house.target("album"))
    await sent(house, PHOTO)
    with pytest.raises(RoleFull):
        await house.attach(asked(house, PHOTO, "album", None, shift=True))
    assert PHOTO not in house.renderer.seen


async def test_a_replacement_in_a_list_asks_for_a_version_and_keeps_nothing(house: House) -> None:
    await house.attach_bytes(house.sent(PLAIN), house.target("album"))
    stored = await house.stored()
    with pytest.raises(PreconditionRequired):
        await house.attach_bytes(house.sent(PHOTO), house.target("album", 0))
    assert await house.stored() == stored


async def test_a_picture_of_which_nothing_can_be_made_is_refused_on_the_record(house: House) -> None:
    broken = b"image/png\nbroken GPS"
    await sent(house, broken)
    with pytest.raises(RenderFailed):
        await house.attach(asked(house, broken))
    with pytest.raises(RenderFailed):
        await house.attach_bytes(house.sent(broken + b"2"), house.target("portrait", 0))
    with pytest.raises(RenderFailed) as met:
        await house.change_refs(house.workspace, [asked(house, broken)])
    assert met.value.index == 0
    assert await codes(house) == ["unreadable-media"]
    assert await shown(house) == []
    assert not holds(house, broken + b"2")


async def test_a_full_queue_refuses_for_now_and_nothing_is_on_record(house: House) -> None:
    busy = b"image/png\nbusy GPS"
    await sent(house, busy)
    with pytest.raises(RenderBusy):
        await house.attach(asked(house, busy))
    assert await codes(house) == []


async def test_what_was_made_counts_against_the_quota(house: House) -> None:
    await house.ledger.workspaces.put(house.workspace, len(PHOTO), None)
    await sent(house, PHOTO)
    with pytest.raises(QuotaExceeded):
        await house.attach(asked(house, PHOTO))
    assert await codes(house) == ["quota-exceeded"]
    assert await shown(house) == []


async def test_what_was_made_is_not_charged_where_there_is_no_room_for_the_original_beside_it(house: House) -> None:
    room = len(PHOTO) + len(BARE)
    for quota in ((room - 1, None), (None, 1)):
        await house.ledger.workspaces.put(house.workspace, *quota)
        with pytest.raises(QuotaExceeded):
            await house.attach_bytes(house.sent(PHOTO), house.target("album"))
        assert not house.database.holdings
        assert await house.stored() == []
    assert set(await codes(house)) == {"quota-exceeded"}
    await house.ledger.workspaces.put(house.workspace, room, 2)
    await house.attach_bytes(house.sent(PHOTO), house.target("album"))
    assert holds(house, PHOTO)
    assert holds(house, BARE)


async def test_a_large_original_that_is_not_kept_needs_no_room(house: House) -> None:
    large = b"image/png\n" + b"GPS" * 700_000
    await house.ledger.workspaces.put(house.workspace, 1000, None)
    upload = house.sent(large, sha256=digest(large), declared=len(large))
    await house.attach_bytes(upload, house.target("portrait", 0))
    assert await shown(house) == [(digest(b"image/png\n"), Original(digest(large), kept=False))]


async def test_many_in_one_batch_are_made_to_comply_and_the_rest_goes_on(house: House) -> None:
    for content in (PHOTO, PLAIN):
        await sent(house, content)
    done = fresh_batch(
        await house.change_refs(
            house.workspace,
            [asked(house, PHOTO), asked(house, PLAIN, "album", None, shift=True), asked(house, PLAIN, "notes", None,
                                                                                      shift=True)],
        )
    )  # fmt: skip
    assert [outcome.decision for outcome in done] == [DecisionKind.INSERT] * 3
    assert await shown(house) == [(MADE, Original(digest(PHOTO), kept=False))]
    assert await shown(house, "notes") == [(digest(PLAIN), None)]


class PairedRenderer(WordRenderer):
    """Ends nothing before two have come."""

    two: asyncio.Event

    async def normalise(self, path: Path, media_type: str, wanted: Normalisation) -> Rendered | None:
        rendered = await super().normalise(path, media_type, wanted)
        if len(self.seen) == 2:
            self.two.set()
        await asyncio.wait_for(self.two.wait(), 10)
        return rendered


async def test_pictures_of_a_batch_are_made_side_by_side_and_the_same_one_once(house: House) -> None:
    other = PHOTO + b" of another"
    for content in (PHOTO, other):
        await sent(house, content)
    renderer = PairedRenderer()
    renderer.two = asyncio.Event()
    change = replace(house.change_refs, normalise=replace(house.normalise, renderer=renderer, at_once=3))
    commands = [asked(house, each, "album", None, shift=True) for each in (PHOTO, PHOTO)]
    fresh_batch(await change(house.workspace, [*commands, asked(house, other)]))
    assert sorted(renderer.seen) == sorted([PHOTO, other])
    assert await shown(house, "album") == [(MADE, Original(digest(PHOTO), kept=True))] * 2


async def test_the_first_of_a_batch_that_fails_is_told_and_alone_on_record(house: House) -> None:
    broken = [PHOTO, b"image/png\nbroken one", b"image/png\nbroken two", PLAIN]
    for content in broken:
        await sent(house, content)
    change = replace(house.change_refs, normalise=replace(house.normalise, at_once=4))
    before = len(await house.events())
    with pytest.raises(RenderFailed) as refused:
        await change(house.workspace, [asked(house, each) for each in broken])
    assert refused.value.index == 1
    rejected = [event for event in (await house.events())[before:] if event.type is EventType.REF_REJECTED]
    assert len(rejected) == 1


async def test_after_a_failure_in_a_batch_nothing_is_begun_and_one_for_now_is_not_on_record(house: House) -> None:
    busy = b"image/png\nbusy GPS"
    for content in (busy, PHOTO):
        await sent(house, content)
    with pytest.raises(RenderBusy) as refused:
        await house.change_refs(house.workspace, [asked(house, busy), asked(house, PHOTO, "album", None, shift=True)])
    assert refused.value.index == 0
    assert house.renderer.seen == [busy]
    assert await codes(house) == []


async def test_a_batch_is_refused_by_the_ledger_for_what_is_not_held_or_not_allowed(house: House) -> None:
    video = b"video/mp4\nGPS"
    await sent(house, video)
    with pytest.raises(MediaTypeNotAllowed):
        await house.change_refs(house.workspace, [asked(house, video)])
    with pytest.raises(BlobNotHeld):
        await house.change_refs(house.workspace, [asked(house, b"never sent")])
    assert house.renderer.seen == []


def test_a_picture_on_hold_is_refused_where_something_would_be_made_of_it() -> None:
    """Wherever nothing is, it may be attached, and is not served."""
    now = datetime(2026, 1, 2, tzinfo=UTC)
    photo = Blob(digest(PHOTO), len(PHOTO), MediaInfo("image/png", 4, 3, readable=True), now)
    state = RoleState(now, 0, 0, None, photo, on_hold=True)
    for role, kind in (("portrait", DecisionKind.REJECT), ("cover", DecisionKind.INSERT)):
        decided = decide_attach(state, attach(book("demo"), role, digest(PHOTO), 0), POLICIES, RULES.lifetimes.trash)
        assert (decided.kind, isinstance(decided.error, OnHold)) == (kind, kind is DecisionKind.REJECT)


async def test_a_picture_that_nobody_looked_at_gets_into_no_such_role(house: House) -> None:
    """Held when it is judged, not when it was looked at: it may be sent at that very moment."""
    await sent(house, PHOTO)
    change = house.rules.change(asked(house, PHOTO))
    with pytest.raises(BlobNotHeld):
        await house.ledger.refs.change(change.question, change.judge)
    assert await shown(house) == []


async def test_a_key_is_answered_as_before_without_another_look(house: House) -> None:
    await sent(house, PHOTO)
    claim = claim_on("one")
    first = fresh(await house.attach(asked(house, PHOTO), claim))
    house.renderer.seen.clear()
    ref_id = ref_of(first).ref_id
    for command in (release_ref(house.workspace, ref_id), purge(house.workspace, ref_id)):
        await house.ledger.change(command)
    await house.ledger.blobs.release(house.workspace, MADE, ACTOR)
    events = await house.events()
    assert await house.attach(asked(house, PHOTO), claim) == Replay(claim.render(first))
    assert (await house.events(), house.renderer.seen) == (events, [])


async def test_a_key_of_bytes_sent_with_the_attach_is_answered_as_before(house: House) -> None:
    claim = claim_on("one")
    first = fresh(await house.attach_bytes(house.sent(PHOTO), house.target("portrait", 0), claim))
    house.renderer.seen.clear()
    events = await house.events()
    again = await house.attach_bytes(house.sent(PHOTO), house.target("portrait", 0), claim)
    about = claim.about(digest(PHOTO))
    assert again == Replay(about.render(first))
    assert (await house.events(), house.renderer.seen) == (events, [])


async def test_a_key_of_a_batch_is_answered_as_before_without_another_look(house: House) -> None:
    await sent(house, PHOTO)
    claim = batch_claim_on("many")
    first = fresh_batch(await house.change_refs(house.workspace, [asked(house, PHOTO)], claim))
    ref_id = ref_of(first[0]).ref_id
    for command in (release_ref(house.workspace, ref_id), purge(house.workspace, ref_id)):
        await house.ledger.change(command)
    await house.ledger.blobs.release(house.workspace, MADE, ACTOR)
    events = await house.events()
    assert await house.change_refs(house.workspace, [asked(house, PHOTO)], claim) == Replay(claim.render(first))
    assert await house.events() == events


async def test_two_attaches_of_the_same_photograph_at_once_make_one_ref(house: House) -> None:
    await sent(house, PHOTO)
    ends = await asyncio.gather(*(house.attach(asked(house, PHOTO)) for _ in range(2)))
    kinds = sorted(fresh(end).decision for end in ends if isinstance(end, RefOutcome))
    assert kinds == [DecisionKind.INSERT, DecisionKind.NOOP]
    assert await house.is_sound()


async def test_what_was_made_before_is_made_to_last_until_the_attach(house: House) -> None:
    await sent(house, PHOTO)
    await house.attach(asked(house, PHOTO))
    await house.ledger.advance(timedelta(days=4))
    await sent(house, PHOTO)
    await house.attach(asked(house, PHOTO))
    leases = {
        event.holding.sha256: event.holding.lease_until - event.time
        for event in await house.events()
        if isinstance(event, HoldingEvent) and event.type is EventType.HOLDING_ACQUIRED
    }
    assert leases[MADE] == RULES.lifetimes.holding
    assert len(house.renderer.seen) == 1


async def test_what_was_made_before_and_collected_since_is_made_again(house: House) -> None:
    await sent(house, PHOTO)
    first = ref_of(fresh(await house.attach(asked(house, PHOTO))))
    for command in (release_ref(house.workspace, first.ref_id), purge(house.workspace, first.ref_id)):
        await house.ledger.change(command)
    await house.ledger.blobs.release(house.workspace, MADE, ACTOR)
    await house.attach(asked(house, PHOTO))
    assert len(house.renderer.seen) == 2
    assert await shown(house) == [(MADE, Original(digest(PHOTO), kept=False))]


async def test_a_picture_that_ends_before_it_is_read_is_not_held(house: House) -> None:
    await sent(house, PHOTO)
    blob = await house.ledger.blobs.find(house.workspace, digest(PHOTO))
    assert blob is not None
    await house.ledger.blobs.release(house.workspace, digest(PHOTO), ACTOR)
    with pytest.raises(BlobNotHeld):
        await house.normalise.held(asked(house, PHOTO), blob)


async def test_nothing_is_made_of_a_picture_on_hold(house: House) -> None:
    await sent(house, PHOTO)
    blob = await house.ledger.blobs.find(house.workspace, digest(PHOTO))
    assert blob is not None
    with pytest.raises(OnHold):
        await replace(house.normalise, descriptors=HeldBytes(house.database, hold=404)).held(asked(house, PHOTO), blob)
    assert house.renderer.seen == []


async def test_nothing_is_made_of_other_bytes_than_were_sent(house: House) -> None:
    await sent(house, PHOTO)
    [key] = await house.stored()
    staged = await house.storage.stage()
    await staged.write(PHOTO[::-1])
    await staged.commit(key)
    with pytest.raises(BytesCorrupt):
        await house.attach(asked(house, PHOTO))
    assert (house.renderer.seen, await shown(house)) == ([], [])


async def test_a_kept_original_cannot_be_given_up_and_goes_with_its_ref(house: House) -> None:
    outcome = fresh(await house.attach_bytes(house.sent(PHOTO), house.target("album")))
    ref_id = ref_of(outcome).ref_id
    with pytest.raises(BlobInUse):
        await house.ledger.blobs.release(house.workspace, digest(PHOTO), ACTOR)
    for command in (release_ref(house.workspace, ref_id), purge(house.workspace, ref_id)):
        await house.ledger.change(command)
    await house.ledger.blobs.release(house.workspace, digest(PHOTO), ACTOR)
    assert not holds(house, PHOTO)


async def test_a_picture_in_a_folder_is_read_where_it_lies(tmp_path: Path) -> None:
    store = FilesystemStorage(tmp_path / "store")
    await store.aopen()
    house = await House(tmp_path / "spool", rules=Rules(POLICIES, RULES.lifetimes), storage=store).open()
    await sent(house, PHOTO)
    await house.attach(asked(house, PHOTO))
    assert await shown(house) == [(MADE, Original(digest(PHOTO), kept=False))]


def test_current_definitions_are_those_of_all_presets_by_this_engine() -> None:
    presets = (Preset("thumb", 160, 160), Preset("same", 160, 160), Preset("large", 1600, None))
    current = current_definitions(Policies(RULES.policies.items, presets), "words/1")
    assert current == {presets[0].definition("words/1"), presets[2].definition("words/1")}
    assert current_definitions(RULES.policies, "words/1") == frozenset()


async def test_a_request_that_is_carried_out_elsewhere_meanwhile_is_answered_as_there(house: House) -> None:
    claim, normalise, ends = claim_on("one"), house.renderer.normalise, list[object]()

    async def meanwhile(path: Path, media_type: str, wanted: Normalisation) -> Rendered | None:
        house.renderer.normalise = normalise  # type: ignore[method-assign]
        ends.append(await house.attach_bytes(house.sent(PHOTO), house.target("portrait", 0), claim))
        return await normalise(path, media_type, wanted)

    house.renderer.normalise = meanwhile  # type: ignore[method-assign,assignment]
    late = await house.attach_bytes(house.sent(PHOTO), house.target("portrait", 0), claim)
    [first] = ends
    assert isinstance(first, RefOutcome)
    assert late == Replay(claim.render(first))
    assert await house.is_sound()


async def test_making_a_picture_comply_is_a_span_of_its_own_and_remembering_it_is_none(house: House) -> None:
    await sent(house, PHOTO)
    for spans in (1, 0):
        with recording() as recorder:
            await house.attach(asked(house, PHOTO))
        assert [name for name in recorder.spans if "rendition" in name] == ["media.rendition.normalise"] * spans
