"""Any store, with its calls on record; stacked around the store at the root, so that no adapter times itself.

Time spent waiting for the store counts as `storage` of the call that waits; the span of an opened object lasts until
its stream is closed.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import perf_counter

from service.domain.blob import MediaInfo
from service.domain.placeholder import Placeholder
from service.domain.rendition import Format, Normalisation, Preset
from service.observability import Observation, classify, observe, outlets, timed, timed_stream
from service.ports.prober import Prober
from service.ports.renderer import Rendered, Renderer
from service.ports.storage import ByteStream, StagedObject, Storage, StoredObject


class ObservedStorage:
    """Answers as `store` does."""

    def __init__(self, store: Storage) -> None:
        self._store = store

    @property
    def backend(self) -> str:
        """The name of the store beneath."""
        return self._store.backend

    async def stage(self) -> StagedObject:
        """Open a place for bytes."""
        with timed("storage"):
            return ObservedStaging(await self._store.stage(), self.backend)

    async def open(self, key: str, offset: int = 0, length: int | None = None) -> ByteStream:
        """Open a range; the record ends with the stream."""
        observation = self._observe("media.storage.open")
        try:
            with timed("storage", observation):
                stream = await self._store.open(key, offset, length)
        except BaseException as error:
            observation.fail(error)
            raise
        return ObservedStream(stream, observation)

    async def delete(self, key: str) -> None:
        """Remove the object."""
        with self._observe("media.storage.delete") as observation:
            await self._store.delete(key)
            observation.finish()

    def list(self, after: str = "") -> AsyncIterator[StoredObject]:
        """Yield committed objects; a sweep's own record counts the waiting."""
        return timed_stream("storage", self._store.list(after))

    async def check(self) -> None:
        """Ask the store."""
        await self._store.check()

    def _observe(self, operation: str) -> Observation:
        return observe(operation, layer="storage", backend=self.backend)


class ObservedStaging:
    """Answers as `staged` does; the record is that of the commit, whose duration is the store's."""

    def __init__(self, staged: StagedObject, backend: str) -> None:
        self._staged, self._backend = staged, backend
        self._bytes = 0

    @property
    def path(self) -> Path:
        """The local file beneath."""
        return self._staged.path

    async def write(self, chunk: bytes) -> None:
        """Append `chunk`."""
        with timed("storage"):
            await self._staged.write(chunk)
        self._bytes += len(chunk)

    async def flush(self) -> None:
        """Complete the local file."""
        with timed("storage"):
            await self._staged.flush()

    async def commit(self, key: str) -> None:
        """Make the bytes durable."""
        with observe("media.storage.put", layer="storage", backend=self._backend, bytes=self._bytes) as observation:
            await self._staged.commit(key)
            observation.finish()

    async def cancel(self) -> None:
        """Drop the bytes."""
        with timed("storage"):
            await self._staged.cancel()


class ObservedStream:
    """Answers as `stream` does; closing it ends the record, with the bytes that were read."""

    def __init__(self, stream: ByteStream, observation: Observation) -> None:
        self._stream, self._observation = stream, observation
        self._bytes = 0

    @property
    def size(self) -> int:
        """Bytes that the stream will yield."""
        return self._stream.size

    @property
    def path(self) -> Path | None:
        """The whole object as a local file, if there is one."""
        return self._stream.path

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Yield the chunks; a failing store is on record before its error is anyone's."""
        chunks = aiter(self._stream)
        while True:
            try:
                with timed("storage", self._observation):
                    chunk = await anext(chunks)
            except StopAsyncIteration:
                return
            except BaseException as error:
                self._observation.fail(error)
                raise
            self._bytes += len(chunk)
            yield chunk

    async def aclose(self) -> None:
        """Release the stream; the first call ends the record."""
        try:
            await self._stream.aclose()
        finally:
            self._observation.finish("success" if self._complete else "client_aborted", bytes=self._bytes)

    @property
    def _complete(self) -> bool:
        """Whether all was read, or nothing: then the server sends the file itself, or only the head was wanted."""
        return self._bytes in (0, self.size)


class ObservedProber:
    """Answers as `prober` does; looking at bytes counts as `parse`."""

    def __init__(self, prober: Prober) -> None:
        self._prober = prober

    async def probe(self, path: Path) -> MediaInfo:
        """Look at the bytes."""
        with timed("parse"):
            return await self._prober.probe(path)

    def knows(self, media_type: str) -> bool:
        """Whether bytes of this type are recognised."""
        return self._prober.knows(media_type)

    async def warm(self) -> None:
        """Start what probing needs."""
        await self._prober.warm()

    async def aclose(self) -> None:
        """Stop it."""
        await self._prober.aclose()


class ObservedRenderer:
    """Answers as `renderer` does; what each call takes is measured by its kind, the wait for its turn included."""

    def __init__(self, renderer: Renderer) -> None:
        self._renderer = renderer

    @property
    def engine(self) -> str:
        """What decides over the bytes that come out."""
        return self._renderer.engine

    async def render(self, path: Path, media_type: str, preset: Preset, chosen: Format) -> Rendered:
        """Make the preset."""
        with _measured("rendition"):
            return await self._renderer.render(path, media_type, preset, chosen)

    async def normalise(self, path: Path, media_type: str, wanted: Normalisation) -> Rendered | None:
        """Make the picture comply."""
        with _measured("normalise"):
            return await self._renderer.normalise(path, media_type, wanted)

    async def placeholder(self, path: Path, media_type: str) -> Placeholder:
        """Make its placeholder."""
        with _measured("placeholder"):
            return await self._renderer.placeholder(path, media_type)

    async def warm(self) -> None:
        """Start what the first call needs."""
        await self._renderer.warm()

    async def aclose(self) -> None:
        """Stop it."""
        await self._renderer.aclose()


@contextmanager
def _measured(kind: str) -> Iterator[None]:
    started, labels = perf_counter(), {"kind": kind, "outcome": "success"}
    try:
        yield
    except BaseException as error:
        outcome, error_type = classify(error)
        labels |= {"outcome": outcome, "error_type": error_type}
        raise
    finally:
        outlets().rendering.record(perf_counter() - started, labels)
