"""What callers, operators and workers do: each on a process of the service, with what the model says of it."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from service.adapters.vips.renderer import ENGINE
from service.application.changes import Command
from service.application.make_rendition import Wanted
from service.application.upload_blob import Upload
from service.domain.arrangement import ReleaseAll, Reorder
from service.domain.blob import Sha256
from service.domain.decision import Attach, Release
from service.domain.errors import NotFound, OnHold, RefkeepError
from service.domain.event import Actor
from service.domain.hold import HoldKind
from service.domain.hold_decision import PlaceHold
from service.domain.lifecycle import Purge, ReleaseRef, Restore, Revise
from service.domain.rendition import Format, Preset
from service.ports.blobs import BlobOutcome
from service.ports.holds import HoldOutcome
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefOutcome
from service.ports.renditions import Rendition
from tests.machine.model import Gist, Model, refused
from tests.parts.faulty_store import Fate
from tests.parts.ledgers import ACTOR
from tests.parts.lives import Life

OPERATOR = Actor("operator")
_PUT_FAILURES = {
    Fate.REFUSED: "storage-unavailable",
    Fate.ANSWER_LOST: "storage-unavailable",
    Fate.LATE: "storage-unavailable",
    Fate.FULL: "storage-full",
}


@dataclass(frozen=True)
class Call:
    """`run` makes it and returns what was answered; `expect` does it to the model and returns what must be answered.

    `remains` is what is left of it where its process dies before it is done.
    """

    name: str
    run: Callable[[Life], Awaitable[object]]
    expect: Callable[[Model], Gist]
    remains: Callable[[Model], None] = lambda _: None

    async def answer(self, life: Life) -> tuple[Gist, object]:
        """The gist of the answer, and the answer."""
        try:
            answered = await self.run(life)
        except RefkeepError as error:
            return refused(error.code if error.index is None else f"{error.code} at {error.index}"), error
        return gist_of(answered), answered


def upload(slug: str, content: bytes, key: str | None, fate: Fate) -> Call:
    """Bytes are sent; `fate` is that of their way into the store."""
    name = name_of(content)

    async def body() -> AsyncIterator[bytes]:
        yield content

    def run(life: Life) -> Awaitable[object]:
        sent = Upload(slug, ACTOR, body(), 1_000)
        return life.use.upload_blob(sent, None if key is None else _claim(key, "upload"))

    failure = _PUT_FAILURES.get(fate)
    return Call(f"upload {name[:4]}", run, lambda model: model.upload(slug, name, key, put_fails=failure))


def change(slug: str, command: Command, key: str | None) -> Call:
    """One change of refs, by the use case that it belongs to."""
    request = _request(command)
    claim = None if key is None else _claim(key, request)

    def run(life: Life) -> Awaitable[object]:
        use = life.use
        cases: dict[type, Any] = {
            Attach: use.attach_blob,
            Release: use.release_slot,
            Reorder: use.reorder_role,
            ReleaseAll: use.release_refs,
            ReleaseRef: use.release_media,
            Revise: use.revise_media,
            Restore: use.restore_media,
            Purge: use.purge_media,
        }
        answer: Awaitable[object] = cases[type(command)](command, claim)
        return answer

    return Call(f"{type(command).__name__}", run, lambda model: model.change(slug, command, key, request))


def batch(slug: str, commands: list[Command], key: str | None) -> Call:
    """Several changes, all or none."""
    request = " ".join(_request(command) for command in commands)
    claim = None if key is None else _claim(key, request)
    return Call(
        "batch",
        lambda life: life.use.change_refs(slug, commands, claim),
        lambda model: model.batch(slug, commands, key, request),
    )


def give_up(slug: str, content: bytes, key: str | None) -> Call:
    """The caller needs the bytes no longer."""
    name = name_of(content)
    claim: Claim[str] | None = None
    if key is not None:
        claim = Claim(key, _fingerprint(f"give up {name}"), lambda event_id: f"('released',)|{event_id}".encode())
    return Call(
        "give up",
        lambda life: life.use.give_up_holding(slug, name, ACTOR, claim),
        lambda model: model.give_up(slug, name, key),
    )


def grant(slug: str, content: bytes) -> Call:
    """An operator gives a workspace bytes that it has not sent."""
    name = name_of(content)
    return Call(
        "grant", lambda life: life.use.grant_holding(slug, name, OPERATOR), lambda model: model.grant(slug, name)
    )


def ask(slug: str, contents: list[bytes]) -> Call:
    """Which of these must be sent?"""
    names = [name_of(content) for content in contents]
    return Call("ask", lambda life: life.use.find_missing(slug, names, ACTOR), lambda model: model.ask(slug, [*names]))


def place(content: bytes, kind: HoldKind) -> Call:
    """An operator's hold."""
    command = PlaceHold(name_of(content), kind, "a reason", OPERATOR)
    return Call(
        "place", lambda life: life.use.place_hold(command), lambda model: model.place(command.sha256, kind.value)
    )


def lift(content: bytes) -> Call:
    """Its end."""
    name = name_of(content)
    return Call("lift", lambda life: life.use.lift_hold(name, OPERATOR), lambda model: model.lift(name))


def limit(slug: str, items: int | None) -> Call:
    """Another quota."""
    return Call("limit", lambda life: life.use.put_workspace(slug, None, items), lambda model: model.limit(slug, items))


def render(slug: str, content: bytes, preset: Preset, fate: Fate) -> Call:
    """Somebody who holds bytes asks for a rendition of them."""
    name, made = name_of(content), name_of(rendered(preset))
    definition = preset.definition(ENGINE)

    async def run(life: Life) -> object:
        found = await life.descriptors.of_blob(name, slug)
        if found is None or not found.held:
            raise NotFound("This workspace does not hold these bytes.")
        if found.hold is not None:
            raise OnHold
        return await life.make(Wanted(found.content, preset, Format.WEBP))

    failure = _PUT_FAILURES.get(fate)
    return Call(
        f"render {name[:4]}",
        run,
        lambda model: model.render(slug, name, (definition, made), put_fails=failure),
        lambda model: model.leave_claim(name, definition),
    )


def rendered(preset: Preset) -> bytes:
    """The same for all parents, so that one blob is a rendition of many."""
    return f"{Format.WEBP.media_type}\n{preset.name}".encode()


def name_of(content: bytes) -> Sha256:
    """What the bytes go by."""
    return Sha256(hashlib.sha256(content).hexdigest())


def gist_of(answer: object) -> Gist:  # noqa: C901, PLR0911 - a case for each kind of answer
    """All of an answer but times and places in the log; of a stored one, that of the first."""
    match answer:
        case Replay():
            return ("replay", answer.answer.decode().partition("|")[0])
        case RefOutcome():
            return _gist_of_change(answer)
        case BlobOutcome():
            return (answer.decision.value, answer.blob.sha256)
        case HoldOutcome():
            return (answer.decision.value,)
        case Rendition():
            return ("rendered", answer.content.sha256)
        case tuple() if all(isinstance(each, RefOutcome) for each in answer):
            return tuple(_gist_of_change(each) for each in answer)
        case list():
            return tuple(answer)
        case str():
            return ("released",)
        case _:
            return ()


def _gist_of_change(outcome: RefOutcome) -> Gist:
    ids = [None if resolved is None else resolved.ref.ref_id for resolved in (outcome.ref, outcome.replaced)]
    many = None if outcome.refs is None else tuple(resolved.ref.ref_id for resolved in outcome.refs)
    return (outcome.decision.value, outcome.version, *ids, many)


def plain(gist: Gist) -> Gist:
    """A gist as it can be told from a stored answer: what was answered first, as text."""
    return ("replay", repr(gist[1])) if gist and gist[0] == "replay" else gist


def _request(command: Command) -> str:
    """What makes two requests the same: all but the id that a ref would get."""
    return repr(replace(command, ref_id=UUID(int=0)) if isinstance(command, Attach) else command)


def _claim(key: str, request: str) -> Claim[Any]:
    return Claim(key, _fingerprint(request), _rendered)


def _fingerprint(request: str) -> bytes:
    return hashlib.sha256(request.encode()).digest()


def _rendered(outcome: Any) -> bytes:
    """Its gist, and where in the log it stands: no two effects have the same."""
    events = [each.event_id for each in (outcome if isinstance(outcome, tuple) else (outcome,))]
    return f"{gist_of(outcome)!r}|{events}".encode()
