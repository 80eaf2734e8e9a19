"""Bytes coming in, by phase."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import MILLISECONDS, NUMBER, PER_SECOND, SECONDS, Panel, Query, Section, lines, page
from deploy.dashboards.promql import METRICS, OPERATIONS, PHASES, PUT, SPANS, STORAGE, UPLOAD, USE_CASE

_PHASES = (
    "`receive` waits for the caller's bytes, `hash` counts them, `parse` looks at the picture, `storage` keeps them, "
    "`db` writes it down. A slow `receive` is the caller's line."
)


def uploads() -> Dashboard:
    """How many, how long and where the time goes; what was refused and why."""
    return page(
        "refkeep-uploads",
        "Refkeep: uploads",
        "Bytes coming in: how many, how long, where the time goes, what was refused and why.",
        Section("What comes", _coming()),
        Section("How long, and in what", _phases()),
    )


def _coming() -> list[Panel]:
    return [
        lines(
            "Uploads by outcome",
            "`rejected` is a rule's no, `error` is ours, `client_aborted` a caller who left.",
            PER_SECOND,
            Query(OPERATIONS.rate(UPLOAD, by="outcome"), "{{outcome}}"),
        ),
        lines(
            "Decisions (from spans)",
            "`insert` is new to the workspace, `duplicate` was there already.",
            PER_SECOND,
            Query(SPANS.rate(USE_CASE, UPLOAD, 'decision!=""', by="decision"), "{{decision}}"),
        ),
        lines(
            "Refused or failed, by reason (from spans)",
            "One word each, as in the problem that the caller was told.",
            PER_SECOND,
            Query(SPANS.rate(USE_CASE, UPLOAD, 'error_type!=""', by="error_type"), "{{error_type}}"),
        ),
        lines(
            "Under way",
            "Uploads at this moment. Steadily more: something in the way of all of them, often the store.",
            NUMBER,
            Query(f"sum (media_upload_in_flight{{{METRICS}}})", "uploads"),
        ),
    ]


def _phases() -> list[Panel]:
    return [
        lines(
            "Time of an upload",
            "Of those that were kept, the caller's line included.",
            SECONDS,
            *(
                Query(OPERATIONS.quantile(share, UPLOAD, 'outcome="success"'), f"{share:.0%}")
                for share in (0.5, 0.95, 0.99)
            ),
        ),
        lines("Mean time of each phase", _PHASES, SECONDS, Query(PHASES.mean(by="phase"), "{{phase}}")),
        lines("95 % of each phase", _PHASES, SECONDS, Query(PHASES.quantile(0.95, by="phase"), "{{phase}}")),
        lines(
            "What an upload asks of database and store (from spans)",
            "The mean of each call of the write path.",
            MILLISECONDS,
            Query(
                SPANS.mean('operation=~"blobs[.].*|objects[.].*|media.storage.put"', by="operation"),
                "{{operation}}",
            ),
        ),
        lines(
            "Writing an object",
            "The store alone, 95 %.",
            SECONDS,
            Query(STORAGE.quantile(0.95, PUT, by="backend"), "{{backend}}"),
        ),
    ]
