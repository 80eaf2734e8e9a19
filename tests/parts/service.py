"""The whole service as its own process over real HTTP, and what lies behind it: folder, database, memory."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

import asyncpg
import click
import httpx
import psutil
from click.testing import CliRunner

from service.__main__ import main
from service.adapters.postgres.access import PostgresKeys, PostgresWorkspaces
from service.adapters.postgres.database import SESSION, Database
from service.application.guard_store import NOTES
from service.commands import keys as key_commands
from service.domain.credentials import new_credentials
from service.ports.access import ApiKey, Scope
from tests.logging_state import logging_restored
from tests.parts.blobs import files_under
from tests.parts.caller import Caller
from tests.parts.postgres import PostgresServer
from tests.parts.seaweed import free_ports
from tests.parts.vouching import vouch_for_all

REFKEEP = str(Path(sys.executable).parent / "refkeep")
PATIENCE_S = 60.0
_ROWS = {
    "objects": "id",
    "blobs": "id",
    "holdings": "workspace_id, blob_id",
    "entities": "workspace_id, entity_type, entity_id",
    "refs": "id",
    "idempotency": "workspace_id, key",
    "renditions": "parent_id, definition, format",
    "normalisations": "workspace_id, blob_id, definition",
}
"""Tables, each with what makes a row of it the same row later."""
_OTHERS = ("AWS_", "OTEL_")
_SIGNATURE = re.compile(r"(?i)signature(?:=|%3d)(?!\[redacted\])[^&\s\"']+")
_RESET_PEAK = "5"  # proc_pid_clear_refs(5)
_numbers = count(1)


def eventually(condition: Callable[[], bool], seconds: float = PATIENCE_S) -> None:
    """Return as soon as `condition` holds; fail when it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def environment(**settings: object) -> dict[str, str]:
    """This process's variables with these settings; AWS_* and OTEL_* keep their names, all others get the prefix."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("REFKEEP_", "OTEL_", "AWS_"))}
    named = {name if name.startswith(_OTHERS) else f"REFKEEP_{name}": str(text) for name, text in settings.items()}
    return kept | named


@dataclass(frozen=True)
class Done:
    """What a command said, and its exit status."""

    status: int
    stdout: str
    stderr: str

    def complaint(self) -> str:
        """What a command that failed says in one line: sentences, never a traceback."""
        assert self.status in {1, 2}, (self.status, self.stderr)
        assert "Traceback" not in self.stderr, self.stderr
        return " ".join(self.stderr.split())


def run_command(*words: str, **settings: object) -> Done:
    """`refkeep …` as a process of its own, to its end."""
    command, cwd = [REFKEEP, *words], tempfile.gettempdir()
    done = subprocess.run(
        command, env=environment(**settings), cwd=cwd, capture_output=True, text=True, timeout=PATIENCE_S, check=False
    )
    return Done(done.returncode, done.stdout, done.stderr)


def command_here(group: click.Command, *words: str, **settings: object) -> Done:
    """The same command in this process, which is quicker; `group` is one of the commands of `refkeep`."""
    result = CliRunner().invoke(group, words, env={**environment(**settings)})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return Done(result.exit_code, result.stdout, result.stderr)


def refkeep_here(*words: str, **settings: object) -> Done:
    """`refkeep …` in this process: what `run_command` does, without the start of another."""
    with logging_restored():
        return command_here(main, *words, **settings)


@dataclass
class Refkeep:
    """One running service, or one that has ended."""

    process: subprocess.Popen[bytes]
    port: int
    data_dir: Path
    database_url: str | None
    log: Path
    _callers: list[Caller] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def command(self, group: click.Command, *words: str) -> str:
        """What a command prints, run in this process against the service's database."""
        done = command_here(group, *words, DATA_DIR=self.data_dir, DATABASE_URL=self.database_url)
        assert done.status == 0, done.stderr
        return done.stdout.strip()

    def key(self, workspace: str | None, *scopes: str) -> str:
        """A new key, made by `refkeep keys create`; None binds it to all workspaces."""
        bound = ["--all-workspaces"] if workspace is None else ["--workspace", workspace]
        granted = [word for scope in scopes for word in ("--scope", scope)]
        return self.command(key_commands.keys, "create", "--name", "tests", *bound, *granted)

    def workspace(self) -> str:
        """A new workspace."""
        slug = _new_slug()
        self.command(key_commands.workspaces, "create", slug)
        return slug

    def caller(self, *scopes: str, workspace: str | None = None) -> Caller:
        """A client with a key for `workspace`, a new one when None; read and write without `scopes`."""
        if workspace is None and self.database_url is not None:
            slug = _new_slug()
            return self.bearer(asyncio.run(_admit(self.database_url, slug, *scopes)), slug)
        slug = workspace or self.workspace()
        return self.bearer(self.key(slug, *scopes), slug)

    def bearer(self, token: str | None, workspace: str = "") -> Caller:
        """A client with this key, or with none."""
        headers = {} if token is None else {"authorization": f"Bearer {token}"}
        http = httpx.Client(base_url=self.url, headers=headers, timeout=PATIENCE_S, verify=False)
        self._callers.append(Caller(http, workspace, token or ""))
        return self._callers[-1]

    def sql(self, query: str, *parameters: object) -> list[asyncpg.Record]:
        """What the database says, behind the service's back."""
        assert self.database_url is not None
        return asyncio.run(fetch(self.database_url, query, *parameters))

    def contents(self) -> set[tuple[str, str]]:
        """Every row and file there is: its table or "files", and which one it is."""
        selects = " UNION ALL ".join(
            f"SELECT '{table}' AS kind, ROW({key})::text AS which FROM {table}" for table, key in _ROWS.items()
        )
        files = files_under(self.data_dir / "blobs") | files_under(self.data_dir / "spool")
        notes = {f"objects/{note}" for note in NOTES}
        return {(row["kind"], row["which"]) for row in self.sql(selects)} | {("files", path) for path in files - notes}

    def added_since(self, before: set[tuple[str, str]]) -> Counter[str]:
        """How many rows and files came since there were these `contents`; what went meanwhile does not count."""
        return Counter(kind for kind, _ in self.contents() - before)

    def secrets_in(self, text: str) -> set[str]:
        """What no line, no span and no dump may hold: parts of its callers' keys, and signatures of addresses."""
        keys = {caller.token.split("_")[2] for caller in self._callers if caller.token.count("_") >= 2}
        return {secret for secret in keys if secret[:-1] in text} | set(_SIGNATURE.findall(text))

    def restart_memory_watch(self) -> Callable[[], int]:
        """A function that says by how many bytes the processes of the service have outgrown their size of now."""
        before: dict[int, int] = {}
        for process in [psutil.Process(self.process.pid), *psutil.Process(self.process.pid).children(recursive=True)]:
            Path(f"/proc/{process.pid}/clear_refs").write_text(_RESET_PEAK)
            before[process.pid] = _status(process.pid, "VmRSS")
        return lambda: sum(_status(pid, "VmHWM") - size for pid, size in before.items())

    def terminate(self) -> None:
        """Ask it to stop."""
        self.process.send_signal(signal.SIGTERM)

    def stop(self) -> int:
        """Stop it, by its own pid; the exit code. Idempotent."""
        for caller in self._callers:
            caller.http.close()
        if self.process.poll() is None:
            self.terminate()
        try:
            return self.process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise


@dataclass(frozen=True)
class Yard:
    """Starts services, each with a folder of its own and, unless it brings its own Postgres, a new database."""

    folder: Path
    postgres: PostgresServer
    program: tuple[str, ...] = (REFKEEP,)

    def launch(
        self, *words: str, data_dir: Path | None = None, under: Sequence[str] = (), **settings: object
    ) -> Refkeep:
        """A service that has just been started, whether or not it will ever answer; its end is the caller's affair.

        `under` is a command that becomes the one behind it.
        """
        [port] = free_ports(1)
        data = data_dir or Path(tempfile.mkdtemp(dir=self.folder))
        log = data.with_suffix(".log")
        defaults = {"DATA_DIR": data, "PORT": port, "DRAIN": 0, "LOG_FORMAT": "json"}
        with log.open("ab") as output:
            process = subprocess.Popen(
                [*under, *self.program, *words],
                env=environment(**{**defaults, **settings}),
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        url = settings.get("DATABASE_URL")
        return Refkeep(process, port, data, None if url is None else str(url), log)

    @contextlib.contextmanager
    def launched(self, *words: str, **settings: Any) -> Iterator[Refkeep]:
        """A service on a database of its own; it ends with the block, and its log is shown when that fails.

        Whatever happened, the events in that database are what contracts/ says.
        """
        with contextlib.ExitStack() as stack:
            own = "DATABASE_URL" not in settings and "dev" not in words
            if own:
                settings["DATABASE_URL"] = stack.enter_context(self.postgres.database())
            service = self.launch(*words, **settings)
            try:
                yield service
                if own:
                    asyncio.run(vouch_for_all(settings["DATABASE_URL"]))
            except BaseException:
                sys.stderr.write(service.log.read_text(errors="replace"))
                raise
            finally:
                service.stop()
            if "dev" not in words:  # which greets with its key
                assert service.secrets_in(service.log.read_text(errors="replace")) == set()

    @contextlib.contextmanager
    def running(self, *words: str, **settings: Any) -> Iterator[Refkeep]:
        """The same, once it is ready; `serve --migrate` without other words."""
        with self.launched(*(words or ("serve", "--migrate")), **settings) as service:
            eventually(lambda: is_ready(service) or service.process.poll() is not None)
            assert is_ready(service), "the service did not become ready"
            yield service


def readiness(service: Refkeep) -> tuple[int, dict[str, str]]:
    """Status and parts of /readyz."""
    response = httpx.get(f"{service.url}/readyz", timeout=5, verify=False)  # authorities take longer to read than this
    return response.status_code, response.json()["parts"]


def is_ready(service: Refkeep) -> bool:
    """Whether the service says so."""
    try:
        return readiness(service)[0] == 200
    except httpx.TransportError:
        return False


async def _admit(url: str, slug: str, *scopes: str) -> str:
    """A key for a new workspace, on one connection: nearly every test needs one, and two commands take three times as
    long."""

    async def trust(_: object) -> None:
        """The service has looked at the schema."""

    made = new_credentials()
    granted = frozenset(map(Scope, scopes)) or frozenset({Scope.READ, Scope.WRITE})
    async with asyncpg.create_pool(url, min_size=0, max_size=1, server_settings=SESSION) as pool:
        database = Database(pool, trust)
        await PostgresWorkspaces(database).put(slug, None, None)
        await PostgresKeys(database).add(ApiKey(made.id, made.secret_hash, "tests", granted, slug))
    return made.token


def _new_slug() -> str:
    return f"workspace-{next(_numbers)}"


async def fetch(url: str, query: str, *parameters: object) -> list[asyncpg.Record]:
    """The rows of one statement, on a connection of its own."""
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetch(query, *parameters)
    finally:
        await connection.close()


def _status(pid: int, name: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(name))
