"""The real service with one of its answers damaged on the way out: what verifies the service must turn red at it.

`with broken(yard, Damage("POST", "/blobs", without="blob.sha256")) as service:` is `yard.running()` whose every answer
to POST /blobs lacks that member; `status=500` gives it another status instead, `member` and `value` another value. The
process is the command itself, with an ASGI application of ours around its own.
"""

from __future__ import annotations

import contextlib
import re
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec

from service import __main__ as command
from service import app
from service.drain import Drain
from service.router.gateway import App, Message, Receive, Scope, Send


class Damage(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which answers are damaged, and how.

    `path` is a regular expression of the whole path as it is sent; only answers of status `at` are damaged, all of 2xx
    where it is None. `without` and `member` are dotted paths into the JSON body: `ref.blob.size`.
    """

    method: str
    path: str
    at: int | None = None
    status: int | None = None
    without: str | None = None
    member: str | None = None
    value: Any = None

    def hits(self, scope: Scope) -> bool:
        """Whether it is about the answer to this request."""
        return (
            scope["type"] == "http" and scope["method"] == self.method and bool(re.fullmatch(self.path, scope["path"]))
        )

    def concerns(self, status: int) -> bool:
        """Whether an answer of this status is damaged."""
        return status == self.at or (self.at is None and 200 <= status < 300)

    def body(self, body: bytes) -> bytes:
        """The body as it is sent."""
        document = msgspec.json.decode(body) if self.without or self.member else None
        if self.without is not None:
            *outer, last = self.without.split(".")
            _inner(document, outer).pop(last)
        if self.member is not None:
            *outer, last = self.member.split(".")
            _inner(document, outer)[last] = self.value
        return body if document is None else msgspec.json.encode(document)


class Broken:
    """An application whose answers are its own but for the damaged ones, which it gathers whole first."""

    def __init__(self, application: App, damage: Damage) -> None:
        self._app, self._damage = application, damage

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass it on."""
        if not self._damage.hits(scope):
            await self._app(scope, receive, send)
            return
        start: Message = {}
        parts: list[bytes] = []

        async def gather(message: Message) -> None:
            if message["type"] == "http.response.start":
                start.update(message)
            elif not self._damage.concerns(start["status"]):
                await send(message if parts else start)
                if not parts:
                    await send(message)
                parts.append(b"")
            else:
                parts.append(message.get("body", b""))
                if not message.get("more_body", False):
                    await _send_whole(send, *_damaged(self._damage, start, b"".join(parts)))

        await self._app(scope, receive, gather)


@contextlib.contextmanager
def broken(yard: Any, damage: Damage, **settings: object) -> Iterator[Any]:
    """A ready service of `yard` with this damage; see `Yard.running`."""
    program = (sys.executable, "-P", str(Path(__file__)), msgspec.json.encode(damage).decode())
    with replace(yard, program=program).running(**settings) as service:
        yield service


def _inner(document: Any, names: list[str]) -> Any:
    for name in names:
        document = document[int(name)] if isinstance(document, list) else document[name]
    return document


def _damaged(damage: Damage, start: Message, body: bytes) -> tuple[Message, bytes]:
    sent = damage.body(body)
    headers = [(name, value) for name, value in start["headers"] if name.lower() != b"content-length"]
    length = (b"content-length", str(len(sent)).encode())
    return {**start, "status": damage.status or start["status"], "headers": [*headers, length]}, sent


async def _send_whole(send: Send, start: Message, body: bytes) -> None:
    await send(start)
    await send({"type": "http.response.body", "body": body})


def main() -> None:
    """`refkeep …` with the damage that the first argument describes."""
    damage = msgspec.json.decode(sys.argv.pop(1), type=Damage)
    create = app.create_app

    def create_broken(deployment: app.Deployment, drain: Drain) -> App:
        return Broken(create(deployment, drain), damage)

    app.create_app = create_broken
    command.main()


if __name__ == "__main__":
    main()
