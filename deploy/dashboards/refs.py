"""Refs and what was decided about them."""

from __future__ import annotations

from grafana_foundation_sdk.builders.dashboard import Dashboard

from deploy.dashboards.panels import PER_SECOND, SECONDS, SHARE, Panel, Query, Section, lines, page
from deploy.dashboards.promql import DATABASE, HANDLER, OPERATIONS, SPANS, USE_CASE, or_none

_ASKED = 'operation=~"ref.(put|append|insert|attach|release|reorder|batch)|media.(update|release|restore|purge)"'
"""What a request can ask for: the handler's operation, one span each."""
_DECIDED = 'operation=~"ref.(attach|release|reorder|batch)|media.(update|release|restore|purge)"'
"""Where it is decided: the innermost use case; a put with its bytes is an upload and an attach within `ref.put`."""
_CHANGES = 'operation=~"ref.(put|attach|release|reorder|batch)|media.(update|release|restore|purge)"'
_REJECTED = 'outcome="rejected"'
_READS = 'operation=~"ref.(get|list)|media.(get|list)|blob.(meta|missing|why)"'


def refs() -> Dashboard:
    """What services change and read, the decisions, and the refusals."""
    return page(
        "refkeep-refs",
        "Refkeep: refs and decisions",
        "What services change and read, what was decided, what was refused and why.",
        Section("Changes", _changes()),
        Section("How long", _times()),
    )


def _changes() -> list[Panel]:
    refused = f"{or_none(SPANS.rate(HANDLER, _ASKED, _REJECTED))} / {SPANS.rate(HANDLER, _ASKED)}"
    return [
        lines(
            "Changes by operation (from spans)",
            "What services asked for, carried out or not.",
            PER_SECOND,
            Query(SPANS.rate(HANDLER, _ASKED, by="operation"), "{{operation}}"),
        ),
        lines(
            "Decisions (from spans)",
            "Those of contracts/decisions.yaml. Many `noop`: a service says again and again what is so already.",
            PER_SECOND,
            Query(SPANS.rate(USE_CASE, _DECIDED, 'decision!=""', by="decision"), "{{decision}}"),
        ),
        lines(
            "Refused or failed, by reason (from spans)",
            "`version_conflict` and `precondition_required`: two who change the same list. `policy_unknown`: "
            "a role that no policy names.",
            PER_SECOND,
            Query(SPANS.rate(HANDLER, _ASKED, 'error_type!=""', by="error_type"), "{{error_type}}"),
        ),
        lines(
            "Share that is refused (from spans)",
            "A jump is a release of one of the callers.",
            SHARE,
            Query(refused, "rejected"),
        ),
    ]


def _times() -> list[Panel]:
    return [
        lines(
            "Changes, 95 %",
            "With the bytes, where they come in the same request.",
            SECONDS,
            Query(OPERATIONS.quantile(0.95, _CHANGES, by="operation"), "{{operation}}"),
        ),
        lines(
            "Their transactions, 95 %",
            "Lock, load, judge, write. Slow with little load: many who change the same entity.",
            SECONDS,
            Query(
                DATABASE.quantile(0.95, 'db_operation_name=~"refs[.].*"', by="db_operation_name"),
                "{{db_operation_name}}",
            ),
        ),
        lines(
            "Reads by operation",
            "Lists and single refs.",
            PER_SECOND,
            Query(OPERATIONS.rate(_READS, by="operation"), "{{operation}}"),
        ),
        lines(
            "Reads, 95 %",
            "None of these touches the store.",
            SECONDS,
            Query(OPERATIONS.quantile(0.95, _READS, by="operation"), "{{operation}}"),
        ),
    ]
