"""Chromium in front of the library service, in front of Refkeep; both export what they trace."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import httpx
import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e.browser.screen import Screen, opened_screen
from tests.otlp_receiver import Received, otlp_receiver
from tests.parts.consumers import Consumer, relay_before, running_consumer
from tests.parts.origin import Replica
from tests.parts.postgres import PostgresServer
from tests.parts.relay import RELAYED, Relay
from tests.parts.seaweed import free_ports
from tests.parts.service import Yard

MAX_BYTES, MAX_PIXELS = 2_000_000, 4_000_000
_POLICIES = f"""
[policies."library/cover"]
cardinality = "single"
visibility = "public"
media_types = ["image/jpeg", "image/png", "image/webp"]
max_bytes = {MAX_BYTES}
max_pixels = {MAX_PIXELS}
"""


@dataclass
class Site:
    """All that runs behind the browser: `front` may stand before the library, `relay` stands between it and Refkeep.

    `collector` has what both trace, and what the page does.
    """

    refkeep: Replica
    library: Consumer
    relay: Relay
    front: Relay
    collector: Received
    token: str

    def new_library(self) -> str:
        """The path of one that shows nothing."""
        path = f"/libraries/library-{uuid4()}"
        assert httpx.put(f"{self.library.url}{path}", json={"name": "City library"}, timeout=30).status_code == 200
        return path

    def cover(self, library: str) -> str | None:
        """The address of what it shows."""
        cover = httpx.get(f"{self.library.url}{library}", timeout=30).json()["cover"]
        return None if cover is None else str(cover["url"])


@pytest.fixture(scope="session")
def site(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Everything once, for all tests: each has a library of its own."""
    with opened_site(postgres, tmp_path_factory.mktemp("site")) as opened:
        yield opened


@contextlib.contextmanager
def opened_site(postgres: PostgresServer, folder: Path) -> Iterator[Site]:
    """Everything in this folder."""
    policies = folder / "policies.toml"
    policies.write_text(_POLICIES)
    with contextlib.ExitStack() as stack:
        collector = stack.enter_context(otlp_receiver())
        traced = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "200"}
        settings = {"DATABASE_URL": stack.enter_context(postgres.database()), "POLICIES": policies, **traced}
        (folder / "refkeep").mkdir()
        refkeep = Replica(Yard(folder, postgres), folder / "refkeep", free_ports(1)[0], settings)
        stack.callback(refkeep.stop)
        first = refkeep.start()
        token = first.key(first.workspace(), "read", "write")
        relay = stack.enter_context(relay_before(refkeep.port))
        given = {"PATIENCE": "2", "MEDIA_URL": refkeep.url, **traced}
        database = stack.enter_context(postgres.database())
        library = Consumer("library", database, relay.url, token, folder, given)
        stack.enter_context(running_consumer(library))
        front = stack.enter_context(relay_before(library.port))
        yield Site(refkeep, library, relay, front, collector, token)


@pytest.fixture(scope="session")
def chromium(site: Site) -> Iterator[Browser]:
    """Started after everything that needs an event loop of its own in this thread, which Playwright then occupies."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"))
        yield browser
        browser.close()


@pytest.fixture
def screen(chromium: Browser, site: Site, tmp_path: Path) -> Iterator[Screen]:
    """A new library's page."""
    with opened_screen(chromium, f"{site.library.url}{site.new_library()}", tmp_path, site.token) as opened:
        yield opened
    site.relay.decide = lambda _: RELAYED
