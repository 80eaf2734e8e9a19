"""One upload is one trace: the browser's span, the library's two, and Refkeep's, each the child of the one before."""

from __future__ import annotations

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from tests.e2e.browser.conftest import Site
from tests.e2e.browser.screen import Screen
from tests.otlp_receiver import Received, attributes
from tests.parts.fresh import fresh_jpeg
from tests.parts.service import eventually

NAMES = [
    ("library-page", "cover.upload"),
    ("library", "POST /libraries/{library_id}/cover"),
    ("library", "refkeep.put_cover"),
    ("refkeep", "PUT /refs/{entity_type}/{entity_id}/{role}/{position}"),
    ("refkeep", "media.ref.put"),
    ("refkeep", "media.file.upload"),
    ("refkeep", "media.storage.put"),
]


def trace_of(collector: Received, traceparent: str) -> dict[bytes, Span]:
    """The spans of a trace by their ids."""
    trace_id = bytes.fromhex(traceparent.split("-")[1])
    return {span.span_id: span for span in list(collector.spans) if span.trace_id == trace_id}


def ancestry(collector: Received, spans: dict[bytes, Span], name: str) -> list[tuple[str, str]]:
    """Service and name of a span and all above it, the root first; empty while one is missing."""
    span = next((each for each in spans.values() if each.name == name), None)
    found = list[tuple[str, str]]()
    while span is not None:
        found.insert(0, (collector.senders[span.span_id], span.name))
        if not span.parent_span_id:
            return found
        span = spans.get(span.parent_span_id)
    return []


def test_one_upload_is_one_trace_from_the_browser_through_the_library_into_refkeep(screen: Screen, site: Site) -> None:
    content = fresh_jpeg()
    screen.give(content)
    [sent] = screen.sent
    told = sent.headers["traceparent"]
    received = site.collector
    eventually(lambda: ancestry(received, trace_of(received, told), "media.storage.put") == NAMES, 20)

    spans = trace_of(received, told)
    by_name = {span.name: span for span in spans.values()}
    root = by_name["cover.upload"]
    assert root.span_id.hex() == told.split("-")[2]
    seen = {"outcome": "success", "http.response.status_code": "201", "http.request.body.size": str(len(content))}
    assert attributes(root.attributes) == seen
    assert all(not span.parent_span_id or span.parent_span_id in spans for span in spans.values())
    for _, name in NAMES:  # one machine, one clock; a millisecond for its rounding in the browser
        assert by_name[name].start_time_unix_nano >= root.start_time_unix_nano - 1_000_000
        assert by_name[name].end_time_unix_nano >= by_name[name].start_time_unix_nano
    assert site.token.rpartition("_")[2] not in str(spans)


def test_an_upload_that_was_cancelled_ends_its_span_as_that(screen: Screen, site: Site) -> None:
    screen.choose(fresh_jpeg().ljust(1_000_000, b"\0"))
    screen.slow_down(0.1)
    screen.send()
    screen.part("cancel").click()
    screen.must_say("Cancelled. Nothing has changed.")
    [sent] = screen.sent
    told = sent.headers["traceparent"]
    root = bytes.fromhex(told.split("-")[2])
    eventually(lambda: root in trace_of(site.collector, told), 20)
    assert attributes(trace_of(site.collector, told)[root].attributes)["outcome"] == "cancelled"
