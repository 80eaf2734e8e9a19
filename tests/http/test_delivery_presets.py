"""Renditions as delivery serves them: who may ask for which, in which format, and what caches are told."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import AsyncIterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from service.adapters.filesystem.cached import is_at_hand
from service.adapters.filesystem.storage import FilesystemStorage
from service.delivery.asgi import accepted, request_headers
from service.delivery.bodies import SMALL
from service.delivery.headers import CrossOrigin
from service.delivery.known import KnownGrants
from service.delivery.routine import AtHand
from service.domain.blob import Sha256, parse_sha256
from service.domain.errors import DimensionsExceeded, RenderBusy, StorageFull, UnreadableMedia
from service.domain.policy import Visibility
from service.domain.ref import RefState
from service.domain.signature import Signatures, SigningKey
from tests.parts.desk import CREATED, FILE, NOW, OURS, REF_ID, Desk, Response, call, desk_on, noise
from tests.telemetry_recorder import recording

pytestmark = pytest.mark.anyio

CONTENT = noise(500)
NAME = sha256(CONTENT).hexdigest()
BLOB = f"/blobs/{NAME}"
THUMB = f"{BLOB}/thumb.webp"
MADE = b"8x8 webp by plain/1 of " + CONTENT
TAG = f'"{sha256(MADE).hexdigest()}"'
SIZE = len(MADE)
MODIFIED = CREATED.strftime("%a, %d %b %Y %H:%M:%S GMT")
THEIRS = {"authorization": "Bearer theirs"}
TTL = 1.0
KEYS = Signatures((SigningKey("k", b"signed by the tests"),))
OFFERS: dict[str, object] = {"http.response.pathsend": {}}
CHROME = "image/avif,image/webp,image/apng,image/svg+xml,image/*,*/*;q=0.8"
OLD = "image/png,image/*;q=0.8,*/*;q=0.5"


class Clock:
    """A clock that tests move."""

    now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def desk(tmp_path: Path, clock: Clock) -> AsyncIterator[Desk]:
    """A public cover of `ours`, by its ref and by its hash."""
    storage = FilesystemStorage(tmp_path)
    await storage.aopen()
    desk = desk_on(storage, KnownGrants(TTL, clock), KEYS)
    await desk.add_media(Visibility.PUBLIC, content=CONTENT)
    shown_as(desk, ("book", "cover", True, "ours"))
    yield desk
    await storage.aclose()


def shown_as(desk: Desk, *refs: tuple[str, str, bool, str]) -> None:
    """The refs of the blob: entity type, role, whether it is live and public, whose."""
    name = Sha256(NAME)
    blob, holders = desk.descriptors.blobs[name]
    desk.descriptors.blobs[name] = (replace(blob, public=any(public for _, _, public, _ in refs)), holders)
    desk.descriptors.roles_of[name] = list(refs)


def change_ref(desk: Desk, **facts: Any) -> None:
    """The ref of `FILE` is like this now."""
    media, owner = desk.descriptors.refs[REF_ID]
    desk.descriptors.refs[REF_ID] = (replace(media, **facts), owner)


# --- conditions and ranges, as of any bytes ---------------------------------------------------------------------------

R = "range"
CASES: list[tuple[str, dict[str, str], int, bytes]] = [
    ("all", {}, 200, MADE),
    ("the first bytes", {R: "bytes=0-4"}, 206, MADE[:5]),
    ("the last bytes", {R: "bytes=-5"}, 206, MADE[-5:]),
    ("ranges that touch", {R: "bytes=0-4,5-9"}, 206, MADE[:10]),
    ("beyond the end", {R: f"bytes={SIZE}-"}, 416, b""),
    ("an unknown unit", {R: "lines=1-2"}, 200, MADE),
    ("the tag that is known", {"if-none-match": TAG}, 304, b""),
    ("weakly", {"if-none-match": f"W/{TAG}"}, 304, b""),
    ("anything", {"if-none-match": "*"}, 304, b""),
    ("the parent's tag", {"if-none-match": f'"{NAME}"'}, 200, MADE),
    ("the right tag", {"if-match": TAG}, 200, MADE),
    ("another tag", {"if-match": f'"{NAME}"'}, 412, b""),
    ("a match before a range", {"if-none-match": TAG, R: f"bytes={SIZE}-"}, 304, b""),
    ("a range of these", {"if-range": TAG, R: "bytes=0-0"}, 206, MADE[:1]),
    ("a range of others", {"if-range": f'"{NAME}"', R: "bytes=0-0"}, 200, MADE),
    ("a date: the preset may have changed since", {"if-modified-since": MODIFIED}, 200, MADE),
    ("a range by a date", {"if-range": MODIFIED, R: "bytes=0-0"}, 200, MADE),
    ("an extension outranks Accept", {"accept": "image/avif"}, 200, MADE),
]


@pytest.mark.parametrize(("headers", "status", "body"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
@pytest.mark.parametrize("path", [THUMB, f"{FILE}/thumb.webp"], ids=["blob", "file"])
async def test_conditions_and_ranges_are_those_of_any_bytes(
    desk: Desk, path: str, headers: dict[str, str], status: int, body: bytes
) -> None:
    response, head = await call(desk.delivery, path, headers), await call(desk.delivery, path, headers, "HEAD")
    assert response.status == status
    assert head.status == {206: 200, 416: 200}.get(status, status)
    assert head.body == b""
    if status in {200, 206, 304}:
        assert response.body == body
        assert response.headers["etag"] == TAG
        assert {"last-modified", "vary"}.isdisjoint(response.headers)
        assert ("content-location" in response.headers) == (path != THUMB)
    else:
        assert response.headers["cache-control"] == "no-store"
    if status == 200:
        assert head.headers.keys() - {"server-timing"} == response.headers.keys() - {"server-timing"}


async def test_what_is_said_of_a_rendition(desk: Desk) -> None:
    headers = (await call(desk.delivery, THUMB)).headers
    assert headers["content-type"] == "image/webp"
    assert headers["cache-control"] == "public, max-age=300, no-transform"
    assert headers["content-disposition"] == "inline"
    assert headers["repr-digest"] == f"sha-256=:{b64encode(sha256(MADE).digest()).decode()}:"
    assert headers["cache-tag"] == f"blob-{TAG[1:-1]},blob-{NAME},preset-thumb"
    assert headers["surrogate-key"] == headers["cache-tag"].replace(",", " ")
    assert headers["cross-origin-resource-policy"] == "cross-origin"
    assert {"x-request-id", "server-timing"}.isdisjoint(headers), "a cache would hand them on"


async def test_a_rendition_of_a_ref_is_kept_and_named_as_its_file(desk: Desk) -> None:
    headers = (await call(desk.delivery, f"{FILE}/thumb.webp")).headers
    assert headers["cache-control"] == "max-age=300, no-transform"
    assert headers["cache-tag"].endswith(f",preset-thumb,ref-{REF_ID}")
    assert headers["content-location"] == THUMB
    assert "filename*=UTF-8''f%C3%BCr.webp" in headers["content-disposition"]
    assert {"x-request-id", "server-timing"} <= headers.keys()


@pytest.mark.parametrize("path", [BLOB, FILE], ids=["blob", "file"])
@pytest.mark.parametrize(
    ("accept", "extension"), [(CHROME, "avif"), ("image/webp,*/*", "webp"), (OLD, "png"), ("", "png")]
)
async def test_without_an_extension_accept_chooses_and_caches_are_told(
    desk: Desk, path: str, accept: str, extension: str
) -> None:
    chosen = await call(desk.delivery, f"{path}/thumb", {"accept": accept} if accept else {})
    named = await call(desk.delivery, f"{BLOB}/thumb.{extension}")
    assert (chosen.status, chosen.body) == (200, named.body)
    assert chosen.headers["etag"] == named.headers["etag"]
    assert chosen.headers["vary"] == "Accept"
    assert chosen.headers["content-location"] == f"{BLOB}/thumb.{extension}"
    again = await call(desk.delivery, f"{path}/thumb", {"accept": accept, "if-none-match": chosen.headers["etag"]})
    assert (again.status, again.headers["vary"]) == (304, "Accept")
    assert again.headers["content-location"] == chosen.headers["content-location"]


async def test_formats_have_tags_of_their_own(desk: Desk) -> None:
    paths = [f"{BLOB}/thumb.{each}" for each in ("avif", "webp", "png")] + [f"{BLOB}/card.png", BLOB]
    assert len({(await call(desk.delivery, path)).headers["etag"] for path in paths}) == 5


async def test_a_list_of_origins_and_accept_share_one_line(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    await storage.aopen()
    desk = desk_on(storage, cross_origin=CrossOrigin(("https://a.example",)))
    await desk.add_media(Visibility.PUBLIC, content=CONTENT)
    assert (await call(desk.delivery, f"{FILE}/thumb")).headers["vary"] == "Accept, Origin"


@pytest.mark.parametrize("path", [f"{BLOB}/thumb", f"{FILE}/thumb.webp", f"{BLOB}/nothing"])
async def test_other_methods_are_refused_and_options_answered(desk: Desk, path: str) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        refused = await call(desk.delivery, path, method=method)
        assert (refused.status, refused.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    options = await call(desk.delivery, path, {"origin": "https://a.example"}, "OPTIONS")
    assert (options.status, options.headers["allow"]) == (204, "GET, HEAD, OPTIONS")
    assert desk.darkroom.renderer.made == []


# --- who may ask for which --------------------------------------------------------------------------------------------

NOT_HERE = [
    f"{BLOB}/unheard-of",
    f"{BLOB}/thumb.jpg",
    f"{BLOB}/thumb.gif",
    f"{BLOB}/thumb.original",
    f"{BLOB}/card.webp",
    f"{BLOB}/Thumb",
    f"{FILE}/unheard-of.webp",
    f"{FILE}/thumb.bmp",
    f"{FILE}/meta",
    f"/blobs/{'0' * 64}/thumb",
    "/blobs/short/thumb",
    "/media/42/file/thumb",
]


async def test_nothing_else_than_presets_in_offered_formats_can_be_asked_for(desk: Desk) -> None:
    answers = [await call(desk.delivery, path) for path in NOT_HERE]
    assert {answer.status for answer in answers} == {404}
    assert {answer.headers["cache-control"] for answer in answers} == {"no-store"}
    assert desk.darkroom.renderer.made == []


async def test_who_may_not_have_the_parent_learns_nothing_of_its_renditions(desk: Desk, clock: Clock) -> None:
    """Known and unknown presets, made or not, of what is there and what is not: one and the same 404."""
    assert (await call(desk.delivery, THUMB)).status == 200
    await desk.add_media(Visibility.PRIVATE, content=CONTENT)
    shown_as(desk, ("book", "cover", False, "ours"))
    clock.now += TTL
    bodies = set()
    for asker in ({}, THEIRS):
        for path in (THUMB, f"{BLOB}/unheard-of", f"{FILE}/thumb.webp", f"{FILE}/thumb", f"/blobs/{'1' * 64}/thumb"):
            answer = await call(desk.delivery, path, {**asker, "x-request-id": "same", "if-none-match": "*"})
            assert answer.status == 404
            answer.headers.pop("content-length")
            bodies.add((answer.body.replace(path.encode(), b""), tuple(answer.headers.items())))
    assert len(bodies) == 1


async def test_a_bad_key_is_told_so(desk: Desk) -> None:
    for path in (THUMB, f"{FILE}/thumb", f"{BLOB}/unheard-of"):
        assert (await call(desk.delivery, path, {"authorization": "Bearer bad"})).status == 401


REFS: list[tuple[str, list[tuple[str, str, bool, str]], str, int, int, int]] = [
    # what shows the blob, the preset, then the status for anyone, for its holder, and for another workspace
    ("a public ref that has it", [("book", "cover", True, "ours")], "thumb", 200, 200, 200),
    ("a public ref of others", [("book", "cover", True, "theirs")], "thumb", 200, 200, 200),
    ("a public ref without it", [("book", "page", True, "ours")], "thumb", 404, 404, 404),
    ("a role by a wildcard", [("book", "page", True, "ours")], "card.png", 200, 200, 200),
    ("the wildcard of all", [("film", "poster", True, "ours")], "card.png", 404, 404, 404),
    ("an own private ref", [("book", "cover", False, "ours")], "thumb", 404, 200, 404),
    ("a private ref of others", [("book", "cover", False, "theirs")], "thumb", 404, 404, 404),
    ("public without, own with", [("book", "a", True, "x"), ("book", "cover", False, "ours")], "thumb", 404, 200, 404),
    ("held, and no ref at all", [], "thumb", 404, 404, 404),
]  # fmt: skip


@pytest.mark.parametrize(
    ("refs", "preset", "anyone", "ours", "theirs"), [case[1:] for case in REFS], ids=[case[0] for case in REFS]
)
async def test_a_blob_has_the_presets_of_the_refs_that_the_caller_may_know_of(
    desk: Desk, refs: list[tuple[str, str, bool, str]], preset: str, anyone: int, ours: int, theirs: int
) -> None:
    shown_as(desk, *refs)
    asked = {name: await call(desk.delivery, f"{BLOB}/{preset}", headers) for name, headers in ASKERS.items()}
    assert {name: answer.status for name, answer in asked.items()} == {"anyone": anyone, "ours": ours, "theirs": theirs}
    if anyone != 200 and ours == 200:
        assert asked["ours"].headers["cache-control"] == "private, no-store"


ASKERS: dict[str, dict[str, str]] = {"ours": OURS, "theirs": THEIRS, "anyone": {}}


async def test_a_ref_has_the_presets_of_its_own_policy(desk: Desk, clock: Clock) -> None:
    for role, status in (("cover", 200), ("page", 404)):
        change_ref(desk, role=role)
        clock.now += TTL
        assert (await call(desk.delivery, f"{FILE}/thumb")).status == status
    change_ref(desk, entity_type="film")
    clock.now += TTL
    assert (await call(desk.delivery, f"{FILE}/card")).status == 404


async def test_renditions_of_the_trash_are_for_its_workspace(desk: Desk) -> None:
    await desk.add_media(Visibility.PUBLIC, RefState.TRASHED, CONTENT)
    answers = {name: await call(desk.delivery, f"{FILE}/thumb", headers) for name, headers in ASKERS.items()}
    assert {name: answer.status for name, answer in answers.items()} == {"ours": 200, "theirs": 404, "anyone": 404}
    assert answers["ours"].headers["cache-control"] == "private, no-store"


async def test_a_signed_address_opens_the_renditions_of_its_file(desk: Desk) -> None:
    await desk.add_media(Visibility.PRIVATE, content=CONTENT)
    query = KEYS.sign(FILE, int(NOW) + 100).encode()
    for path in (f"{FILE}/thumb.webp", f"{FILE}/thumb"):
        answer = await call(desk.delivery, path, query_string=query)
        assert (answer.status, answer.headers["cache-control"]) == (200, "private, max-age=99, no-transform")
        assert (await call(desk.delivery, path, query_string=query[:-1] + b"~")).status == 404
        assert (await call(desk.delivery, path)).status == 404
    assert (await call(desk.delivery, f"{FILE}/unheard-of", query_string=query)).status == 404
    ended = KEYS.sign(FILE, int(NOW) - 1).encode()
    assert (await call(desk.delivery, f"{FILE}/thumb", query_string=ended)).status == 404


# --- what ends, ends for renditions too -------------------------------------------------------------------------------


async def statuses(desk: Desk) -> set[int]:
    looks: tuple[dict[str, str], ...] = (
        {},
        {"range": "bytes=0-1"},
        {"if-none-match": "*"},
        {"authorization": "Bearer ours"},
    )
    paths = (THUMB, f"{BLOB}/thumb", f"{FILE}/thumb.webp", f"{FILE}/thumb")
    return {(await call(desk.delivery, path, look)).status for path in paths for look in looks}


@pytest.mark.parametrize("status", [404, 451])
@pytest.mark.parametrize("of", ["the parent", "the rendition"])
async def test_a_hold_reaches_renditions_within_the_time_to_live(
    desk: Desk, clock: Clock, status: int, of: str
) -> None:
    assert await statuses(desk) <= {200, 206, 304}
    clock.now += TTL * 0.9  # what is remembered of a rendition ends with what is remembered of its parent
    assert await statuses(desk) <= {200, 206, 304}
    if of == "the rendition":
        desk.darkroom.hold(status)
    else:
        blob, holders = desk.descriptors.blobs[Sha256(NAME)]
        desk.descriptors.blobs[Sha256(NAME)] = (replace(blob, hold=status), holders)
        change_ref(desk, hold=status)
    clock.now += TTL * 0.1
    assert await statuses(desk) == {status}


async def test_what_is_no_longer_public_ends_within_the_time_to_live(desk: Desk, clock: Clock) -> None:
    assert await statuses(desk) <= {200, 206, 304}
    change_ref(desk, visibility=Visibility.PRIVATE)
    shown_as(desk, ("book", "cover", False, "ours"))
    clock.now += TTL
    for path in (THUMB, f"{FILE}/thumb"):
        assert (await call(desk.delivery, path)).status == 404
        assert (await call(desk.delivery, path, OURS)).status == 200


async def test_what_ends_while_it_is_made_is_not_sent(desk: Desk) -> None:
    """Making takes seconds: whoever is answered then, is answered by what holds then."""

    class Ending(type(desk.darkroom.renderer)):  # type: ignore[misc]
        async def render(self, *asked: object) -> object:
            blob, holders = desk.descriptors.blobs[Sha256(NAME)]
            desk.descriptors.blobs[Sha256(NAME)] = (replace(blob, hold=451), holders)
            return await super().render(*asked)

    object.__setattr__(desk.delivery.presets.make, "renderer", Ending())
    assert (await call(desk.delivery, THUMB)).status == 451


# --- failures ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (UnreadableMedia("image/png"), 422, "unreadable-media"),
        (DimensionsExceeded(50_000, 50_000, 1, None), 422, "dimensions-exceeded"),
        (RenderBusy(), 503, "unavailable"),
        (StorageFull("No room is left."), 507, "storage-full"),
        (RuntimeError("broken"), 500, "internal"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
async def test_what_cannot_be_made_is_a_problem_and_the_original_stays(
    desk: Desk, error: Exception, status: int, code: str
) -> None:
    desk.darkroom.renderer.fails_with = error
    answer = await call(desk.delivery, THUMB)
    assert (answer.status, answer.headers["content-type"]) == (status, "application/problem+json")
    assert f'"code":"{code}"'.encode() in answer.body
    assert ("retry-after" in answer.headers) == (status in {503, 507})
    assert answer.headers["cache-control"] == "no-store"
    assert (await call(desk.delivery, BLOB)).body == CONTENT
    if code == "dimensions-exceeded":
        assert b'"width":50000' in answer.body


async def test_nothing_is_made_of_what_is_no_picture(desk: Desk) -> None:
    path = await desk.add(b"words", media_type="text/plain")
    name = parse_sha256(path.removeprefix("/blobs/"))
    desk.descriptors.roles_of[name] = [("book", "cover", True, "ours")]
    answer = await call(desk.delivery, f"{path}/thumb")
    assert answer.status == 404
    assert b"text/plain" in answer.body


async def test_a_read_only_service_serves_what_was_made(desk: Desk) -> None:
    assert (await call(desk.delivery, THUMB)).status == 200
    object.__setattr__(desk.delivery.presets.make, "read_only", True)
    assert (await call(desk.delivery, f"{FILE}/thumb.webp")).status == 200
    refused = await call(desk.delivery, f"{BLOB}/thumb.avif")
    assert (refused.status, "retry-after" in refused.headers) == (503, True)
    assert b'"read-only"' in refused.body


async def test_a_rendition_whose_bytes_went_is_a_fault_and_made_anew_once_it_is_known(desk: Desk) -> None:
    assert (await call(desk.delivery, THUMB)).status == 200
    [(key, rendition)] = desk.darkroom.renditions.known.items()
    await desk.storage.delete(rendition.content.storage_key)
    assert (await call(desk.delivery, f"{FILE}/thumb.webp", {"range": "bytes=0-1"})).status == 500
    del desk.darkroom.renditions.known[key]  # fsck has seen it
    answer = await call(desk.delivery, f"{FILE}/thumb.webp", {"range": "bytes=0-1"})
    assert (answer.status, answer.body) == (206, MADE[:2])


# --- the warm path ----------------------------------------------------------------------------------------------------


async def test_a_hot_rendition_asks_nobody_and_answers_as_before(desk: Desk) -> None:
    first = await call(desk.delivery, THUMB)
    desk.descriptors.blobs.clear()
    desk.descriptors.roles_of.clear()
    desk.darkroom.renditions.known.clear()
    with recording() as recorder:
        others = [await call(desk.delivery, THUMB, {"accept": "image/avif"}) for _ in range(3)]
    assert others == [first] * 3
    lines = [line for line in recorder.lines if line["event"] == "request_completed"]
    assert {(line["sha256"], line["preset"], line["cache_hit"]) for line in lines} == {(NAME, "thumb", True)}
    assert desk.darkroom.renderer.made == [("thumb", "webp")]


@pytest.mark.parametrize("path", [f"{BLOB}/thumb", f"{FILE}/thumb"], ids=["blob", "file"])
async def test_what_browsers_negotiate_is_hot_too_each_format_for_itself(desk: Desk, path: str) -> None:
    firsts = {accept: await call(desk.delivery, path, {"accept": accept}) for accept in (CHROME, OLD, "image/webp")}
    if path.startswith(FILE):  # an answer by a ref tells of its request
        for first in firsts.values():
            del first.headers["server-timing"], first.headers["x-request-id"]
    for _ in range(2):
        for accept in firsts:
            await call(desk.delivery, path, {"accept": accept})
    desk.descriptors.blobs.clear()
    desk.descriptors.refs.clear()
    desk.descriptors.roles_of.clear()
    desk.darkroom.renditions.known.clear()
    for accept, first in firsts.items():
        again = await call(desk.delivery, path, {"accept": accept})
        assert (again.status, again.body) == (200, first.body)
        assert again.headers.items() >= first.headers.items()
    assert len({first.headers["etag"] for first in firsts.values()}) == 3
    assert desk.darkroom.renderer.made == [("thumb", "avif"), ("thumb", "png"), ("thumb", "webp")]


async def test_an_answer_that_is_kept_for_one_accept_is_not_sent_to_another(desk: Desk) -> None:
    for _ in range(3):
        assert (await call(desk.delivery, f"{BLOB}/thumb", {"accept": CHROME})).headers["content-type"] == "image/avif"
    for accept, media_type in ((OLD, "image/png"), (f"image/webp,{'x' * 300}/x", "image/webp"), ("*/*", "image/png")):
        for _ in range(2):
            answer = await call(desk.delivery, f"{BLOB}/thumb", {"accept": accept})
            assert answer.headers["content-type"] == media_type


def test_lines_of_accept_are_one_list() -> None:
    lines = [(b"accept", b"image/webp"), (b"te", b"x"), (b"accept", b"image/avif;q=0.1")]
    assert accepted({"headers": lines}) == request_headers({"headers": lines})["accept"]
    assert accepted({"headers": lines[1:2]}) is None


async def test_a_hot_rendition_is_sent_as_a_file_where_the_server_sends_files(tmp_path: Path) -> None:
    storage = FilesystemStorage(tmp_path)
    await storage.aopen()
    desk = desk_on(storage, KnownGrants(TTL, Clock()), at_hand=AtHand(is_file=is_at_hand))
    path = await desk.add(noise(9))
    desk.descriptors.roles_of[Sha256(path[7:])] = [("book", "cover", True, "ours")]
    desk.darkroom.renderer.engine = "x" * SMALL
    first, *others = [await call(desk.delivery, f"{path}/thumb.webp", extensions=OFFERS) for _ in range(3)]
    assert (first.status, first.path is not None) == (200, True)
    assert others == [first] * 2


async def test_a_changed_preset_has_other_bytes_and_another_tag(desk: Desk, clock: Clock) -> None:
    before: Response = await call(desk.delivery, THUMB)
    desk.darkroom.renderer.engine = "plain/2"  # as a changed width does, this goes into the definition
    clock.now += TTL
    after = await call(desk.delivery, THUMB, {"if-none-match": before.headers["etag"]})
    assert after.status == 200
    assert after.headers["etag"] != before.headers["etag"]
    assert "preset-thumb" in after.headers["cache-tag"]
    assert int(after.headers["cache-control"].partition("max-age=")[2].partition(",")[0]) <= 300
