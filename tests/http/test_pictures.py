"""Covers that come from telephones: whatever way they come, what everyone sees is upright, small and bare."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import Any

import httpx
import pytest
import pyvips

from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_png, fresh_text
from tests.parts.pictures import secretive, stored
from tests.parts.service import Refkeep

COVER = "book/42/cover/0"
SECRETS = (b"SECRET", b"GPS", b"Exif")


@pytest.fixture(scope="module")
def photo() -> bytes:
    """Stored lying, larger than covers may be, with a place and an owner."""
    large = secretive(stored(6)).resize(32, kernel="nearest")
    return bytes(large.jpegsave_buffer(Q=60))


def as_json(caller: Caller, photo: bytes) -> httpx.Response:
    response: httpx.Response = caller.put(COVER, caller.upload(photo))
    return response


def as_bytes(caller: Caller, photo: bytes) -> httpx.Response:
    response: httpx.Response = caller.put(COVER, photo)
    return response


def as_form(caller: Caller, photo: bytes) -> httpx.Response:
    return caller.http.put(f"/refs/{COVER}", files={"file": photo})


def as_batch(caller: Caller, photo: bytes) -> httpx.Response:
    put = {"op": "put", "entity_type": "book", "entity_id": "42", "role": "cover", "position": 0}
    response = caller.http.post("/refs/batch", json={"operations": [{**put, "sha256": caller.upload(photo)}]})
    assert response.status_code == 200, response.text
    return response


Way = Callable[[Caller, bytes], httpx.Response]


def result_of(response: httpx.Response) -> Any:
    document = response.json()
    return document["results"][0] if "results" in document else document


@pytest.mark.parametrize("way", [as_json, as_bytes, as_form, as_batch])
def test_a_cover_is_made_to_comply_and_remembers_its_original(
    acme: Caller, anyone: Caller, photo: bytes, way: Way
) -> None:
    result = result_of(way(acme, photo))
    ref = result["ref"]
    assert (result["decision"], ref["original"]) == ("insert", {"sha256": sha256_of(photo), "kept": True})
    shown = anyone.http.get(ref["links"]["file"]).content
    assert sha256_of(shown) == ref["blob"]["sha256"] != sha256_of(photo)
    picture = pyvips.Image.new_from_buffer(shown, "")
    sent = pyvips.Image.new_from_buffer(photo, "")
    assert max(picture.width, picture.height) == 2560 < max(sent.width, sent.height)
    assert (picture.width > picture.height) != (sent.width > sent.height), "upright"
    assert not any(secret in shown for secret in SECRETS)
    assert any(secret in photo for secret in SECRETS)
    assert anyone.http.get(f"/blobs/{sha256_of(photo)}").status_code == 404
    assert anyone.http.get(f"/blobs/{ref['blob']['sha256']}").status_code == 200
    assert ref["blob"]["placeholder"]["aspect"] == pytest.approx(picture.width / picture.height, abs=0.01)
    assert result_of(way(acme, photo))["decision"] == "noop"
    assert acme.http.get(ref["links"]["self"]).json() == ref


def test_everyone_gets_the_same_bytes_of_the_same_picture(acme: Caller, globex: Caller, photo: bytes) -> None:
    shown = [as_bytes(caller, photo).json()["ref"]["blob"]["sha256"] for caller in (acme, globex)]
    assert shown[0] == shown[1]


def test_what_was_sent_stays_what_its_hash_says_and_is_the_workspaces_alone(
    acme: Caller, globex: Caller, photo: bytes
) -> None:
    as_bytes(acme, photo)
    original = f"/blobs/{sha256_of(photo)}"
    assert acme.http.get(original).content == photo
    assert globex.http.get(original).status_code == 404
    problem(acme.http.delete(original), 409, "blob-in-use")
    reasons = acme.http.get(f"{original}/why").json()["reasons"]
    assert {reason["kind"] for reason in reasons} == {"holding", "original"}


def test_a_picture_that_complies_is_shown_as_it_was_sent(acme: Caller, anyone: Caller) -> None:
    content = fresh_jpeg()
    ref = acme.put(COVER, content).json()["ref"]
    assert (ref["blob"]["sha256"], ref["original"]) == (sha256_of(content), None)
    assert anyone.http.get(ref["links"]["file"]).content == content


def test_uploads_tell_what_to_show_while_a_picture_loads(acme: Caller, photo: bytes) -> None:
    blob = acme.http.post("/blobs", content=photo).json()["blob"]
    assert {*blob["placeholder"]} == {"thumbhash", "colour", "aspect"}
    assert acme.http.get(f"/blobs/{blob['sha256']}/meta").json()["placeholder"] == blob["placeholder"]
    assert acme.http.post("/blobs", content=fresh_text()).json()["blob"]["placeholder"] is None


def test_a_picture_that_breaks_off_is_refused_and_nothing_of_it_stays(
    acme: Caller, photo: bytes, service: Refkeep
) -> None:
    before = service.contents()
    problem(acme.put(COVER, photo[: len(photo) // 2]), 422, "unreadable-media")
    assert not service.added_since(before)


# --- holds ------------------------------------------------------------------------------------------------------------


@pytest.fixture
def operator(service: Refkeep) -> Caller:
    return service.bearer(service.key(None, "read", "operator"))


@pytest.fixture
def own_photo() -> bytes:
    """One that no other test shows, since a hold is everyone's."""
    return bytes(secretive(pyvips.Image.new_from_buffer(fresh_png(), "")).jpegsave_buffer())


def await_status(caller: Caller, paths: list[str], expected: list[int]) -> None:
    """Ask until all are answered so: a replica may serve on what it knew, for DESCRIPTOR_TTL (1 s)."""
    deadline = monotonic() + 5
    while (found := [caller.http.get(path).status_code for path in paths]) != expected:
        assert monotonic() < deadline, found


def hold(operator: Caller, sha256: str, kind: str = "legal") -> None:
    assert operator.http.put(f"/holds/{sha256}", json={"kind": kind, "reason": "4711"}).status_code == 201


@pytest.mark.parametrize(("kind", "status"), [("legal", 451), ("quarantine", 404)])
def test_what_is_on_hold_is_not_shown_as_what_was_made_of_it_either(
    acme: Caller, anyone: Caller, operator: Caller, own_photo: bytes, kind: str, status: int
) -> None:
    ref = as_bytes(acme, own_photo).json()["ref"]
    blob, file = ref["links"]["blob"], ref["links"]["file"]
    paths = [blob, f"{blob}/small.webp", file, f"{file}/small.webp"]
    assert [anyone.http.get(path).status_code for path in paths] == [200, 200, 200, 200]
    hold(operator, sha256_of(own_photo), kind)
    await_status(anyone, paths, [404, 404, status, status])
    assert operator.http.delete(f"/holds/{sha256_of(own_photo)}").status_code == 204
    await_status(anyone, paths, [200, 200, 200, 200])


def test_what_another_picture_became_as_well_stays_public(
    acme: Caller, globex: Caller, anyone: Caller, operator: Caller, own_photo: bytes
) -> None:
    """Two photographs that differ in what is stripped alone: the same pixels are shown of both."""
    other = own_photo.replace(b"SECRET", b"TERCES")
    ref, another = (as_bytes(caller, each).json()["ref"] for caller, each in ((acme, own_photo), (globex, other)))
    assert ref["blob"]["sha256"] == another["blob"]["sha256"]
    assert ref["original"] != another["original"]
    hold(operator, sha256_of(own_photo))
    await_status(anyone, [ref["links"]["file"], another["links"]["file"], ref["links"]["blob"]], [451, 200, 200])


def test_nothing_is_made_of_bytes_on_hold(acme: Caller, operator: Caller, own_photo: bytes, service: Refkeep) -> None:
    name = acme.upload(own_photo)
    hold(operator, name)
    before = service.contents()
    put = {"op": "put", "entity_type": "book", "entity_id": "42", "role": "cover", "position": 0, "sha256": name}
    for response in (
        acme.put(COVER, name),
        acme.put(COVER, own_photo),
        acme.http.put(f"/refs/{COVER}", files={"file": own_photo}),
        acme.http.post("/refs/batch", json={"operations": [put]}),
    ):
        problem(response, 451, "on-hold")
    assert not {"blobs", "holdings", "refs", "files"} & {*service.added_since(before)}
    assert operator.http.delete(f"/holds/{name}").status_code == 204
    assert acme.put(COVER, name).status_code == 201
