"""An operator's first question: covers do not show, is it the API, the store, or the size of the picture."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import (
    BYTES,
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
    number,
    page,
    words,
)
from deploy.dashboards.promql import (
    ABANDONED,
    DOWNLOAD,
    FAILED,
    HANDLER,
    LOOP_LAG,
    METRICS,
    OPEN,
    OPERATIONS,
    POOL_WAIT,
    PUT,
    SENT,
    SPANS,
    STORAGE,
    highest,
    or_none,
    summed,
)

_HOW_TO_READ = """\
**Covers do not show.** Read from above to below and stop at the first section that is not as it always was.

1. **Do requests arrive, and how do they end?** No requests: the page, the CDN or the network. `not_found`, `forbidden`:
   nobody attached the cover, or it is not public; ask `GET /refs/book/42`. `on_hold`: an operator's hold. `error`: go
   on.
2. **Is it the API?** What an answer takes that neither database nor store account for is Refkeep's own.
3. **Is it the store?** Its calls, its errors, and bytes that it has lost.
4. **Is it the size of the picture?** All of the above are quick, and people wait all the same: large pictures, slow
   lines.
"""

_ELSEWHERE = """\
**Nothing above is unusual?** Then it is between here and the eye. In the browser's network tab, `Server-Timing` of an
answer says what database and store took for it; `responseEnd - responseStart` of its resource timing is the line, and
what comes after that is the page. A cache in front that keeps an old answer shows its `Age`. One request is found
again by its `X-Request-ID`, which is `correlation_id` in log and trace.
"""


def covers() -> Dashboard:
    """The page to open first."""
    return page(
        "refkeep-covers",
        "Refkeep: covers do not show",
        "Is it the API, the store, or the size of the picture?",
        Section("1. Do requests arrive, and how do they end?", [words(_HOW_TO_READ, 7), *_arriving()]),
        Section("2. Is it the API?", _api()),
        Section("3. Is it the store?", _store()),
        Section("4. Is it the size of the picture?", _size()),
        Section("5. None of these", [words(_ELSEWHERE)]),
    )


def _arriving() -> list[Panel]:
    failing = f"{or_none(OPERATIONS.rate(DOWNLOAD, FAILED))} / {OPERATIONS.rate(DOWNLOAD)}"
    return [
        lines(
            "How requests for pictures end",
            "A gap is a page or a CDN that does not ask. `error` alone is a fault of Refkeep, its store or its "
            "database.",
            PER_SECOND,
            Query(OPERATIONS.rate(DOWNLOAD, by="outcome"), "{{outcome}}"),
            width=18,
        ),
        number(
            "Pictures that fail",
            "The share that ends with `error`. The budget is 0.1 %.",
            SHARE,
            Query(failing, "failing"),
            bad=0.001,
        ),
    ]


def _api() -> list[Panel]:
    answers = SPANS.rate(HANDLER, DOWNLOAD)
    asked = SPANS.time('layer="repo"', 'operation=~"descriptors[.].*"')
    opened = SPANS.time('layer="storage"', OPEN)
    return [
        lines(
            "Time of an answer",
            "From the request's head to the hand-over of its last byte. The middle says how it is, 99 % how it can be.",
            SECONDS,
            *(Query(OPERATIONS.quantile(share, DOWNLOAD, SENT), f"{share:.0%}") for share in (0.5, 0.95, 0.99)),
        ),
        lines(
            "Where that time goes (from spans)",
            "The mean answer, and what of it permissions (database) and bytes (store) took. Both low under a high "
            "answer: the API itself, or a reader who takes the bytes slowly; the next two panels and section 4 tell "
            "these apart.",
            MILLISECONDS,
            Query(SPANS.mean(HANDLER, DOWNLOAD), "answer"),
            Query(f"{asked} / {answers}", "database"),
            Query(f"{opened} / {answers}", "store"),
        ),
        lines(
            "Waiting for the event loop",
            "How late a worker's loop is, at its 99 %. Above 0.1 s everything of that worker is slow: too little "
            "processor.",
            SECONDS,
            Query(LOOP_LAG.quantile(0.99), "99%"),
        ),
        lines(
            "Waiting for a database connection",
            "Above a few milliseconds the pool is used up: the database is slow, or POOL_SIZE too small.",
            SECONDS,
            Query(POOL_WAIT.quantile(0.95), "95%"),
        ),
    ]


def _store() -> list[Panel]:
    return [
        lines(
            "Reading an object",
            "Until its last byte was taken: slow readers and large pictures make it longer, too. Compare with writing.",
            SECONDS,
            Query(STORAGE.quantile(0.5, OPEN, by="backend"), "{{backend}} 50%"),
            Query(STORAGE.quantile(0.95, OPEN, by="backend"), "{{backend}} 95%"),
        ),
        lines(
            "Writing an object",
            "The store's own time, no reader's. When this has grown as well, it is the store.",
            SECONDS,
            Query(STORAGE.quantile(0.5, PUT, by="backend"), "{{backend}} 50%"),
            Query(STORAGE.quantile(0.95, PUT, by="backend"), "{{backend}} 95%"),
        ),
        lines(
            "Calls that the store failed",
            "After all retries. `blob_missing`: the store answers and has not what it was given; see the run-book.",
            PER_SECOND,
            Query(STORAGE.rate('error_type!=""', by="operation, error_type"), "{{operation}} {{error_type}}"),
            width=18,
        ),
        number(
            "Blobs marked missing or corrupt",
            "What `fsck` and `scrub` have found and nobody has sent again. Each is a cover that cannot show.",
            NUMBER,
            Query(f"sum ({highest('media_integrity_failures', 'health')})", "marked"),
            bad=1,
        ),
    ]


def _size() -> list[Panel]:
    sent = summed("media_download_bytes_total", METRICS)
    return [
        lines(
            "Bytes of a picture",
            "The mean of those that were sent. A cover of more than some hundred KiB is a photograph that nobody "
            "made smaller.",
            BYTES,
            Query(f"{sent} / {OPERATIONS.rate(DOWNLOAD, SENT)}", "mean"),
        ),
        lines(
            "Bytes sent",
            "Near what the network carries, everything waits for the line.",
            BYTES_A_SECOND,
            Query(sent, "all workers"),
        ),
        lines(
            "Slow pictures",
            "The share that took longer than a tenth of a second, and than a second.",
            SHARE,
            Query(OPERATIONS.above("0.1", DOWNLOAD, SENT), "> 0.1 s"),
            Query(OPERATIONS.above("1.0", DOWNLOAD, SENT), "> 1 s"),
        ),
        lines(
            "Pictures that people did not wait for",
            "The share whose reader left before the last byte. It grows with size, and with slow lines.",
            SHARE,
            Query(f"{or_none(OPERATIONS.rate(DOWNLOAD, ABANDONED))} / {OPERATIONS.rate(DOWNLOAD)}", "abandoned"),
        ),
    ]
