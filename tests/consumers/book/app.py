"""The book service over HTTP: books with a cover, chapters with illustrations in order."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
from litestar import Litestar, Response, delete, get, post, put
from litestar.datastructures import State

from refkeep_client import Refkeep
from tests.consumers.book.illustrations import Chapter, Illustrations, Listed
from tests.consumers.book.owner import Books
from tests.consumers.shared.answers import attached_answer, shown
from tests.consumers.shared.calls import refkeep_for
from tests.consumers.shared.covers import Covers
from tests.consumers.shared.database import Pool, opened_database
from tests.consumers.shared.follower import Follower
from tests.consumers.shared.health import health_of
from tests.consumers.shared.outbox import Courier
from tests.consumers.shared.projection import Projection
from tests.consumers.shared.refusals import not_found
from tests.consumers.shared.settings import Settings
from tests.consumers.shared.versions import version_etag, version_seen
from tests.consumers.shared.web import HttpRequest, build_app, key_of, received, running

SERVICE = "book"
TABLES = Path(__file__).with_name("schema.sql")
_PUT = """
INSERT INTO books (id, title) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE SET title = excluded.title
RETURNING id, title, cover_ref_id, cover_version
"""
_CHAPTER_ID = re.compile(r"[A-Za-z0-9]{1,50}")
_PUT_CHAPTER = "INSERT INTO chapters (book_id, id) VALUES ($1, $2) ON CONFLICT DO NOTHING"


class BookTitle(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a book is made of."""

    title: str


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All illustrations of a chapter, each once."""

    ref_ids: list[UUID]


@dataclass(frozen=True)
class BookService:
    """What the handlers work with."""

    settings: Settings
    pool: Pool
    books: Books
    courier: Courier
    follower: Follower

    def document(self, row: Any) -> dict[str, Any]:
        """A book as callers see it."""
        cover = shown(self.settings, row["cover_ref_id"])
        return {"id": row["id"], "title": row["title"], "cover": cover, "version": row["cover_version"]}

    def listing(self, listed: Listed) -> Response[dict[str, Any]]:
        """Illustrations as callers see them; the ETag is what a new order is asked for with."""
        items = [shown(self.settings, ref_id) for ref_id in listed.ref_ids]
        return Response({"items": items, "version": listed.version}, headers={"etag": version_etag(listed.version)})


@put("/books/{book_id:str}")
async def put_book(state: State, book_id: str, data: BookTitle) -> dict[str, Any]:
    """Write a book, or give it another title. The id of one that was deleted is not used again."""
    service: BookService = state.service
    await service.books.covers.admit(book_id)
    return service.document(await service.pool.fetchrow(_PUT, book_id, data.title))


@get("/books/{book_id:str}")
async def get_book(state: State, book_id: str) -> dict[str, Any]:
    """A book and its cover, from our own table: Refkeep is not asked."""
    service: BookService = state.service
    return service.document(await service.books.covers.row(book_id))


@delete("/books/{book_id:str}")
async def delete_book(state: State, book_id: str) -> None:
    """Delete it for good, with its chapters; again is nothing."""
    service: BookService = state.service
    async with service.pool.acquire() as connection, connection.transaction():
        await service.books.depart(connection, book_id)
    service.courier.wake()


@post("/books/{book_id:str}/cover")
async def post_cover(state: State, request: HttpRequest, book_id: str) -> Response[dict[str, Any]]:
    """Give it a cover, in the place of the one it has."""
    service: BookService = state.service
    async with received(request) as picture:
        attached = await service.books.covers.put(book_id, picture, key_of(request, SERVICE))
    return attached_answer(service.settings, attached)


@delete("/books/{book_id:str}/cover")
async def delete_cover(state: State, book_id: str) -> None:
    """Show none."""
    service: BookService = state.service
    await service.books.covers.remove(book_id)
    service.courier.wake()


@put("/books/{book_id:str}/chapters/{chapter_id:str}")
async def put_chapter(state: State, book_id: str, chapter_id: str) -> Response[dict[str, Any]]:
    """Begin a chapter; again is nothing."""
    service: BookService = state.service
    await service.books.covers.row(book_id)
    if _CHAPTER_ID.fullmatch(chapter_id) is None:
        raise not_found("chapter")
    await service.pool.execute(_PUT_CHAPTER, book_id, chapter_id)
    return service.listing(await service.books.illustrations.listed(Chapter(book_id, chapter_id)))


@get("/books/{book_id:str}/chapters/{chapter_id:str}/illustrations")
async def get_illustrations(state: State, book_id: str, chapter_id: str) -> Response[dict[str, Any]]:
    """The illustrations of a chapter in order, from our own table."""
    service: BookService = state.service
    return service.listing(await service.books.illustrations.listed(Chapter(book_id, chapter_id)))


@post("/books/{book_id:str}/chapters/{chapter_id:str}/illustrations")
async def post_illustration(
    state: State, request: HttpRequest, book_id: str, chapter_id: str
) -> Response[dict[str, Any]]:
    """Append an illustration."""
    service: BookService = state.service
    async with received(request) as picture:
        key, chapter = key_of(request, SERVICE), Chapter(book_id, chapter_id)
        attached = await service.books.illustrations.append(chapter, picture, key)
    return attached_answer(service.settings, attached)


@put("/books/{book_id:str}/chapters/{chapter_id:str}/illustrations/order")
async def put_order(
    state: State, request: HttpRequest, book_id: str, chapter_id: str, data: Order
) -> Response[dict[str, Any]]:
    """Put them in another order; with `If-Match`, only what the caller has seen."""
    service: BookService = state.service
    seen, key = version_seen(request.headers.get("if-match")), key_of(request, SERVICE)
    chapter = Chapter(book_id, chapter_id)
    return service.listing(await service.books.illustrations.reorder(chapter, data.ref_ids, seen, key))


@delete("/books/{book_id:str}/chapters/{chapter_id:str}/illustrations/{ref_id:uuid}")
async def delete_illustration(state: State, book_id: str, chapter_id: str, ref_id: UUID) -> None:
    """Show one no more; the later ones move up."""
    service: BookService = state.service
    await service.books.illustrations.remove(Chapter(book_id, chapter_id), ref_id)
    service.courier.wake()


@get("/health")
async def get_health(state: State) -> dict[str, Any]:
    """How the service does."""
    service: BookService = state.service
    return await health_of(service.pool, service.follower)


HANDLERS = [
    put_book,
    get_book,
    delete_book,
    post_cover,
    delete_cover,
    put_chapter,
    get_illustrations,
    post_illustration,
    put_order,
    delete_illustration,
    get_health,
]


def books_owner(refkeep: Refkeep, pool: Pool) -> Books:
    """What the service's tables show, with what it takes to change it."""
    courier = Courier(refkeep, pool)
    return Books(Covers(refkeep, pool, courier, "book", "books"), Illustrations(refkeep, pool, courier))


def book_app(settings: Settings) -> Litestar:
    """The service; what it works with lives as long as it does."""

    @asynccontextmanager
    async def lifespan(app: Litestar) -> AsyncIterator[None]:
        refkeep = refkeep_for(settings)
        async with opened_database(settings.database_url, settings.schema, TABLES) as pool, refkeep:
            books = books_owner(refkeep, pool)
            courier = books.covers.courier
            follower = Follower(refkeep, Projection(refkeep, pool, books))
            app.state.service = BookService(settings, pool, books, courier, follower)
            async with running(courier.run(), follower.run()):
                yield

    return build_app(HANDLERS, lifespan)
