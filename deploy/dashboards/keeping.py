"""What stays, what goes, and whether what stays is whole."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import NUMBER, PER_SECOND, SECONDS, Panel, Query, Section, lines, number, page
from deploy.dashboards.promql import (
    DATABASE,
    DELETE,
    DOWNLOAD,
    METRICS,
    OPERATIONS,
    STORAGE,
    highest,
    summed,
)

_ROUND = 'operation="gc.collect"'
_TRASH = 'operation=~"ref.release|media.(release|restore|purge)|trash.purge"'


def keeping() -> Dashboard:
    """Collection, trash, holds and integrity."""
    return page(
        "refkeep-keeping",
        "Refkeep: collection, trash, integrity",
        "What goes and what stays, and whether what stays is whole.",
        Section("Collection", _collection()),
        Section("Trash and holds", _trash()),
        Section("Integrity", _integrity()),
    )


def _collection() -> list[Panel]:
    return [
        lines(
            "Due and still there",
            "What the collector has to do. It comes in waves and must come back to almost nothing: days of growth "
            "fill the store. `stale` renditions come with a preset that was changed.",
            NUMBER,
            Query(highest("media_gc_backlog", "stage"), "{{stage}}"),
        ),
        lines(
            "What was collected",
            "Items by step: purged from the trash, renditions dropped that no preset makes any more, released with "
            "their lease, condemned, abandoned uploads, deleted from the store.",
            PER_SECOND,
            Query(summed("media_gc_collected_total", METRICS, by="step"), "{{step}}"),
        ),
        lines(
            "Rounds by outcome",
            "`error` on every round: the wrong store is mounted, or a restored database waits for `refkeep fsck "
            "--adopt`.",
            PER_SECOND,
            Query(OPERATIONS.rate(_ROUND, by="outcome"), "{{outcome}}"),
        ),
        lines(
            "Time of a round",
            "A round removes for 20 s at most; longer ones wait for the database.",
            SECONDS,
            Query(OPERATIONS.quantile(0.5, _ROUND), "50%"),
            Query(OPERATIONS.quantile(0.95, _ROUND), "95%"),
        ),
        lines(
            "Removing an object",
            "The store's time, 95 %.",
            SECONDS,
            Query(STORAGE.quantile(0.95, DELETE, by="backend"), "{{backend}}"),
        ),
        lines(
            "The collector's statements",
            "The mean of each. They must not grow with what is stored.",
            SECONDS,
            Query(DATABASE.mean('db_operation_name=~"gc[.].*"', by="db_operation_name"), "{{db_operation_name}}"),
        ),
    ]


def _trash() -> list[Panel]:
    return [
        lines(
            "Into the trash, back, and gone",
            "`trash.purge` is time, `media.purge` a person. A wave of releases is often one caller's mistake: "
            "restore in time.",
            PER_SECOND,
            Query(OPERATIONS.rate(_TRASH, 'outcome="success"', by="operation"), "{{operation}}"),
        ),
        lines(
            "Holds",
            "Placed, lifted, asked about by operators.",
            PER_SECOND,
            Query(OPERATIONS.rate('operation=~"hold[.].*"', by="operation"), "{{operation}}"),
        ),
        lines(
            "Requests for what is on hold",
            "Who still asks: old pages and caches that were not purged.",
            PER_SECOND,
            Query(OPERATIONS.rate('outcome="on_hold"', by="operation"), "{{operation}}"),
        ),
    ]


def _integrity() -> list[Panel]:
    return [
        number(
            "Marked now",
            "Blobs that are missing or corrupt, until the same bytes are sent again.",
            NUMBER,
            Query(f"sum ({highest('media_integrity_failures', 'health')})", "marked"),
            bad=1,
        ),
        lines(
            "Marked missing or corrupt",
            "By fsck and scrub. Heals by uploads of the same bytes.",
            NUMBER,
            Query(highest("media_integrity_failures", "health"), "{{health}}"),
            width=18,
        ),
        lines(
            "The store has not what it was given",
            "Calls that met a missing object, marked or not.",
            PER_SECOND,
            Query(STORAGE.rate('error_type="blob_missing"', by="operation"), "{{operation}}"),
        ),
        lines(
            "Pictures that failed",
            "What callers saw of it: 500.",
            PER_SECOND,
            Query(OPERATIONS.rate(DOWNLOAD, 'outcome="error"'), "error"),
        ),
    ]
