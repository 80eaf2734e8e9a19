"""What the service stands on: workers, database, store."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import NUMBER, PER_SECOND, SECONDS, SHARE, Panel, Query, Section, lines, page
from deploy.dashboards.promql import (
    DATABASE,
    LOOP_LAG,
    METRICS,
    OPERATIONS,
    POOL_WAIT,
    REQUESTS,
    STORAGE,
    or_none,
    summed,
)

_ERRORS = 'error_type!=""'


def parts() -> Dashboard:
    """Workers and their event loops, the pool and the database, the store."""
    return page(
        "refkeep-parts",
        "Refkeep: workers, database, store",
        "What the service stands on.",
        Section("Workers", _workers()),
        Section("Database", _database()),
        Section("Store", _store()),
    )


def _workers() -> list[Panel]:
    failed = REQUESTS.rate('http_response_status_code=~"5.."')
    return [
        lines(
            "Requests of each worker",
            "Much alike; one without any hangs or is draining.",
            PER_SECOND,
            Query(REQUESTS.rate(by="instance, worker"), "{{instance}} {{worker}}"),
        ),
        lines(
            "Requests that fail",
            "The share of 5xx of all routes. The budget is 0.1 %.",
            SHARE,
            Query(f"{or_none(failed)} / {REQUESTS.rate()}", "5xx"),
        ),
        lines(
            "Waiting for the event loop",
            "How late each worker's loop is, 99 %. Above 0.1 s: too little processor, or something that blocks.",
            SECONDS,
            Query(LOOP_LAG.quantile(0.99, by="instance, worker"), "{{instance}} {{worker}}"),
        ),
        lines(
            "Failed operations",
            "By operation: which part of the service is hit.",
            PER_SECOND,
            Query(OPERATIONS.rate('outcome="error"', by="operation"), "{{operation}}"),
        ),
    ]


def _database() -> list[Panel]:
    used = f'sum by (instance, worker) (db_client_connection_count{{{METRICS}, db_client_connection_state="used"}})'
    return [
        lines(
            "Connections in use",
            "Of each worker's pool; at `limit` requests begin to wait.",
            NUMBER,
            Query(used, "{{instance}} {{worker}}"),
            Query(f"max (db_client_connection_max{{{METRICS}}})", "limit"),
        ),
        lines(
            "Waiting for a connection",
            "Microseconds while one is free.",
            SECONDS,
            *(Query(POOL_WAIT.quantile(share), f"{share:.0%}") for share in (0.5, 0.95, 0.99)),
        ),
        lines(
            "Waited in vain",
            "No connection within 1.5 s; the caller was told 503.",
            PER_SECOND,
            Query(summed("db_client_connection_timeouts_total", METRICS), "all workers"),
        ),
        lines(
            "Calls that failed",
            "By reason; `unavailable` is a database that does not answer, or a lock that was not given in time.",
            PER_SECOND,
            Query(DATABASE.rate(_ERRORS, by="error_type"), "{{error_type}}"),
        ),
        lines(
            "Where the database's time goes",
            "The ten that take most, in connections busy with each.",
            NUMBER,
            Query(f"topk(10, {DATABASE.time(by='db_operation_name')})", "{{db_operation_name}}"),
        ),
        lines(
            "The slowest calls",
            "95 % of each, the ten slowest.",
            SECONDS,
            Query(f"topk(10, {DATABASE.quantile(0.95, by='db_operation_name')})", "{{db_operation_name}}"),
        ),
    ]


def _store() -> list[Panel]:
    return [
        lines(
            "Calls",
            "Opened, put and deleted objects.",
            PER_SECOND,
            Query(STORAGE.rate(by="operation, backend"), "{{backend}} {{operation}}"),
        ),
        lines(
            "Time of a call, 95 %",
            "An opened object lasts until its last byte was taken: slow readers are in it.",
            SECONDS,
            Query(STORAGE.quantile(0.95, by="operation, backend"), "{{backend}} {{operation}}"),
        ),
        lines(
            "Calls that failed",
            "After all retries of the client.",
            PER_SECOND,
            Query(STORAGE.rate(_ERRORS, by="operation, error_type"), "{{operation}} {{error_type}}"),
        ),
        lines(
            "Share that failed",
            "Above 1 % an alert says so.",
            SHARE,
            Query(f"{or_none(STORAGE.rate(_ERRORS))} / {STORAGE.rate()}", "failed"),
        ),
    ]
