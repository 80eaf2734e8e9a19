from __future__ import annotations

import io
import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from service.observability import observe_request
from service.telemetry.logs import LineWriter, configure_logs
from tests.logging_state import logging_restored


class FullDisk(io.BytesIO):
    def write(self, _: object) -> int:
        raise OSError(28, "No space left on device")


@pytest.fixture
def stream() -> Iterator[io.BytesIO]:
    with logging_restored():
        found = io.BytesIO()
        configure_logs("json", "info", found)
        yield found


def lines(stream: io.BytesIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def request_scope() -> dict[str, object]:
    return {
        "method": "GET",
        "path": "/",
        "headers": [(b"x-request-id", b"r-7")],
        "scheme": "http",
        "http_version": "1.1",
    }


def test_a_line_begins_with_time_level_and_event(stream: io.BytesIO) -> None:
    structlog.get_logger().info("started", port=8080)
    (line,) = lines(stream)
    assert list(line) == ["timestamp", "level", "event", "port"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line["timestamp"])
    assert (line["level"], line["event"], line["port"]) == ("info", "started", 8080)


def test_a_record_with_line_ends_stays_one_line(stream: io.BytesIO) -> None:
    structlog.get_logger().info("two\nlines", text="a\r\nb")
    assert stream.getvalue().count(b"\n") == 1
    assert lines(stream)[0]["text"] == "a\r\nb"


def test_what_is_below_the_level_is_not_written(stream: io.BytesIO) -> None:
    structlog.get_logger().debug("quiet")
    assert stream.getvalue() == b""


def test_standard_loggers_write_the_same_lines_with_the_request_they_served(stream: io.BytesIO) -> None:
    with observe_request(request_scope(), operation="unknown", route="/", server_span=False):
        try:
            _ = 1 // 0
        except ZeroDivisionError:
            logging.getLogger("some.library").exception("failed %d times", 3)
    line = lines(stream)[0]
    assert (line["event"], line["level"], line["logger"]) == ("failed 3 times", "error", "some.library")
    assert line["correlation_id"] == "r-7"
    assert "ZeroDivisionError: integer division" in line["exception"]


def test_a_level_of_their_own_is_rounded_down(stream: io.BytesIO) -> None:
    logging.getLogger("some.library").log(35, "between")
    assert lines(stream)[0]["level"] == "warning"


def test_handlers_that_stood_before_are_replaced() -> None:
    logger, own = logging.getLogger("server.of.its.own"), io.StringIO()
    logger.addHandler(logging.StreamHandler(own))
    logger.propagate = False
    with logging_restored():
        stream = io.BytesIO()
        configure_logs("json", "info", stream)
        logger.warning("once")
    assert own.getvalue() == ""
    assert [line["event"] for line in lines(stream)] == ["once"]


@pytest.mark.parametrize("log_format", ["json", "console"])
def test_no_secret_reaches_a_line_in_any_field(log_format: str) -> None:
    with logging_restored():
        stream = io.BytesIO()
        configure_logs("console" if log_format == "console" else "json", "info", stream)
        structlog.get_logger().info(
            "key rk_1_SECRET",
            url="http://s3/b/k?X-Amz-Signature=SECRET&x=1",
            headers={"Authorization": "Bearer SECRET"},
            pairs=[(b"authorization", b"Bearer SECRET")],
        )
        try:
            int("rk_1_SECRET")
        except ValueError:
            logging.getLogger("some.library").exception("failed")
    assert b"SECRET" not in stream.getvalue()
    assert b"redacted" in stream.getvalue()


def test_a_console_line_is_for_people() -> None:
    with logging_restored():
        stream = io.BytesIO()
        configure_logs("console", "info", stream)
        structlog.get_logger().warning("disk_low", free=3)
    assert re.fullmatch(rb"\S+Z \[warning\s*\] disk_low\s+free=3\n", stream.getvalue())


def test_a_full_disk_loses_lines_and_nothing_else() -> None:
    writer = LineWriter(FullDisk())
    writer.info(b"line")
    writer.error(b"line")
    assert writer.lost == 2
