"""The states that contracts speak of, made on a real Refkeep by real calls; the verifier hears what they came to."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from uuid import uuid4

from service.commands import events as event_commands
from tests.parts.caller import Caller
from tests.parts.fresh import fresh_jpeg
from tests.parts.service import Refkeep

Facts = dict[str, Any]
_ORDINALS = ("first", "second")


class States:
    """Of one workspace, in which no state was made before."""

    def __init__(self, refkeep: Refkeep) -> None:
        self._refkeep = refkeep
        self.caller: Caller = refkeep.caller("read", "write")

    def make(self, state: str, facts: Mapping[str, Any]) -> Facts:
        """Make a state; each has a key, and a word never used before. Raises `KeyError` for one that nobody knows."""
        states: dict[str, Callable[[Mapping[str, Any]], Facts]] = {
            "nothing is shown": lambda _: {},
            "a role shows pictures": self._fill,
            "events were dropped": self._drop,
        }
        return {"key": self.caller.token, "fresh": str(uuid4()), **states[state](facts)}

    def _fill(self, facts: Mapping[str, Any]) -> Facts:
        """`count` pictures in a role `book/42/cover`, and no others; their ids, and the cursor of before."""
        cursor = self._now()
        self.caller.http.delete(f"/refs/{facts['role']}")
        answers = [self.caller.post(facts["role"], fresh_jpeg(), filename="cover.jpg") for _ in range(facts["count"])]
        assert all(answer.status_code == 201 for answer in answers), [answer.text for answer in answers]
        ref_ids = [answer.json()["ref"]["ref_id"] for answer in answers]
        return {"cursor": cursor, **dict(zip(_ORDINALS, ref_ids, strict=False))}

    def _drop(self, _: Mapping[str, Any]) -> Facts:
        """A cursor behind which events are missing."""
        cursor = self._now()
        self.caller.post("document/dropped/file", fresh_jpeg())
        self._refkeep.command(event_commands.events, "drop", "--before", "0s")
        return {"cursor": cursor}

    def _now(self) -> str:
        """A cursor behind everything that there is."""
        return str(json.loads(self.caller.http.get("/snapshot").text.splitlines()[0])["cursor"])


@contextmanager
def state_server(states: States) -> Iterator[str]:
    """Where the verifier asks for states; the address."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            body = json.dumps(states.make(asked["state"], asked.get("params", {}))).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
