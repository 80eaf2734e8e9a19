"""The library's page without a browser: what it says, what guards it, what it takes, and the way back."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.consumers.conftest import Shop
from tests.parts.caller import sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.service import eventually

UPLOADED = {"trace_id": "4bf92f3577b34da6a3ce929d0e0e4736", "span_id": "00f067aa0ba902b7", "outcome": "success"}
FILES = ("page.js", "policy.js", "reasons.js", "timing.js", "trace.js", "upload.js", "page.css", "icon.svg")


@pytest.fixture
def path(library: Shop) -> str:
    """A library that is there and shows nothing, and whose name is none for a page."""
    name = f"/libraries/library-{uuid4()}"
    assert library.http.put(name, json={"name": '<b>City</b> & "Co" $name'}).status_code == 200
    return name


def by_form(shop: Shop, path: str, content: bytes) -> httpx.Response:
    return shop.http.post(f"{path}/page", files={"file": ("cover.jpg", content, "image/jpeg")})


def cover(shop: Shop, path: str) -> Any:
    return shop.http.get(path).json()["cover"]


def span(**others: Any) -> dict[str, Any]:
    ended = time.time() * 1000
    return {**UPLOADED, "began": ended - 20.5, "ended": ended, "status": 201, "bytes": 1000, **others}


@contextmanager
def rolled_back(shop: Shop) -> Iterator[None]:
    """The service with its own table for new covers, and with Refkeep again."""
    for way in ("own", "refkeep"):
        shop.service.settings["COVERS"] = way
        shop.service.kill()
        shop.service.start()
        if way == "own":
            yield


def test_the_page_may_load_what_is_ours_and_pictures_of_refkeep_and_nothing_else(library: Shop, path: str) -> None:
    answer = library.http.get(f"{path}/page")
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    rules = dict(each.split(" ", 1) for each in answer.headers["content-security-policy"].split("; "))
    assert (rules["default-src"], rules["script-src"], rules["connect-src"]) == ("'none'", "'self'", "'self'")
    assert rules["img-src"] == f"'self' blob: {library.relay.url}"
    assert "unsafe" not in answer.headers["content-security-policy"]
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert library.service.key not in answer.text + str(answer.headers)


def test_a_name_is_text_on_the_page_whatever_it_is(library: Shop, path: str) -> None:
    text = library.http.get(f"{path}/page").text
    assert '<h1 id="name">&lt;b&gt;City&lt;/b&gt; &amp; &quot;Co&quot; $name</h1>' in text
    assert "<b>" not in text


def test_the_page_has_no_script_style_or_handler_within_its_markup(library: Shop, path: str) -> None:
    text = library.http.get(f"{path}/page").text
    assert re.findall(r"<script[^>]*>", text) == ['<script type="module" src="/static/page.js">']
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=", text)


def test_there_is_no_page_of_a_library_that_is_not_there(library: Shop) -> None:
    assert library.http.get(f"/libraries/library-{uuid4()}/page").status_code == 404


@pytest.mark.parametrize("name", FILES)
def test_files_of_the_page_are_of_their_type_and_asked_for_again(library: Shop, name: str) -> None:
    answer = library.http.get(f"/static/{name}")
    of_type = {"js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}[name.rpartition(".")[2]]
    assert (answer.status_code, answer.headers["content-type"].split(";")[0]) == (200, of_type)
    assert (answer.headers["cache-control"], answer.headers["x-content-type-options"]) == ("no-cache", "nosniff")


@pytest.mark.parametrize("name", ["../page.html", "..%2fpage.html", "%2e%2e/page.html", "nothing.js", ""])
def test_nothing_else_is_a_file_of_the_page(library: Shop, name: str) -> None:
    assert library.http.get(f"/static/{name}").status_code == 404


def test_the_policy_for_the_page_has_every_limit_that_it_says(library: Shop) -> None:
    policy = library.http.get("/policies/cover").json()
    assert policy.keys() == {"media_types", "max_bytes", "max_pixels", "max_edge"}
    assert (policy["max_bytes"], policy["max_pixels"], policy["max_edge"]) == (25 * 2**20, 50_000_000, None)


def test_a_plain_form_goes_to_refkeep_and_back_to_the_page(library: Shop, path: str) -> None:
    answer = by_form(library, path, content := fresh_jpeg())
    assert (answer.status_code, answer.headers["location"]) == (303, f"{path}/page")
    shown = cover(library, path)["url"]
    assert f'src="{shown}"' in library.http.get(f"{path}/page").text
    assert httpx.get(shown).content == content


def test_a_plain_form_that_is_refused_answers_with_the_page_the_old_cover_and_the_reason(
    library: Shop, path: str
) -> None:
    by_form(library, path, fresh_jpeg())
    answer = by_form(library, path, fresh_text())
    assert (answer.status_code, answer.headers["content-type"]) == (415, "text/html; charset=utf-8")
    assert f'src="{cover(library, path)["url"]}"' in answer.text
    assert "The cover stays as it was. The bytes are text/plain, not image/jpeg." in answer.text


@pytest.mark.parametrize(
    "wrong",
    [
        {"trace_id": "0" * 32},
        {"trace_id": "4BF92F3577B34DA6A3CE929D0E0E4736"},
        {"span_id": "00f067aa0ba902b7\n"},
        {"outcome": "fine"},
        {"status": 1000},
        {"bytes": -1},
        {"began": 0},
        {"began": 4_102_444_800_000.0},  # of a time to come
        {"began": 0, "ended": 1},
        {"ended": 1e300},
        {"name": "another.span"},
        {"outcome": "success" * 1000},
    ],
    ids=str,
)
def test_a_span_that_no_page_of_ours_sends_is_refused(library: Shop, wrong: dict[str, Any]) -> None:
    assert library.http.post("/page-spans", json=span()).status_code == 204
    assert library.http.post("/page-spans", json=span(**wrong)).status_code in {400, 413}


def test_a_roll_back_keeps_covers_in_the_librarys_own_table_and_loses_none(library: Shop, path: str) -> None:
    by_form(library, path, fresh_jpeg())
    of_refkeep = cover(library, path)
    content = fresh_jpeg()
    with rolled_back(library):
        assert cover(library, path) == of_refkeep
        page = library.http.get(f"{path}/page")
        assert "<script" not in page.text
        assert "script-src 'none'" in page.headers["content-security-policy"]
        assert by_form(library, path, content).status_code == 303
        own = cover(library, path)
        assert own["ref_id"] is None
        answer = library.http.get(own["url"])
        assert (answer.headers["content-type"], sha256_of(answer.content)) == ("image/jpeg", sha256_of(content))
        eventually(lambda: library.refkeep.refs(path.replace("/libraries/", "library/")) == [], 10)
        for refused, status in ((fresh_text(), 415), (fresh_jpeg().ljust(5_000_001, b"\0"), 413)):
            assert by_form(library, path, refused).status_code == status
        assert cover(library, path) == own
        again = library.http.post(f"{path}/cover", files={"file": ("a.jpg", fresh_jpeg(), "image/jpeg")})
        assert (again.status_code, again.json()["decision"]) == (200, "replace")
        assert library.http.get(own["url"]).status_code == 404
    assert cover(library, path) == again.json()["picture"]
    by_form(library, path, fresh_jpeg())
    assert cover(library, path)["ref_id"]
    assert library.service.sql("SELECT count(*) FROM library.own_covers")[0]["count"] == 0
    assert library.http.delete(f"{path}/cover").status_code == 204
    assert cover(library, path) is None
