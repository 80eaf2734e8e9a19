"""Refs over HTTP: slots that are filled, replaced, moved and released, and what callers may rely on meanwhile."""

from __future__ import annotations

import json
from uuid import UUID

import httpx
import pytest

from tests import samples
from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_png, fresh_text
from tests.parts.service import Refkeep

COVER, FILES, IMAGES = "book/42/cover", "document/7/file", "block/7/image"


def fill(caller: Caller, role: str, count: int) -> list[str]:
    """Append `count` refs to a list; their hashes."""
    hashes = [caller.upload(fresh_jpeg()) for _ in range(count)]
    for sha256 in hashes:
        assert caller.post(role, sha256).status_code == 201
    return hashes


def order(caller: Caller, role: str) -> list[tuple[int, str]]:
    return [(ref["position"], ref["blob"]["sha256"]) for ref in caller.refs(role)]


def dense(hashes: list[str]) -> list[tuple[int, str]]:
    return list(enumerate(hashes))


def test_an_entity_that_never_had_refs_is_an_empty_list_of_version_0(acme: Caller) -> None:
    for path in ("book/42", COVER, "nosuchtype/42"):
        response = acme.http.get(f"/refs/{path}")
        assert response.status_code == 200
        assert response.headers["etag"] == '"0"'
        assert response.json()["items"] == []
        assert response.json()["entity"]["version"] == 0
        assert response.json()["next"] is None


def test_bytes_sent_before_are_attached_by_their_hash(acme: Caller) -> None:
    content = fresh_jpeg()
    sha256 = acme.upload(content)

    response = acme.put(f"{COVER}/0", sha256, filename="cover.jpg", alt="A cover", owner="ann", visibility="private")

    assert response.status_code == 201
    result = response.json()
    ref = result["ref"]
    assert result["decision"] == "insert"
    assert result["entity"] == {"type": "book", "id": "42", "version": 1}
    assert "replaced" not in result
    assert response.headers["etag"] == '"1"'
    assert response.headers["location"] == ref["links"]["self"] == f"/media/{ref['ref_id']}"
    assert UUID(ref["ref_id"]).version == 7
    assert (ref["workspace"], ref["entity_type"], ref["entity_id"]) == (acme.workspace, "book", "42")
    assert (ref["role"], ref["position"], ref["state"], ref["visibility"]) == ("cover", 0, "live", "private")
    assert (ref["filename"], ref["alt"], ref["owner"]) == ("cover.jpg", "A cover", "ann")
    assert (ref["trashed_at"], ref["purge_after"]) == (None, None)
    assert ref["blob"] == {
        "sha256": sha256,
        "size": len(content),
        "media_type": "image/jpeg",
        "width": 96,
        "height": 64,
        "frames": 1,
        "duration_ms": None,
        "readable": True,
        "placeholder": ref["blob"]["placeholder"],
    }
    assert ref["blob"]["placeholder"]["aspect"] == 1.5
    assert ref["original"] is None
    assert acme.refs(COVER) == acme.refs("book/42") == [ref]
    assert acme.http.get(ref["links"]["self"]).json() == ref
    assert acme.http.get(ref["links"]["file"]).content == content
    assert acme.http.get(ref["links"]["blob"]).content == content


def test_upload_and_attach_are_one_request_with_raw_bytes(acme: Caller) -> None:
    content = fresh_jpeg()
    response = acme.put(f"{COVER}/0", content, {"content-type": "image/jpeg"}, filename="a b.jpg", alt="Ünïcode 本")

    assert response.status_code == 201
    ref = response.json()["ref"]
    assert (ref["blob"]["sha256"], ref["filename"], ref["alt"]) == (sha256_of(content), "a b.jpg", "Ünïcode 本")
    assert [event["data"]["decision"] for event in acme.events()] == ["insert", "insert"]
    assert [event["type"] for event in acme.events()] == ["refkeep.holding.acquired.v1", "refkeep.ref.inserted.v1"]


def test_upload_and_attach_are_one_request_with_a_form(acme: Caller) -> None:
    content = fresh_png()
    response = acme.http.put(
        f"/refs/{COVER}/0", data={"alt": "A cover", "visibility": "private"}, files={"file": ("c.png", content)}
    )

    assert response.status_code == 201
    ref = response.json()["ref"]
    assert (ref["blob"]["sha256"], ref["filename"], ref["alt"]) == (sha256_of(content), "c.png", "A cover")
    assert ref["visibility"] == "private"


@pytest.mark.parametrize("way", ["json", "raw", "form"])
def test_all_three_ways_append_to_a_list(acme: Caller, way: str) -> None:
    first, second = fresh_jpeg(), fresh_jpeg()
    acme.post(IMAGES, first)
    match way:
        case "json":
            response = acme.post(IMAGES, acme.upload(second))
        case "raw":
            response = acme.post(IMAGES, second)
        case _:
            response = acme.http.post(f"/refs/{IMAGES}", files={"file": second})
    assert response.status_code == 201
    assert response.json()["ref"]["position"] == 1
    assert order(acme, IMAGES) == dense([sha256_of(first), sha256_of(second)])


@pytest.mark.parametrize("way", ["json", "raw", "form"])
def test_all_three_ways_insert_at_a_position(acme: Caller, way: str) -> None:
    hashes = fill(acme, IMAGES, 2)
    content = fresh_jpeg()
    seen = {"if-match": acme.version(IMAGES)}
    match way:
        case "json":
            response = acme.post(IMAGES, acme.upload(content), seen, position=1)
        case "raw":
            response = acme.post(IMAGES, content, seen, position="1")
        case _:
            response = acme.http.post(f"/refs/{IMAGES}", data={"position": "1"}, files={"file": content}, headers=seen)
    assert response.status_code == 201, response.text
    assert order(acme, IMAGES) == dense([hashes[0], sha256_of(content), hashes[1]])


def test_the_same_put_again_is_a_noop(acme: Caller) -> None:
    sha256 = acme.upload(fresh_jpeg())
    first = acme.put(f"{COVER}/0", sha256, alt="A cover").json()
    seen = acme.events()

    again = acme.put(f"{COVER}/0", sha256, alt="A cover")

    assert again.status_code == 200
    assert again.json()["decision"] == "noop"
    assert again.json()["ref"] == first["ref"]
    assert again.json()["event"] is None
    assert again.headers["etag"] == '"1"'
    assert acme.events() == seen


def test_other_bytes_replace_and_the_old_ref_goes_to_the_trash(acme: Caller) -> None:
    old = acme.put(f"{COVER}/0", fresh_jpeg()).json()["ref"]

    response = acme.put(f"{COVER}/0", fresh_jpeg())

    assert response.status_code == 200
    result = response.json()
    assert result["decision"] == "replace"
    assert result["ref"]["ref_id"] != old["ref_id"]
    assert (result["replaced"]["ref_id"], result["replaced"]["state"]) == (old["ref_id"], "trashed")
    assert result["replaced"]["position"] is None
    assert result["replaced"]["purge_after"] > result["replaced"]["trashed_at"]
    assert response.headers["etag"] == '"2"'
    assert acme.refs(COVER) == [result["ref"]]
    assert acme.http.get(f"/media/{old['ref_id']}").json() == result["replaced"]


def test_a_put_of_the_same_bytes_with_other_labels_updates_the_ref(acme: Caller) -> None:
    sha256 = acme.upload(fresh_jpeg())
    before = acme.put(f"{COVER}/0", sha256, filename="a.jpg", alt="old").json()["ref"]

    response = acme.put(f"{COVER}/0", sha256, alt="new", visibility="private")

    assert response.status_code == 200
    assert response.json()["decision"] == "update"
    assert response.json()["ref"] == {**before, "alt": "new", "visibility": "private"}
    assert acme.refs(COVER)[0]["filename"] == "a.jpg"
    assert response.headers["etag"] == '"2"'


def test_each_decision_is_in_the_log_in_order_of_the_version(acme: Caller) -> None:
    sha256 = acme.upload(fresh_jpeg())
    acme.put(f"{COVER}/0", sha256)
    acme.put(f"{COVER}/0", sha256, alt="new")
    acme.put(f"{COVER}/0", fresh_jpeg())
    acme.delete(f"{COVER}/0")

    events = acme.events(entity_type="book", entity_id="42")

    assert [event["data"]["decision"] for event in events] == ["insert", "update", "replace", "release"]
    assert [event["data"]["entity"]["version"] for event in events] == [1, 2, 3, 4]
    assert {event["subject"] for event in events} == {"book/42"}
    assert [event["type"] for event in events] == [
        f"refkeep.ref.{word}.v1" for word in ("inserted", "updated", "replaced", "released")
    ]
    assert events[2]["data"]["replaced"]["sha256"] == sha256


def test_the_event_that_an_answer_names_is_in_the_log(acme: Caller) -> None:
    result = acme.put(f"{COVER}/0", fresh_jpeg()).json()
    [event] = acme.events(ref_id=result["ref"]["ref_id"])
    assert event["id"] == result["event"]


def test_a_single_slot_is_released_to_the_trash_and_again_is_a_noop(acme: Caller) -> None:
    content = fresh_jpeg()
    ref = acme.put(f"{COVER}/0", content).json()["ref"]

    released = acme.delete(f"{COVER}/0")
    again = acme.delete(f"{COVER}/0")

    assert (released.status_code, released.json()["decision"]) == (200, "release")
    assert released.json()["ref"]["state"] == "trashed"
    assert released.headers["etag"] == '"2"'
    assert (again.status_code, again.json()["decision"], again.headers["etag"]) == (200, "noop", '"2"')
    assert acme.refs(COVER) == []
    assert acme.http.get(ref["links"]["file"]).content == content


def test_a_list_closes_the_gap_that_a_release_leaves(acme: Caller) -> None:
    hashes = fill(acme, IMAGES, 4)
    response = acme.delete(f"{IMAGES}/1", {"if-match": acme.version(IMAGES)})
    assert response.json()["decision"] == "release"
    assert order(acme, IMAGES) == dense([hashes[0], hashes[2], hashes[3]])


def test_an_insert_moves_the_later_ones_up(acme: Caller) -> None:
    hashes = fill(acme, IMAGES, 3)
    new = acme.upload(fresh_jpeg())
    assert acme.post(IMAGES, new, {"if-match": '"3"'}, position=0).status_code == 201
    assert order(acme, IMAGES) == dense([new, *hashes])


def test_a_put_one_past_the_end_of_a_list_appends(acme: Caller) -> None:
    hashes = fill(acme, IMAGES, 2)
    new = acme.upload(fresh_jpeg())
    assert acme.put(f"{IMAGES}/2", new).status_code == 201
    assert order(acme, IMAGES) == dense([*hashes, new])


def test_replacing_in_a_list_keeps_the_place_of_all_others(acme: Caller) -> None:
    hashes = fill(acme, IMAGES, 3)
    new = acme.upload(fresh_jpeg())
    response = acme.put(f"{IMAGES}/1", new, {"if-match": '"3"'})
    assert (response.status_code, response.json()["decision"]) == (200, "replace")
    assert order(acme, IMAGES) == dense([hashes[0], new, hashes[2]])


def test_one_entity_has_one_version_whatever_the_role(acme: Caller) -> None:
    acme.post("block/7/image", fresh_jpeg())
    acme.post("block/7/video", samples.mp4())
    assert acme.version("block/7") == acme.version("block/7/image") == acme.version("block/7/video") == '"2"'
    assert [ref["role"] for ref in acme.refs("block/7")] == ["image", "video"]
    assert [ref["role"] for ref in acme.refs("block/7/video")] == ["video"]


def test_a_stale_version_is_refused_and_changes_nothing(acme: Caller) -> None:
    hashes = fill(acme, IMAGES, 2)
    stale = {"if-match": '"1"'}
    new = acme.upload(fresh_jpeg())
    for response in (
        acme.put(f"{IMAGES}/1", new, stale),
        acme.post(IMAGES, new, stale),
        acme.post(IMAGES, new, stale, position=0),
        acme.delete(f"{IMAGES}/0", stale),
    ):
        assert problem(response, 412, "version-conflict")["version"] == 2
    assert order(acme, IMAGES) == dense(hashes)


def test_what_moves_positions_of_a_list_demands_a_version(acme: Caller) -> None:
    hashes = fill(acme, IMAGES, 2)
    new = acme.upload(fresh_jpeg())
    for response in (
        acme.put(f"{IMAGES}/1", new),
        acme.post(IMAGES, new, position=1),
        acme.delete(f"{IMAGES}/0"),
        acme.delete(f"{IMAGES}/0", {"if-match": "*"}),
    ):
        assert problem(response, 428, "precondition-required")["version"] == 2
    assert order(acme, IMAGES) == dense(hashes)


def test_a_version_may_be_one_of_several(acme: Caller) -> None:
    fill(acme, IMAGES, 1)
    response = acme.put(f"{IMAGES}/0", fresh_jpeg(), {"if-match": '"7", "1"'})
    assert response.json()["decision"] == "replace"


def test_a_weak_version_matches_nothing(acme: Caller) -> None:
    fill(acme, IMAGES, 1)
    problem(acme.put(f"{IMAGES}/0", fresh_jpeg(), {"if-match": 'W/"1"'}), 412, "version-conflict")


def test_version_0_is_what_an_entity_without_refs_has(acme: Caller) -> None:
    problem(acme.put(f"{COVER}/0", fresh_jpeg(), {"if-match": '"1"'}), 412, "version-conflict")
    assert acme.put(f"{COVER}/0", fresh_jpeg(), {"if-match": '"0"'}).status_code == 201


def test_if_none_match_fills_only_an_empty_slot(acme: Caller) -> None:
    empty = {"if-none-match": "*"}
    assert acme.put(f"{COVER}/0", fresh_jpeg(), empty).status_code == 201
    before = acme.refs(COVER)
    problem(acme.put(f"{COVER}/0", fresh_jpeg(), empty), 412, "version-conflict")
    assert acme.refs(COVER) == before


@pytest.mark.parametrize("position", ["1", "999999999"])
def test_a_single_role_has_position_0_alone(acme: Caller, position: str) -> None:
    details = problem(acme.put(f"{COVER}/{position}", acme.upload(fresh_jpeg())), 422, "position-out-of-range")
    assert (details["position"], details["last"]) == (int(position), 0)


def test_a_list_has_no_holes(acme: Caller) -> None:
    fill(acme, IMAGES, 1)
    sha256 = acme.upload(fresh_jpeg())
    for response in (acme.put(f"{IMAGES}/2", sha256), acme.post(IMAGES, sha256, {"if-match": '"1"'}, position=2)):
        assert problem(response, 422, "position-out-of-range")["last"] == 1


def test_post_to_a_taken_single_role_is_refused(acme: Caller) -> None:
    assert acme.post(COVER, fresh_jpeg()).status_code == 201
    assert problem(acme.post(COVER, fresh_jpeg()), 409, "role-full")["capacity"] == 1


def test_an_unknown_policy_is_refused_with_the_known_ones(acme: Caller, service: Refkeep) -> None:
    sha256 = acme.upload(fresh_jpeg())
    before = service.contents()
    for response in (
        acme.put("book/42/back/0", sha256),
        acme.post("spaceship/1/cover", sha256),
        acme.put("book/42/back/0", fresh_jpeg()),
        acme.http.post("/refs/book/42/back", files={"file": fresh_jpeg()}),
        acme.http.get("/policies/book/back"),
    ):
        assert "book/cover" in problem(response, 422, "policy-unknown")["known"]
    assert not service.added_since(before)


def test_a_policy_tells_a_front_end_what_the_role_accepts(reader: Caller) -> None:
    policy = reader.http.get("/policies/book/cover").json()
    assert policy == {
        "entity_type": "book",
        "role": "cover",
        "cardinality": "single",
        "max_items": 1,
        "media_types": [f"image/{name}" for name in ("jpeg", "png", "apng", "webp", "gif", "avif")],
        "max_bytes": 25 * 2**20,
        "max_pixels": 50_000_000,
        "max_edge": 2560,
        "oversize": "downscale",
        "max_duration_ms": None,
        "visibility": "public",
        "public_allowed": True,
        "normalise": {
            "max_edge": 2560,
            "strip": True,
            "colour": "srgb",
            "format": "original",
            "max_frames": 1000,
            "max_animation_ms": None,
        },
        "keep_original": True,
        "presets": [_preset("thumb", 160, "cover")]
        + [_preset(name, edge, "inside") for name, edge in (("small", 320), ("medium", 800), ("large", 1600))],
    }
    assert reader.http.get("/policies/document/file").json()["normalise"] is None


def _preset(name: str, edge: int, fit: str) -> dict[str, object]:
    formats = ["avif", "webp", "original"]
    return {
        "name": name,
        "width": edge,
        "height": edge,
        "fit": fit,
        "formats": formats,
        "enlarge": False,
        "eager": False,
    }


def test_visibility_is_the_policys_unless_its_writer_asks_for_private(acme: Caller, anyone: Caller) -> None:
    public, private, document = fresh_jpeg(), fresh_jpeg(), fresh_text()
    refs = [
        acme.put("book/1/cover/0", public).json()["ref"],
        acme.put("book/2/cover/0", private, visibility="private").json()["ref"],
        acme.post(FILES, document).json()["ref"],
    ]
    assert [ref["visibility"] for ref in refs] == ["public", "private", "private"]
    assert [anyone.http.get(ref["links"]["file"]).status_code for ref in refs] == [200, 404, 404]
    assert [anyone.http.get(ref["links"]["blob"]).status_code for ref in refs] == [200, 404, 404]


def test_public_is_refused_where_the_policy_keeps_refs_private(acme: Caller, service: Refkeep) -> None:
    sha256 = acme.upload(fresh_text())
    before = service.contents()
    problem(acme.post(FILES, sha256, visibility="public"), 422, "visibility-not-allowed")
    problem(acme.post(FILES, fresh_text(), visibility="public"), 422, "visibility-not-allowed")
    problem(acme.post(FILES, fresh_text(), visibility="secret"), 400, "bad-request")
    assert not service.added_since(before)


def test_a_same_blob_put_cannot_make_public_what_the_policy_keeps_private(acme: Caller) -> None:
    sha256 = acme.upload(fresh_text())
    acme.post(FILES, sha256)
    problem(acme.put(f"{FILES}/0", sha256, {"if-match": '"1"'}, visibility="public"), 422, "visibility-not-allowed")
    assert acme.refs(FILES)[0]["visibility"] == "private"


def test_bytes_refused_by_policy_are_not_kept(acme: Caller, service: Refkeep) -> None:
    before = service.contents()
    text = fresh_text()
    details = problem(acme.put(f"{COVER}/0", text), 415, "media-type-not-allowed")
    assert (details["found"], "image/jpeg" in details["allowed"]) == ("text/plain", True)
    problem(acme.post("block/7/video", fresh_jpeg()), 415, "media-type-not-allowed")
    assert not service.added_since(before)
    assert acme.http.post("/blobs/missing", json={"sha256": [sha256_of(text)]}).json()["missing"] == [sha256_of(text)]


def test_bytes_refused_by_policy_stay_held_if_they_were_held_before(acme: Caller) -> None:
    text = fresh_text()
    sha256 = acme.upload(text)
    problem(acme.put(f"{COVER}/0", text), 415, "media-type-not-allowed")
    assert acme.http.get(f"/blobs/{sha256}").content == text


def test_a_blob_that_refs_use_is_not_given_up(acme: Caller) -> None:
    sha256 = acme.upload(fresh_jpeg())
    acme.put(f"{COVER}/0", sha256)
    problem(acme.http.delete(f"/blobs/{sha256}"), 409, "blob-in-use")
    acme.delete(f"{COVER}/0")
    problem(acme.http.delete(f"/blobs/{sha256}"), 409, "blob-in-use")
    assert acme.http.get(f"/blobs/{sha256}").status_code == 200


def test_equal_rejects_within_a_minute_are_one_event(acme: Caller, globex: Caller) -> None:
    sha256 = "0" * 64
    for _ in range(3):
        problem(acme.put("book/1/cover/0", sha256), 422, "blob-not-held")
    problem(acme.put("book/2/cover/0", sha256), 422, "blob-not-held")
    problem(acme.put("book/1/cover/1", acme.upload(fresh_jpeg())), 422, "position-out-of-range")
    problem(globex.put("book/1/cover/0", sha256), 422, "blob-not-held")

    rejects = acme.events(decision="reject")

    assert [(event["subject"], event["data"]["code"]) for event in rejects] == [
        ("book/1", "blob-not-held"),
        ("book/2", "blob-not-held"),
        ("book/1", "position-out-of-range"),
    ]
    assert {event["type"] for event in rejects} == {"refkeep.ref.rejected.v1"}
    assert {event["data"]["entity"]["version"] for event in rejects} == {0}
    assert len(globex.events(decision="reject")) == 1


def test_rejected_bytes_are_recorded_once_with_their_hash(acme: Caller) -> None:
    text = fresh_text()
    for _ in range(2):
        problem(acme.put(f"{COVER}/0", text), 415, "media-type-not-allowed")
    [event] = acme.events(decision="reject")
    assert (event["data"]["code"], event["data"]["sha256"]) == ("media-type-not-allowed", sha256_of(text))


# --- idempotency ------------------------------------------------------------------------------------------------------


def test_a_replayed_request_has_the_same_answer_and_no_second_effect(acme: Caller) -> None:
    sha256 = acme.upload(fresh_jpeg())
    key = {"idempotency-key": '"8e03978e-40d5-43dd-bc93-6894a57f9324"'}

    first = acme.post(IMAGES, sha256, key)
    events = acme.events()
    second = acme.post(IMAGES, sha256, key)

    assert "idempotent-replayed" not in first.headers
    assert second.headers["idempotent-replayed"] == "true"
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert {name: second.headers[name] for name in ("etag", "location", "content-type")} == {
        name: first.headers[name] for name in ("etag", "location", "content-type")
    }
    assert len(acme.refs(IMAGES)) == 1
    assert acme.events() == events


@pytest.mark.parametrize("way", ["raw", "form"])
def test_a_replayed_upload_appends_once(acme: Caller, way: str) -> None:
    content, key = fresh_jpeg(), {"idempotency-key": "append-1"}

    def send(data: bytes) -> httpx.Response:
        if way == "raw":
            return acme.http.post(f"/refs/{IMAGES}", content=data, params={"alt": "a"}, headers=key)
        return acme.http.post(f"/refs/{IMAGES}", data={"alt": "a"}, files={"file": data}, headers=key)

    first, second = send(content), send(content)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.headers["idempotent-replayed"] == "true"
    assert second.content == first.content
    assert len(acme.refs(IMAGES)) == 1
    problem(send(fresh_jpeg()), 422, "idempotency-key-reuse")
    assert len(acme.refs(IMAGES)) == 1


def test_a_replayed_release_releases_once(acme: Caller) -> None:
    fill(acme, IMAGES, 2)
    headers = {"if-match": '"2"', "idempotency-key": "release-1"}
    first, second = acme.delete(f"{IMAGES}/0", headers), acme.delete(f"{IMAGES}/0", headers)
    assert (second.content, second.headers["idempotent-replayed"]) == (first.content, "true")
    assert len(acme.refs(IMAGES)) == 1


def test_a_replayed_blob_upload_and_its_end_are_answered_as_before(acme: Caller) -> None:
    content, key = fresh_text(), {"idempotency-key": "blob-1"}
    first, second = (acme.http.post("/blobs", content=content, headers=key) for _ in range(2))
    assert (first.status_code, second.status_code, second.content) == (201, 201, first.content)
    assert second.headers["location"] == first.headers["location"]

    end = {"idempotency-key": "end-1"}
    gone, again = (acme.http.delete(f"/blobs/{sha256_of(content)}", headers=end) for _ in range(2))
    assert (gone.status_code, again.status_code) == (204, 204)
    assert again.headers["idempotent-replayed"] == "true"


def test_a_key_with_another_request_is_refused(acme: Caller) -> None:
    sha256 = acme.upload(fresh_jpeg())
    key = {"idempotency-key": "once"}
    acme.post(IMAGES, sha256, key)
    for response in (
        acme.post(IMAGES, sha256, key, alt="other"),
        acme.post("block/8/image", sha256, key),
        acme.put(f"{COVER}/0", sha256, key),
        acme.delete(f"{IMAGES}/0", {**key, "if-match": '"1"'}),
        acme.http.delete(f"/blobs/{sha256}", headers=key),
        acme.http.post("/blobs", content=fresh_text(), headers=key),
    ):
        problem(response, 422, "idempotency-key-reuse")
    assert len(acme.refs(IMAGES)) == 1


def test_a_key_belongs_to_its_workspace(acme: Caller, globex: Caller) -> None:
    key = {"idempotency-key": "shared"}
    assert acme.post(IMAGES, acme.upload(fresh_jpeg()), key).status_code == 201
    assert globex.post(IMAGES, globex.upload(fresh_jpeg()), key).status_code == 201


def test_a_refusal_is_judged_anew(acme: Caller) -> None:
    content, key = fresh_jpeg(), {"idempotency-key": "later"}
    problem(acme.put(f"{COVER}/0", sha256_of(content), key), 422, "blob-not-held")
    acme.upload(content)
    assert acme.put(f"{COVER}/0", sha256_of(content), key).status_code == 201


def test_a_noop_is_replayed_too(acme: Caller) -> None:
    sha256, key = acme.upload(fresh_jpeg()), {"idempotency-key": "noop"}
    acme.put(f"{COVER}/0", sha256)
    assert acme.put(f"{COVER}/0", sha256, key).json()["decision"] == "noop"
    acme.put(f"{COVER}/0", fresh_jpeg())
    again = acme.put(f"{COVER}/0", sha256, key)
    assert (again.json()["decision"], again.headers["idempotent-replayed"]) == ("noop", "true")


# --- settings and policies of one's own -------------------------------------------------------------------------------


@pytest.fixture
def librarian(strict: Refkeep) -> Caller:
    return strict.caller("read", "write")


def test_links_are_absolute_where_the_public_address_is_known(librarian: Caller) -> None:
    response = librarian.post("shelf/1/photo", fresh_jpeg())
    ref = response.json()["ref"]
    media = f"https://media.example.org/media/{ref['ref_id']}"
    blob = f"https://media.example.org/blobs/{ref['blob']['sha256']}"
    assert ref["links"] == {"self": media, "file": f"{media}/file", "blob": blob}
    assert response.headers["location"] == media
    content = fresh_text()
    location = librarian.http.post("/blobs", content=content).headers["location"]
    assert location == f"https://media.example.org/blobs/{sha256_of(content)}"


def test_a_list_takes_as_many_as_its_policy_says(librarian: Caller) -> None:
    hashes = fill(librarian, "shelf/1/photo", 2)
    new = librarian.upload(fresh_jpeg())
    for response in (
        librarian.post("shelf/1/photo", new),
        librarian.post("shelf/1/photo", new, {"if-match": '"2"'}, position=0),
        librarian.put("shelf/1/photo/2", new),
    ):
        assert problem(response, 409, "role-full")["capacity"] == 2
    assert librarian.put("shelf/1/photo/1", new, {"if-match": '"2"'}).json()["decision"] == "replace"
    assert order(librarian, "shelf/1/photo") == dense([hashes[0], new])


def test_limits_of_a_policy_are_refused_each_with_its_code(librarian: Caller, strict: Refkeep) -> None:
    before = strict.contents()
    edge = problem(librarian.post("shelf/1/photo", fresh_jpeg(120, 20)), 422, "dimensions-exceeded")
    assert (edge["width"], edge["height"], edge["max_edge"]) == (120, 20, 100)
    size = problem(librarian.post("shelf/1/photo", fresh_text(20 * 1024 + 1)), 413, "too-large")
    assert size["max_bytes"] == 20 * 1024
    long = problem(librarian.put("shelf/1/film/0", samples.mp4()), 422, "duration-exceeded")
    assert long["max_duration_ms"] == 500
    assert not strict.added_since(before)


def test_a_wildcard_policy_covers_every_type(librarian: Caller) -> None:
    assert librarian.put("anything/1/note/0", fresh_text()).status_code == 201
    problem(librarian.put("anything/1/photo/0", fresh_jpeg()), 422, "policy-unknown")


def test_a_json_command_is_never_taken_for_bytes(acme: Caller) -> None:
    content = json.dumps({"library": 7}).encode()
    as_command = acme.http.post(f"/refs/{FILES}", content=content, headers={"content-type": "application/json"})
    problem(as_command, 400, "bad-request")
    as_bytes = acme.http.post(f"/refs/{FILES}", content=content, headers={"content-type": "application/octet-stream"})
    assert as_bytes.json()["ref"]["blob"]["sha256"] == sha256_of(content)
