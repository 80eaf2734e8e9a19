"""A service for test_crashes.py: ours, with one worker, whose requests may be made to fail at any of their steps.

Each life is a fork of this process, so that it has everything imported already; a killed one is followed by the next.
The argument is the database's URL; other settings come from the environment. A request with the header `fault` counts
its steps and suffers that fault; its course is then in the file that the header `record` names.
"""

from __future__ import annotations

import os
import signal
import sys
from functools import partial

from litestar import Litestar

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


def build(settings: Settings, database_url: str, drain: Drain) -> Faulty:
    """The application of one worker."""
    return Faulty(create_app(Deployment(settings, database_url, {}), drain), settings)


def live(settings: Settings, database_url: str) -> None:
    """One life, in a process group of its own: what kills its worker kills all of it."""
    os.setpgid(0, 0)
    serve(settings, partial(build, settings, database_url))


def main(database_url: str) -> None:
    """Serve, one life after the other, until one ends in order."""
    settings = load_settings(os.environ)
    Litestar()  # imports half of what it finds installed, and no life should pay for that
    while True:
        life = os.fork()
        if life == 0:
            live(settings, database_url)
            return
        signal.signal(signal.SIGTERM, lambda *_, life=life: os.kill(life, signal.SIGTERM))
        _, status = os.waitpid(life, 0)
        if os.waitstatus_to_exitcode(status) != -signal.SIGKILL:
            sys.exit(os.waitstatus_to_exitcode(status))


if __name__ == "__main__":
    main(sys.argv[1])
