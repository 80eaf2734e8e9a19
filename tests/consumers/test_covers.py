"""A cover through the library service: the natural way, and what a network and a Refkeep in trouble make of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.consumers.conftest import Shop
from tests.parts.blobs import MIB
from tests.parts.caller import sha256_of
from tests.parts.fates import GONE, for_writes, header, refusal, writes
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.relay import RELAYED, Fate
from tests.parts.service import eventually


@pytest.fixture
def library_id(library: Shop) -> str:
    """A library that is there and shows nothing."""
    name = f"library-{uuid4()}"
    assert library.http.put(f"/libraries/{name}", json={"name": "City library"}).status_code == 200
    return name


def upload(shop: Shop, library_id: str, content: bytes, **headers: str) -> httpx.Response:
    files = {"file": ("cover.jpg", content, "image/jpeg")}
    return shop.http.post(f"/libraries/{library_id}/cover", files=files, headers=headers)


def cover(shop: Shop, library_id: str) -> Any:
    return shop.http.get(f"/libraries/{library_id}").json()["cover"]


def kept(shop: Shop, library_id: str) -> list[Any]:
    return shop.refkeep.refs(f"library/{library_id}")


def test_an_uploaded_cover_is_stored_by_its_ref_and_shown_by_refkeep(library: Shop, library_id: str) -> None:
    content = fresh_jpeg()
    answer = upload(library, library_id, content)
    assert (answer.status_code, answer.json()["decision"]) == (201, "insert")
    assert answer.json()["picture"]["sha256"] == sha256_of(content)
    assert cover(library, library_id)["ref_id"] == answer.json()["picture"]["ref_id"]
    assert httpx.get(cover(library, library_id)["url"]).content == content
    [ref] = kept(library, library_id)
    assert (ref["ref_id"], ref["filename"]) == (cover(library, library_id)["ref_id"], "cover.jpg")


def test_one_upload_is_one_call_with_a_key_in_the_trace_of_the_caller(library: Shop, library_id: str) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    assert upload(library, library_id, fresh_jpeg(), traceparent=f"00-{trace}-00f067aa0ba902b7-01").status_code == 201
    [call] = writes(library.relay.heads)
    assert call.startswith(f"PUT /refs/library/{library_id}/cover/0".encode())
    assert header(call, "idempotency-key")
    assert (header(call, "traceparent") or "").split("-")[1] == trace
    [event] = library.refkeep.events(entity_type="library", entity_id=library_id)
    assert event["data"]["traceparent"].split("-")[1] == trace


def test_whoever_follows_the_feed_links_to_the_request_that_caused_an_event(library: Shop, library_id: str) -> None:
    upload(library, library_id, fresh_jpeg())
    [event] = library.refkeep.events(entity_type="library", entity_id=library_id)
    _, trace, span, _ = event["data"]["traceparent"].split("-")

    def links() -> set[tuple[str, str]]:
        following = [each for each in list(library.traced.spans) if each.name == "refkeep.follow"]
        return {(link.trace_id.hex(), link.span_id.hex()) for each in following for link in each.links}

    eventually(lambda: (trace, span) in links(), 20)


def test_a_second_cover_takes_the_place_of_the_first(library: Shop, library_id: str) -> None:
    first = upload(library, library_id, fresh_jpeg()).json()["picture"]["ref_id"]
    answer = upload(library, library_id, fresh_jpeg())
    assert (answer.status_code, answer.json()["decision"]) == (200, "replace")
    assert cover(library, library_id)["ref_id"] == answer.json()["picture"]["ref_id"] != first
    assert library.refkeep.http.get(f"/media/{first}").json()["state"] == "trashed"


def test_bytes_are_on_their_way_to_refkeep_before_the_last_has_come(library: Shop, library_id: str) -> None:
    content, boundary, may_end = fresh_jpeg(800, 600), "between", threading.Event()
    head = f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="a.jpg"\r\n\r\n'.encode()

    def body() -> Iterator[bytes]:
        yield head + content[:5000]
        assert may_end.wait(10)
        yield content[5000:] + f"\r\n--{boundary}--\r\n".encode()

    def look() -> None:
        eventually(lambda: bool(writes(library.relay.heads)), 10)
        may_end.set()

    watching = threading.Thread(target=look)
    watching.start()
    headers = {"content-type": f"multipart/form-data; boundary={boundary}"}
    answer = library.http.post(f"/libraries/{library_id}/cover", content=body(), headers=headers)
    watching.join()
    assert answer.json()["picture"]["sha256"] == sha256_of(content)


def test_a_large_picture_is_never_whole_in_memory(library: Shop, library_id: str) -> None:
    content = fresh_jpeg() + bytes(20 * MIB)
    upload(library, library_id, fresh_jpeg())
    grown = library.service.restart_memory_watch()
    assert upload(library, library_id, content).json()["decision"] == "replace"
    assert grown() < 5 * MIB
    [ref] = kept(library, library_id)
    assert ref["original"]["sha256"] == sha256_of(content), "what follows the picture is not shown"


def test_a_form_that_breaks_off_leaves_nothing(library: Shop, library_id: str) -> None:
    headers = {"content-type": "multipart/form-data; boundary=between"}
    begun = b'--between\r\nContent-Disposition: form-data; name="file"\r\n\r\n' + fresh_jpeg()
    answer = library.http.post(f"/libraries/{library_id}/cover", content=begun, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (400, "bad-form")
    assert (cover(library, library_id), kept(library, library_id)) == (None, [])


def test_what_refkeep_refuses_is_told_to_the_caller_and_changes_nothing(library: Shop, library_id: str) -> None:
    before = upload(library, library_id, fresh_jpeg()).json()["picture"]["ref_id"]
    files = {"file": ("notes.txt", fresh_text(), "text/plain")}
    answer = library.http.post(f"/libraries/{library_id}/cover", files=files)
    assert (answer.status_code, answer.json()["code"]) == (415, "media-type-not-allowed")
    assert cover(library, library_id)["ref_id"] == before


def test_while_refkeep_is_down_callers_are_told_when_to_come_again(library: Shop, library_id: str) -> None:
    content, key = fresh_jpeg(), str(uuid4())
    library.relay.decide = for_writes(GONE)
    answer = upload(library, library_id, content, **{"idempotency-key": key})
    assert (answer.status_code, answer.json()["code"]) == (503, "media-unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert (cover(library, library_id), kept(library, library_id)) == (None, [])
    library.relay.decide = for_writes(RELAYED)
    assert upload(library, library_id, content, **{"idempotency-key": key}).status_code == 201


def test_a_503_is_waited_out_for_as_long_as_it_asks(library: Shop, library_id: str) -> None:
    library.relay.decide = for_writes(Fate(status=503, retry_after="1"), RELAYED)
    began = time.monotonic()
    assert upload(library, library_id, fresh_jpeg()).status_code == 201
    assert time.monotonic() - began >= 1
    first, second = writes(library.relay.heads)
    assert header(first, "idempotency-key") == header(second, "idempotency-key")


def test_an_attempt_that_still_runs_at_refkeep_is_waited_for(library: Shop, library_id: str) -> None:
    library.relay.decide = for_writes(refusal(409, "idempotency-in-progress", retryable=True), RELAYED)
    assert upload(library, library_id, fresh_jpeg()).status_code == 201
    assert len(kept(library, library_id)) == 1


@pytest.mark.parametrize(("status", "code"), [(409, "role-full"), (451, "on-hold"), (507, "quota-exceeded")])
def test_what_only_the_caller_can_mend_is_passed_on_at_once(
    library: Shop, library_id: str, status: int, code: str
) -> None:
    library.relay.decide = for_writes(refusal(status, code))
    answer = upload(library, library_id, fresh_jpeg())
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert (len(writes(library.relay.heads)), cover(library, library_id)) == (1, None)


def test_a_key_that_refkeep_does_not_take_is_our_affair_and_not_the_callers(library: Shop, library_id: str) -> None:
    library.relay.decide = for_writes(refusal(401, "unauthorized"))
    answer = upload(library, library_id, fresh_jpeg())
    assert (answer.status_code, answer.json()["code"]) == (502, "media-misunderstood")


def test_an_answer_that_is_lost_is_asked_for_again_and_makes_no_second_ref(library: Shop, library_id: str) -> None:
    library.relay.decide = for_writes(Fate(body_bytes=0), RELAYED)
    answer = upload(library, library_id, fresh_jpeg())
    assert (answer.status_code, answer.json()["version"]) == (201, 1)
    [ref] = kept(library, library_id)
    assert ref["ref_id"] == cover(library, library_id)["ref_id"]


def test_a_refkeep_that_does_not_answer_is_given_up_and_asked_again(library: Shop, library_id: str) -> None:
    library.relay.decide = for_writes(Fate(silent=True), RELAYED)
    assert upload(library, library_id, fresh_jpeg()).status_code == 201
    assert len(kept(library, library_id)) == 1


def test_a_caller_who_repeats_a_request_with_its_key_gets_the_same_picture(library: Shop, library_id: str) -> None:
    content, key = fresh_jpeg(), str(uuid4())
    first, second = (upload(library, library_id, content, **{"idempotency-key": key}) for _ in range(2))
    assert first.json() == second.json()
    assert len(library.refkeep.events(entity_type="library", entity_id=library_id)) == 1
    other = upload(library, library_id, fresh_jpeg(), **{"idempotency-key": key})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency-key-reuse")


def test_a_cover_is_removed_at_once_and_released_when_refkeep_can_hear_of_it(library: Shop, library_id: str) -> None:
    ref_id = upload(library, library_id, fresh_jpeg()).json()["picture"]["ref_id"]
    library.relay.decide = for_writes(GONE)
    assert library.http.delete(f"/libraries/{library_id}/cover").status_code == 204
    assert cover(library, library_id) is None
    assert [ref["ref_id"] for ref in kept(library, library_id)] == [ref_id]
    library.relay.decide = for_writes(RELAYED)
    eventually(lambda: kept(library, library_id) == [], 10)


def test_a_removed_cover_takes_none_with_it_that_came_later(library: Shop, library_id: str) -> None:
    upload(library, library_id, fresh_jpeg())
    library.relay.decide = lambda head: GONE if head.startswith(b"DELETE ") else RELAYED
    library.http.delete(f"/libraries/{library_id}/cover")
    later = upload(library, library_id, fresh_jpeg()).json()["picture"]["ref_id"]
    library.relay.decide = for_writes(RELAYED)
    eventually(lambda: library.http.get("/health").json()["outbox"] == {"waiting": 0, "parked": 0}, 10)
    assert [ref["ref_id"] for ref in kept(library, library_id)] == [later] == [cover(library, library_id)["ref_id"]]


def test_the_same_picture_can_be_sent_again_while_refkeep_has_not_heard_of_its_removal(
    library: Shop, library_id: str
) -> None:
    content, key = fresh_jpeg(), str(uuid4())
    first = upload(library, library_id, content).json()["picture"]["ref_id"]
    library.relay.decide = lambda head: GONE if head.startswith(b"DELETE ") else RELAYED
    library.http.delete(f"/libraries/{library_id}/cover")
    assert upload(library, library_id, content, **{"idempotency-key": key}).status_code == 503
    library.relay.decide = for_writes(RELAYED)
    answer = upload(library, library_id, content, **{"idempotency-key": key})
    assert (answer.status_code, answer.json()["decision"]) == (201, "insert")
    [ref] = kept(library, library_id)
    assert ref["ref_id"] == cover(library, library_id)["ref_id"] == answer.json()["picture"]["ref_id"] != first


def test_a_deleted_library_releases_its_refs_even_if_the_process_dies_meanwhile(library: Shop, library_id: str) -> None:
    upload(library, library_id, fresh_jpeg())
    library.relay.decide = for_writes(GONE)
    assert library.http.delete(f"/libraries/{library_id}").status_code == 204
    library.service.kill()
    library.relay.decide = for_writes(RELAYED)
    assert len(kept(library, library_id)) == 1
    library.service.sql("UPDATE library.outbox SET due = now()")  # whoever died had half a minute for its attempt
    library.service.start()
    eventually(lambda: kept(library, library_id) == [], 10)
    assert library.http.get(f"/libraries/{library_id}").status_code == 410
    assert library.http.put(f"/libraries/{library_id}", json={"name": "Again"}).status_code == 410
    assert library.http.delete(f"/libraries/{library_id}").status_code == 204


def test_an_upload_that_outlives_its_library_is_released(library: Shop, library_id: str) -> None:
    def delete_meanwhile(head: bytes) -> Fate:
        if head.startswith(b"PUT "):
            assert httpx.delete(f"{library.service.url}/libraries/{library_id}", timeout=10).status_code == 204
        return RELAYED

    library.relay.decide = delete_meanwhile
    assert upload(library, library_id, fresh_jpeg()).status_code == 410
    eventually(lambda: kept(library, library_id) == [], 10)
    assert library.refkeep.version(f"library/{library_id}") == '"2"'


def test_a_page_can_say_what_a_cover_may_be(library: Shop) -> None:
    policy = library.http.get("/policies/cover").json()
    assert (policy["max_bytes"], "image/jpeg" in policy["media_types"]) == (25 * 2**20, True)
