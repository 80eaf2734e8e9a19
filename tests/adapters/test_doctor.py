"""`refkeep doctor` names the fault of a deployment that is broken, whatever else is broken too, and changes nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from service.adapters.postgres.checkup import DatabaseFacts, Holder
from service.adapters.postgres.embedded import embedded_postgres
from service.adapters.s3 import client
from service.adapters.s3.abilities import Abilities
from service.adapters.s3.checkup import BucketFacts
from service.commands.checkup import database as database_checks
from service.commands.checkup.findings import Verdict, looked_at
from service.commands.checkup.store import judge_bucket, judge_clock
from service.settings import Settings
from tests.parts.blobs import files_under
from tests.parts.buckets import BUCKET, config_for, emptied_bucket, physical_keys
from tests.parts.ledgers import opened_database, set_clock_ahead
from tests.parts.postgres import PostgresServer, session
from tests.parts.rooms import _way
from tests.parts.seaweed import ACCESS_KEY, READER_KEY, READER_SECRET, SECRET_KEY, Seaweed
from tests.parts.service import REFKEEP, Done, environment, fetch, refkeep_here

SIGNING = "2026:dGhlIHNlY3JldCBvZiB0aGUgdGVzdHMgaGVyZQ=="
READER = {"AWS_ACCESS_KEY_ID": READER_KEY, "AWS_SECRET_ACCESS_KEY": READER_SECRET}
NOBODY = "postgresql://refkeep:swordfish@127.0.0.1:1/refkeep"
BAD_POLICIES = '[policies."book/cover"]\ncardinality = "single"\nvisibility = "loud"\nmedia_types = ["image/jpeg"]\n'


def examined(*parts: str, **settings: object) -> tuple[Done, dict[str, list[tuple[str, str, str]]]]:
    """How it ended, and by check: verdict, sentence, remedy."""
    only = [word for part in parts for word in ("--only", part)]
    client._session.cache_clear()  # which a process of its own does not have: it remembers credentials
    done = refkeep_here("doctor", "--json", *only, **settings)
    found: dict[str, list[tuple[str, str, str]]] = {}
    for each in json.loads(done.stdout)["checks"]:
        found.setdefault(each["check"], []).append((each["verdict"], each["says"], each["do"] or ""))
    return done, found


def named(check: str, says: str, do: str, *parts: str, verdict: str = "fault", **settings: object) -> None:
    """Assert that this is told of this check, with what to do about it, and that the exit status fits."""
    done, found = examined(*parts, **settings)
    told = [finding for finding in found[check] if says in finding[1]]
    assert told, found
    assert told[0][0] == verdict, told
    assert do in told[0][2], told
    assert done.status == int(any(each[0] == "fault" for findings in found.values() for each in findings))


@pytest.fixture
def dsn(postgres: PostgresServer, migrated: str) -> Iterator[str]:
    """A database with the schema, of the test's own."""
    with postgres.database(migrated) as made:
        yield made


@pytest.fixture
def bucket(seaweed: Seaweed) -> Iterator[dict[str, Any]]:
    """Settings of a bucket that exists and is empty."""
    asyncio.run(emptied_bucket(seaweed))
    yield {
        "STORAGE": "s3",
        "S3_BUCKET": BUCKET,
        "S3_ENDPOINT_URL": seaweed.url,
        "AWS_ACCESS_KEY_ID": ACCESS_KEY,
        "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        "AWS_EC2_METADATA_DISABLED": "true",
    }
    client._session.cache_clear()


def sql(dsn: str, statement: str) -> None:
    asyncio.run(fetch(dsn, statement))


# --- what is well -----------------------------------------------------------------------------------------------------


def test_a_deployment_that_is_well_has_no_fault_and_stays_as_it_is(
    dsn: str, bucket: dict[str, Any], seaweed: Seaweed, tmp_path: Path
) -> None:
    tmp_path.chmod(0o700)
    done, found = examined(DATA_DIR=tmp_path, DATABASE_URL=dsn, SIGNING_KEYS=SIGNING, PORT=free_port(), **bucket)
    assert done.status == 0, found
    doubted = {check for check, findings in found.items() for verdict, *_ in findings if verdict != "ok"}
    assert doubted <= {"durability", "connections", "data-dir"}, found  # the tests' Postgres does without fsync
    assert set(found) >= {
        "settings",
        "signing",
        "policies",
        "pictures",
        "video",
        "sentinel",
        "integrity",
        "store-clock",
    }
    assert files_under(tmp_path) == set()
    assert asyncio.run(physical_keys(config_for(seaweed))) == set()
    strict = refkeep_here("doctor", "--only", "database", "--strict", DATA_DIR=tmp_path, DATABASE_URL=dsn)
    assert strict.status == 1
    assert "warning\tdurability\tfsync is off" in strict.stdout


def free_port() -> int:
    with socket.socket() as made:
        made.bind(("127.0.0.1", 0))
        port: int = made.getsockname()[1]
        return port


# --- the set-ups that are broken --------------------------------------------------------------------------------------


def test_everything_that_is_broken_at_once_is_named(tmp_path: Path) -> None:
    policies = tmp_path / "policies.toml"
    policies.write_text(BAD_POLICIES)
    with taken_port() as port:
        done, found = examined(
            *("settings", "data-dir", "port", "policies", "database", "store", "sentinel", "telemetry"),
            DATA_DIR=policies,
            DATABASE_URL=NOBODY,
            POLICIES=policies,
            PORT=port,
            PROT="80",
            WORKERS="many",
            SIGNING_KEYS=f"{SIGNING},2027:dG9vIHNob3J0",
            STORAGE="s3",
            OTEL_EXPORTER_OTLP_ENDPOINT="http://127.0.0.1:1",
        )
    faults = {check for check, findings in found.items() if "fault" in [verdict for verdict, *_ in findings]}
    assert done.status == 1
    assert faults == {"settings", "data-dir", "port", "policies", "database"}
    assert len(found["settings"]) == 4
    [(_, says, do)] = found["port"]
    assert ("Address already in use" in says, "ss -ltnp" in do) == (True, True)
    assert {found[check][0][0] for check in ("schema", "clock", "store", "sentinel")} == {"unknown"}
    assert found["telemetry"][0][0] == "warning"
    assert "swordfish" not in done.stdout
    assert "dG9vIHNob3J0" not in done.stdout


@contextlib.contextmanager
def taken_port() -> Iterator[int]:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        yield taken.getsockname()[1]


def test_a_setting_that_is_none_is_named(tmp_path: Path) -> None:
    named("settings", "REFKEEP_MAX_UPLOAD is no setting", "unset REFKEEP_MAX_UPLOAD", "settings", MAX_UPLOAD=1)


def test_a_signing_key_that_is_none_is_named_by_its_place_alone(tmp_path: Path) -> None:
    keys = f"{SIGNING},2027:dG9vIHNob3J0"
    named("settings", "It is number 2 of the list", "openssl rand -base64 32", "settings", SIGNING_KEYS=keys)
    named("signing", "The secret of x is not random", "openssl", "settings", SIGNING_KEYS=f"x:{'A' * 44}")
    named("signing", "Two keys have the id 2026", "own id", "settings", SIGNING_KEYS=f"{SIGNING},{SIGNING}")


@pytest.mark.parametrize(
    ("check", "says", "verdict", "settings"),
    [
        ("settings", "REFKEEP_S3_BUCKET: set, but not used", "warning", {"S3_BUCKET": "media"}),
        ("settings", "QUARANTINE is no longer than", "fault", {"QUARANTINE": "1s", "DESCRIPTOR_TTL": "2s"}),
        ("settings", "takes effect so late", "warning", {"DESCRIPTOR_TTL": "1h"}),
        ("settings", "beside *", "warning", {"CORS_ORIGINS": "*,https://a.example"}),
        ("settings", "every write is refused", "warning", {"READ_ONLY": "true"}),
        ("settings", "REFKEEP_S3_BUCKET is not set", "fault", {"STORAGE": "s3"}),
        ("address", "takes in everybody", "warning", {"TRUSTED_PROXIES": "0.0.0.0/0"}),
        ("address", "none is believed", "warning", {"PUBLIC_URL": "https://media.example.org"}),
        ("address", "has a query", "fault", {"PUBLIC_URL": "http://media.example.org/?x=1"}),
        ("address", "leads nowhere", "warning", {"PUBLIC_URL": "http://localhost:8080", "HOST": "0.0.0.0"}),
        ("signing", "signing-disabled", "warning", {}),
    ],
)
def test_what_contradicts_itself_or_is_hardly_meant_is_named(
    check: str, says: str, verdict: str, settings: dict[str, str]
) -> None:
    named(check, says, "", "settings", verdict=verdict, **settings)


def test_a_bad_policy_file_is_named_with_its_line_and_so_is_a_type_that_nothing_has(tmp_path: Path) -> None:
    file = tmp_path / "policies.toml"
    file.write_text(BAD_POLICIES)
    named("policies", f"{file}, line 3: visibility", "refkeep policies check", "policies", POLICIES=file)
    file.write_text(BAD_POLICIES.replace("loud", "public").replace("image/jpeg", "image/jpg"))
    named("policies", "image/jpg is found in no bytes", "image/jpeg", "policies", verdict="warning", POLICIES=file)


HUNG = """
import asyncio, sys
from service.commands.checkup.findings import in_thread, looked_at
print(asyncio.run(looked_at("policies", 0.1, lambda: in_thread(lambda: open(sys.argv[1]).readlines())))[0].says)
"""


def test_a_file_that_hangs_is_named_and_keeps_nobody_from_the_end(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "policies.toml")
    command = [sys.executable, "-c", HUNG, str(tmp_path / "policies.toml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=40, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "No answer within 0 s.\n", "")


def test_a_folder_that_this_user_may_not_enter_is_named(tmp_path: Path) -> None:
    (tmp_path / "locked").mkdir(mode=0)
    without_rights = [] if os.geteuid() else ["setpriv", "--bounding-set=-all", "--inh-caps=-all"]
    parts = [word for part in ("data-dir", "store", "database") for word in ("--only", part)]
    settings = environment(DATA_DIR=tmp_path / "locked/media")
    command = [*without_rights, REFKEEP, "doctor", *parts]
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert done.stdout.count(f"This user may not look at {tmp_path}/locked/media") == 2
    assert f"unknown\tdatabase\t{tmp_path}/locked/media: Permission denied." in done.stdout


@pytest.mark.parametrize(
    ("host", "says"), [("192.0.2.1", "Cannot assign"), ("no.such.host.invalid", "not known"), ("x" * 300, "no name")]
)
def test_a_host_that_is_not_this_machines_is_told_from_a_port_that_is_taken(host: str, says: str) -> None:
    named("port", says, "REFKEEP_HOST=", "port", HOST=host, PORT=free_port())


def test_a_folder_that_others_may_write_or_read_secrets_in_is_named(tmp_path: Path) -> None:
    (tmp_path / "signing-key").write_text("dev:secret")
    (tmp_path / "signing-key").chmod(0o644)
    named("data-dir", "signing-key may be read by others", f"chmod 600 {tmp_path}", "data-dir", DATA_DIR=tmp_path)
    tmp_path.chmod(0o777)
    named("data-dir", "everybody may write there", f"chmod 700 {tmp_path}", "data-dir", DATA_DIR=tmp_path)


def test_a_folder_on_a_read_only_file_system_is_named(tmp_path: Path) -> None:
    mount = 'mount -t tmpfs none "$1" && mount -o remount,ro "$1" && shift && exec "$@"'
    command = [*_way(), "sh", "-c", mount, "sh", str(tmp_path), REFKEEP, "doctor", "--only", "data-dir"]
    settings = environment(DATA_DIR=tmp_path)
    done = subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1, done.stderr
    assert f"fault\tdata-dir\t{tmp_path} is on a read-only file system" in done.stdout
    assert f"mount -o remount,rw {tmp_path}" in done.stdout


def test_a_database_that_is_not_there_is_named(dsn: str, tmp_path: Path) -> None:
    named("database", "Nobody listens", "Start PostgreSQL", "database", DATABASE_URL=NOBODY)
    missing = urlunsplit(urlsplit(dsn)._replace(path="/nothing"))
    named("database", "no database of that name", "createdb", "database", DATABASE_URL=missing)
    wrong = "postgresql://x@no.such.host.invalid/x"
    named("database", "host is not known", "Correct the host", "database", DATABASE_URL=wrong)


def test_a_password_that_is_wrong_is_named_and_not_shown(tmp_path: Path) -> None:
    with embedded_postgres(tmp_path) as own:
        sql(own, "CREATE ROLE doctor LOGIN PASSWORD 'right'")
    rules = tmp_path / "postgres/pg_hba.conf"
    rules.write_text(f"local all doctor scram-sha-256\n{rules.read_text()}")
    with embedded_postgres(tmp_path) as own:
        known = urlunsplit(urlsplit(own)._replace(netloc="doctor:swordfish@"))
        named("database", "User or password", "ALTER ROLE", "database", DATABASE_URL=known)
        done, _ = examined("database", DATABASE_URL=known)
        assert "swordfish" not in done.stdout + done.stderr


def test_a_schema_that_is_older_or_newer_is_named(postgres: PostgresServer, dsn: str) -> None:
    with postgres.database() as empty:
        named("schema", "The schema lacks 0001_ledger.sql", "refkeep migrate", "database", DATABASE_URL=empty)
    sql(dsn, "DELETE FROM schema_migrations WHERE version = (SELECT max(version) FROM schema_migrations)")
    named("schema", "The schema lacks 00", "refkeep migrate", "database", DATABASE_URL=dsn)
    sql(dsn, "INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, '9999_later.sql', '')")
    named("schema", "9999_later.sql", "newer", "database", DATABASE_URL=dsn)


def test_a_clock_that_is_off_is_named(dsn: str) -> None:
    async def move(ahead: timedelta) -> None:
        async with opened_database(dsn, 1) as database:
            await set_clock_ahead(database, ahead)

    asyncio.run(move(timedelta(minutes=7)))
    named("clock", "420 s ahead of this machine's", "chronyc", "database", DATABASE_URL=dsn)
    asyncio.run(move(timedelta()))


def test_too_few_connections_are_named(dsn: str) -> None:
    wanted = {"POOL_SIZE": "60", "WORKERS": "2", "DATABASE_URL": dsn}
    named("connections", "2 workers × (POOL_SIZE 60 + 1) = 122", "Lower REFKEEP_POOL_SIZE", "database", **wanted)


def test_a_database_that_takes_no_writes_is_named(dsn: str) -> None:
    name = urlsplit(dsn).path.removeprefix("/")
    sql(dsn, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on')
    named("database", "default_transaction_read_only", "Name the primary", "database", DATABASE_URL=dsn)
    done, found = examined("database", DATABASE_URL=dsn, READ_ONLY="true")
    assert done.status == 0, found


def test_a_transaction_that_holds_the_feed_back_is_named(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_checks, "HELD_S", 0.0)

    async def hold() -> None:
        async with session(dsn) as idle:
            await idle.execute("SET application_name = 'reports'; BEGIN; SELECT pg_current_xact_id()")
            told = await asyncio.to_thread(examined, "database", DATABASE_URL=dsn)
            [finding] = [each for each in told[1]["feed"] if "reports" in each[1]]
            assert finding[0] == "warning"
            assert f"pg_terminate_backend({idle.get_server_pid()})" in finding[2]
            assert "idle in transaction" in finding[1]

    asyncio.run(hold())


def test_the_store_of_another_database_is_named(dsn: str, bucket: dict[str, Any], tmp_path: Path) -> None:
    sql(dsn, "UPDATE sentinel SET placed_at = refkeep_now()")
    where: dict[str, Any] = {"DATABASE_URL": dsn, "DATA_DIR": tmp_path}
    named("sentinel", "it has no sentinel", "Mount the right folder", "sentinel", **where, **bucket)
    objects = tmp_path / "blobs/objects"
    objects.mkdir(parents=True)
    (objects / "sentinel").write_text("another database")
    named("sentinel", "the sentinel of another database", "REFKEEP_DATABASE_URL", "sentinel", **where)


def test_a_database_that_was_restored_is_named(dsn: str, tmp_path: Path) -> None:
    (tmp_path / "blobs/objects").mkdir(parents=True)
    (tmp_path / "blobs/objects/fence").write_text("1000")
    where: dict[str, Any] = {"DATABASE_URL": dsn, "DATA_DIR": tmp_path}
    named("sentinel", "restored to an earlier time", "refkeep fsck --adopt --dry-run", "sentinel", **where)


@pytest.mark.parametrize(
    ("says", "do", "changes"),
    [
        ("No credentials", "AWS_ACCESS_KEY_ID", {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}),
        ("does not know this access key", "AWS_ACCESS_KEY_ID", {"AWS_ACCESS_KEY_ID": "nobody"}),
        ("The secret key is not that", "AWS_SECRET_ACCESS_KEY", {"AWS_SECRET_ACCESS_KEY": "wrong"}),
        ("s3:PutObject is refused", "Allow s3:PutObject", READER),
        ("no bucket of that name", "REFKEEP_S3_BUCKET", {"S3_BUCKET": "nothing-here"}),
        ("Nobody listens at the endpoint", "REFKEEP_S3_ENDPOINT_URL", {"S3_ENDPOINT_URL": "http://127.0.0.1:1"}),
        ("no name of a bucket", "its name alone", {"S3_BUCKET": "s3://media"}),
        ("no name of a region", "REFKEEP_S3_REGION", {"S3_REGION": "eu central;1"}),
        ("names a profile that no file has", "AWS_PROFILE", {"AWS_PROFILE": "nothing-here"}),
        ("Half of the credentials", "AWS_SECRET_ACCESS_KEY", {"AWS_SECRET_ACCESS_KEY": ""}),
    ],
)
def test_a_bucket_that_cannot_be_used_is_named(
    bucket: dict[str, Any], says: str, do: str, changes: dict[str, str], tmp_path: Path
) -> None:
    home: dict[str, Any] = {"AWS_CONFIG_FILE": tmp_path / "none", "AWS_SHARED_CREDENTIALS_FILE": tmp_path / "none"}
    named("store", says, do, "store", DATA_DIR=tmp_path, **{**bucket, **home, **changes})


def test_an_endpoint_with_a_password_is_named_unshown_and_nobody_else_is_asked_in_its_place(tmp_path: Path) -> None:
    where = {"STORAGE": "s3", "S3_BUCKET": "media", "S3_ENDPOINT_URL": "http://user:hunter2/x@127.0.0.1:1"}
    done, found = examined("store", DATA_DIR=tmp_path, **where)
    assert (done.status, found["store"][0][:2]) == (1, ("unknown", "Where it is, is malformed."))
    assert ["without a user" in says for verdict, says, _ in found["settings"] if verdict == "fault"] == [True]
    assert "hunter2" not in done.stdout + done.stderr


def test_an_address_of_a_database_that_is_none_is_a_fault_whatever_is_looked_at() -> None:
    done, found = examined("database", DATABASE_URL="postgresql://refkeep:hunter2/x@db/x")
    assert (done.status, found["database"][0][0], found["settings"][0][0]) == (1, "unknown", "fault")
    assert "hunter2" not in done.stdout + done.stderr


@pytest.mark.parametrize("url", ["http://127.0.0.1:99999", "collector:4318"])
def test_an_endpoint_of_a_collector_that_is_none_is_a_warning(url: str) -> None:
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": url}
    named("telemetry", "No collector takes traces", "correct OTEL", "telemetry", verdict="warning", **where)


def test_a_variable_of_opentelemetry_that_cannot_be_used_is_a_warning() -> None:
    wrong = {"OTEL_BSP_MAX_QUEUE_SIZE": "0"}
    says = "OTEL_BSP_MAX_QUEUE_SIZE must be a whole number"
    named("telemetry", says, "Set OTEL_BSP_MAX_QUEUE_SIZE right", "telemetry", verdict="warning", **wrong)


def test_a_propagator_that_is_not_installed_is_a_warning() -> None:
    asked = {"OTEL_PROPAGATORS": "tracecontext,b3"}
    named("telemetry", "names b3, not installed", "OTEL_PROPAGATORS=", "telemetry", verdict="warning", **asked)


def test_a_collector_that_is_away_or_answers_wrongly_is_a_warning() -> None:
    where = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1", "OTEL_EXPORTER_OTLP_HEADERS": "api-key=swordfish"}
    named("telemetry", "No collector takes traces at 127.0.0.1:1", "Start", "telemetry", verdict="warning", **where)
    spoken = {"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", **where}
    named("telemetry", "is grpc", "4318", "telemetry", verdict="warning", **spoken)


# --- what no part here can be brought to ------------------------------------------------------------------------------

WELL = DatabaseFacts(180000, "UTF8", False, False, 97, 5, (), (), 0, (), 0.0)


@pytest.mark.parametrize(
    ("facts", "check", "verdict", "says"),
    [
        (replace(WELL, version=140011), "database", "fault", "PostgreSQL 14.11 is too old"),
        (replace(WELL, encoding="SQL_ASCII"), "database", "fault", "encoding is SQL_ASCII"),
        (replace(WELL, is_standby=True, read_only=True), "database", "fault", "is a standby"),
        (replace(WELL, ahead=-3.0), "clock", "warning", "3 s behind"),
        (replace(WELL, taken=90), "connections", "warning", "7 of 97 are free"),
        (replace(WELL, risks=("synchronous_commit",)), "durability", "warning", "synchronous_commit is off"),
        (replace(WELL, lost=("lock_timeout",)), "session", "fault", "lock_timeout"),
        (replace(WELL, prepared=2), "feed", "warning", "2 prepared transactions"),
        (replace(WELL, holders=(Holder(7, "", "active", 29.0),)), "feed", "ok", "No transaction"),
        (replace(WELL, holders=(Holder(7, "", "active", 31.0),)), "feed", "warning", "(pid 7, active)"),
    ],
)
def test_facts_of_a_database_are_judged(facts: DatabaseFacts, check: str, verdict: str, says: str) -> None:
    found = database_checks.judge_database(facts, Settings(), "here:5432/refkeep")
    assert (verdict, True) in [(each.verdict.value, says in each.says) for each in found if each.check == check]


def test_a_bucket_without_conditions_is_a_warning() -> None:
    [finding] = judge_bucket(BucketFacts(abilities=Abilities(checksums=True, conditional=False)))
    assert (finding.verdict, "without conditional writes:" in finding.says) == (Verdict.WARNING, True)


@pytest.mark.parametrize(("ahead", "verdict"), [(None, []), (-29.0, ["ok"]), (31.0, ["warning"]), (-601.0, ["fault"])])
def test_the_clock_of_a_store_is_judged(ahead: float | None, verdict: list[str]) -> None:
    assert [each.verdict.value for each in judge_clock(ahead)] == verdict


def test_a_check_that_breaks_or_hangs_is_a_finding() -> None:
    async def breaks() -> list[Any]:
        raise KeyError("postgresql://user:secret@db")

    async def hangs() -> list[Any]:
        await asyncio.Event().wait()
        return []

    [broken] = asyncio.run(looked_at("x", 5, breaks))
    assert (broken.verdict, broken.says) == (Verdict.FAULT, "This could not be looked at: KeyError.")
    [silent] = asyncio.run(looked_at("x", 0.01, hangs))
    assert silent.says == "No answer within 0 s."
    assert os.environ.get("REFKEEP_DATABASE_URL") is None
