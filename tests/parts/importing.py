"""Imports over a real database and a folder of bytes, and callers of the API who write meanwhile."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.postgres.database import Database
from service.adapters.postgres.descriptors import PostgresDescriptors
from service.adapters.postgres.imports import PostgresImports
from service.adapters.postgres.normalisations import PostgresNormalisations
from service.adapters.sources.any_source import AnySource
from service.adapters.sources.files import FileSource
from service.adapters.sources.web import WebSource
from service.adapters.sqlite.worklist import SqliteWorklist
from service.adapters.vips.sniff import sniff
from service.application.change_refs import ChangeRefs
from service.application.changes import Rules
from service.application.import_entity import Effort, ImportEntity, RowResult
from service.application.import_manifest import ImportManifest
from service.application.lifetimes import Lifetimes
from service.application.normalise import Normalise
from service.application.roll_back_import import RollBackImport
from service.application.upload_blob import Upload, UploadBlob
from service.domain.blob import MediaInfo, Sha256
from service.domain.importing import Location, RollBackPlan
from service.domain.slot import EntityKey
from service.ports.imports import ImportRun
from service.ports.refs import RefOutcome
from service.ports.sources import OpenedSource
from service.ports.worklist import Mistake
from service.schemas.manifest import parse_manifest
from service.schemas.policy_file import load_policies
from tests.parts.blobs import get
from tests.parts.ledgers import ACTOR, Ledger, attach, fresh
from tests.parts.manifests import as_csv, picture
from tests.parts.rendering import WordRenderer

LIFETIMES = Lifetimes()
RULES = Rules(load_policies(None), LIFETIMES)


class HeadProber:
    """Believes the beginning of the bytes, without a child process."""

    async def probe(self, path: Path) -> MediaInfo:
        found = sniff(path.read_bytes()[:512])
        return MediaInfo(found, 8, 8, 1, readable=True) if found.startswith("image/") else MediaInfo(found)

    def knows(self, media_type: str) -> bool:
        return media_type.startswith("image/")

    async def warm(self) -> None:
        """Nothing to start."""

    async def aclose(self) -> None:
        """Nothing to stop."""


@dataclass
class WatchedSources:
    """Counts what is opened, and lets a test do something first."""

    inner: AnySource
    opened: list[str] = field(default_factory=list)
    now: int = 0
    most: int = 0
    before: Callable[[str], Awaitable[None]] | None = None

    def vet(self, location: Location) -> None:
        self.inner.vet(location)

    @contextlib.asynccontextmanager
    async def open(self, location: Location) -> AsyncIterator[OpenedSource]:
        self.opened.append(location.text)
        self.now += 1
        self.most = max(self.most, self.now)
        try:
            if self.before is not None:
                await self.before(location.text)
            async with self.inner.open(location) as opened:
                yield opened
        finally:
            self.now -= 1


@dataclass
class Told:
    """What an import said at its end."""

    run: ImportRun | None
    counts: dict[str, int]
    results: list[RowResult]

    def codes(self) -> Counter[str]:
        """How often each reason was given."""
        return Counter(result.reason.code for result in self.results if result.reason is not None)

    def outcomes(self) -> dict[str, str]:
        """What became of each source."""
        return {result.source_id or "": result.verdict.value for result in self.results}


@dataclass
class ImportDesk:
    """One place from which imports run; `folder` has the files of manifests."""

    database: Database
    store: FilesystemStorage
    ledger: Ledger
    folder: Path
    jobs: int = 4
    web: WebSource = field(default_factory=WebSource)

    def __post_init__(self) -> None:
        self.sources = WatchedSources(AnySource(FileSource(self.folder), self.web))
        self.imports: Any = PostgresImports(self.database)
        self.refs: Any = self.ledger.refs
        self.renderer = WordRenderer()
        self.delays: tuple[float, ...] = (0, 0, 0)

    def file(self, name: str, content: bytes | None = None) -> str:
        """A file for a row; its name."""
        (self.folder / name).write_bytes(picture(name) if content is None else content)
        return name

    def worklist(self, manifest: bytes) -> SqliteWorklist:
        """The rows of a manifest."""
        worklist = SqliteWorklist()
        for entry in parse_manifest(enumerate(manifest.splitlines(keepends=True), 1)):
            if isinstance(entry, Mistake):
                worklist.add_mistake(entry)
            else:
                worklist.add(entry)
        worklist.settle()
        return worklist

    async def run(self, lines: Iterable[Mapping[str, object]] | bytes, effort: Effort = Effort.DO) -> Told:
        """Import a manifest."""
        manifest = lines if isinstance(lines, bytes) else as_csv(lines)
        digest = hashlib.sha256(manifest).hexdigest()
        run = await self.imports.begin(digest, "manifest.csv") if effort is Effort.DO else None
        upload = UploadBlob(self.store, HeadProber(), self.ledger.objects, self.ledger.blobs, LIFETIMES)
        change = self.change_refs(upload)
        at_once = asyncio.Semaphore(self.jobs)
        entity = ImportEntity(self.sources, upload, change, self.refs, self.imports, RULES, 2**20, at_once, self.delays)
        results: list[RowResult] = []
        worklist = self.worklist(manifest)
        try:
            use = ImportManifest(self.imports, entity, self.jobs)
            counts = await use(worklist, run, effort, results.extend)
        finally:
            worklist.close()
        ordered = sorted(results, key=lambda result: result.line)
        return Told(run, {verdict.value: count for verdict, count in counts.items()}, ordered)

    def change_refs(self, upload: UploadBlob) -> ChangeRefs:
        """Changes of refs, with a renderer of words."""
        database, rules = self.database, RULES
        memory, descriptors = PostgresNormalisations(database), PostgresDescriptors(database)
        normalise = Normalise(rules, self.refs, upload, descriptors, self.renderer, memory)
        return ChangeRefs(self.refs, rules, normalise)

    async def roll_back(self, run: ImportRun | None, *, dry_run: bool = False) -> list[tuple[EntityKey, RollBackPlan]]:
        """Take a run back."""
        assert run is not None
        told: list[tuple[EntityKey, RollBackPlan]] = []
        upload = UploadBlob(self.store, HeadProber(), self.ledger.objects, self.ledger.blobs, LIFETIMES)
        use = RollBackImport(self.imports, self.change_refs(upload), self.jobs)
        await use(run, lambda entity, plan: told.append((entity, plan)), dry_run=dry_run)
        return told

    async def refs_of(self, entity: EntityKey, role: str = "image") -> list[tuple[str, Sha256]]:
        """Ids and hashes of the live refs of a role, in their order."""
        found = await self.ledger.refs.of_entity(entity, role)
        return [(str(each.ref.ref_id), each.ref.sha256) for each in found.refs]

    async def bytes_of(self, entity: EntityKey, role: str = "image") -> list[bytes]:
        """What the refs of a role show, from the store."""
        keys = [await self._key_of(sha256) for _, sha256 in await self.refs_of(entity, role)]
        return [await get(self.store, key) for key in keys]

    async def attach(self, entity: EntityKey, role: str, content: bytes, position: int | None = None) -> RefOutcome:
        """What a caller of the API does who sends bytes and attaches them; without a position it appends."""
        name = Sha256(hashlib.sha256(content).hexdigest())
        await self.upload(entity.workspace, content)
        command = replace(attach(entity, role, name, position), sent=name)
        change = RULES.change(replace(command, expectation=replace(command.expectation, empty_slot=False)))
        return fresh(await self.ledger.refs.change(change.question, change.judge))

    async def upload(self, workspace: str, content: bytes) -> None:
        """Bytes that a caller of the API sends."""

        async def chunks() -> AsyncIterator[bytes]:
            yield content

        use = UploadBlob(self.store, HeadProber(), self.ledger.objects, self.ledger.blobs, LIFETIMES)
        await use(Upload(workspace, ACTOR, chunks(), 2**20))

    async def picture(self) -> dict[str, object]:
        """Everything that is kept: rows of the tables, and files of the store."""
        tables = ("objects", "blobs", "holdings", "refs", "entities", "events", "imports", "import_entities")
        counts = {name: (await self.database.fetch(f"SELECT count(*) AS n FROM {name}"))[0]["n"] for name in tables}
        return {**counts, "stored": sorted([stored.key async for stored in self.store.list()])}

    async def _key_of(self, sha256: Sha256) -> str:
        [row] = await self.database.fetch(
            "SELECT key FROM objects WHERE sha256 = $1 AND state = 'live'", bytes.fromhex(sha256)
        )
        return str(row["key"])
