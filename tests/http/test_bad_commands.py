"""Commands with what they do not take beside them: refused, and nothing is done."""

from __future__ import annotations

import pytest

from tests.parts.caller import Caller, problem
from tests.parts.fresh import fresh_text
from tests.parts.service import Refkeep


def test_a_release_with_a_query_releases_nothing(acme: Caller, service: Refkeep) -> None:
    sha256, ref_id = acme.upload(fresh_text()), acme.post("document/7/file", fresh_text()).json()["ref"]["ref_id"]
    admin = service.caller("read", "write", "admin", workspace=acme.workspace)
    calls = [
        ("DELETE", "/refs/document/7/file/0"),
        ("DELETE", "/refs/document/7/file"),
        ("DELETE", "/refs/document/7"),
        ("DELETE", f"/media/{ref_id}"),
        ("POST", f"/media/{ref_id}/restore"),
        ("POST", f"/media/{ref_id}/purge"),
        ("DELETE", f"/blobs/{sha256}"),
    ]
    for method, target in calls:
        refused = admin.http.request(method, target, params={"position": "0"}, headers={"if-match": '"1"'})
        assert "no query" in problem(refused, 400, "bad-request")["detail"], target
    assert [ref["ref_id"] for ref in acme.refs("document/7/file")] == [ref_id]
    assert acme.http.get(f"/blobs/{sha256}").status_code == 200


def test_a_hold_is_not_lifted_by_a_request_with_a_query(acme: Caller, service: Refkeep) -> None:
    sha256, operator = acme.upload(fresh_text()), service.bearer(service.key(None, "operator"))
    hold = {"kind": "legal", "reason": "a court said so"}
    assert operator.http.put(f"/holds/{sha256}", json=hold).status_code == 201
    problem(operator.http.delete(f"/holds/{sha256}", params={"kind": "quarantine"}), 400, "bad-request")
    assert operator.http.get(f"/holds/{sha256}").json()["reason"] == hold["reason"]
    assert operator.http.delete(f"/holds/{sha256}").status_code == 204


@pytest.mark.parametrize(
    "media_type", ["text/plain", "application/x-www-form-urlencoded", "image/png", "application/merge-patch", None]
)
def test_a_command_is_json_and_says_so(acme: Caller, media_type: str | None) -> None:
    ref_id = acme.post("document/7/file", fresh_text()).json()["ref"]["ref_id"]
    headers = {"if-match": '"1"'} | ({} if media_type is None else {"content-type": media_type})
    calls = [
        ("PATCH", f"/media/{ref_id}", b'{"alt": "other"}'),
        ("POST", f"/media/{ref_id}/restore", b"{}"),
        ("PUT", "/refs/document/7/file/order", f'{{"ref_ids": ["{ref_id}"]}}'.encode()),
        ("POST", "/refs/batch", b'{"operations": [{"op": "release", "entity_type": "document", "entity_id": "7"}]}'),
        ("POST", "/blobs/missing", b'{"sha256": []}'),
    ]
    for method, target, content in calls:
        refused = acme.http.request(method, target, content=content, headers=headers)
        assert "application/json" in problem(refused, 400, "bad-request")["detail"], target
    [ref] = acme.refs("document/7/file")
    assert (ref["ref_id"], ref["alt"]) == (ref_id, None)


def test_a_restore_needs_no_body_and_no_type(acme: Caller) -> None:
    ref_id = acme.post("document/7/file", fresh_text()).json()["ref"]["ref_id"]
    for headers in ({}, {"content-type": "application/x-www-form-urlencoded"}):
        assert acme.http.delete(f"/media/{ref_id}").json()["decision"] == "release"
        restored = acme.http.post(f"/media/{ref_id}/restore", headers=headers)
        assert (restored.status_code, restored.json()["decision"]) == (200, "restore")
