"""The main process: it starts the workers that answer HTTP, and takes its leave of them in order.

SIGTERM or SIGINT: readiness turns red, requests are served for `DRAIN` (a second signal cuts this short), then the
listener closes, running transfers end, and the workers stop.
"""

from __future__ import annotations

import errno
import multiprocessing
import os
import resource
import signal
import socket
import time
from asyncio import get_event_loop
from collections.abc import Awaitable, Callable, MutableMapping
from datetime import timedelta
from typing import Any

from granian.constants import HTTPModes, Interfaces, Loops
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.mp import MPServer

from service.drain import Drain
from service.lifeline import Lifeline
from service.settings import Settings
from service.unread import cut_unread

Message = MutableMapping[str, Any]
AsgiApp = Callable[[Message, Callable[[], Awaitable[Message]], Callable[[Message], Awaitable[None]]], Awaitable[None]]
AppBuilder = Callable[[Drain], AsgiApp]

TRANSFER_GRACE_S = 20
"""How long running transfers may take once the listener has closed."""

_HEADER_TIMEOUT_MS = 5000
_BACKLOG = 1024
_MAX_CONNECTIONS = 4096
_DESCRIPTORS_PER_CONNECTION = 4
_MAX_DESCRIPTORS = 65536
_PORT_PATIENCE_S = 2.0
_PORT_POLL_S = 0.05
_LOGGERS = {
    "version": 1,
    "loggers": {
        "_granian": {"level": "WARNING", "handlers": [], "propagate": True},
        "granian.access": {"level": "WARNING", "handlers": [], "propagate": True},
    },
}


class AddressUnavailable(RuntimeError):
    """Nothing can listen on this host and port; `str(error)` says why."""


def check_address(settings: Settings) -> None:
    """Raise `AddressUnavailable` unless this host and port can be listened on, within a moment."""
    _await_address(settings.host, settings.port)


def serve(settings: Settings, build_app: AppBuilder) -> None:
    """Serve until SIGTERM or SIGINT, from the main thread; returns after a stop in order.

    `build_app` is called once in each worker, in front of its event loop's start; what it returns is an ASGI
    application with a lifespan. Raises `AddressUnavailable`, and `SystemExit(1)` when workers keep dying.
    """
    address = _await_address(settings.host, settings.port)
    # The workers inherit the pipe and the builder, which nothing but a fork can hand over.
    multiprocessing.set_start_method("fork", force=True)
    lifeline = Lifeline()
    server = _Server(settings, address, lifeline, _connections(_raise_descriptor_limit()))
    server.serve(target_loader=_loader(build_app, lifeline, settings.port), wrap_loader=False)


class _Server(MPServer):
    """Granian's main process, with the drain in front of its stop."""

    def __init__(self, settings: Settings, address: str, lifeline: Lifeline, connections: int) -> None:
        super().__init__(
            "refkeep",
            address=address,
            port=settings.port,
            interface=Interfaces.ASGI,
            workers=settings.workers,
            loop=Loops.uvloop,
            http=HTTPModes.http1,
            websockets=False,
            backlog=_BACKLOG,
            backpressure=connections,
            http1_settings=HTTP1Settings(header_read_timeout=_HEADER_TIMEOUT_MS),
            log_level=LogLevels.warning,
            log_dictconfig=_LOGGERS,
            respawn_failed_workers=True,
            workers_kill_timeout=TRANSFER_GRACE_S,
        )
        self._lifeline, self._main = lifeline, os.getpid()
        self._drain: timedelta = settings.drain

    def signal_handler_interrupt(self, *args: object, **kwargs: object) -> None:
        """Take the signal, or leave at once: a worker has this handler until it has its own, and nothing to lose."""
        if os.getpid() == self._main:
            super().signal_handler_interrupt(*args, **kwargs)  # type: ignore[no-untyped-call]
        elif signal.SIGTERM in args:  # Ctrl-C reaches workers, too: they wait for the main process
            os._exit(0)

    def signal_handler_reload(self, *_args: object, **_kwargs: object) -> None:
        # SIGHUP: the terminal is gone. Granian would start its workers anew.
        self.signal_handler_interrupt()

    def shutdown(self, exit_code: int = 0) -> None:
        """Announce the end, go on serving for the drain, then let Granian stop the workers."""
        for worker in self.wrks:
            worker.interrupt_by_parent = True  # one that is still starting leaves by itself
        self._lifeline.cut()
        if self.interrupt_signal:
            self.main_loop_interrupt.clear()
            self.main_loop_interrupt.wait(self._drain.total_seconds())
        super().shutdown(exit_code)  # type: ignore[no-untyped-call]


def _loader(build_app: AppBuilder, lifeline: Lifeline, port: int) -> Callable[[], AsgiApp]:
    def load() -> AsgiApp:
        # Ctrl-C reaches every process of a terminal's group; a worker is stopped by the main process alone.
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        drain = Drain()
        lifeline.watch(get_event_loop(), drain)
        cut_unread(get_event_loop(), port)
        return build_app(drain)

    return load


def _await_address(host: str, port: int) -> str:
    """The IP address of `host`, once its port is free: Granian would share it, even with an earlier main's workers."""
    deadline = time.monotonic() + _PORT_PATIENCE_S
    while True:
        try:
            return _try_to_listen(host, port)
        except (OSError, UnicodeError) as error:  # UnicodeError: labels of a name that are too long
            if getattr(error, "errno", None) != errno.EADDRINUSE or time.monotonic() > deadline:
                message = f"{host}:{port} cannot be listened on: {getattr(error, 'strerror', 'no name of a host')}."
                raise AddressUnavailable(message) from error
        time.sleep(_PORT_POLL_S)


def _try_to_listen(host: str, port: int) -> str:
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    # Granian listens on one address: for a name that has both kinds, on that of IPv4.
    family, _, _, _, address = min(found, key=lambda entry: entry[0] != socket.AF_INET)
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        probe.bind(address)
        probe.listen(1)
    return str(address[0])


def _raise_descriptor_limit() -> int:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    limit = max(soft, _MAX_DESCRIPTORS if hard == resource.RLIM_INFINITY else min(hard, _MAX_DESCRIPTORS))
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, hard))
    return limit


def _connections(descriptors: int) -> int:
    return min(_MAX_CONNECTIONS, descriptors // _DESCRIPTORS_PER_CONNECTION)
