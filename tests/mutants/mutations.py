"""What must turn the suite red: each a step back to a design that loses something, and the tests that know it.

A mutation is a list of replacements of text that stands in a file exactly once; so nobody can change the service and
leave a mutation behind that no longer says anything.
"""

from __future__ import annotations

from dataclasses import dataclass

_POSTGRES = "service/adapters/postgres"
_ORDERS = "tests/adapters/test_losing_orders.py"
_MOVES = "tests/adapters/test_moving_store.py"
_LEDGER = f"{_POSTGRES}/migrations/0001_ledger.sql"


@dataclass(frozen=True)
class Replacement:
    """In the file at `path`, `old` becomes `new`."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutation:
    """`tests` are names for pytest of the tests that are there for this; the stories must know it, too, if `told`."""

    name: str
    replacements: tuple[Replacement, ...]
    tests: tuple[str, ...]


MUTATIONS = (
    Mutation(
        "bare-hash keys",
        (
            Replacement(
                f"{_POSTGRES}/objects.py",
                '{sha256}.{uuid7()}"',
                '{sha256}.01900000-0000-7000-8000-000000000000"',
            ),
            Replacement(_LEDGER, "key          text NOT NULL CONSTRAINT objects_key_key UNIQUE,", "key text NOT NULL,"),
        ),
        (_ORDERS,),
    ),
    Mutation(
        "publish without re-check",
        (
            Replacement(
                f"{_POSTGRES}/blobs.py",
                'if load["state"] != "pending":',
                'if load["state"] is None:',
            ),
            Replacement(
                f"{_POSTGRES}/blobs.py",
                "WHERE id = $27 AND state = 'pending' RETURNING id),",
                "WHERE id = $27 RETURNING id),",
            ),
            Replacement(
                f"{_POSTGRES}/blobs.py",
                "UPDATE objects SET state = 'live' WHERE",
                "UPDATE objects SET state = 'live', delete_after = NULL WHERE",
            ),
            Replacement(_LEDGER, "OR array_position(path, NEW.state) < array_position(path, OLD.state) THEN", "THEN"),
        ),
        ("tests/adapters/test_collection_races.py",),
    ),
    Mutation(
        "publish into a store that is closed",
        (
            Replacement(
                f"{_POSTGRES}/standing.py",
                'if load["store_epoch"] != standing.epoch:',
                'if load["store_epoch"] is None:',
            ),
        ),
        (
            f"{_MOVES}::test_an_upload_that_lands_in_the_old_store_after_the_last_pass_is_refused",
            f"{_MOVES}::test_a_rendition_comes_over_and_one_that_lands_too_late_is_made_anew",
        ),
    ),
    Mutation(
        "close a store without waiting for who publishes",
        (Replacement(f"{_POSTGRES}/moves.py", "LOCK TABLE objects IN EXCLUSIVE MODE", "SELECT"),),
        (f"{_MOVES}::test_a_publication_under_way_is_waited_for_and_its_bytes_come_along",),
    ),
    Mutation(
        "UPDATE instead of DELETE",
        (
            Replacement(
                f"{_POSTGRES}/collection.py",
                "blob AS (DELETE FROM blobs WHERE id = $2 RETURNING object_id)",
                "blob AS (SELECT object_id FROM blobs WHERE id = $2"
                " AND NOT EXISTS (SELECT FROM holdings WHERE blob_id = $2))",
            ),
            Replacement(
                _LEDGER,
                "    created_at     timestamptz NOT NULL,\n"
                "    CONSTRAINT blobs_object_fkey FOREIGN KEY (object_id, object_is_live)"
                " REFERENCES objects (id, is_live)\n",
                "    created_at     timestamptz NOT NULL\n",
            ),
        ),
        ("tests/adapters/test_collection_races.py", "tests/adapters/test_collection.py"),
    ),
    Mutation(
        "naive cursor",
        (
            Replacement(
                f"{_POSTGRES}/feed.py",
                '_SETTLED = "(events.epoch < edge.epoch OR txid < edge.xmin)"',
                '_SETTLED = "true"',
            ),
            Replacement(f"{_POSTGRES}/feed.py", " AND txid < {_BOUND} {{which}}", " {{which}}"),
            Replacement(f"{_POSTGRES}/feed.py", "if start > edge:", "if start.txid > 2**60:"),
            Replacement(
                f"{_POSTGRES}/feed.py",
                "return FeedPage(events, str(edge), caught_up=True)",
                "last = Cursor.parse(events[-1].cursor) if events else start\n"
                "    return FeedPage(events, str(max(edge, last)), caught_up=True)",
            ),
            Replacement(
                f"{_POSTGRES}/feed.py", "edge: Cursor) -> FeedPage:", "edge: Cursor, start: Cursor) -> FeedPage:"
            ),
            Replacement(
                f"{_POSTGRES}/feed.py",
                "return _page(rows, limit, scan, edge)",
                "return _page(rows, limit, scan, edge, start)",
            ),
        ),
        ("tests/adapters/test_postgres_feed.py",),
    ),
    Mutation(
        "idempotency before lock",
        (
            Replacement(
                f"{_POSTGRES}/claims.py",
                "        *(entity_lock(entity) for entity in sorted(set(entities))),",
                "        *([] if claim is None else [-1]),\n"
                "        *(entity_lock(entity) for entity in sorted(set(entities))),",
            ),
            Replacement(
                f"{_POSTGRES}/database.py",
                'f"SELECT pg_advisory_xact_lock({int(lock)})" for lock in locks',
                '"SELECT pg_current_xact_id()" if lock == -1 else f"SELECT pg_advisory_xact_lock({int(lock)})" '
                "for lock in locks",
            ),
        ),
        (_ORDERS,),
    ),
    Mutation(
        "no queue trigger on INSERT of a holding",
        (
            Replacement(
                _LEDGER,
                "CREATE TRIGGER holdings_inserted AFTER INSERT ON holdings "
                "FOR EACH ROW EXECUTE FUNCTION review_new_holding();",
                "",
            ),
        ),
        ("tests/adapters/test_collection.py", "tests/adapters/test_postgres_guards.py"),
    ),
    Mutation(
        "hash lock left out",
        (
            Replacement(
                f"{_POSTGRES}/locks.py",
                'digest = blake2b("\\0".join((kind, *names)).encode(), digest_size=8).digest()',
                "from os import urandom\n"
                '    spelled = "\\0".join((kind, *names)).encode()\n'
                '    digest = urandom(8) if kind == "blob" else blake2b(spelled, digest_size=8).digest()',
            ),
        ),
        (
            f"{_ORDERS}::test_bytes_sent_again_before_their_review_come_before_it_in_the_log",
            f"{_ORDERS}::test_bytes_sent_again_during_their_review_come_after_it_in_the_log",
        ),
    ),
    Mutation(
        "import over what was written meanwhile",
        (
            Replacement(
                "service/domain/importing.py",
                "expected = Expectation(frozenset({version}))",
                "expected = Expectation(frozenset({version, version + 1}))",
            ),
        ),
        ("tests/adapters/test_imports.py::test_what_somebody_writes_while_bytes_are_fetched_stays",),
    ),
    Mutation(
        "address judged before it is resolved again",
        (
            Replacement(
                "service/adapters/sources/web.py",
                "if not self.reachable(str(place[0])):",
                'if str(place[0]) == "::1" and not self.reachable(str(place[0])):',
            ),
        ),
        ("tests/adapters/test_import_sources.py::test_the_address_that_was_judged_is_the_one_that_is_connected_to",),
    ),
)
