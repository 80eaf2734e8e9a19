"""Operations: what a person who runs the service sees, does and is told."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import click
import httpx
import pytest

from service.__main__ import main
from service.commands import keys as key_commands
from service.commands.policies import policies
from service.commands.serving import migrate
from service.domain.credentials import new_credentials
from tests.parts.blobs import files_under
from tests.parts.caller import Caller, problem, sha256_of
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.postgres import PostgresServer
from tests.parts.seaweed import free_ports
from tests.parts.service import (
    Refkeep,
    Yard,
    command_here,
    eventually,
    fetch,
    is_ready,
    readiness,
    refkeep_here,
    run_command,
)
from tests.parts.wire import bearer, connected, head

A_KEY = {"authorization": f"Bearer {new_credentials().token}"}
BAD_POLICIES = """\
[policies."book/cover"]
cardinality = "single"
visibility = "public"
media_types = ["image/jpeg"]
max_bytes = "many"
"""


def answers(service: Refkeep) -> bool:
    try:
        return httpx.get(f"{service.url}/livez").status_code == 200
    except httpx.TransportError:
        return False


# --- health -----------------------------------------------------------------------------------------------------------


def test_a_healthy_service_is_alive_and_ready(service: Refkeep, anyone: Caller) -> None:
    assert anyone.http.get("/livez").json() == {"status": "alive"}
    assert readiness(service) == (200, {"database": "ok", "storage": "ok"})
    metrics = anyone.http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "http_server_request_duration" in metrics.text


def test_an_old_schema_is_refused_until_it_is_migrated(yard: Yard) -> None:
    with yard.launched("serve") as service:
        eventually(lambda: answers(service))
        status, parts = readiness(service)
        assert (status, parts["storage"]) == (503, "ok")
        assert parts["database"].endswith("run `refkeep migrate`, or start with --migrate.")
        problem(httpx.get(f"{service.url}/blobs/{'ab' * 32}"), 503, "unavailable")
        problem(httpx.get(f"{service.url}/events", headers=A_KEY), 503, "unavailable")
        problem(httpx.post(f"{service.url}/blobs", content=b"x", headers=A_KEY), 503, "unavailable")

        where = {"DATABASE_URL": service.database_url, "DATA_DIR": service.data_dir}
        assert json.loads(refkeep_here("migrate", "--json", **where).stdout)["applied"][0].startswith("0001_")
        assert command_here(migrate, **where).stdout.strip() == "The schema is up to date."

        eventually(lambda: is_ready(service), 5)
        caller = service.caller("read", "write")
        assert caller.http.post("/blobs", content=fresh_text()).status_code == 201


def test_a_newer_schema_is_refused_with_a_sentence(postgres: PostgresServer, migrated: str, tmp_path: Path) -> None:
    with postgres.database(migrated) as url:
        newer = "INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, '9999_later.sql', '')"
        asyncio.run(fetch(url, newer))
        told = command_here(migrate, DATABASE_URL=url, DATA_DIR=tmp_path).complaint()
    assert "The schema has 9999_later.sql, which this release does not know: run a newer release." in told


@pytest.fixture(scope="module")
def fragile(yard: Yard) -> Iterator[Refkeep]:
    """A service whose parts are taken away."""
    with yard.running() as started:
        yield started


def test_a_store_that_is_gone_shows_and_comes_back(fragile: Refkeep) -> None:
    caller, content = fragile.caller("read", "write"), fresh_text()
    name = caller.upload(content)
    folder = fragile.data_dir / "blobs"
    folder.rename(fragile.data_dir / "unmounted")

    status, parts = readiness(fragile)

    assert (status, parts["database"]) == (503, "ok")
    assert parts["storage"] == "The folder of objects is not there."
    assert answers(fragile)
    for response in (caller.http.post("/blobs", content=fresh_text()), caller.http.get(f"/blobs/{name}")):
        problem(response, 503, "storage-unavailable")
        assert response.headers["retry-after"]
    assert caller.http.get(f"/blobs/{name}/meta").status_code == 200

    (fragile.data_dir / "unmounted").rename(folder)
    assert readiness(fragile)[0] == 200
    assert caller.http.get(f"/blobs/{name}").content == content


def test_empty_folders_in_the_place_of_a_store_are_not_taken_for_it(fragile: Refkeep) -> None:
    caller, content = fragile.caller("read", "write"), fresh_text()
    name = caller.upload(content)
    folder, where = fragile.data_dir / "blobs", {"DATABASE_URL": fragile.database_url, "DATA_DIR": fragile.data_dir}
    eventually((folder / "objects/sentinel").exists)
    folder.rename(fragile.data_dir / "unmounted")
    for each in ("objects", "staging"):
        (folder / each).mkdir(parents=True)

    problem(caller.http.get(f"/blobs/{name}"), 503, "storage-unavailable")
    problem(caller.http.post("/blobs", content=fresh_text()), 503, "storage-unavailable")
    status, parts = readiness(fragile)
    assert (status, parts["database"]) == (503, "ok")
    assert parts["storage"].startswith("The mounted folder or bucket is not the one of this database")
    told = refkeep_here("doctor", "--only", "sentinel", **where)
    assert (told.status, "it has no sentinel" in told.stdout) == (1, True)
    assert files_under(folder) == set(), "nothing was put there"

    shutil.rmtree(folder)
    (fragile.data_dir / "unmounted").rename(folder)
    assert readiness(fragile)[0] == 200
    assert caller.http.get(f"/blobs/{name}").content == content
    caller.upload(fresh_text())


def test_a_missing_object_is_a_fault_and_never_an_absence(fragile: Refkeep) -> None:
    caller = fragile.caller("read", "write")
    name = caller.upload(fresh_text())
    [lost] = (fragile.data_dir / "blobs").rglob(f"{name}.*")
    lost.unlink()
    problem(caller.http.get(f"/blobs/{name}"), 500, "blob-missing")


def test_a_database_that_is_gone_shows_within_two_seconds(fragile: Refkeep, postgres: PostgresServer) -> None:
    caller, name = fragile.caller("read", "write"), urlsplit(str(fragile.database_url)).path.removeprefix("/")

    def allow(word: str) -> None:
        asyncio.run(fetch(postgres.dsn, f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS {word}'))

    allow("false")
    try:
        ending = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1"
        asyncio.run(fetch(postgres.dsn, ending, name))
        started = time.monotonic()
        status, parts = readiness(fragile)
        assert time.monotonic() - started < 2
        assert (status, parts["storage"]) == (503, "ok")
        assert parts["database"] != "ok"
        response = caller.http.post("/blobs", content=fresh_text())
        problem(response, 503, "unavailable")
        assert response.headers["retry-after"]
        assert answers(fragile)
    finally:
        allow("true")
    eventually(lambda: is_ready(fragile), 2)
    assert caller.http.post("/blobs", content=fresh_text()).status_code == 201


# --- start and stop ---------------------------------------------------------------------------------------------------


def test_a_stop_turns_readiness_red_and_lets_what_runs_end(yard: Yard) -> None:
    with yard.running(DRAIN="2s") as service:
        caller, content = service.caller("read", "write"), fresh_text(100_000)
        with connected(service.port) as wire:
            headers = {**bearer(caller.token), "Content-Length": len(content)}
            wire.send(head("PUT", f"/blobs/{sha256_of(content)}", headers) + content[:50_000])
            service.terminate()
            eventually(
                lambda: readiness(service) == (503, {"database": "ok", "storage": "ok", "server": "draining"}), 2
            )
            assert answers(service)
            assert caller.http.post("/blobs", content=fresh_text()).status_code == 201
            service_ends = time.monotonic() + 2
            eventually(lambda: not answers(service), 10)
            assert time.monotonic() > service_ends - 1
            wire.send(content[50_000:])
            answer = wire.response()
        assert answer is not None
        assert (answer.status_code, answer.json()["decision"]) == (201, "insert")
        assert service.process.wait(20) == 0


def test_dev_brings_everything_and_keeps_it(yard: Yard, tmp_path: Path) -> None:
    content = fresh_jpeg()
    with yard.running("dev", data_dir=tmp_path) as service:
        greeting = service.log.read_text()
        [token] = set(re.findall(r"rk_\w+", greeting))
        assert token == (tmp_path / "dev-key").read_text().strip()
        assert (tmp_path / "dev-key").stat().st_mode & 0o777 == 0o600
        assert service.url in greeting
        caller = service.bearer(token, "demo")
        ref = caller.put("book/42/cover/0", content).json()["ref"]
        assert ref["workspace"] == "demo"
        made = run_command("keys", "create", "--name", "beside", "--workspace", "demo", DATA_DIR=tmp_path)
        assert service.bearer(made.stdout.strip()).refs("book/42") == [ref]
        taken = run_command("dev", DATA_DIR=tmp_path, PORT=free_ports(1)[0])
        assert f"in use by process {service.process.pid}" in taken.complaint()
    assert service.process.returncode == 0

    with yard.running("dev", data_dir=tmp_path) as again:
        caller = again.bearer(token, "demo")
        assert caller.refs("book/42") == [ref]
        assert caller.http.get(ref["links"]["file"]).content == content
    assert again.process.returncode == 0


def test_a_taken_port_is_told_in_a_sentence(service: Refkeep, tmp_path: Path) -> None:
    done = run_command("serve", DATABASE_URL=service.database_url, DATA_DIR=tmp_path, PORT=service.port)
    assert f"127.0.0.1:{service.port} cannot be listened on: Address already in use." in done.complaint()


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ({"MAX_UPLOAD": "1"}, "REFKEEP_MAX_UPLOAD is no setting of Refkeep; did you mean REFKEEP_MAX_UPLOAD_BYTES?"),
        ({"PORT": "http"}, "REFKEEP_PORT must be a port, 1 to 65535; 'http' is not that."),
        ({"STORAGE": "s3"}, "REFKEEP_STORAGE is s3, but REFKEEP_S3_BUCKET is not set."),
        ({"DATABASE_URL": "mysql://user:secret@x/y"}, "REFKEEP_DATABASE_URL must be a URL postgresql://"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_wrong_setting_stops_the_start_with_a_sentence(
    setting: dict[str, str], sentence: str, tmp_path: Path
) -> None:
    told = refkeep_here("serve", DATA_DIR=tmp_path, **setting).complaint()
    assert sentence in told
    assert "secret@" not in told
    assert list(tmp_path.iterdir()) == []


def test_a_database_that_does_not_answer_stops_a_migration_with_a_sentence(tmp_path: Path) -> None:
    done = command_here(migrate, DATA_DIR=tmp_path, DATABASE_URL="postgresql://nobody@127.0.0.1:1/none")
    assert "The database does not answer." in done.complaint()


# --- policies ---------------------------------------------------------------------------------------------------------


def test_policies_are_listed_for_people_and_scripts(tmp_path: Path) -> None:
    table = command_here(policies, "list", DATA_DIR=tmp_path).stdout
    document = json.loads(command_here(policies, "list", "--json", DATA_DIR=tmp_path).stdout)
    names = {f"{policy['entity_type']}/{policy['role']}" for policy in document}
    assert names >= {"book/cover", "library/cover", "bookshelf/cover", "block/image", "block/video", "document/file"}
    assert len(table.splitlines()) == len(document)


def test_a_bad_policy_file_is_told_with_its_line_and_stops_the_start(tmp_path: Path) -> None:
    file = tmp_path / "policies.toml"
    file.write_text(BAD_POLICIES)
    checked, started = command_here(policies, "check", str(file)), refkeep_here("serve", POLICIES=file)
    for done in (checked, started):
        assert f"{file}, line 5: max_bytes" in done.complaint()
    file.write_text(BAD_POLICIES.replace("many", "1 MiB"))
    assert "book/cover" in command_here(policies, "check", str(file)).stdout
    checked = command_here(policies, "check", str(file), "--json")
    assert json.loads(checked.stdout) == {"file": str(file), "policies": ["book/cover"]}


# --- keys and workspaces ----------------------------------------------------------------------------------------------


def test_keys_are_made_listed_and_ended(service: Refkeep) -> None:
    where = {"DATABASE_URL": service.database_url, "DATA_DIR": service.data_dir}
    workspace = service.workspace()

    def listed(key_id: str) -> dict[str, str | None]:
        [row] = [row for row in json.loads(service.command(key_commands.keys, "list", "--json")) if row["id"] == key_id]
        return dict(row)

    made = refkeep_here("keys", "create", "--name", "library", "--workspace", workspace, "--json", **where)
    key = json.loads(made.stdout)
    assert (key["name"], key["scopes"], key["workspace"]) == ("library", ["read", "write"], workspace)
    caller = service.bearer(key["key"])
    assert caller.http.get("/events").status_code == 200
    assert (listed(key["id"])["name"], listed(key["id"])["revoked_at"]) == ("library", None)
    assert key["key"].split("_")[2] not in json.dumps(listed(key["id"]))

    assert refkeep_here("keys", "revoke", key["id"], **where).stdout.strip() == f"revoked {key['id']} (library)"
    eventually(lambda: caller.http.get("/events").status_code == 401, 5)
    ended = listed(key["id"])["revoked_at"]
    assert ended
    assert json.loads(refkeep_here("keys", "revoke", key["id"], "--json", **where).stdout)["revoked_at"] == ended
    assert listed(key["id"])["revoked_at"] == ended


WRONG_COMMANDS = {
    "keys create --name x": "Say either --workspace SLUG or --all-workspaces.",
    "keys create --name x --workspace nosuch": "There is no workspace nosuch.",
    "keys create --name x --workspace No/Such": "lower-case letters, digits and dashes",
    "keys create --name x --workspace a --scope operator": "goes with --all-workspaces alone",
    "keys create --name x --workspace a --scope everything": "'everything' is not one of",
    "keys create --workspace a": "Missing option '--name'",
    "keys revoke abcdefghijkl": "There is no key abcdefghijkl.",
    "workspaces create No/Slug": "lower-case letters, digits and dashes",
    "workspaces create a --max-bytes -1": "-1 is not in the range",
    "policies check /no/such/file": "does not exist",
}


@pytest.mark.parametrize("command", WRONG_COMMANDS)
def test_a_wrong_command_is_told_what_is_wrong(service: Refkeep, command: str) -> None:
    group, *words = command.split()
    where = {"DATABASE_URL": service.database_url, "DATA_DIR": service.data_dir}
    assert WRONG_COMMANDS[command] in command_here(subcommands(main)[group], *words, **where).complaint()


def test_workspaces_show_quota_and_use(service: Refkeep) -> None:
    service.command(key_commands.workspaces, "create", "measured", "--max-bytes", "1000", "--max-items", "3")
    caller = service.caller("read", "write", workspace="measured")
    caller.upload(fresh_text(300))
    caller.upload(fresh_text(600))
    problem(caller.http.post("/blobs", content=fresh_text(101)), 507, "quota-exceeded")
    assert row_of(service, "measured") == {"max_bytes": 1000, "max_items": 3, "used_bytes": 900, "used_items": 2}

    where = {"DATABASE_URL": service.database_url, "DATA_DIR": service.data_dir}
    changed = refkeep_here("workspaces", "create", "measured", "--max-items", "3", "--json", **where)
    assert json.loads(changed.stdout) == {"slug": "measured", "max_bytes": None, "max_items": 3}
    name = caller.upload(fresh_text(101))
    problem(caller.http.post("/blobs", content=fresh_text(101)), 507, "quota-exceeded")
    assert row_of(service, "measured") == {"max_bytes": None, "max_items": 3, "used_bytes": 1001, "used_items": 3}

    assert caller.http.delete(f"/blobs/{name}").status_code == 204
    assert row_of(service, "measured")["used_bytes"] == 900


def row_of(service: Refkeep, slug: str) -> dict[str, object]:
    rows = json.loads(service.command(key_commands.workspaces, "list", "--json"))
    [row] = [row for row in rows if row.pop("slug") == slug]
    row.pop("created_at")
    return dict(row)


def subcommands(group: click.Group) -> dict[str, click.Command]:
    """The commands of a group by their name."""
    context = click.Context(group)
    found = {name: group.get_command(context, name) for name in group.list_commands(context)}
    return {name: command for name, command in found.items() if command is not None}


def every_command(group: click.Group) -> Iterator[click.Command]:
    yield group
    for command in subcommands(group).values():
        if isinstance(command, click.Group):
            yield from every_command(command)
        else:
            yield command


def test_every_command_explains_itself() -> None:
    explained = [command_here(command, "--help") for command in every_command(main)]
    assert len(explained) > 12
    for done in explained:
        assert done.status == 0
        assert len(done.stdout.splitlines()) > 4, done.stdout
        assert "\\b" not in done.stdout, done.stdout
    assert run_command("--help").stdout.startswith("Usage: refkeep")


# --- what is written down ---------------------------------------------------------------------------------------------


def test_no_key_is_ever_logged(service: Refkeep, acme: Caller, anyone: Caller) -> None:
    acme.put("book/1/cover/0", fresh_jpeg())
    anyone.http.get("/events", headers={"authorization": f"Bearer {acme.token[:-1]}x"})
    anyone.http.get(f"/events?key={acme.token}", headers={"user-agent": acme.token, "x-request-id": "no-secret-here"})
    anyone.http.get(f"/{acme.token}")
    secret = acme.token.split("_")[2]
    eventually(lambda: "no-secret-here" in service.log.read_text(), 5)
    assert secret[:-1] not in service.log.read_text()


def test_every_answer_can_be_found_in_the_log(service: Refkeep, acme: Caller) -> None:
    answers_by_id = {}
    for path in ("/livez", "/events", "/nothing", f"/blobs/{'ab' * 32}", "//"):
        response = acme.http.get(path if path != "//" else f"{service.url}//")
        answers_by_id[response.headers["x-request-id"]] = response.status_code
    lines = [json.loads(line) for line in service.log.read_text().splitlines() if '"request_completed"' in line]
    logged = {line["correlation_id"]: line["outcome"] for line in lines}
    for request_id, status in answers_by_id.items():
        assert logged[request_id] == ("success" if status == 200 else "not_found"), status


def test_a_service_with_a_newer_schema_says_so_and_stays(yard: Yard, migrated: str) -> None:
    with yard.postgres.database(migrated) as url:
        newer = "INSERT INTO schema_migrations (version, name, checksum) VALUES (9999, '9999_later.sql', '')"
        asyncio.run(fetch(url, newer))
        with yard.launched("serve", DATABASE_URL=url) as service:
            eventually(lambda: answers(service))
            status, parts = readiness(service)
            assert (status, parts["storage"]) == (503, "ok")
            assert parts["database"] == (
                "The schema has 9999_later.sql, which this release does not know: run a newer release."
            )
            assert "Unexpected exit" not in service.log.read_text()


def test_a_database_that_takes_no_writes_is_not_migrated_and_says_why(postgres: PostgresServer, tmp_path: Path) -> None:
    with postgres.database() as url:
        name = urlsplit(url).path.removeprefix("/")
        asyncio.run(fetch(url, f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
        told = command_here(migrate, DATABASE_URL=url, DATA_DIR=tmp_path).complaint()
    assert "The database takes no writes: it is a standby, or set to be read alone." in told
