"""The service for test_crashes.py: ours, a worker for every port, with requests that can be made to fail at any step.

Each life is a fork of this process, so that it has everything imported already; a killed one is followed by the next.
The arguments are the database's URL and the ports; other settings come from the environment. A request with the header
`fault` counts its steps and suffers that fault; its course is then in the file that the header `record` names.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Callable
from functools import partial

import msgspec
from litestar import Litestar

from service.adapters.threads import in_thread
from service.app import Deployment, create_app
from service.drain import Drain
from service.router.gateway import App, Message, Receive, Scope, Send
from service.server import serve
from service.settings import Settings, load_settings
from tests.parts.failpoints import Fault, Steps


class Faulty:
    """An application, with the steps of those requests counted that ask for it."""

    def __init__(self, app: App, settings: Settings) -> None:
        self._app = app
        self._records = settings.data_dir
        self._steps = Steps(settings.data_dir / "blobs")
        self._steps.install()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        headers = {name.decode(): value.decode() for name, value in scope.get("headers", ())}
        if "fault" not in headers:
            await self._app(scope, receive, send)
            return

        async def counted_send(message: Message) -> None:
            self._steps.take(f"send {message['type']}")
            await send(message)

        with self._steps.counted(Fault.parse(headers["fault"]), self._records / headers["record"]):
            await self._app(scope, receive, counted_send)
            self._steps.take("end")


class Lives:
    """One life for every port, again and again until SIGTERM."""

    def __init__(self, live: Callable[[int], None]) -> None:
        self._live = live
        self._ports: dict[int, int] = {}
        self._ending = False

    def last(self, ports: list[int]) -> None:
        """Return when all have ended; a life that ends otherwise than by SIGKILL is the last of its port."""
        signal.signal(signal.SIGTERM, self._end)
        for port in ports:
            self._begin(port)
        while self._ports:
            life, status = os.wait()
            port = self._ports.pop(life)
            if os.waitstatus_to_exitcode(status) == -signal.SIGKILL:
                self._begin(port)

    def _begin(self, port: int) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        if not self._ending:
            life = os.fork()
            if life == 0:
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
                signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})
                # A process group of its own: what kills its worker kills all of it.
                os.setpgid(0, 0)
                self._live(port)
                sys.exit()
            self._ports[life] = port
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})

    def _end(self, *_: object) -> None:
        self._ending = True
        for life in self._ports:
            os.kill(life, signal.SIGTERM)


def build(settings: Settings, database_url: str, drain: Drain) -> Faulty:
    """The application of one worker."""
    return Faulty(create_app(Deployment(settings, database_url, {}), drain), settings)


def import_the_rest() -> None:
    """Load what libraries import on first use only, so that no life pays for it."""
    Litestar()
    asyncio.run(in_thread(int))


def main(database_url: str, *ports: str) -> None:
    """Serve."""
    settings = load_settings(os.environ)
    import_the_rest()

    def live(port: int) -> None:
        own = msgspec.structs.replace(settings, port=port)
        serve(own, partial(build, own, database_url))

    Lives(live).last([int(port) for port in ports])


if __name__ == "__main__":
    main(*sys.argv[1:])
