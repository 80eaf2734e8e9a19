"""Signed addresses, as whoever has one meets them."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.adapters.memory.storage import MemoryStorage
from service.domain.policy import Visibility
from service.domain.ref import RefState
from service.domain.signature import Signatures, SigningKey
from tests.parts.desk import BAD, FILE, NOW, OURS, Desk, Response, call, desk_on

pytestmark = pytest.mark.anyio

KEYS = Signatures((SigningKey("2026", b"n" * 32),))
LATER = int(NOW) + 1000
SIGNED = KEYS.sign(FILE, LATER)


@pytest.fixture
async def desk(tmp_path: Path) -> Desk:
    storage = MemoryStorage(tmp_path)
    await storage.aopen()
    desk = desk_on(storage, signatures=KEYS)
    await desk.add_media(Visibility.PRIVATE)
    return desk


async def ask(desk: Desk, query: str, method: str = "GET", path: str = FILE, **headers: str) -> Response:
    return await call(desk.delivery, path, headers, method, query_string=query.encode())


async def test_the_bytes_of_a_private_ref_come_to_whoever_has_the_address(desk: Desk) -> None:
    response = await ask(desk, SIGNED)
    assert (response.status, response.body) == (200, b"abc")
    assert response.headers["cache-control"] == "private, max-age=300, no-transform"
    assert response.headers["cross-origin-resource-policy"] == "cross-origin"
    assert (await ask(desk, SIGNED, "HEAD")).status == 200
    assert (await ask(desk, SIGNED, range="bytes=1-1")).body == b"b"
    unchanged = await ask(desk, SIGNED, **{"if-none-match": response.headers["etag"]})
    assert (unchanged.status, unchanged.headers["cache-control"]) == (304, response.headers["cache-control"])


async def test_an_answer_is_kept_no_longer_than_the_address_holds(desk: Desk) -> None:
    response = await ask(desk, KEYS.sign(FILE, int(NOW) + 100))
    assert response.headers["cache-control"] == "private, max-age=99, no-transform"


@pytest.mark.parametrize(
    "query",
    [
        KEYS.sign(FILE, int(NOW)),
        SIGNED.replace(f"expires={LATER}", f"expires={LATER + 1}"),
        SIGNED[:-1],
        f"{SIGNED}&a=b",
        f"a=b&{SIGNED}",
        "signature=",
        "",
        KEYS.sign(f"{FILE}/", LATER),
    ],
)
async def test_any_other_address_shows_what_an_unknown_one_shows(desk: Desk, query: str) -> None:
    response, unknown = await ask(desk, query), await ask(desk, "", path=FILE[:-6] + "8/file")
    assert (response.status, response.headers["cache-control"]) == (404, "no-store")
    assert response.headers.keys() == unknown.headers.keys()


@pytest.mark.parametrize("visibility", list(Visibility))
async def test_a_broken_signature_is_refused_whatever_else_would_do(desk: Desk, visibility: Visibility) -> None:
    await desk.add_media(visibility)
    assert (await ask(desk, SIGNED[:-1], **OURS)).status == 404
    assert (await ask(desk, SIGNED[:-1])).status == 404


async def test_a_bad_key_is_told_even_beside_a_good_signature(desk: Desk) -> None:
    assert (await ask(desk, SIGNED, **BAD)).status == 401


async def test_a_release_ends_it(desk: Desk) -> None:
    await desk.add_media(Visibility.PRIVATE, RefState.TRASHED)
    assert (await ask(desk, SIGNED)).status == 404
    assert (await ask(desk, SIGNED, **OURS)).status == 404
    assert (await ask(desk, "", **OURS)).status == 200


async def test_it_opens_no_other_resource(desk: Desk) -> None:
    blob = await desk.add(b"abc", public=False)
    assert (await ask(desk, SIGNED, path=blob)).status == 404
    assert (await ask(desk, KEYS.sign(blob, LATER), path=blob)).status == 404


async def test_other_methods_are_none_of_its_business(desk: Desk) -> None:
    assert (await ask(desk, SIGNED, "POST")).status == 405
