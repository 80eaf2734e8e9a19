"""What a request leaves: a tree of spans, received over OTLP, and the lines and points that agree with it."""

from __future__ import annotations

import json
import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.http.conftest import SIGNING_KEY
from tests.otlp_receiver import otlp_receiver
from tests.parts.caller import Caller, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.service import Refkeep, Yard
from tests.parts.traces import Request, Story, of_trace, picture, told
from tests.unit.test_telemetry_contract import CONTRACT

GOLDEN = Path(__file__).with_name("traces.txt")
LONG_REMEMBERED = {"DESCRIPTOR_TTL": "1h", "GC_INTERVAL": "1h"}
UNSENT = "ab" * 32


@dataclass(frozen=True)
class Left:
    """Everything that the story left behind, by name of its requests; `points` as scraped at its end."""

    requests: dict[str, Request]
    spans: list[Span]
    lines: list[dict[str, Any]]
    points: list[Sample]
    events: list[dict[str, Any]]

    def server(self, request: Request) -> Span:
        """Its one server span."""
        [span] = [span for span in of_trace(self.spans, request.trace) if span.kind == Span.SPAN_KIND_SERVER]
        return span


@pytest.fixture(scope="module")
def left(yard: Yard) -> Iterator[Left]:
    with otlp_receiver() as received:
        exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint}
        with yard.running(SIGNING_KEYS=SIGNING_KEY, **LONG_REMEMBERED, **exported) as service:
            caller = service.caller("read", "write", "admin")
            with httpx.Client(base_url=service.url, timeout=30) as http:
                story = Story(http, caller.token)
                tell(story, service, caller)
            events = caller.events()
            points = [*scraped(service)]
            assert service.stop() == 0
        lines = [json.loads(line) for line in service.log.read_text().splitlines()]
        yield Left({request.name: request for request in story.requests}, received.spans, lines, points, events)


def scraped(service: Refkeep) -> Iterator[Sample]:
    text = httpx.get(f"{service.url}/metrics").text
    for family in text_string_to_metric_families(text):
        yield from family.samples


def tell(story: Story, service: Refkeep, caller: Caller) -> None:
    """Sent, attached, shown, let go of, refused."""
    content, cover, large = fresh_text(), fresh_jpeg(), fresh_text(3_000_000)
    send(story, content, large)
    attach(story, content, cover)
    deliver(story, content, cover, large)
    change(story, service)
    refuse(story)
    break_things(story, service, caller)


def send(story: Story, content: bytes, large: bytes) -> None:
    ask, name = story.ask, sha256_of(content)
    ask("bytes that are new", "PUT", f"/blobs/{name}", content=content)
    ask("bytes that are held", "PUT", f"/blobs/{name}", content=content)
    ask("bytes without a name", "POST", "/blobs", content=large)
    ask("bytes in a form", "POST", "/blobs", files={"file": ("a.txt", fresh_text(), "text/plain")})
    ask("bytes of another name", "PUT", f"/blobs/{UNSENT}", content=fresh_text())
    ask("what is known of bytes", "GET", f"/blobs/{name}/meta")
    ask("what is missing", "POST", "/blobs/missing", json={"sha256": [name, UNSENT]})


def attach(story: Story, content: bytes, cover: bytes) -> None:
    ask, name = story.ask, sha256_of(content)
    ask("a cover with its bytes", "PUT", "/refs/book/42/cover/0", content=cover)
    ask("the same cover", "PUT", "/refs/book/42/cover/0", content=cover)
    ask("a file by its hash", "PUT", "/refs/document/7/file/0", json={"sha256": name})
    ask("a cover that is no picture", "PUT", "/refs/book/43/cover/0", content=content)
    ask("a cover of bytes never sent", "PUT", "/refs/book/43/cover/0", json={"sha256": UNSENT})
    ask("a cover for another version", "PUT", "/refs/book/42/cover/0", content=cover, headers={"if-match": '"99"'})
    ask("a cover with a key", "PUT", "/refs/book/44/cover/0", content=fresh_jpeg(), headers={"idempotency-key": "once"})
    ask("all of an entity", "GET", "/refs/book/42")
    operation = {"op": "append", "entity_type": "document", "entity_id": "8", "role": "file", "sha256": name}
    ask("a batch", "POST", "/refs/batch", json={"operations": [operation]})


def deliver(story: Story, content: bytes, cover: bytes, large: bytes) -> None:
    ask, path = story.ask, f"/blobs/{sha256_of(cover)}"
    ask("a download", "GET", path, key=None)
    ask("a download of what is at hand", "GET", path, key=None)
    ask("a head", "HEAD", path, key=None)
    ask("a range", "GET", path, key=None, headers={"range": "bytes=10-19"})
    ask("two ranges", "GET", path, key=None, headers={"range": "bytes=10-19,40-49"})
    ask("a range beyond the end", "GET", path, key=None, headers={"range": "bytes=9999999-"})
    ask("what the caller has", "GET", path, key=None, headers={"if-none-match": f'"{sha256_of(cover)}"'})
    ask("a large download", "GET", f"/blobs/{sha256_of(large)}")
    ask("bytes nobody knows", "GET", f"/blobs/{UNSENT}", key=None)
    ask("private bytes without a key", "GET", f"/blobs/{sha256_of(content)}", key=None)


def change(story: Story, service: Refkeep) -> None:
    ask = story.ask
    shown, private = (
        next(each.answer for each in story.requests if each.name == name).json()["ref"]["ref_id"]
        for name in ("a cover with its bytes", "a file by its hash")
    )
    ask("the file of a ref", "GET", f"/media/{shown}/file")
    signed = ask("an address to show", "POST", f"/media/{private}/sign", json={"expires_in": 60}).json()["url"]
    ask("a signed address", "GET", signed, key=None)
    ask("a ref", "GET", f"/media/{shown}")
    ask("a list", "GET", "/media", params={"entity_type": "book"})
    ask("other words", "PATCH", f"/media/{shown}", json={"alt": "Other"})
    ask("a release", "DELETE", f"/media/{shown}")
    ask("a restore", "POST", f"/media/{shown}/restore")
    ask("a purge of what is shown", "POST", f"/media/{private}/purge")
    ask("the release of a file", "DELETE", f"/media/{private}")
    ask("a purge", "POST", f"/media/{private}/purge")
    ask("a ref that nobody knows", "GET", "/media/0199aaaa-bbbb-7ccc-8ddd-eeeeeeeeeeee")
    ask("events", "GET", "/events")
    ask("a policy", "GET", "/policies/book/cover")


def refuse(story: Story) -> None:
    ask = story.ask
    ask("no key", "GET", "/media", key=None)
    ask("no such path", "GET", "/wp-login.php")
    ask("no such method", "DELETE", "/policies/book/cover")
    ask("a hash that is none", "PUT", "/blobs/xyz", content=b"x")


def break_things(story: Story, service: Refkeep, caller: Caller) -> None:
    held, lost = caller.upload(fresh_text()), caller.upload(fresh_text())
    order, operator = {"kind": "legal", "reason": "4711"}, service.key(None, "operator")
    story.ask("a hold", "PUT", f"/holds/{held}", json=order, key=operator)
    story.ask("bytes on hold", "GET", f"/blobs/{held}")
    [file] = (service.data_dir / "blobs").rglob(f"{lost}.*")
    file.unlink()
    story.ask("bytes that are lost", "GET", f"/blobs/{lost}")


def test_every_request_leaves_the_tree_of_spans_that_is_written_down(left: Left, tmp_path: Path) -> None:
    found = "\n".join(picture(request, left.spans) for request in left.requests.values())
    (tmp_path / "traces.txt").write_text(found)
    assert found == GOLDEN.read_text(), f"if this is right: cp {tmp_path}/traces.txt {GOLDEN}"
    assert len(left.requests) >= 40


def test_each_request_has_one_server_span_in_the_trace_of_its_caller(left: Left) -> None:
    for request in left.requests.values():
        server = left.server(request)
        assert server.parent_span_id.hex() == request.parent, request.name
        spans = of_trace(left.spans, request.trace)
        ids = {span.span_id for span in spans}
        assert {span.parent_span_id for span in spans} <= ids | {server.parent_span_id}, request.name
        assert {told(span)["correlation_id"] for span in spans} == {told(server)["correlation_id"]}, request.name
        if "x-request-id" in request.answer.headers:  # not on what caches keep
            assert told(server)["correlation_id"] == request.answer.headers["x-request-id"], request.name
        assert told(server)["http.response.status_code"] == str(request.answer.status_code), request.name


OPTIONAL = {"error_type", "db_error_code", "cache_hit", "range", "preset", "media_id", "sha256", "bytes", "decision"}
"""Fields that a call has when there is something to tell; of every handler, the bytes of its answer."""


def test_each_span_has_the_fields_of_its_layer_and_no_others(left: Left) -> None:
    for found in map(told, recorded(left)):
        ours = {name for name in found if "." not in name}
        assert found["outcome"] in CONTRACT["outcomes"]
        assert found.get("error_type", "internal") in CONTRACT["error_types"]
        assert (found["outcome"] != "error") or "error_type" in ours
        demanded, results = demanded_of(found), {"row_count"} if found["outcome"] != "success" else set()
        assert ours >= demanded - OPTIONAL - results, found
        assert ours <= demanded | OPTIONAL | {"response_bytes"}, found


def demanded_of(found: dict[str, str]) -> set[str]:
    """The fields that the contract lists for the layer and the operation of a record."""
    fields, layer = CONTRACT["fields"], found["layer"]
    of = {"media.file.download": "handler", "media.file.upload": "usecase"}.get(found["operation"])
    own = fields[found["operation"]] if of == layer else []
    return {*fields["every"], *CONTRACT["layers"][layer]["fields"], *own}


def recorded(left: Left) -> list[Span]:
    """The spans of the story."""
    traces = {request.trace for request in left.requests.values()}
    return [span for span in left.spans if span.trace_id.hex() in traces]


def test_a_span_and_a_line_of_one_call_say_the_same(left: Left) -> None:
    lines = {
        (line["trace_id"], line["layer"], line["operation"], line["duration_ms"]): line for line in recorded_lines(left)
    }
    spans = {key_of(told(span)): told(span) for span in recorded(left)}
    quiet = {key for key, found in spans.items() if is_quiet(found, spans)}
    assert set(lines) == set(spans) - quiet
    assert len(lines) > 100
    for key, line in lines.items():
        facts = {
            name: value for name, value in line.items() if name not in ("timestamp", "level", "event", "exception")
        }
        assert {name: str(value) for name, value in facts.items()}.items() <= spans[key].items()
        assert line["event"] == CONTRACT["layers"][line["layer"]]["event"]
        assert line["level"] == ("error" if line["outcome"] == "error" else "info")


def key_of(found: dict[str, str]) -> tuple[str, str, str, float]:
    return found["trace_id"], found["layer"], found["operation"], float(found["duration_ms"])


def recorded_lines(left: Left) -> list[dict[str, Any]]:
    traces = {request.trace for request in left.requests.values()}
    return [line for line in left.lines if line.get("trace_id") in traces]


def is_quiet(found: dict[str, str], spans: dict[Any, dict[str, str]]) -> bool:
    """Whether its line is one of the inner layers of delivery, at DEBUG."""
    handlers = {
        each["operation"]
        for each in spans.values()
        if each["trace_id"] == found["trace_id"] and each["layer"] == "handler"
    }
    return found["layer"] != "handler" and handlers == {"media.file.download"}


def test_points_count_what_the_spans_tell(left: Left) -> None:
    """The use cases of the story ran in no other trace."""
    counts, seconds = Counter[tuple[str, str]](), defaultdict[tuple[str, str], float](float)
    for found in map(told, left.spans):
        counted = "handler" if found["operation"] == "media.file.download" else "usecase"
        if found["layer"] == counted and found["operation"] != "gc.collect":
            counts[found["operation"], found["outcome"]] += 1
            seconds[found["operation"], found["outcome"]] += float(found["duration_ms"]) / 1000
    assert len(counts) > 20
    name = "media_operation_duration_seconds"
    for key, count in counts.items():
        assert point(left, f"{name}_count", operation=key[0], outcome=key[1]) == count, key
        assert point(left, f"{name}_sum", operation=key[0], outcome=key[1]) == pytest.approx(seconds[key], abs=1e-5), (
            key
        )


def test_requests_storage_and_database_are_counted_as_their_spans_are(left: Left) -> None:
    """By their layers; /readyz, /metrics and rounds in the background go on meanwhile, so those are left out."""
    found = [told(span) for span in left.spans]
    for operation in ("media.storage.put", "media.storage.open"):
        for error_type in (None, "blob_missing"):
            mine = [each for each in found if each["operation"] == operation and each.get("error_type") == error_type]
            labels = {"operation": operation, "backend": "filesystem", "error_type": error_type or ""}
            assert point(left, "media_storage_duration_seconds_count", **labels) == len(mine)
    publishing = [each for each in found if each["operation"] == "blob.publish"]
    assert point(left, "db_client_operation_duration_seconds_count", db_operation_name="blob.publish") == len(
        publishing
    )
    uploads = [each for each in found if "receive_ms" in each]
    for phase in CONTRACT["upload_phases"]:
        spent = sum(float(each[f"{phase}_ms"]) for each in uploads) / 1000
        assert point(left, "media_upload_phase_duration_seconds_sum", phase=phase) == pytest.approx(spent, abs=1e-4)
        assert point(left, "media_upload_phase_duration_seconds_count", phase=phase) == len(uploads)
    downloads = [each for each in found if each["layer"] == "handler" and each["http.route"] == "/media/{ref_id}/file"]
    named = {"http_route": "/media/{ref_id}/file", "http_request_method": "GET", "http_response_status_code": "200"}
    assert point(left, "http_server_request_duration_seconds_count", **named) == len(downloads) == 2
    assert point(left, "media_upload_in_flight") == 0


def point(left: Left, name: str, **labels: str) -> float:
    """The value of all samples that have these labels, together."""
    return sum(
        sample.value
        for sample in left.points
        if sample.name == name and all(sample.labels.get(label, "") == value for label, value in labels.items())
    )


def test_spans_tell_the_bytes_that_arrived(left: Left) -> None:
    arrived = 0
    for request in left.requests.values():
        server = told(left.server(request))
        assert server["response_bytes"] == str(len(request.answer.content)), request.name
        if server["operation"] == "media.file.download":
            arrived += len(request.answer.content)
    assert arrived > 3_000_000
    assert point(left, "media_download_bytes_total") == arrived
    opened = [told(span) for span in recorded(left) if span.name == "media.storage.open"]
    assert {each["bytes"] for each in opened if each["outcome"] == "success"} >= {"10"}


def test_events_lead_to_the_request_that_caused_them(left: Left) -> None:
    by_trace = {request.trace: request for request in left.requests.values()}
    caused = Counter[str]()
    for event in left.events:
        _, trace, span_id, flags = event["data"]["traceparent"].split("-")
        if trace in by_trace:
            caused[event["type"]] += 1
            assert (span_id, flags) == (left.server(by_trace[trace]).span_id.hex(), "01")
    assert {"refkeep.ref.inserted.v1", "refkeep.ref.rejected.v1", "refkeep.ref.restored.v1"} <= set(caused)


def test_no_label_and_no_span_name_is_one_of_many(left: Left) -> None:
    long_hex = re.compile(r"[0-9a-f]{32,}")
    slugs = re.compile(r"workspace-\d+")
    texts = [text for sample in left.points for text in sample.labels.values()] + [span.name for span in left.spans]
    assert [text for text in texts if long_hex.search(text) or slugs.search(text)] == []


def test_series_have_the_names_and_the_labels_of_the_contract(left: Left) -> None:
    promised = {
        name.replace(".", "_"): {each.replace(".", "_") for each in metric["labels"]}
        for name, metric in CONTRACT["metrics"].items()
    }
    for sample in left.points:
        if sample.name == "target_info":
            continue
        [metric] = [
            name for name in promised if re.fullmatch(rf"{name}(_seconds)?(_bucket|_count|_sum|_total)?", sample.name)
        ]
        assert set(sample.labels) - {"le", "worker"} <= promised[metric], sample.name
