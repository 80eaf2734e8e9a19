"""The database: whether it answers, and whether it keeps what Refkeep relies on."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

from service.adapters.postgres.checkup import OLDEST, DatabaseFacts, Unreachable, look_into
from service.commands.checkup.findings import Finding, fault, ok, unknown, warning
from service.settings import PREFIX, Settings

_SKEWED_S, _OFF_S = 2.0, 30.0
HELD_S = 30.0
"""Longer than any transaction of Refkeep's own lasts without a word."""
_DEPENDENT = ("schema", "clock", "connections", "durability", "session", "feed")
_URL = f"{PREFIX}DATABASE_URL"
_REMEDIES = {
    "refused": f"Start PostgreSQL, or correct host and port in {_URL}.",
    "host": f"Correct the host in {_URL}.",
    "silent": "Look for a firewall in between, and whether the server is frozen.",
    "password": f"Correct user and password in {_URL}, or ALTER ROLE … PASSWORD; see pg_hba.conf.",
    "rules": f"See pg_hba.conf, the name of the role, and sslmode in {_URL}.",
    "tls": f"Correct sslmode, sslrootcert, sslcert and sslkey in {_URL}, or the files that they name.",
    "no-database": "createdb --owner=<role> <name>, then `refkeep migrate`",
    "full": "Raise max_connections, or lower POOL_SIZE and WORKERS of the replicas.",
    "url": f"{_URL}=postgresql://user:password@host:port/database",
}


async def look_at_database(settings: Settings, dsn: str) -> list[Finding]:
    """Findings `database` and those that depend on it."""
    try:
        facts = await look_into(dsn)
    except Unreachable as error:
        remedy = _REMEDIES.get(error.reason, "See the server's log.")
        return [
            fault("database", f"{error} ({_place(dsn)})", remedy),
            *(unknown(check, "The database could not be asked.") for check in _DEPENDENT),
        ]
    return judge_database(facts, settings, _place(dsn))


def judge_database(facts: DatabaseFacts, settings: Settings, place: str) -> list[Finding]:
    """What is to be said of the facts."""
    return [
        _server(facts, place),
        *_writable(facts, settings),
        _schema(facts),
        _clock(facts.ahead),
        _connections(facts, settings),
        *_durability(facts),
        *_session(facts),
        *_feed(facts),
    ]


def _place(dsn: str) -> str:
    """Where it is, without user and password."""
    parts = urlsplit(dsn)
    hosts = parts.netloc.rpartition("@")[2] or parse_qs(parts.query).get("host", ["local"])[0]
    return f"{hosts}{parts.path}"


def _server(facts: DatabaseFacts, place: str) -> Finding:
    version = f"{facts.version // 10_000}.{facts.version % 10_000}"
    if facts.version < OLDEST:
        return fault("database", f"PostgreSQL {version} is too old: 15 is the first that will do.", "Upgrade it.")
    if facts.encoding != "UTF8":
        remedy = "createdb --encoding=UTF8 --template=template0 <name>"
        return fault("database", f"The database's encoding is {facts.encoding}: names could not be kept.", remedy)
    return ok("database", f"PostgreSQL {version} answers at {place}.")


def _writable(facts: DatabaseFacts, settings: Settings) -> Iterator[Finding]:
    if facts.read_only and not settings.read_only:
        why = "is a standby" if facts.is_standby else "has default_transaction_read_only on"
        yield fault(
            "database", f"It {why}: nothing can be written.", f"Name the primary in {_URL}, or {PREFIX}READ_ONLY=true"
        )


def _schema(facts: DatabaseFacts) -> Finding:
    if facts.schema_fault is not None:
        return fault("schema", facts.schema_fault, "Run the release that made the schema, or a newer one.")
    if facts.pending:
        return fault("schema", f"The schema lacks {', '.join(facts.pending)}.", "refkeep migrate")
    return ok("schema", "The schema is this release's.")


def _clock(ahead: float) -> Finding:
    if abs(ahead) < _SKEWED_S:
        return ok("clock", "The database's clock and this machine's agree.")
    says = f"The database's clock is {abs(ahead):.0f} s {'ahead of' if ahead > 0 else 'behind'} this machine's."
    make = fault if abs(ahead) >= _OFF_S else warning
    return make(
        "clock", f"{says} Signed addresses end by the one, leases by the other.", "Synchronise both: chronyc tracking"
    )


def _connections(facts: DatabaseFacts, settings: Settings) -> Finding:
    wanted = settings.workers * (settings.pool_size + 1)
    sum_of = f"{settings.workers} workers × (POOL_SIZE {settings.pool_size} + 1) = {wanted} connections"
    remedy = f"Lower {PREFIX}POOL_SIZE or {PREFIX}WORKERS, or raise max_connections (or the role's CONNECTION LIMIT)."
    if wanted > facts.places:
        return fault("connections", f"{sum_of}, but the database has {facts.places} at most.", remedy)
    left = facts.places - facts.taken
    if wanted > left:
        return warning(
            "connections",
            f"{sum_of}; {left} of {facts.places} are free now, unless some are this service's own.",
            remedy,
        )
    return ok("connections", f"{sum_of}; {left} of {facts.places} are free.")


def _durability(facts: DatabaseFacts) -> Iterator[Finding]:
    for name in facts.risks:
        says = f"{name} is off: what was acknowledged can be lost when the machine loses power."
        yield warning("durability", says, f"ALTER SYSTEM SET {name} = on; SELECT pg_reload_conf();")
    if not facts.risks:
        yield ok("durability", "What is committed is on disk.")


def _session(facts: DatabaseFacts) -> Iterator[Finding]:
    if facts.lost:
        says = f"Somebody between here and PostgreSQL drops settings of a session: {', '.join(facts.lost)}."
        yield fault("session", says, f"Name PostgreSQL itself in {_URL}, not a pooler in front of it.")
    else:
        yield ok("session", "Time limits of statements hold.")


def _feed(facts: DatabaseFacts) -> Iterator[Finding]:
    held = [each for each in facts.holders if each.seconds >= HELD_S]
    for each in held:
        says = (
            f"A transaction of {each.application or 'an unnamed client'} (pid {each.pid}, {each.state}) is open for "
            f"{each.seconds:.0f} s: no event that is newer is told before it ends."
        )
        yield warning("feed", says, f"End it, or SELECT pg_terminate_backend({each.pid});")
    if facts.prepared:
        says = f"{facts.prepared} prepared transactions wait for their second phase, and the feed for them."
        yield warning("feed", says, "SELECT gid FROM pg_prepared_xacts; then ROLLBACK PREPARED '<gid>';")
    if not held and not facts.prepared:
        yield ok("feed", "No transaction holds it back.")
