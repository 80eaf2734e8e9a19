"""All use cases over memory, and the ways in which what they stand on can let them down."""

from __future__ import annotations

import asyncio
import hashlib
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from service.adapters.memory.blobs import MemoryBlobs
from service.adapters.memory.database import MemoryDatabase
from service.adapters.memory.storage import MemoryStaged, MemoryStorage
from service.application.attach_blob import AttachBlob
from service.application.attach_bytes import AttachBytes, Target
from service.application.change_refs import ChangeRefs
from service.application.changes import Rules
from service.application.lifetimes import Lifetimes
from service.application.normalise import Normalise
from service.application.upload_blob import Upload, UploadBlob
from service.domain.blob import MediaInfo, Sha256
from service.domain.errors import StorageUnavailable, Unavailable
from service.domain.event import Event
from service.domain.policy import RoleRule
from service.ports.blobs import Published
from service.ports.descriptors import Admission, BlobDescriptor, MediaDescriptor, PurgedMedia, ServableBytes
from service.ports.storage import StagedObject
from tests.parts.blobs import files_under, get, keys
from tests.parts.ledgers import ACTOR, RULES, Ledger, attach, book, memory_ledger
from tests.parts.rendering import WordRenderer

LIFETIMES = Lifetimes()


class SignedProber:
    """Believes what the bytes begin with: a media type, and `!` where they cannot be read to the end."""

    async def probe(self, path: Path) -> MediaInfo:
        signature = path.read_bytes().split(b"\n")[0].decode("ascii", "replace")
        if signature.rstrip("!").partition("/")[0] not in {"image", "video", "text"}:
            return MediaInfo("application/octet-stream")
        return MediaInfo(signature.rstrip("!"), 4, 3, readable=not signature.endswith("!"))

    def knows(self, media_type: str) -> bool:
        """All but one."""
        return media_type != "image/unheard-of"

    async def warm(self) -> None:
        """Nothing to start."""

    async def aclose(self) -> None:
        """Nothing to stop."""


@dataclass(frozen=True)
class HeldBytes:
    """`Descriptors` of blobs alone, of what the memory database has; `hold` is on all of them."""

    database: MemoryDatabase
    hold: int | None = None

    async def of_blob(self, sha256: Sha256, workspace: str | None) -> BlobDescriptor | None:
        """See the port."""
        live = [found for found, state in self.database.objects.values() if state == "live" and found.sha256 == sha256]
        if not live:
            return None
        content = ServableBytes(sha256, live[0].size, self.database.blobs[sha256].media.media_type, live[0].key)
        held = (workspace, sha256) in self.database.holdings
        return BlobDescriptor(content, public=False, held=held, hold=self.hold)

    async def of_ref(self, ref_id: UUID, workspace: str | None) -> MediaDescriptor | PurgedMedia | None:
        """Nobody asks."""
        raise NotImplementedError

    async def admission(self, sha256: Sha256, workspace: str | None, roles: Sequence[RoleRule]) -> Admission:
        """Nobody asks."""
        raise NotImplementedError


@dataclass
class Sent:
    """A body on its way in; `read` counts the pieces that were asked for."""

    pieces: list[bytes]
    fails_with: Exception | None = None
    read: int = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for piece in self.pieces:
            self.read += 1
            yield piece
        if self.fails_with is not None:
            raise self.fails_with


@dataclass
class House:
    """A service without HTTP, and a look behind it."""

    folder: Path
    workspace: str = "demo"
    database: MemoryDatabase = field(default_factory=MemoryDatabase)
    storage: Any = None
    ledger: Ledger = field(init=False)
    upload: UploadBlob = field(init=False)
    attach: AttachBlob = field(init=False)
    attach_bytes: AttachBytes = field(init=False)
    change_refs: ChangeRefs = field(init=False)
    normalise: Normalise = field(init=False)
    rules: Rules = RULES
    renderer: WordRenderer = field(default_factory=WordRenderer)

    def __post_init__(self) -> None:
        self.storage = self.storage or MemoryStorage(self.folder)
        self.ledger = memory_ledger(self.database)
        self.rewire()

    def rewire(self, **parts: Any) -> None:
        """Build the use cases anew, on other parts where they are named."""
        named = {"storage": self.storage, "objects": self.ledger.objects, "blobs": self.ledger.blobs, **parts}
        prober = named.pop("prober", SignedProber())
        self.upload = UploadBlob(prober=prober, lifetimes=LIFETIMES, **named)
        memory = self.ledger.normalisations
        descriptors = HeldBytes(self.database)
        refs = self.ledger.refs
        self.normalise = Normalise(self.rules, refs, self.upload, descriptors, self.renderer, memory)
        self.attach = AttachBlob(refs, self.rules, self.normalise)
        self.attach_bytes = AttachBytes(self.upload, self.attach)
        self.change_refs = ChangeRefs(refs, self.rules, self.normalise)

    async def open(self, max_bytes: int | None = None) -> House:
        """Make the spool and the workspace."""
        await MemoryStorage(self.folder).aopen()
        await self.ledger.workspaces.put(self.workspace, max_bytes, None)
        return self

    def sent(self, content: bytes, **facts: Any) -> Upload:
        """An upload of these bytes, in two pieces."""
        half = len(content) // 2
        body = Sent([piece for piece in (content[:half], content[half:]) if piece])
        return self.upload_of(body, **facts)

    def upload_of(self, body: Sent, **facts: Any) -> Upload:
        """An upload of this body."""
        return Upload(
            **{"workspace": self.workspace, "actor": ACTOR, "chunks": aiter(body), "max_bytes": 2**30, **facts}
        )

    def target(self, role: str = "cover", position: int | None = None, **changes: Any) -> Target:
        """A role of a book."""
        entity = book(self.workspace)
        return Target(entity, role, lambda sha256: attach(entity, role, sha256, position, **changes))

    async def events(self) -> list[Event]:
        """The log."""
        return await self.ledger.events(self.workspace)

    async def stored(self) -> list[str]:
        """The keys in the store."""
        return await keys(self.storage)

    async def states(self) -> Counter[str]:
        """How many objects are in each state."""
        return Counter((await self.ledger.object_states()).values())

    async def is_untouched(self) -> bool:
        """Whether nothing at all was left: no bytes, no file on its way in, no object, no holding, no quota."""
        workspace = await self.ledger.workspaces.find(self.workspace)
        assert workspace is not None
        rows = [*self.database.objects, *self.database.holdings, *self.database.blobs]
        return not (rows or workspace.used_bytes or await self.stored() or files_under(self.folder))

    async def is_sound(self) -> bool:
        """Whether every holding has its bytes, every stored object its row, every staging its end."""
        states = await self.ledger.object_states()
        live = {key for key, state in states.items() if state == "live"}
        stored = set(await self.stored())
        for key in live:
            assert hashlib.sha256(await get(self.storage, key)).hexdigest() == key[6:70]
        held = {sha256 for _, sha256 in self.database.holdings}
        blobs = set(self.database.blobs)
        return (
            live <= stored <= set(states)
            and held <= blobs == {key[6:70] for key in live}
            and not files_under(self.folder)
        )


def digest(content: bytes) -> Sha256:
    """The name of these bytes."""
    return Sha256(hashlib.sha256(content).hexdigest())


class FailingStorage(MemoryStorage):
    """Breaks where it is told to: `before_put`; `after_put`, when the bytes have landed all the same; `delete`."""

    def __init__(self, folder: Path, *breaks: str) -> None:
        super().__init__(folder)
        self.breaks = set(breaks)

    async def stage(self) -> StagedObject:  # type: ignore[override]
        return _FailingStaged(await super().stage(), self.breaks)

    async def delete(self, key: str) -> None:
        if "delete" in self.breaks:
            raise StorageUnavailable("The store does not answer.")
        await super().delete(key)


class _FailingStaged:
    def __init__(self, staged: StagedObject, breaks: set[str]) -> None:
        self._staged, self._breaks = staged, breaks
        self.path, self.write, self.flush, self.cancel = staged.path, staged.write, staged.flush, staged.cancel

    async def commit(self, key: str) -> None:
        if "before_put" in self._breaks:
            await self._staged.cancel()
            raise StorageUnavailable("The store does not answer.")
        await self._staged.commit(key)
        if "after_put" in self._breaks:
            raise StorageUnavailable("The store does not answer.")


class AnswerLost(MemoryBlobs):
    """Commits a publication and never says so."""

    async def publish(self, *args: Any, **named: Any) -> Published:
        await super().publish(*args, **named)
        raise Unavailable("The database does not answer.")


class Steps:
    """Counts the awaits of a use case, before and after every call of a port, and cancels its task at chosen ones."""

    def __init__(self, cancel_at: set[int]) -> None:
        self.cancel_at, self.taken = cancel_at, list[str]()
        self.task: asyncio.Task[object] | None = None

    async def take(self, name: str) -> None:
        """One await."""
        self.taken.append(name)
        if len(self.taken) in self.cancel_at and self.task is not None:
            self.task.cancel()
        await asyncio.sleep(0)

    async def run(self, call: Awaitable[object]) -> object:
        """Run it in a task of its own, and whatever it left running to its end."""

        async def body() -> object:
            return await call

        before = asyncio.all_tasks()
        self.task = asyncio.create_task(body())
        await asyncio.wait({self.task})
        rest = asyncio.all_tasks() - before - {self.task}
        if rest:
            await asyncio.wait(rest, timeout=10)
        return self.task.result()


class Stepped:
    """Answers as `target` does, a step before and a step after each call."""

    def __init__(self, target: object, steps: Steps) -> None:
        self._target, self._steps = target, steps

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._target, name)
        return self._stepped(name, value) if inspect.iscoroutinefunction(value) else value

    def _stepped(self, name: str, value: Callable[..., Awaitable[object]]) -> Callable[..., Awaitable[object]]:
        async def call(*args: object, **named: object) -> object:
            await self._steps.take(f"before {name}")
            result = await value(*args, **named)
            await self._steps.take(f"after {name}")
            return Stepped(result, self._steps) if isinstance(result, MemoryStaged) else result

        return call
