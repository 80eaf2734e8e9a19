"""A page as a person has it before them, and what it loaded and said meanwhile."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.sync_api import Browser, ConsoleMessage, Locator, Page, Request, expect

_MB = 1_000_000
_PATIENCE_MS = 30_000
_WIRE = "wire.har"


@dataclass
class Screen:
    """The page of a library; `said` is what its console says but what was `expected`, `requests` all that it asked."""

    page: Page
    library: str
    folder: Path
    said: list[str] = field(default_factory=list)
    expected: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.devtools = self.page.context.new_cdp_session(self.page)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.said.append(str(error)))
        self.page.on("request", self._ask)

    @property
    def path(self) -> str:
        """The library's own."""
        return urlsplit(self.library).path

    @property
    def sent(self) -> list[Request]:
        """Uploads, whatever became of them."""
        return [each for each in self.requests if (each.method, each.url) == ("POST", f"{self.library}/cover")]

    @property
    def shown(self) -> str | None:
        """The address of the cover that is to be seen."""
        return self.part("cover").get_attribute("src") if self.part("cover").is_visible() else None

    def open(self) -> None:
        """Load the page; its script has run then."""
        self.page.goto(f"{self.library}/page")

    def part(self, name: str) -> Locator:
        """An element by its id."""
        return self.page.locator(f"#{name}")

    def file(self, content: bytes, name: str = "cover.jpg") -> Path:
        """A file on this person's disk."""
        path = self.folder / name
        path.write_bytes(content)
        return path

    def choose(self, content: bytes, name: str = "cover.jpg") -> None:
        """By the dialog that the button opens."""
        with self.page.expect_file_chooser() as opening:
            self.part("choose").click()
        opening.value.set_files(self.file(content, name))

    def drag(self, *paths: Path) -> None:
        """From the desktop to above the page, as the browser itself gets it."""
        self._drag("dragEnter", *paths)
        self._drag("dragOver", *paths)

    def drop(self, *paths: Path) -> None:
        """Let go of it there."""
        self.drag(*paths)
        self._drag("drop", *paths)

    def send(self) -> None:
        """What was chosen."""
        self.part("send").click()

    def give(self, content: bytes) -> str:
        """Choose, send, and wait until it is the cover; its address."""
        self.choose(content)
        self.send()
        self.must_say("This is the cover now.")
        assert self.shown is not None
        return self.shown

    def slow_down(self, megabytes_a_second: float) -> None:
        """What this person's line sends from now on; 0 for all that it can."""
        rate = megabytes_a_second * _MB or -1
        conditions = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": rate}
        self.devtools.send("Network.enable")
        self.devtools.send("Network.emulateNetworkConditions", conditions)

    def must_say(self, text: str) -> None:
        """It is told to everybody, screen readers included."""
        expect(self.page.get_by_role("status")).to_have_text(text, timeout=_PATIENCE_MS)

    def must_complain(self, text: str) -> None:
        """The same of what went wrong."""
        expect(self.page.get_by_role("alert")).to_have_text(text, timeout=_PATIENCE_MS)

    def _drag(self, kind: str, *paths: Path) -> None:
        data = {"items": [], "files": [str(path) for path in paths], "dragOperationsMask": 1}
        self.devtools.send("Input.dispatchDragEvent", {"type": kind, "x": 200, "y": 300, "data": data})

    def _ask(self, request: Request) -> None:
        self.requests.append(request)

    def _hear(self, message: ConsoleMessage) -> None:
        told = f"{message.text} {message.location.get('url', '')}"
        if message.type in {"error", "warning"} and not any(text in told for text in self.expected):
            self.said.append(told)


@contextlib.contextmanager
def opened_screen(browser: Browser, library: str, folder: Path, token: str, **options: Any) -> Iterator[Screen]:
    """A page in a browser without history. Afterwards: its console was quiet, and it never saw the service's key."""
    given = {"viewport": {"width": 1024, "height": 900}, **options}
    context = browser.new_context(record_har_path=folder / _WIRE, record_har_content="embed", **given)
    try:
        screen = Screen(context.new_page(), library, folder)
        screen.open()
        yield screen
    finally:
        context.close()
    assert screen.said == [], screen.said
    _must_not_know(token, folder / _WIRE)


def _must_not_know(token: str, wire: Path) -> None:
    """Nothing that came or went, bodies and headers included, has the secret of the key."""
    entries = json.loads(wire.read_text())["log"]["entries"]
    assert entries
    assert [each["request"]["url"] for each in entries if token.rpartition("_")[2] in json.dumps(each)] == []
    sent = {header["name"].lower() for each in entries for header in each["request"]["headers"]}
    assert not sent & {"authorization", "workspace"}
