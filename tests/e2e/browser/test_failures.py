"""A cover that does not arrive: the old one stays, and the page says why."""

from __future__ import annotations

import json
from pathlib import Path

from playwright.sync_api import Browser, Route, expect

from tests.e2e.browser.conftest import MAX_BYTES, Site
from tests.e2e.browser.screen import Screen, opened_screen
from tests.parts.fates import for_writes
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.relay import RELAYED, Fate

FAILED = "Failed to load resource: the server responded with a status of "


def test_refkeep_stopped_keeps_the_cover_and_the_same_attempt_succeeds_later(screen: Screen, site: Site) -> None:
    before = screen.give(fresh_jpeg())
    screen.expected.append(f"{FAILED}503")
    screen.choose(fresh_jpeg())
    site.refkeep.stop()
    try:
        screen.send()
        screen.must_complain("Pictures cannot be changed at the moment. The cover stays as it was.")
        assert screen.shown == before
        expect(screen.page.get_by_role("button", name="Try again")).to_be_focused()
    finally:
        site.refkeep.start()
    screen.page.keyboard.press("Enter")
    screen.must_say("This is the cover now.")
    assert before != screen.shown == site.cover(screen.path)
    _, refused, taken = screen.sent
    assert refused.headers["idempotency-key"] == taken.headers["idempotency-key"]


def test_a_413_under_a_rule_that_has_changed_meanwhile(screen: Screen, site: Site) -> None:
    before = screen.give(fresh_jpeg())
    rules = {"media_types": ["image/jpeg"], "max_bytes": 2 * MAX_BYTES, "max_pixels": None, "max_edge": 9000}
    screen.page.route("**/policies/cover", lambda route: answer(route, rules), times=1)
    screen.open()
    expect(screen.part("rules")).to_have_text("JPEG, up to 4 MB and 9,000 pixels along the longer side.")
    screen.expected.append(f"{FAILED}413")
    screen.choose(fresh_jpeg().ljust(MAX_BYTES + 1, b"\0"))
    screen.send()
    screen.must_complain("The picture is too large: at most 2 MB are taken. The cover stays as it was.")
    assert screen.shown == before == site.cover(screen.path)
    expect(screen.page.get_by_role("button", name="Try again")).to_be_hidden()
    expect(screen.part("rules")).to_have_text("JPEG, PNG or WebP, up to 2 MB and 4 megapixels.")


def test_a_415_of_a_file_that_is_not_what_its_name_says(screen: Screen, site: Site) -> None:
    before = screen.give(fresh_jpeg())
    screen.expected += [
        f"{FAILED}415",
        "Connecting to 'blob:",
    ]  # what records the wire looks at the preview that failed
    screen.choose(fresh_text(), "notes.jpg")
    expect(screen.page.get_by_text("This browser cannot show a preview.")).to_be_visible()
    screen.send()
    screen.must_complain("The file calls itself JPEG but is text/plain. The cover stays as it was.")
    assert screen.shown == before == site.cover(screen.path)
    expect(screen.part("file")).to_be_focused()


def test_a_409_may_be_tried_again(screen: Screen, site: Site) -> None:
    before = screen.give(fresh_jpeg())
    screen.expected.append(f"{FAILED}409")
    site.relay.decide = for_writes(Fate(status=409))
    screen.choose(fresh_jpeg())
    screen.send()
    screen.must_complain("Somebody else is changing this cover. The cover stays as it was.")
    assert screen.shown == before == site.cover(screen.path)
    expect(screen.page.get_by_role("button", name="Try again")).to_be_visible()


def test_a_connection_that_breaks_without_a_first_cover(screen: Screen, site: Site) -> None:
    screen.expected.append("net::ERR_FAILED")
    screen.page.route("**/cover", lambda route: route.abort())
    screen.choose(fresh_jpeg())
    screen.send()
    screen.must_complain("The connection broke off. There is still no cover.")
    assert (screen.shown, site.cover(screen.path)) == (None, None)
    expect(screen.page.get_by_text("No cover yet")).to_be_visible()


def test_an_answer_that_is_lost_after_the_cover_was_taken_is_found_out(
    chromium: Browser, site: Site, tmp_path: Path
) -> None:
    path = site.new_library()
    with opened_screen(chromium, f"{site.front.url}{path}", tmp_path, site.token) as screen:
        screen.expected.append("net::ERR_EMPTY_RESPONSE")
        screen.choose(fresh_jpeg())
        site.front.decide = for_writes(Fate(body_bytes=0), RELAYED)
        screen.send()
        screen.must_say("This is the cover now.")
        assert screen.shown == site.cover(path) is not None


def test_rules_that_cannot_be_read_are_left_to_refkeep(screen: Screen) -> None:
    screen.expected.append("net::ERR_FAILED")
    screen.page.route("**/policies/cover", lambda route: route.abort())
    screen.open()
    expect(screen.part("rules")).to_contain_text("cannot be said now")
    screen.give(fresh_jpeg())


def test_a_cover_that_does_not_load_is_said_to_be_unseen(screen: Screen) -> None:
    screen.expected.append("net::ERR_FAILED")
    screen.give(fresh_jpeg())
    screen.page.route("**/media/*/file", lambda route: route.abort())
    screen.open()
    screen.must_complain("The cover cannot be shown at the moment.")
    expect(screen.part("times")).to_be_hidden()


def answer(route: Route, document: object) -> None:
    route.fulfill(status=200, content_type="application/json", body=json.dumps(document))
