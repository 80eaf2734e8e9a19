"""A cover through a browser: chosen or dropped, looked at, sent, seen."""

from __future__ import annotations

import httpx
import pytest
from playwright.sync_api import expect

from tests import samples
from tests.e2e.browser.conftest import MAX_BYTES, Site
from tests.e2e.browser.screen import Screen
from tests.parts.fresh import fresh_jpeg, fresh_text


def padded_jpeg(size: int) -> bytes:
    """A picture with bytes behind its end, which decoders do not mind."""
    return fresh_jpeg().ljust(size, b"\0")


def test_the_rules_are_said_in_words_and_narrow_the_dialog(screen: Screen) -> None:
    expect(screen.part("rules")).to_have_text("JPEG, PNG or WebP, up to 2 MB and 4 megapixels.")
    expect(screen.part("file")).to_have_attribute("accept", "image/jpeg,image/png,image/webp")


@pytest.mark.parametrize(
    ("content", "name", "sentence"),
    [
        (
            padded_jpeg(MAX_BYTES + 1),
            "big.jpg",
            "“big.jpg” has 2.1 MB. A cover may have at most 2 MB.",
        ),
        (
            samples.jpeg(2500, 2000),
            "wide.jpg",
            "The picture has 2,500 × 2,000 pixels. A cover may have at most 4 megapixels.",
        ),
        (
            fresh_text(),
            "notes.txt",
            "“notes.txt” is no picture but text/plain. A cover can be JPEG, PNG or WebP.",
        ),
        (
            samples.gif(),
            "moving.gif",
            "“moving.gif” is a GIF picture. A cover can be JPEG, PNG or WebP.",
        ),
        (b"", "nothing.png", "“nothing.png” is empty."),
    ],
)
def test_what_breaks_a_rule_is_refused_before_anything_is_sent(
    screen: Screen, content: bytes, name: str, sentence: str
) -> None:
    screen.choose(content, name)
    screen.must_complain(sentence)
    expect(screen.part("file")).to_be_focused()
    assert (screen.shown, screen.part("send").is_visible(), screen.sent) == (None, False, [])


def test_a_chosen_picture_is_seen_before_it_is_sent_and_then_comes_from_refkeep(screen: Screen, site: Site) -> None:
    screen.choose(content := fresh_jpeg(640, 360))
    expect(screen.page.get_by_role("img", name="Preview of the picture you chose")).to_be_visible()
    expect(screen.part("chosen")).to_contain_text("cover.jpg, 640 × 360 pixels")
    assert (screen.sent, site.cover(screen.path)) == ([], None)
    screen.send()
    screen.must_say("This is the cover now.")
    address = screen.shown
    assert address == site.cover(screen.path)
    assert address is not None
    assert address.startswith(site.refkeep.url)
    assert httpx.get(address).content == content
    assert screen.part("cover").evaluate("image => image.complete && image.naturalWidth") == 640
    expect(screen.part("preview")).to_be_hidden()


def test_a_dropped_picture_goes_the_same_way(screen: Screen, site: Site) -> None:
    path = screen.file(fresh_jpeg())
    screen.drag(path)
    expect(screen.page.get_by_text("Drop the picture here")).to_be_visible()
    screen.drop(path)
    expect(screen.page.get_by_text("Drop the picture here")).to_be_hidden()
    screen.send()
    screen.must_say("This is the cover now.")
    assert screen.shown == site.cover(screen.path) is not None


def test_two_pictures_at_once_are_one_too_many(screen: Screen) -> None:
    screen.drop(screen.file(fresh_jpeg(), "a.jpg"), screen.file(fresh_jpeg(), "b.jpg"))
    screen.must_complain("A library has one cover: give one picture.")
    assert screen.sent == []


def test_a_keyboard_is_enough(screen: Screen, site: Site) -> None:
    screen.page.keyboard.press("Tab")
    expect(screen.page.get_by_label("Choose a picture")).to_be_focused()
    with screen.page.expect_file_chooser() as opening:
        screen.page.keyboard.press("Space")
    opening.value.set_files(screen.file(fresh_jpeg()))
    expect(screen.page.get_by_role("button", name="Upload")).to_be_focused()
    screen.page.keyboard.press("Enter")
    screen.must_say("This is the cover now.")
    expect(screen.page.get_by_label("Choose another picture")).to_be_focused()
    assert site.cover(screen.path) == screen.shown


def test_progress_is_seen_while_the_picture_is_on_its_way(screen: Screen) -> None:
    screen.choose(padded_jpeg(400_000))
    screen.part("percent").evaluate(
        "output => { window.seen = [];"
        "new MutationObserver(() => window.seen.push(parseInt(output.textContent) || 0))"
        ".observe(output, { childList: true }); }"
    )
    screen.slow_down(0.2)
    screen.send()
    expect(screen.page.get_by_role("progressbar", name="Upload")).to_be_visible()
    screen.must_say("This is the cover now.")
    seen = [share for share in screen.page.evaluate("window.seen") if share]
    assert seen == sorted(seen)
    assert len([share for share in seen if 0 < share < 100]) >= 3, seen


def test_a_cancelled_upload_leaves_the_cover_as_it_was(screen: Screen, site: Site) -> None:
    before = screen.give(fresh_jpeg())
    screen.choose(padded_jpeg(MAX_BYTES))
    screen.slow_down(0.1)
    screen.send()
    expect(screen.part("percent")).not_to_have_text("0 %")
    expect(screen.page.get_by_role("button", name="Cancel")).to_be_focused()
    screen.page.keyboard.press("Enter")
    screen.must_say("Cancelled. Nothing has changed.")
    assert screen.shown == before == site.cover(screen.path)
    screen.slow_down(0)
    assert screen.give(fresh_jpeg()) != before


def test_a_preview_can_be_put_away(screen: Screen) -> None:
    screen.choose(fresh_jpeg())
    screen.page.get_by_role("button", name="Cancel").click()
    screen.must_say("Nothing was sent.")
    assert (screen.shown, screen.sent) == (None, [])


def test_a_second_picture_takes_the_place_of_the_first(screen: Screen, site: Site) -> None:
    first = screen.give(fresh_jpeg())
    second = screen.give(fresh_jpeg())
    assert first != second == site.cover(screen.path)
    keys = [each.headers["idempotency-key"] for each in screen.sent]
    assert len(set(keys)) == len(keys) == 2


def test_the_same_picture_again_is_said_to_be_there_already(screen: Screen) -> None:
    content = fresh_jpeg()
    before = screen.give(content)
    screen.choose(content)
    screen.send()
    screen.must_say("This picture is the cover already.")
    assert screen.shown == before


def test_the_load_time_is_split_by_what_the_server_says_of_itself(screen: Screen) -> None:
    with screen.page.expect_response(lambda answer: answer.url.endswith("/file")) as answered:
        screen.give(fresh_jpeg(1200, 800))
    expect(screen.part("times")).to_be_visible()
    told = answered.value.header_value("server-timing") or ""
    total = float(told.rpartition("total;dur=")[2])
    shown = {name: float(screen.part(name).get_attribute("data-ms") or 0) for name in ("server", "network", "showing")}
    assert shown["server"] == pytest.approx(total, abs=0.01)
    assert shown["server"] > 0
    assert shown["network"] > 0
    assert shown["showing"] > 0
    expect(screen.part("verdict")).to_contain_text("ms to be seen")
    expect(screen.part("network")).to_contain_text("kB")


def test_a_picture_that_the_browser_kept_is_not_counted_as_the_servers_time(screen: Screen) -> None:
    screen.give(fresh_jpeg())
    screen.open()
    expect(screen.part("server")).to_have_text("not asked")
    expect(screen.part("network")).to_contain_text("kept by the browser")
