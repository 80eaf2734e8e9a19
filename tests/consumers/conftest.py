"""Both services as processes before one Refkeep, each with a database, and a relay that can harm what they send."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from tests.otlp_receiver import Received, otlp_receiver
from tests.parts.caller import Caller
from tests.parts.consumers import Consumer, relay_before, running_consumer
from tests.parts.postgres import PostgresServer
from tests.parts.relay import RELAYED, Relay
from tests.parts.service import Refkeep, Yard

PATIENCE_S = "3"
"""For how long the services ask Refkeep again: short, since some tests wait for its end."""


@dataclass(frozen=True)
class Shop:
    """A service, who calls it, the relay between it and Refkeep, Refkeep as its operators see it, and its traces."""

    service: Consumer
    http: httpx.Client
    relay: Relay
    refkeep: Caller
    traced: Received


@pytest.fixture(scope="session")
def yard(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """Where Refkeep is started."""
    return Yard(tmp_path_factory.mktemp("yard"), postgres)


@pytest.fixture(scope="session")
def refkeep(yard: Yard) -> Iterator[Refkeep]:
    """Refkeep with its defaults, on a folder."""
    with yard.running() as started:
        yield started


@contextlib.contextmanager
def opened_shop(name: str, refkeep: Refkeep, postgres: PostgresServer, folder: Path) -> Iterator[Shop]:
    """A service with a workspace and a database of its own."""
    caller = refkeep.caller("read", "write")
    with postgres.database() as dsn, relay_before(refkeep.port) as relay, otlp_receiver() as traced:
        exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": traced.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        consumer = Consumer(name, dsn, relay.url, caller.token, folder, {"PATIENCE": PATIENCE_S, **exported})
        with running_consumer(consumer) as started, httpx.Client(base_url=started.url, timeout=60) as http:
            yield Shop(started, http, relay, caller, traced)


@pytest.fixture(scope="module")
def library_shop(
    refkeep: Refkeep, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Shop]:
    with opened_shop("library", refkeep, postgres, tmp_path_factory.mktemp("library")) as shop:
        yield shop


@pytest.fixture(scope="module")
def book_shop(refkeep: Refkeep, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with opened_shop("book", refkeep, postgres, tmp_path_factory.mktemp("book")) as shop:
        yield shop


@pytest.fixture
def library(library_shop: Shop) -> Iterator[Shop]:
    """The library service; whatever the test did to the relay is over afterwards."""
    library_shop.relay.heads.clear()
    yield library_shop
    library_shop.relay.decide = lambda _: RELAYED


@pytest.fixture
def books(book_shop: Shop) -> Iterator[Shop]:
    """The book service, likewise."""
    book_shop.relay.heads.clear()
    yield book_shop
    book_shop.relay.decide = lambda _: RELAYED
