"""Scenes: what a service of ours asks of Refkeep, what it needs of the answers, and what it makes of them."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pact import Pact, match
from pact.interaction import HttpInteraction

from refkeep_client import NO_RETRY, Refkeep
from tests.consumers.shared.database import Pool
from tests.consumers.shared.picture import Picture

KEY = "rk_0123456789ab_of-the-contract"
IDEMPOTENCY_KEY = "0192f0c1-6b8e-5d1f-9a57-6f1f0c2f9f11"
PROBLEM, JSON, NDJSON = "application/problem+json", "application/json", "application/x-ndjson"
PATIENCE_S = 20


@dataclass(frozen=True)
class Request:
    """What is sent; values may be matchers. `generated` are rules for those that only a state knows."""

    method: str
    path: str
    query: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, Any] = field(default_factory=dict)
    json: Any = None
    content: tuple[bytes, str] | None = None
    generated: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """What is needed: a document of matchers, or text with the pattern that it must match."""

    status: int
    json: Any = None
    media_type: str = JSON
    text: tuple[str, str] | None = None


@dataclass(frozen=True)
class Exchange:
    """A request and its answer, where Refkeep is in a `state` with these `facts`."""

    description: str
    state: str
    facts: Mapping[str, Any]
    request: Request
    answer: Answer

    def enter(self, pact: Pact) -> None:
        """Put it into a contract."""
        interaction = pact.upon_receiving(self.description).given(self.state, **self.facts)
        _ask(interaction, self.request)
        _reply(interaction.will_respond_with(self.answer.status), self.answer)


@dataclass(frozen=True)
class Scene:
    """`act` runs the service's own code, and judges what it made of the answers."""

    act: Callable[[Refkeep, Pool], Awaitable[None]]
    exchanges: tuple[Exchange, ...]

    async def play(self, consumer: str, folder: Path, pool: Pool) -> None:
        """Against a Refkeep that knows this scene alone; then it is part of the consumer's contract in `folder`."""
        pact = Pact(consumer, "refkeep").with_specification("V4")
        for exchange in self.exchanges:
            exchange.enter(pact)
        with pact.serve() as server:
            async with asyncio.timeout(PATIENCE_S), Refkeep(str(server.url), key=KEY, retry=NO_RETRY) as refkeep:
                await self.act(refkeep, pool)
        pact.write_file(folder)


def idempotent() -> dict[str, Any]:
    """A key, whichever."""
    return {"idempotency-key": match.regex(IDEMPOTENCY_KEY, regex="[!#-~]{1,255}")}


def from_state(expression: str) -> dict[str, str]:
    """A value with facts that the state tells: `/media/${first}`."""
    return {"type": "ProviderState", "expression": expression}


@contextmanager
def whole_picture(content: bytes, filename: str, media_type: str) -> Iterator[Picture]:
    """A picture of which everything has come."""
    with tempfile.TemporaryFile(buffering=0) as file:
        picture = Picture(filename, media_type, file.fileno())
        picture.grow(content)
        picture.end(None)
        yield picture


def _ask(interaction: HttpInteraction, asked: Request) -> None:
    interaction.with_request(asked.method, asked.path)
    interaction.with_header("authorization", match.regex(f"Bearer {KEY}", regex="Bearer rk_.+"))
    for name, value in asked.headers.items():
        interaction.with_header(name, value)
    for name, value in asked.query.items():
        interaction.with_query_parameter(name, value)
    if asked.json is not None:
        interaction.with_body(asked.json, JSON)
    if asked.content is not None:
        interaction.with_binary_body(*asked.content)
    known = {"authorization": "Bearer ${key}", "idempotency-key": "${fresh}"}
    headers = {name: from_state(known[name]) for name in ("authorization", *asked.headers) if name in known}
    interaction.with_generators({"header": headers, **asked.generated})


def _reply(interaction: HttpInteraction, answer: Answer) -> None:
    if answer.json is not None:
        interaction.with_body(answer.json, answer.media_type)
    if answer.text is not None:
        example, pattern = answer.text
        interaction.with_body(example, NDJSON)
        interaction.with_matching_rules({"body": {"$": {"matchers": [{"match": "regex", "regex": pattern}]}}})
