"""The contract of `service.ports.catalogue`, for every adapter."""

from __future__ import annotations

from datetime import timedelta
from itertools import chain
from typing import cast
from uuid import UUID, uuid4

import pytest

from service.domain.blob import MediaInfo, Sha256
from service.domain.errors import BadCursor, NotFound
from service.domain.ref import RefState, ResolvedRef
from service.ports.catalogue import MediaFilter
from service.schemas.cursor import Cursor
from tests.parts.ledgers import Ledger, attach, book, new_hash, ref_of, release_ref, restore

pytestmark = pytest.mark.anyio

ALL, LIVE, TRASHED = MediaFilter(), MediaFilter(RefState.LIVE), MediaFilter(RefState.TRASHED)


async def made(
    ledger: Ledger, workspace: str, number: int = 42, role: str = "notes", sha256: Sha256 | None = None
) -> UUID:
    """A new ref; its id."""
    command = attach(book(workspace, number), role, sha256 or await ledger.hold(workspace))
    return ref_of(await ledger.attach(command)).ref_id


async def trashed(ledger: Ledger, workspace: str, ref_id: UUID) -> None:
    await ledger.change(release_ref(workspace, ref_id))
    await ledger.advance(timedelta(seconds=1))


async def pages(ledger: Ledger, workspace: str, wanted: MediaFilter, limit: int) -> list[list[UUID]]:
    """The ids of every page, to the last."""
    found, cursor = [], None
    while True:
        page = await ledger.catalogue.page(workspace, cursor, limit, wanted)
        found.append([resolved.ref.ref_id for resolved in page.items])
        if page.next_cursor is None:
            return found
        cursor = page.next_cursor


async def ids(ledger: Ledger, workspace: str, wanted: MediaFilter) -> list[UUID]:
    [page] = await pages(ledger, workspace, wanted, 500)
    return page


async def test_a_list_has_the_newest_first_and_the_trash_what_it_got_last(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    first, second, third, fourth = [await made(ledger, workspace) for _ in range(4)]
    for ref_id in (third, first):
        await trashed(ledger, workspace, ref_id)
    assert await ids(ledger, workspace, ALL) == [fourth, third, second, first]
    assert await ids(ledger, workspace, LIVE) == [fourth, second]
    assert await ids(ledger, workspace, TRASHED) == [first, third]
    for wanted in (ALL, LIVE, TRASHED):
        for resolved in (await ledger.catalogue.page(workspace, None, 9, wanted)).items:
            assert await ledger.refs.find(workspace, resolved.ref.ref_id) == resolved


@pytest.mark.parametrize("wanted", [ALL, LIVE, TRASHED], ids=["all", "live", "trashed"])
async def test_pages_have_every_ref_once_in_the_order_of_the_list(ledger: Ledger, wanted: MediaFilter) -> None:
    workspace = await ledger.workspace()
    refs = [await made(ledger, workspace) for _ in range(7)]
    for ref_id in (refs[2], refs[5], refs[0], refs[6], refs[3]):
        await ledger.change(release_ref(workspace, ref_id))
    whole = await ids(ledger, workspace, wanted)
    for limit in (1, 2, 3, len(whole)):
        found = await pages(ledger, workspace, wanted, limit)
        assert [*chain.from_iterable(found)] == whole
        assert all(len(page) == limit for page in found[:-1])
        assert found[-1]


async def test_refs_that_come_and_go_move_no_other_ref_to_another_page(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    refs = [await made(ledger, workspace) for _ in range(6)]
    for ref_id in refs[:4]:
        await trashed(ledger, workspace, ref_id)
    page = await ledger.catalogue.page(workspace, None, 2, TRASHED)
    await trashed(ledger, workspace, refs[4])
    await ledger.change(restore(workspace, refs[3]))
    rest = await ledger.catalogue.page(workspace, page.next_cursor, 2, TRASHED)
    assert [resolved.ref.ref_id for resolved in (*page.items, *rest.items)] == refs[3::-1]
    assert rest.next_cursor is None


async def test_a_filter_narrows_the_list(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    shared, clip = await ledger.hold(workspace), new_hash()
    await ledger.publish(workspace, clip, media=MediaInfo("video/mp4"))
    one = await made(ledger, workspace, 1, "cover", shared)
    two = await made(ledger, workspace, 2, "cover", clip)
    page = await made(ledger, workspace, 2, "pages", shared)
    await trashed(ledger, workspace, page)
    for wanted, found in (
        (MediaFilter(entity_type="book"), [page, two, one]),
        (MediaFilter(entity_type="shelf"), []),
        (MediaFilter(entity_type="book", entity_id="2"), [page, two]),
        (MediaFilter(entity_id="1"), [one]),
        (MediaFilter(role="cover"), [two, one]),
        (MediaFilter(RefState.TRASHED, role="cover"), []),
        (MediaFilter(sha256=shared), [page, one]),
        (MediaFilter(RefState.LIVE, sha256=shared), [one]),
        (MediaFilter(sha256=new_hash()), []),
        (MediaFilter(media_type="image/png"), [page, one]),
        (MediaFilter(media_type="image/*"), [page, one]),
        (MediaFilter(media_type="video/*"), [two]),
        (MediaFilter(media_type="image"), []),
        (MediaFilter(media_type="%/*"), []),
        (MediaFilter(ref_ids=(one, page, uuid4())), [page, one]),
        (MediaFilter(RefState.TRASHED, ref_ids=(one, page)), [page]),
        (MediaFilter(ref_ids=()), []),
        (MediaFilter(RefState.LIVE, "book", "2", "cover", clip, "video/mp4", (two,)), [two]),
    ):
        assert await ids(ledger, workspace, wanted) == found, wanted
        assert [*chain.from_iterable(await pages(ledger, workspace, wanted, 1))] == found, wanted


async def test_a_list_shows_its_own_workspace_alone(ledger: Ledger) -> None:
    mine, theirs = await ledger.workspace(), await ledger.workspace()
    foreign = await made(ledger, theirs)
    assert await ids(ledger, mine, ALL) == []
    assert await ids(ledger, mine, MediaFilter(ref_ids=(foreign,))) == []
    assert await ids(ledger, theirs, ALL) == [foreign]
    with pytest.raises(NotFound):
        await ledger.catalogue.page("nobody", None, 9, ALL)


async def test_a_cursor_of_another_list_is_told_from_garbage_by_nobody(ledger: Ledger) -> None:
    workspace = await ledger.workspace()
    for _ in range(3):
        await made(ledger, workspace)
    live = (await ledger.catalogue.page(workspace, None, 1, LIVE)).next_cursor
    for _ in range(2):
        await trashed(ledger, workspace, await made(ledger, workspace))
    bin_ = (await ledger.catalogue.page(workspace, None, 1, TRASHED)).next_cursor
    assert live is not None
    assert bin_ is not None
    wrong = ["", "x", live.upper(), f" {live}", f"0{live}", bin_, str(Cursor(1, 2, 3)), f"{'f' * 12}-{live}"]
    for cursor in wrong:
        if cursor != live:
            with pytest.raises(BadCursor):
                await ledger.catalogue.page(workspace, cursor, 1, LIVE)
    for cursor in ("", live, f"00{bin_}", f"{'f' * 12}-{live}"):
        with pytest.raises(BadCursor):
            await ledger.catalogue.page(workspace, cursor, 1, TRASHED)


async def test_every_combination_of_filters_lists_what_fits_and_nothing_else(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a page looks at fewer refs than it would have to: then the next one goes on."""
    workspace, text = await ledger.workspace(), MediaInfo("text/plain")
    hashes = [await ledger.hold(workspace), new_hash()]
    await ledger.publish(workspace, hashes[1], media=text)
    for number in range(12):
        ref_id = await made(ledger, workspace, number % 2, ("notes", "pages")[number // 2 % 2], hashes[number % 3 % 2])
        if number % 5 < 2:
            await trashed(ledger, workspace, ref_id)
    everything = {state: await listed(ledger, workspace, MediaFilter(state)) for state in (None, *RefState)}
    some, named = everything[None][5], tuple(each.ref.ref_id for each in everything[None][3:9])
    wanted_by_each: list[dict[str, object]] = [
        {"entity_type": "book"}, {"entity_id": some.ref.entity.id}, {"role": some.ref.role},
        {"sha256": some.ref.sha256}, {"media_type": "text/*"}, {"ref_ids": named},
    ]  # fmt: skip
    for scan in (10_000, 2):
        monkeypatch.setattr("service.adapters.postgres.catalogue.SCAN", scan)
        for state in (None, *RefState):
            for chosen in range(1 << len(wanted_by_each)):
                asked = dict(
                    chain.from_iterable(each.items() for n, each in enumerate(wanted_by_each) if chosen >> n & 1)
                )
                wanted = MediaFilter(state, **asked)  # type: ignore[arg-type]
                fitting = [each.ref.ref_id for each in everything[state] if fits(each, asked)]
                assert [*chain.from_iterable(await pages(ledger, workspace, wanted, 2))] == fitting, wanted


async def listed(ledger: Ledger, workspace: str, wanted: MediaFilter) -> list[ResolvedRef]:
    return [*(await ledger.catalogue.page(workspace, None, 500, wanted)).items]


def fits(resolved: ResolvedRef, asked: dict[str, object]) -> bool:
    ref = resolved.ref
    has = {"entity_type": ref.entity.type, "entity_id": ref.entity.id, "role": ref.role, "sha256": ref.sha256}
    return (
        all(has[name] == asked[name] for name in has if name in asked)
        and ("media_type" not in asked or resolved.blob.media.media_type.startswith("text/"))
        and ("ref_ids" not in asked or ref.ref_id in cast("tuple[UUID, ...]", asked["ref_ids"]))
    )


async def test_a_workspace_of_many_kinds_is_listed_all_the_same(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace = await ledger.workspace()
    refs = [await made(ledger, workspace, number % 2, ("notes", "pages")[number % 2]) for number in range(6)]
    monkeypatch.setattr("service.adapters.postgres.walks.MOST_KINDS", 1)
    assert await ids(ledger, workspace, MediaFilter(RefState.LIVE, role="notes")) == refs[4::-2]
    assert await ids(ledger, workspace, MediaFilter(RefState.LIVE, entity_id="1")) == refs[5::-2]
