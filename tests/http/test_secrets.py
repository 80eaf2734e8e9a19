"""No key, no signature and no presigned query in anything that leaves: lines, spans, dumps of the database."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import anyio
import httpx
import pytest

from tests.otlp_receiver import Received, otlp_receiver
from tests.parts.buckets import emptied_bucket
from tests.parts.caller import Caller
from tests.parts.dumps import dump
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from tests.parts.service import Refkeep, Yard

SIGNING_SECRET = "c2lnbmVkIGJ5IHRoZXNlIHRlc3RzIG9ubHk="
FEWEST_SPANS = 30


@dataclass(frozen=True)
class Traces:
    """A service that has been used in every way in which a secret comes along, and all that it said of it."""

    service: Refkeep
    received: Received
    signed: str
    metrics: str

    def require_clean(self, text: str) -> None:
        assert self.service.secrets_in(text) == set()
        for secret in (SIGNING_SECRET, SECRET_KEY, self.signed):
            assert secret not in text


def use(caller: Caller) -> str:
    """Keys where they belong and where they do not; addresses that are signed, and broken; a store that is asked."""
    http, anyone = caller.http, httpx.Client(base_url=caller.http.base_url)
    http.put("/refs/book/42/cover/0", content=fresh_jpeg())
    ref = caller.post("document/7/file", fresh_text(), visibility="private").json()["ref"]["ref_id"]
    url = http.post(f"/media/{ref}/sign", json={"expires_in": 60}).json()["url"]
    with anyone:
        assert anyone.get(url).status_code == 200
        assert anyone.get(url[:-1]).status_code == 404
        anyone.get(url.replace("/file", "/nothing"))
        anyone.get("/events", headers={"authorization": f"Bearer {caller.token[:-1]}x"})
        anyone.get("/events", headers={"authorization": f"Basic {caller.token}"})
        anyone.get(f"/events?key={caller.token}", headers={"user-agent": caller.token, "referer": url})
        anyone.get(f"/{caller.token}")
        anyone.get(f"/blobs/{caller.token}", headers={"x-request-id": caller.token})
    http.put(f"/refs/book/42/cover/0?alt={caller.token}x", content=b"no picture", headers={"idempotency-key": "bad"})
    http.get(f"/media?cursor={caller.token}")
    http.post("/blobs/missing", json={caller.token: 1})
    return str(url).partition("?")[2]


@pytest.fixture(scope="module")
def traces(yard: Yard, seaweed: Seaweed) -> Iterator[Traces]:
    config = anyio.run(emptied_bucket, seaweed)
    settings = {
        "STORAGE": "s3",
        "S3_BUCKET": config.bucket,
        "S3_ENDPOINT_URL": seaweed.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "SIGNING_KEYS": f"tests:{SIGNING_SECRET}",
    }
    with otlp_receiver() as received:
        with yard.running(OTEL_EXPORTER_OTLP_ENDPOINT=received.endpoint, **settings) as service:
            signed = use(service.caller("read", "write"))
            metrics = httpx.get(f"{service.url}/metrics", headers={"accept": "application/openmetrics-text"}).text
            assert service.stop() == 0
        yield Traces(service, received, signed, metrics)


def test_no_line_holds_a_secret(traces: Traces) -> None:
    text = traces.service.log.read_text()
    assert "media.file.download" in text
    traces.require_clean(text)


def test_no_span_holds_a_secret(traces: Traces) -> None:
    assert len(traces.received.spans) > FEWEST_SPANS
    assert any(span.name.startswith("media.storage.") for span in traces.received.spans)
    traces.require_clean("".join(str(span) for span in traces.received.spans))


def test_no_metric_holds_a_secret(traces: Traces) -> None:
    assert 'http_route="/media/{ref_id}/sign"' in traces.metrics
    traces.require_clean(traces.metrics)


def test_no_dump_of_the_database_holds_a_secret(traces: Traces) -> None:
    text = dump(str(traces.service.database_url)).decode()
    assert "COPY public.api_keys" in text
    traces.require_clean(text)
