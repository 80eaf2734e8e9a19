"""Whether the database says anything at all, asked again and again on a connection of its own.

A server that is frozen, or behind a network that swallows packets, refuses nothing: TCP alone waits for minutes. A time
limit for each statement cannot tell it from one that waits for a lock, as requests may for seconds.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol, TypeAlias

import asyncpg

from service.observability import outlets

Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record]"

PAUSE_SECONDS = 0.25
_PAUSE_IN_SILENCE_S = 0.1
_TICKS, _TICK_S = 5, 0.25
"""Patience with one question, counted in waits: whoever stood still itself has not waited, whatever the clock says."""

PULSE = "refkeep pulse"
_NO_WORD = (OSError, asyncpg.InterfaceError, asyncpg.InternalClientError, asyncpg.PostgresConnectionError)
"""Whoever asks meets these at once, so there is nothing to tell; they are no sign of life either."""


class Patient(Protocol):
    """Whose connections wait for the database."""

    async def fall_silent(self) -> None:
        """Nobody waits any longer, or begins to."""

    def be_heard(self) -> None:
        """The database says something again."""


@asynccontextmanager
async def listening(connect: Mapping[str, Any], patient: Patient, name: str = PULSE) -> AsyncIterator[None]:
    """Tell `patient` of silence and of its end for as long as the block runs, each within two seconds.

    `connect` are asyncpg's own keyword arguments, `name` is what the session is called.
    """
    listening = asyncio.create_task(_Pulse(connect, patient, name).follow())
    try:
        yield
    finally:
        listening.cancel()
        await asyncio.wait({listening})


class _Pulse:
    def __init__(self, connect: Mapping[str, Any], patient: Patient, name: str) -> None:
        self._connect, self._patient = connect, patient
        self._settings = {"application_name": name}
        self._connection: Connection | None = None
        self._is_silent = False

    async def follow(self) -> None:
        """Listen, for ever."""
        try:
            while True:
                await self._beat()
                await asyncio.sleep(_PAUSE_IN_SILENCE_S if self._is_silent else PAUSE_SECONDS)
        finally:
            self._hang_up()

    async def _beat(self) -> None:
        try:
            await self._within_patience(self._ask())
        except TimeoutError:
            self._hang_up()
            await self._tell(silent=True)
        except _NO_WORD:
            self._hang_up()
        except asyncpg.PostgresError:  # it takes no connection, but somebody said so
            self._hang_up()
            await self._tell(silent=False)
        else:
            await self._tell(silent=False)

    async def _ask(self) -> None:
        if self._connection is None or self._connection.is_closed():
            self._connection = await asyncpg.connect(**self._connect, server_settings=self._settings)
        await self._connection.execute("SELECT 1")

    async def _within_patience(self, asking: Coroutine[Any, Any, None]) -> None:
        question = asyncio.create_task(asking)
        try:
            for _ in range(_TICKS):
                await asyncio.wait({question}, timeout=_TICK_S)
                if question.done():
                    return question.result()
        finally:
            if not question.done():
                self._hang_up()
                question.cancel()
                await asyncio.wait({question})
        raise TimeoutError

    async def _tell(self, *, silent: bool) -> None:
        if silent is self._is_silent:
            return
        self._is_silent = silent
        outlets().log.log(logging.WARNING, "database_silent" if silent else "database_heard")
        if silent:
            await self._patient.fall_silent()
        else:
            self._patient.be_heard()

    def _hang_up(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(asyncpg.InterfaceError):
                connection.terminate()
