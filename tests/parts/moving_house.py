"""A service that moves to another store while clients read, write and give up: its replicas, its runs, its clients."""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
import random
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import httpx
import structlog

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.blobs import PostgresBlobs
from service.adapters.postgres.moves import PostgresMoves
from service.adapters.postgres.objects import PostgresObjects
from service.adapters.s3.client import S3Config
from service.adapters.s3.storage import S3Storage
from service.application.lifetimes import Lifetimes
from service.application.standing import StoreStanding
from service.application.upload_blob import Upload, UploadBlob
from service.commands.moving import migrate_store
from service.ports.storage import StoredObject
from tests.logging_state import logging_restored
from tests.parts.buckets import config_for
from tests.parts.collecting import PlainProber
from tests.parts.ledgers import ACTOR, opened_database
from tests.parts.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from tests.parts.service import REFKEEP, Done, Refkeep, Yard, command_here, environment, eventually, fetch

KEYS = {"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY}

_A_PAGE = 200
_MOST_FAULTS = 5
_PASSED = """SELECT count(*) FROM objects WHERE state <> 'pending' AND key < (
    SELECT doubt_from FROM store_moves WHERE finished_at IS NULL)"""


@dataclass
class Clients:
    """Threads that read, write and give up blobs of one workspace, each by a replica of `urls`; nothing may fail."""

    token: str
    urls: list[str]
    known: dict[str, bytes] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    size: int = 4000
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stopped: threading.Event = field(default_factory=threading.Event)

    @contextmanager
    def working(self, readers: int, writers: int, pause: float = 0.0) -> Iterator[None]:
        """For as long as the block runs; `pause` seconds between two requests of one client."""
        works = [self._read] * readers + [self._write] * writers
        threads = [threading.Thread(target=self._work, args=(work, number, pause)) for number, work in enumerate(works)]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            self._stopped.set()
            for thread in threads:
                thread.join(60)
            assert not any(thread.is_alive() for thread in threads)
            self._stopped.clear()

    def go_on(self, requests: int) -> None:
        """Return once so many more requests have been answered."""
        wanted = self.done.total() + requests
        eventually(lambda: self.done.total() >= wanted or bool(self.failures))

    def _work(self, work: Callable[[httpx.Client, random.Random], None], number: int, pause: float) -> None:
        luck, headers = random.Random(number), {"authorization": f"Bearer {self.token}"}
        with httpx.Client(headers=headers, timeout=30) as http:
            while not self._stopped.wait(pause):
                try:
                    work(http, luck)
                except httpx.HTTPError as error:
                    self.failures.append(repr(error))

    def _send(
        self, http: httpx.Client, luck: random.Random, method: str, sha256: str, content: bytes = b""
    ) -> httpx.Response:
        """The answer, to the second try where the first one was told to come again."""
        answer = self._ask(http, luck, method, sha256, content)
        if answer.status_code != 503:
            return answer
        self.done["told to come again"] += 1
        self._stopped.wait(min(float(answer.headers.get("retry-after", "1")), 5))
        return self._ask(http, luck, method, sha256, content)

    def _ask(self, http: httpx.Client, luck: random.Random, method: str, sha256: str, content: bytes) -> httpx.Response:
        return http.request(method, f"{luck.choice(self.urls)}/blobs/{sha256}", content=content)

    def _read(self, http: httpx.Client, luck: random.Random) -> None:
        with self._lock:
            sha256 = luck.choice(list(self.known)) if self.known else None
        if sha256 is None:
            return
        answer = self._send(http, luck, "GET", sha256)
        with self._lock:
            given_up = sha256 not in self.known
        if answer.status_code == 200 and hashlib.sha256(answer.content).hexdigest() == sha256:
            self.done["reads"] += 1
        elif not given_up:
            self.failures.append(f"GET {sha256}: {answer.status_code} {answer.text[:300]}")

    def _write(self, http: httpx.Client, luck: random.Random) -> None:
        content = luck.randbytes(luck.randint(1, 2 * self.size)) + time.monotonic_ns().to_bytes(8, "big")
        sha256 = hashlib.sha256(content).hexdigest()
        answer = self._send(http, luck, "PUT", sha256, content)
        if answer.status_code not in {200, 201}:
            self.failures.append(f"PUT: {answer.status_code} {answer.text[:300]}")
            return
        with self._lock:
            self.known[sha256] = content
            given_up = luck.choice(list(self.known)) if luck.random() < 0.3 else None
            if given_up is not None:
                del self.known[given_up]
        self.done["writes"] += 1
        if given_up is not None:
            answer = self._send(http, luck, "DELETE", given_up)
            self.done["given up"] += 1
            if answer.status_code not in {204, 404}:
                self.failures.append(f"DELETE: {answer.status_code} {answer.text[:300]}")


@dataclass
class House:
    """One database, a folder and a bucket, of which the service moves to the other."""

    yard: Yard
    url: str
    config: S3Config
    data_dir: Path
    runner: asyncio.Runner
    look: S3Storage

    @property
    def bucket(self) -> dict[str, Any]:
        """The settings of the new store."""
        return {"STORAGE": "s3", "S3_BUCKET": self.config.bucket, "S3_ENDPOINT_URL": str(self.config.endpoint_url)}

    @property
    def location(self) -> str:
        """The same as a location."""
        return f"s3://{self.config.bucket}?endpoint={self.config.endpoint_url}"

    @contextmanager
    def replica(self, **settings: Any) -> Iterator[Refkeep]:
        """A service on this database, with the folder unless other settings are given."""
        facts: Mapping[str, Any] = {"GC_INTERVAL": "500ms", "QUARANTINE": "1s", "DRAIN": "250ms", **KEYS, **settings}
        with self.yard.running("serve", "--migrate", DATABASE_URL=self.url, **facts) as service:
            yield service

    def here(self, *words: str, **settings: Any) -> Done:
        """`refkeep migrate-store` to its end, in this process: quicker. Its records are nobody's."""
        with logging_restored():
            structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
            return command_here(migrate_store, *words, **self._settings(settings))

    def command(self, *words: str, **settings: Any) -> Done:
        """Any other command as a process of its own, which may read everything."""
        done = subprocess.run(
            [REFKEEP, *words],
            env=environment(**self._settings(settings)),
            cwd=tempfile.gettempdir(),
            capture_output=True,
            text=True,
            timeout=1800,
            check=False,
        )
        return Done(done.returncode, done.stdout, done.stderr)

    def killed_at(self, copies: int, *words: str) -> int:
        """Start it as a process, kill it once the bucket has so many objects; how many there are then."""
        command = [REFKEEP, "migrate-store", "--to", self.location, *words]
        process = subprocess.Popen(
            command,
            env=environment(**self._settings({})),
            cwd=tempfile.gettempdir(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        try:
            look = self.passed if copies > _A_PAGE else lambda: len(self.keys())
            eventually(lambda: look() >= copies or process.poll() is not None, 600)
            assert process.poll() is None, process.communicate()
        finally:
            process.kill()
            process.communicate(timeout=60)
        return len(self.keys())

    def keys(self) -> set[str]:
        """The keys of objects in the bucket."""
        return {found.key for found in self.runner.run(_listed(self.look))}

    def passed(self) -> int:
        """How many objects the pass under way has left behind it."""
        [row] = asyncio.run(fetch(self.url, _PASSED))
        return int(row["count"])

    def live(self) -> set[str]:
        """The keys that the database takes for live."""
        return {row["key"] for row in asyncio.run(fetch(self.url, "SELECT key FROM objects WHERE state = 'live'"))}

    def lost(self, service: Refkeep, clients: Clients) -> list[str]:
        """What was acknowledged and is not there, byte for byte."""
        headers = {"authorization": f"Bearer {clients.token}"}
        with httpx.Client(base_url=service.url, headers=headers, timeout=60) as http, ThreadPoolExecutor(4) as pool:

            def look(sha256: str) -> str | None:
                answer = http.get(f"/blobs/{sha256}")
                for _ in range(_MOST_FAULTS):
                    if answer.status_code != 503:  # a store that is asked too much says so, and is asked again
                        break
                    answer = http.get(f"/blobs/{sha256}")
                good = answer.content == clients.known[sha256]
                return None if good else f"{sha256}: {answer.status_code} {answer.text[:200]}"

            return [wrong for wrong in pool.map(look, list(clients.known)) if wrong is not None]

    def fill(self, workspace: str, contents: Sequence[bytes]) -> None:
        """Send bytes without a service, as a replica with the folder `blobs` does: quicker."""
        asyncio.run(self._fill(workspace, contents))

    async def _fill(self, workspace: str, contents: Sequence[bytes]) -> None:
        store = FilesystemStorage(self.data_dir / "blobs")
        await store.aopen()
        async with opened_database(self.url, 8) as database:
            blobs = PostgresBlobs(database, StoreStanding(PostgresMoves(database), store))
            use = UploadBlob(store, PlainProber(), PostgresObjects(database), blobs, Lifetimes())

            async def send(share: Sequence[bytes]) -> None:
                for content in share:
                    await use(Upload(workspace, ACTOR, _chunks(content), len(content)))

            with logging_restored():
                structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
                await asyncio.gather(*(send(contents[first::8]) for first in range(8)))

    def _settings(self, settings: dict[str, Any]) -> dict[str, Any]:
        return {"DATABASE_URL": self.url, "DATA_DIR": self.data_dir, **KEYS, **settings}


@contextmanager
def opened_house(yard: Yard, seaweed: Seaweed, folder: Path, bucket: str) -> Iterator[House]:
    """Nothing is in either store."""
    config = replace(config_for(seaweed), bucket=bucket)
    with yard.postgres.database() as url, asyncio.Runner() as runner:
        look = S3Storage(config, folder.parent / "look")
        runner.run(_opened(look))
        try:
            yield House(yard, url, config, folder, runner, look)
        finally:
            runner.run(look.aclose())


async def _chunks(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _opened(look: S3Storage) -> None:
    await look.aopen()
    await look.ensure_bucket()


async def _listed(look: S3Storage) -> list[StoredObject]:
    return [found async for found in look.list()]


@dataclass
class Story:
    """What became of a move: what each run was killed at, what the others said, what clients met, what is lost."""

    killed_at: list[int] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    copied: dict[str, Any] = field(default_factory=dict)
    not_yet: int = 0
    finished: dict[str, Any] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)
    lost: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)


def move_all(
    house: House,
    *,
    blobs: int,
    kills: Sequence[int],
    clients: int,
    throttle: Sequence[str] = ("--objects", "40"),
    look_back: Callable[[Story, Refkeep, Clients], None] = lambda *_: None,
) -> Story:
    """Fill the folder, copy with a kill at each of these numbers of copies, restart on the bucket, finish.

    Half of the clients read, half write and give up; they go to the old replica, to both, to the new one.
    """
    story = Story()
    with ExitStack() as services, ExitStack() as traffic:
        old = services.enter_context(house.replica(data_dir=house.data_dir))
        caller = old.caller("read", "write")
        crowd = Clients(caller.token, [old.url])
        contents = [random.Random(number).randbytes(crowd.size) for number in range(blobs)]
        house.fill(caller.workspace, contents)
        crowd.known |= {hashlib.sha256(content).hexdigest(): content for content in contents}
        traffic.enter_context(crowd.working(clients // 2, clients - clients // 2, pause=0.1))
        for copies in kills:
            story.killed_at.append(house.killed_at(copies, *throttle))
        story.copied = _timed(story, "copying", house, "--to", house.location, "--json")
        story.not_yet = house.here("--finish").status
        new = services.enter_context(house.replica(**house.bucket))
        crowd.urls = [old.url, new.url]
        crowd.go_on(10 * clients)
        crowd.urls = [new.url]
        crowd.go_on(2 * clients)
        assert old.stop() == 0
        story.finished = _timed(story, "finishing", house, "--finish", "--json")
        crowd.go_on(5 * clients)
        traffic.close()
        story.failures, story.done = crowd.failures, crowd.done
        story.lost = [*house.lost(new, crowd), *sorted(house.live() - house.keys())]
        look_back(story, new, crowd)
    return story


def _timed(story: Story, name: str, house: House, *words: str) -> dict[str, Any]:
    """What is told by the run that comes to its end: a fault of a busy machine says that it is to be given again."""
    began = time.monotonic()
    done = house.here(*words)
    while done.status == 1 and len(story.faults) < _MOST_FAULTS:
        story.faults.append(done.stderr)
        done = house.here(*words)
    found = told(done)
    story.seconds[name] = time.monotonic() - began
    return found


def told(done: Done) -> dict[str, Any]:
    """What it said in JSON; it must have come to a good end."""
    assert done.status == 0, (done.status, done.stderr)
    document: dict[str, Any] = json.loads(done.stdout)
    return document
