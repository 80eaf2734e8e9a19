"""Ten thousand hashes and two hundred paths that nobody knows: names of spans and series of metrics stay few."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.otlp_receiver import otlp_receiver
from tests.parts.postgres import PostgresServer
from tests.parts.service import Yard

pytestmark = pytest.mark.timeout(900)

HASHES, UNKNOWN, AT_ONCE = 10_000, 200, 8
METHODS = ("GET", "POST", "PROPFIND", "x" * 40)


def requests() -> Iterator[tuple[str, str]]:
    """Methods and paths."""
    for number in range(HASHES):
        path = f"/blobs/{number:064x}"
        yield "GET", path if number % 5 else f"{path}/meta"
    for number in range(UNKNOWN):
        yield METHODS[number % len(METHODS)], f"/unknown/{number:064x}/page-{number}"


async def ask_all(url: str, key: str) -> set[int]:
    todo, statuses = requests(), set[int]()

    async def ask() -> None:
        for method, path in todo:
            statuses.add((await http.request(method, path)).status_code)

    headers = {"authorization": f"Bearer {key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=60) as http, asyncio.TaskGroup() as tasks:
        for _ in range(AT_ONCE):
            tasks.create_task(ask())
    return statuses


def test_names_and_series_are_few_whatever_is_asked_for(postgres: PostgresServer, tmp_path: Path) -> None:
    with otlp_receiver() as received:
        queue = {"OTEL_BSP_MAX_QUEUE_SIZE": "100000"}
        with Yard(tmp_path, postgres).running(OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint, **queue) as service:
            caller = service.caller("read")
            assert asyncio.run(ask_all(service.url, caller.token)) <= {404, 405}
            samples = scraped(f"{service.url}/metrics")
            assert service.stop() == 0
    servers = [span for span in received.spans if span.kind == Span.SPAN_KIND_SERVER]
    assert len(servers) >= HASHES + UNKNOWN
    assert len({span.name for span in received.spans}) <= 40
    assert len(samples) <= 400
    texts = [text for sample in samples for text in sample.labels.values()] + [span.name for span in received.spans]
    assert [text for text in texts if re.search("[0-9a-f]{32,}|page-", text)] == []


def scraped(url: str) -> list[Sample]:
    text = httpx.get(url).text
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]
