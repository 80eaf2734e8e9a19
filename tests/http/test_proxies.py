"""Requests through proxies: what spans and the app see of them."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from ipaddress import ip_network
from pathlib import Path
from typing import Any

import httpx
import pytest

from service.adapters.memory.storage import MemoryStorage
from service.router.gateway import App
from service.router.proxies import behind_proxies
from service.telemetry.requests import Route, instrument
from tests.parts.desk import call, desk_on
from tests.parts.service import Yard
from tests.telemetry_recorder import Recorder, recording

pytestmark = pytest.mark.anyio

PROXY, CLIENT = "10.0.0.1", "203.0.113.7"
TRUSTED = (ip_network("10.0.0.0/8"),)
CHAIN = {
    "x-forwarded-for": f"198.51.100.9, {CLIENT}",
    "x-forwarded-proto": "https",
    "x-forwarded-host": "media.example",
}


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as found:
        yield found


async def told(app: App, peer: str) -> dict[str, Any]:
    """The scope that the innermost app sees of a request with `CHAIN` from `peer`."""
    seen: dict[str, Any] = {}

    async def witness(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
        seen.update(scope)
        await app(scope, receive, send)

    transport = httpx.ASGITransport(behind_proxies(witness, TRUSTED), client=(peer, 4711))
    async with httpx.AsyncClient(transport=transport, base_url="http://inside:8080") as http:
        await http.get("/livez", headers=CHAIN)
    return seen


async def alive(scope: MutableMapping[str, Any], receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body"})


@pytest.mark.parametrize(
    ("peer", "client", "scheme", "host"),
    [
        (PROXY, (CLIENT, 0), "https", [b"media.example"]),
        ("192.0.2.1", ("192.0.2.1", 4711), "http", [b"inside:8080"]),
    ],
)
async def test_only_a_trusted_peer_says_where_a_request_came_from(
    recorder: Recorder, peer: str, client: tuple[str, int], scheme: str, host: list[bytes]
) -> None:
    seen = await told(instrument(alive, [Route("GET", "/livez", "health.live")]), peer)
    assert (seen["client"], seen["scheme"]) == (client, scheme)
    assert [value for name, value in seen["headers"] if name == b"host"] == host
    [span] = recorder.spans.values()
    assert span.attributes is not None
    assert (span.attributes["client.address"], span.attributes["url.scheme"]) == (client[0], scheme)
    assert span.attributes.get("client.port") == (client[1] or None)


async def test_deliverys_own_span_tells_the_same(recorder: Recorder, tmp_path: Path) -> None:
    storage = MemoryStorage(tmp_path)
    await storage.aopen()
    desk = desk_on(storage)
    path = await desk.add(b"abc")
    served: Any = behind_proxies(desk.delivery, TRUSTED)
    await call(served, path, CHAIN, client=(PROXY, 4711))
    span = recorder.spans["GET /blobs/{sha256}"]
    assert span.attributes is not None
    assert (span.attributes["client.address"], span.attributes["url.scheme"]) == (CLIENT, "https")
    assert "client.port" not in span.attributes


async def test_without_trusted_proxies_nothing_stands_in_between() -> None:
    assert behind_proxies(alive, ()) is alive


@pytest.mark.parametrize(("trusted", "scheme"), [("127.0.0.0/8, ::1", "https"), ("192.0.2.0/24", "http"), ("", "http")])
def test_the_setting_decides(yard: Yard, trusted: str, scheme: str) -> None:
    with yard.running(TRUSTED_PROXIES=trusted) as service:
        anyone = service.bearer(None)
        for path in ("/policies/book/cover", f"/blobs/{'ab' * 32}"):
            anyone.http.get(path, headers=CHAIN)
        metrics = anyone.http.get("/metrics").text
    for route in ("/policies/{entity_type}/{role}", "/blobs/{sha256}"):
        [count] = [line for line in metrics.splitlines() if "request_duration_seconds_count" in line and route in line]
        assert f'url_scheme="{scheme}"' in count
