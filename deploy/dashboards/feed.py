"""The event feed and those who follow it."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import PER_SECOND, SECONDS, Panel, Query, Section, lines, number, page
from deploy.dashboards.promql import DATABASE, HANDLER, OPERATIONS, SPANS, highest

_READING = 'operation=~"event[.].*"'


def feed() -> Dashboard:
    """How far behind the feed is, who reads it, and what that costs."""
    return page(
        "refkeep-feed",
        "Refkeep: event feed",
        "How far behind the feed is, who reads it, and what that costs.",
        Section("Is it behind?", _lag()),
        Section("Who reads", _readers()),
    )


def _lag() -> list[Panel]:
    return [
        number(
            "Lag now",
            "How long the oldest committed event has waited for an older transaction to end.",
            SECONDS,
            Query(highest("media_events_lag_seconds"), "lag"),
            bad=30,
        ),
        lines(
            "Lag",
            "Above 5 s it is a transaction of somebody else in the same PostgreSQL cluster: `refkeep events "
            "status` and the log line `feed_held_back` name it.",
            SECONDS,
            Query(highest("media_events_lag_seconds"), "lag"),
            width=18,
        ),
    ]


def _readers() -> list[Panel]:
    return [
        lines(
            "Pages and waits",
            "What consumers ask, and what streams read for them.",
            PER_SECOND,
            Query(OPERATIONS.rate(_READING, by="operation"), "{{operation}}"),
        ),
        lines(
            "Pages, streams and snapshots, as they end (from spans)",
            "`cursor_expired`: a consumer was away for longer than events are kept; it must begin with a snapshot.",
            PER_SECOND,
            Query(
                SPANS.rate(HANDLER, _READING, by="operation, outcome, error_type"),
                "{{operation}} {{outcome}} {{error_type}}",
            ),
        ),
        lines(
            "Time of a page",
            "95 %; a wait lasts as long as its caller asked for.",
            SECONDS,
            Query(OPERATIONS.quantile(0.95, 'operation="event.list"'), "event.list"),
        ),
        lines(
            "The feed's statements",
            "95 %. They read one index from the cursor on, however long the log is.",
            SECONDS,
            Query(
                DATABASE.quantile(0.95, 'db_operation_name=~"events[.].*"', by="db_operation_name"),
                "{{db_operation_name}}",
            ),
        ),
    ]
