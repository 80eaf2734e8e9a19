"""The way back: a plain form and the library's own table, and what is seen of covers that came the other way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from playwright.sync_api import Browser, expect

from tests.e2e.browser.conftest import Site
from tests.e2e.browser.screen import Screen, opened_screen
from tests.parts.fresh import fresh_jpeg, fresh_text

FAILED = "Failed to load resource: the server responded with a status of "


@contextlib.contextmanager
def rolled_back(site: Site) -> Iterator[None]:
    """The library service without Refkeep for new covers, and with it again."""
    for way in ("own", "refkeep"):
        site.library.settings["COVERS"] = way
        assert site.library.stop() == 0
        site.library.start()
        if way == "own":
            yield


def submit(screen: Screen, content: bytes, name: str = "cover.jpg") -> None:
    """What a plain form does."""
    screen.part("file").set_input_files(screen.file(content, name))
    screen.send()


def test_a_roll_back_shows_what_was_there_and_takes_covers_by_a_plain_form_until_it_ends(
    screen: Screen, site: Site
) -> None:
    of_refkeep = screen.give(fresh_jpeg())
    with rolled_back(site):
        screen.open()
        assert screen.shown == of_refkeep
        expect(screen.part("rules")).to_have_text("JPEG or PNG, up to 5 MB.")
        assert screen.page.locator("script").count() == 0

        submit(screen, fresh_jpeg())
        expect(screen.part("cover")).not_to_have_attribute("src", of_refkeep)
        own = screen.shown
        assert own is not None
        assert own.startswith("/own-covers/")
        assert own == site.cover(screen.path)
        assert screen.part("cover").evaluate("image => image.decode().then(() => image.naturalWidth)") == 96

        screen.expected.append(f"{FAILED}415")
        submit(screen, fresh_text(), "notes.txt")
        screen.must_complain("The cover stays as it was. The file is neither a JPEG nor a PNG.")
        assert screen.shown == own
    screen.open()
    assert screen.shown == own
    assert screen.give(fresh_jpeg()).startswith(site.refkeep.url)


def test_without_scripts_a_cover_still_goes_to_refkeep(chromium: Browser, site: Site, tmp_path: Path) -> None:
    path = f"{site.library.url}{site.new_library()}"
    with opened_screen(chromium, path, tmp_path, site.token, java_script_enabled=False) as screen:
        submit(screen, fresh_jpeg())
        expect(screen.part("cover")).to_be_visible()
        assert (screen.shown or "").startswith(site.refkeep.url)
