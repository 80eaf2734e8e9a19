"""The embedded Postgres, started again when it ends before its time: killed for its memory, or by mistake."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import asyncpg

from service.adapters.postgres.embedded import EmbeddedPostgres
from service.adapters.postgres.embedded_account import EmbeddedPostgresError
from service.adapters.postgres.errors import DOWN

MOST_STARTS, WITHIN_S = 3, 60.0
"""What ends more often than that is not brought back by another start."""

_LOOK_S = 0.1
_PAUSE_S = 1.0
_FAREWELL_S = 3.0

Tell = Callable[[str], None]


@contextmanager
def kept_postgres(data_dir: Path, tell: Tell, give_up: Callable[[], None]) -> Iterator[str]:
    """Run the server of `data_dir` meanwhile and yield its DSN, which stays the same over its starts.

    `tell` gets a sentence for people at each start; `give_up` is called in another thread where no more help, once, and
    the block then ends with `EmbeddedPostgresError`. Raises the same when it cannot be started at all.
    """
    with EmbeddedPostgres(data_dir) as server:
        keeper = _Keeper(server, tell, give_up)
        keeper.start()
        try:
            yield server.dsn
        finally:
            keeper.stop()
        keeper.raise_failure()


class _Keeper:
    """Looks after a server in a thread that does not end before `stop`: with it a server that it started would end."""

    def __init__(self, server: EmbeddedPostgres, tell: Tell, give_up: Callable[[], None]) -> None:
        self._server, self._tell, self._give_up = server, tell, give_up
        self._starts: deque[float] = deque(maxlen=MOST_STARTS)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="postgres-keeper", daemon=True)
        self._failure: EmbeddedPostgresError | None = None

    def start(self) -> None:
        """Look after it from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Let it end; a start that is under way has a moment more, before the server is stopped under it."""
        self._stopping.set()
        self._thread.join(_FAREWELL_S)

    def raise_failure(self) -> None:
        """Raise why it was given up, if it was."""
        if self._failure is not None:
            raise self._failure

    def _keep(self) -> None:
        while not self._stopping.wait(_LOOK_S):
            if self._server.has_ended() and not self._starts_again():
                self._give_up()
                break
        self._stopping.wait()

    def _starts_again(self) -> bool:
        now = time.monotonic()
        if len(self._starts) == MOST_STARTS and now - self._starts[0] < WITHIN_S:
            self._failure = EmbeddedPostgresError(
                f"PostgreSQL ended {MOST_STARTS + 1} times within a minute; {self._server.last_words()}"
            )
            return False
        self._starts.append(now)
        self._tell(f"PostgreSQL has ended and is started again; {self._server.last_words()}")
        try:
            self._server.start_again()
        except (EmbeddedPostgresError, asyncpg.PostgresError, *DOWN) as error:
            self._tell(f"PostgreSQL was not started: {error}")
            self._stopping.wait(_PAUSE_S)
        return True
