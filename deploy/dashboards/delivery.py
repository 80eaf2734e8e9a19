"""Bytes going out."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import (
    BYTES_A_SECOND,
    MILLISECONDS,
    NUMBER,
    PER_SECOND,
    SECONDS,
    SHARE,
    Panel,
    Query,
    Section,
    lines,
    page,
)
from deploy.dashboards.promql import (
    DOWNLOAD,
    HANDLER,
    METRICS,
    OPEN,
    OPERATIONS,
    RENDERING,
    REQUESTS,
    SENT,
    SPANS,
    STORAGE,
    or_none,
    summed,
)

_ROUTES = 'http_request_method=~"GET|HEAD", http_route=~"/blobs/.sha256.|/media/.ref_id./file"'
_NEEDS_BYTES = 'outcome=~"success|error|client_aborted"'
_NOT_MODIFIED = 'outcome="not_modified"'


def delivery() -> Dashboard:
    """What is served, how fast, and what was not served and why."""
    return page(
        "refkeep-delivery",
        "Refkeep: delivery",
        "Bytes going out: what is served, how fast, and what was not served and why.",
        Section("What is asked and answered", _answers()),
        Section("How fast", _times()),
        Section("Pictures that are made", _made()),
    )


def _answers() -> list[Panel]:
    return [
        lines(
            "Answers by status",
            "4xx are the callers', 5xx ours. 206 are parts of videos, 304 what caches asked about again.",
            PER_SECOND,
            Query(REQUESTS.rate(_ROUTES, by="http_response_status_code"), "{{http_response_status_code}}"),
        ),
        lines(
            "Answers by route",
            "By hash (public, cacheable for ever) and by ref (private, signed).",
            PER_SECOND,
            Query(REQUESTS.rate(_ROUTES, by="http_route"), "{{http_route}}"),
        ),
        lines(
            "Why something was not served (from spans)",
            "The reason in one word; `not_found` without a reason is an unknown hash.",
            PER_SECOND,
            Query(
                SPANS.rate(HANDLER, DOWNLOAD, 'outcome!~"success|not_modified"', by="outcome, error_type"),
                "{{outcome}} {{error_type}}",
            ),
        ),
        lines(
            "Bytes sent",
            "Of blobs alone.",
            BYTES_A_SECOND,
            Query(summed("media_download_bytes_total", METRICS), "all workers"),
        ),
    ]


def _times() -> list[Panel]:
    asked_of_the_store = f"{STORAGE.rate(OPEN)} / {OPERATIONS.rate(DOWNLOAD, _NEEDS_BYTES)}"
    return [
        lines(
            "Time of an answer by outcome",
            "95 % of each. `not_modified` and `not_found` never touch the store.",
            SECONDS,
            Query(OPERATIONS.quantile(0.95, DOWNLOAD, by="outcome"), "{{outcome}}"),
        ),
        lines(
            "Time of an answer (from spans)",
            "The same from spans, to a hundredth of a second: with exemplars that lead to a trace.",
            MILLISECONDS,
            *(Query(SPANS.quantile(share, HANDLER, DOWNLOAD, SENT), f"{share:.0%}") for share in (0.5, 0.95, 0.99)),
        ),
        lines(
            "Answers that asked the store",
            "The share of pictures whose bytes were not in memory. Near 1 on a cold start, low for hot covers.",
            SHARE,
            Query(asked_of_the_store, "store"),
        ),
        lines(
            "Asked about again",
            "The share of questions that a validator answered (304), without a byte.",
            SHARE,
            Query(f"{or_none(OPERATIONS.rate(DOWNLOAD, _NOT_MODIFIED))} / {OPERATIONS.rate(DOWNLOAD)}", "304"),
        ),
    ]


def _made() -> list[Panel]:
    return [
        lines(
            "Being made, and waiting",
            "A child for each core makes them. Waiting, hour after hour: too few cores or replicas, or presets that a "
            "policy should call eager.",
            NUMBER,
            Query(f"sum by (state) (media_rendering_tasks{{{METRICS}}})", "{{state}}"),
        ),
        lines(
            "Pictures made",
            "`rendition` for whoever asks first, `normalise` before an attach, `placeholder` with an upload.",
            PER_SECOND,
            Query(RENDERING.rate(by="kind"), "{{kind}}"),
        ),
        lines(
            "Time to make one",
            "95 %, the wait for its turn included.",
            SECONDS,
            Query(RENDERING.quantile(0.95, by="kind"), "{{kind}}"),
        ),
        lines(
            "How they ended",
            "`error`: too many waited, and the caller was told 503. `rejected`: the picture's own fault, or it took "
            "more than it may.",
            PER_SECOND,
            Query(RENDERING.rate(by="kind, outcome"), "{{kind}} {{outcome}}"),
        ),
    ]
