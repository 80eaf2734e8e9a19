"""The book service: lists of illustrations that others change meanwhile, crashes between two commits, and the feed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import httpx
import pytest

from refkeep_client import Refkeep as RefkeepClient
from service.commands import events as event_commands
from tests.consumers.book.app import TABLES, books_owner
from tests.consumers.conftest import Shop
from tests.consumers.shared.database import opened_database
from tests.consumers.shared.projection import Projection
from tests.parts.caller import sha256_of
from tests.parts.consumers import listed
from tests.parts.fates import GONE, for_writes
from tests.parts.fresh import fresh_jpeg
from tests.parts.postgres import lock_waiters, session
from tests.parts.relay import RELAYED, Fate
from tests.parts.service import Refkeep, eventually


def new_book(shop: Shop) -> str:
    """A book that is there, with a chapter 1; it shows nothing."""
    name = f"book-{uuid4()}"
    assert shop.http.put(f"/books/{name}", json={"title": "A book"}).status_code == 200
    assert shop.http.put(f"/books/{name}/chapters/1").status_code == 200
    return name


@pytest.fixture
def book_id(books: Shop) -> str:
    return new_book(books)


def cover(shop: Shop, book_id: str, content: bytes) -> httpx.Response:
    return shop.http.post(f"/books/{book_id}/cover", files={"file": ("cover.jpg", content, "image/jpeg")})


def append(shop: Shop, book_id: str) -> str:
    files = {"file": ("figure.jpg", fresh_jpeg(), "image/jpeg")}
    answer = shop.http.post(f"/books/{book_id}/chapters/1/illustrations", files=files)
    assert (answer.status_code, answer.json()["decision"]) == (201, "insert")
    return str(answer.json()["picture"]["ref_id"])


def reorder(shop: Shop, book_id: str, ref_ids: list[str], **headers: str) -> httpx.Response:
    path = f"/books/{book_id}/chapters/1/illustrations/order"
    return shop.http.put(path, json={"ref_ids": ref_ids}, headers=headers)


def illustrations(shop: Shop, book_id: str) -> list[str]:
    items = shop.http.get(f"/books/{book_id}/chapters/1/illustrations").json()["items"]
    return [item["ref_id"] for item in items]


def in_refkeep(shop: Shop, book_id: str) -> list[str]:
    return [ref["ref_id"] for ref in shop.refkeep.refs(f"block/{book_id}:1/image")]


def is_level(shop: Shop) -> bool:
    """Whether the projection and Refkeep's own list are the same."""
    return shop.service.projected() == listed(shop.refkeep, "book", "block")


# --- illustrations ----------------------------------------------------------------------------------------------------


def test_illustrations_are_appended_reordered_and_removed_as_in_refkeep(books: Shop, book_id: str) -> None:
    first, second, third = (append(books, book_id) for _ in range(3))
    assert illustrations(books, book_id) == in_refkeep(books, book_id) == [first, second, third]
    answer = reorder(books, book_id, [third, first, second])
    assert (answer.status_code, answer.headers["etag"]) == (200, '"4"')
    assert illustrations(books, book_id) == in_refkeep(books, book_id) == [third, first, second]
    assert books.http.delete(f"/books/{book_id}/chapters/1/illustrations/{first}").status_code == 204
    assert illustrations(books, book_id) == [third, second]
    eventually(lambda: in_refkeep(books, book_id) == [third, second], 10)


def test_an_illustration_whose_answer_was_lost_is_there_once(books: Shop, book_id: str) -> None:
    books.relay.decide = for_writes(Fate(body_bytes=0), RELAYED)
    ref_id = append(books, book_id)
    assert illustrations(books, book_id) == in_refkeep(books, book_id) == [ref_id]


def test_an_order_that_meets_a_newer_version_of_the_same_list_is_carried_out_on_that(books: Shop, book_id: str) -> None:
    first, second = append(books, book_id), append(books, book_id)
    books.relay.decide = lambda head: GONE if head.startswith(b"GET /events") else RELAYED
    other = books.refkeep.http.patch(f"/media/{first}", json={"alt": "A figure"})
    assert other.json()["entity"]["version"] == 3
    assert reorder(books, book_id, [second, first]).json()["version"] == 4
    assert illustrations(books, book_id) == in_refkeep(books, book_id) == [second, first]


def test_an_order_that_is_asked_for_once_more_with_its_key_is_the_same(books: Shop, book_id: str) -> None:
    first, second = append(books, book_id), append(books, book_id)
    answers = [reorder(books, book_id, [second, first], **{"idempotency-key": "once"}) for _ in range(2)]
    assert [(answer.status_code, answer.json()["version"]) for answer in answers] == [(200, 3), (200, 3)]
    assert illustrations(books, book_id) == in_refkeep(books, book_id) == [second, first]


def test_whoever_says_what_they_saw_is_told_when_it_is_no_longer_so(books: Shop, book_id: str) -> None:
    first, second = append(books, book_id), append(books, book_id)
    books.refkeep.http.patch(f"/media/{first}", json={"alt": "A figure"})
    answer = reorder(books, book_id, [second, first], **{"if-match": '"2"'})
    assert (answer.status_code, answer.json()["code"]) == (412, "list-changed")
    assert (answer.json()["version"], answer.json()["ref_ids"]) == (3, [first, second])
    assert reorder(books, book_id, [second, first], **{"if-match": '"3"'}).status_code == 200


def test_an_order_of_pictures_that_are_gone_is_told_what_is_there(books: Shop, book_id: str) -> None:
    first, second = append(books, book_id), append(books, book_id)
    assert books.refkeep.http.delete(f"/media/{first}").status_code == 200
    answer = reorder(books, book_id, [second, first])
    assert (answer.status_code, answer.json()["ref_ids"]) == (409, [second])
    assert illustrations(books, book_id) == [second]


def test_a_list_that_was_thinned_while_refkeep_was_down_can_be_reordered_afterwards(books: Shop, book_id: str) -> None:
    first, second, third = (append(books, book_id) for _ in range(3))
    books.relay.decide = for_writes(GONE)
    assert books.http.delete(f"/books/{book_id}/chapters/1/illustrations/{first}").status_code == 204
    assert reorder(books, book_id, [third, second]).status_code == 503
    books.relay.decide = for_writes(RELAYED)
    assert reorder(books, book_id, [third, second]).status_code == 200
    assert illustrations(books, book_id) == in_refkeep(books, book_id) == [third, second]


def test_a_deleted_book_releases_its_cover_and_all_illustrations(books: Shop, book_id: str) -> None:
    cover(books, book_id, fresh_jpeg())
    append(books, book_id)
    append(books, book_id)
    assert books.http.delete(f"/books/{book_id}").status_code == 204
    eventually(lambda: not in_refkeep(books, book_id) and not books.refkeep.refs(f"book/{book_id}"), 10)
    assert books.http.delete(f"/books/{book_id}").status_code == 204
    assert books.http.get(f"/books/{book_id}/chapters/1/illustrations").status_code == 404


# --- crashes ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Crash:
    """What was on its way when the service was killed, and the key that it was sent with."""

    book_id: str
    content: bytes
    key: dict[str, str]

    def give_cover(self, shop: Shop) -> httpx.Response:
        return cover(shop, self.book_id, self.content)

    def append(self, shop: Shop) -> httpx.Response:
        files = {"file": ("figure.jpg", self.content, "image/jpeg")}
        path = f"/books/{self.book_id}/chapters/1/illustrations"
        return shop.http.post(path, files=files, headers=self.key)


@pytest.fixture(scope="module")
def crash(book_shop: Shop) -> Crash:
    """Refkeep had answered, the own commits had not come: the service was killed there, and is back."""
    crash = Crash(new_book(book_shop), fresh_jpeg(), {"idempotency-key": str(uuid4())})
    asyncio.run(killed_before_commit(book_shop, lambda: crash.give_cover(book_shop), lambda: crash.append(book_shop)))
    [row] = book_shop.service.sql("SELECT cover_ref_id FROM book.books WHERE id = $1", crash.book_id)
    assert row["cover_ref_id"] is None
    book_shop.service.start()
    return crash


async def killed_before_commit(shop: Shop, *asked: Callable[[], httpx.Response]) -> None:
    """Kill the service once all of its commits wait for a lock."""

    def ask_in_vain(ask: Callable[[], httpx.Response]) -> None:
        with pytest.raises(httpx.TransportError):
            ask()

    shop.relay.decide = lambda head: GONE if head.startswith(b"GET /events") else RELAYED
    async with session(shop.service.database_url) as holder, session(shop.service.database_url) as watcher:
        await holder.execute("BEGIN")
        await holder.execute("SELECT 1 FROM book.books JOIN book.chapters ON book_id = books.id FOR UPDATE")
        asking = [asyncio.create_task(asyncio.to_thread(ask_in_vain, ask)) for ask in asked]
        await lock_waiters(watcher, len(asked))
        await asyncio.to_thread(shop.service.kill)
        await asyncio.gather(*asking)
    shop.relay.decide = for_writes(RELAYED)


def test_what_a_crash_between_refkeeps_answer_and_the_own_commit_left_is_brought_by_the_feed(
    crash: Crash, books: Shop
) -> None:
    [ref] = books.refkeep.refs(f"book/{crash.book_id}")
    eventually(lambda: books.http.get(f"/books/{crash.book_id}").json()["cover"] is not None, 10)
    assert books.http.get(f"/books/{crash.book_id}").json()["cover"]["ref_id"] == ref["ref_id"]
    assert ref["blob"]["sha256"] == sha256_of(crash.content)


def test_whoever_asks_again_after_that_crash_gets_what_the_first_attempt_made(crash: Crash, books: Shop) -> None:
    [ref_id] = in_refkeep(books, crash.book_id)
    answer = crash.append(books)
    assert (answer.status_code, answer.json()["picture"]["ref_id"]) == (201, ref_id)
    assert illustrations(books, crash.book_id) == in_refkeep(books, crash.book_id) == [ref_id]


# --- the feed ---------------------------------------------------------------------------------------------------------


def stir(shop: Shop, book_id: str) -> None:
    """Changes of every kind, some by others than the service."""
    http, path = shop.refkeep.http, f"/refs/block/{book_id}:1/image"
    first, second, third = (append(shop, book_id) for _ in range(3))
    cover(shop, book_id, fresh_jpeg())
    before = http.get(f"/refs/book/{book_id}/cover").json()["items"][0]["ref_id"]
    cover(shop, book_id, fresh_jpeg())
    version = shop.refkeep.version(f"block/{book_id}:1")
    inserted = shop.refkeep.post(f"block/{book_id}:1/image", fresh_jpeg(), {"if-match": version}, position=1).json()
    replaced = shop.refkeep.put(
        f"block/{book_id}:1/image/0", fresh_jpeg(), {"if-match": f'"{inserted["entity"]["version"]}"'}
    )
    assert replaced.json()["decision"] == "replace"
    assert http.delete(f"/media/{second}").json()["decision"] == "release"
    assert http.post(f"/media/{first}/restore", json={}).json()["decision"] == "restore"
    assert http.patch(f"/media/{third}", json={"alt": "Words"}).json()["decision"] == "update"
    order = [ref["ref_id"] for ref in reversed(shop.refkeep.refs(f"block/{book_id}:1/image"))]
    etag = {"if-match": shop.refkeep.version(f"block/{book_id}:1")}
    assert http.put(f"{path}/order", json={"ref_ids": order}, headers=etag).json()["decision"] == "reorder"
    restored = http.post(f"/media/{before}/restore", json={"on_conflict": "replace"})
    assert restored.json()["decision"] == "restore"


def test_the_projection_is_what_refkeep_lists_whoever_changed_it(books: Shop, book_id: str) -> None:
    stir(books, book_id)
    eventually(lambda: is_level(books), 10)
    assert illustrations(books, book_id) == in_refkeep(books, book_id)
    [ref] = books.refkeep.refs(f"book/{book_id}")
    assert books.http.get(f"/books/{book_id}").json()["cover"]["ref_id"] == ref["ref_id"]


def test_a_feed_that_was_interrupted_goes_on_where_it_was_and_without_asking_for_anything_else(
    books: Shop, book_id: str
) -> None:
    append(books, book_id)
    eventually(lambda: is_level(books), 10)
    books.service.kill()
    [ref_id] = in_refkeep(books, book_id)
    books.refkeep.http.patch(f"/media/{ref_id}", json={"alt": "While it was away"})
    books.refkeep.http.delete(f"/media/{ref_id}")
    books.relay.heads.clear()
    books.service.start()
    eventually(lambda: is_level(books), 10)
    assert illustrations(books, book_id) == []
    paths = {head.split(b" ")[1].split(b"?")[0] for head in books.relay.heads}
    assert paths == {b"/events"}


def test_a_cursor_that_has_expired_is_followed_by_a_snapshot_that_misses_nothing(
    refkeep: Refkeep, books: Shop, book_id: str
) -> None:
    stays, goes = append(books, book_id), append(books, book_id)
    cover(books, book_id, fresh_jpeg())
    eventually(lambda: is_level(books), 10)
    books.service.kill()
    books.refkeep.http.delete(f"/media/{goes}")
    books.refkeep.http.delete(f"/refs/book/{book_id}")
    refkeep.command(event_commands.events, "drop", "--before", "0s")
    books.relay.heads.clear()
    books.service.start()
    eventually(lambda: is_level(books), 10)
    assert any(head.startswith(b"GET /snapshot") for head in books.relay.heads)
    assert illustrations(books, book_id) == [stays]
    assert books.http.get(f"/books/{book_id}").json()["cover"] is None
    later = append(books, book_id)
    eventually(lambda: is_level(books), 10)
    assert illustrations(books, book_id) == [stays, later]


def test_events_that_come_once_more_do_not_overwrite_what_is_newer(books: Shop, book_id: str) -> None:
    [before] = books.service.sql("SELECT cursor FROM book.feed")
    for _ in range(2):
        cover(books, book_id, fresh_jpeg())
        append(books, book_id)
    eventually(lambda: is_level(books), 10)
    shows = books.http.get(f"/books/{book_id}").json(), illustrations(books, book_id)

    async def take_again() -> int:
        refkeep = RefkeepClient(books.service.refkeep_url, key=books.service.key)
        async with refkeep, opened_database(books.service.database_url, "book", TABLES) as pool:
            page = await refkeep.events.page(before["cursor"])
            await Projection(refkeep, pool, books_owner(refkeep, pool)).take(page)
            return len([event for event in page.events if event.data.entity is not None])

    assert asyncio.run(take_again()) == 4
    assert (books.http.get(f"/books/{book_id}").json(), illustrations(books, book_id)) == shows
    assert is_level(books)
