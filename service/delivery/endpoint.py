"""The ASGI function for bytes: GET and HEAD of blobs, of refs' files, and of renditions, in front of the framework."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from time import perf_counter
from uuid import UUID

from service.delivery import headers as lines
from service.delivery.access import ALIKE, Grant, Refusal, Reuse
from service.delivery.answer import Answer, Request
from service.delivery.asgi import Headers, Receive, Scope, Send
from service.delivery.bodies import SMALL
from service.delivery.conditional import Outcome, evaluate, range_applies
from service.delivery.headers import EVERYWHERE, CrossOrigin
from service.delivery.known import Asker, Known
from service.delivery.multipart import Layout, open_parts, open_range, open_whole, read_all
from service.delivery.permissions import Permissions
from service.delivery.presets import Presets
from service.delivery.ranges import ByteRange, select
from service.delivery.routes import PresetRoute, Route, match
from service.delivery.routine import AtHand, Routine, is_ordinary, routine_of
from service.delivery.sender import STALL_SECONDS, Sender, Sent
from service.domain.errors import ObjectMissing, RefkeepError
from service.observability import DOWNLOAD, RequestObservation, observe_request
from service.ports.storage import ByteStream, Storage

Problem = Callable[[str, str, str, dict[str, object]], tuple[int, Headers, bytes]]
"""(code, detail, instance, members) → status, headers and body of an RFC 9457 document."""

_REFUSALS = {
    Refusal.NOT_FOUND: ("not-found", "Nothing is here, or nothing that this caller may know of."),
    Refusal.GONE: ("gone", "This media was purged."),
    Refusal.ON_HOLD: ("on-hold", "These bytes are on hold: they are neither served nor taken."),
}


@dataclass(frozen=True, slots=True)
class Delivery:
    """Serves bytes: an ASGI application for the requests that `match` recognises, and for no others.

    Every failure is a problem document, whatever broke, until an answer began; after that the connection is cut. A row
    whose object is missing or damaged is a fault of the service (the problem `blob-missing`), never a 404: caches would
    take that for an absence. Who has the bytes already is told so: a 304 says nothing of the store.
    """

    permissions: Permissions
    storage: Storage
    problem: Problem
    presets: Presets
    at_hand: AtHand = field(default_factory=AtHand)
    cross_origin: CrossOrigin = EVERYWHERE
    stall_seconds: float = STALL_SECONDS

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request; raises `LookupError` for one that is not delivery's."""
        if (route := match(scope)) is None:
            raise LookupError(f"{scope['method']} {scope['path']} is not delivery's.")
        if is_ordinary(scope) and (routine := self._routine(route, scope)) is not None:
            body = routine.body(scope, self.at_hand)
            if body is not None:
                await routine.send(scope, send, body)
                return
        with observe_request(scope, operation=DOWNLOAD, route=route.template, quiet=True) as observation:
            request = Request.of(scope, route, observation.correlation_id)
            answer = await self._answer(request)
            sent = await Sender(scope, receive, send, self.stall_seconds).send(
                answer.status, answer.headers, answer.body
            )
            _record(observation, request, answer, sent)

    def _routine(self, route: Route, scope: Scope) -> Routine | None:
        what = self.presets.what(route, scope)
        known = None if what is None else self.permissions.grants.get((what, Asker.ANYONE))
        return None if known is None else known.routine

    async def _answer(self, request: Request) -> Answer:
        try:
            return await self._judge(request)
        except RefkeepError as error:
            return replace(self._refuse(request, error.code, str(error), members=error.members()), fault=error)
        except Exception as error:  # noqa: BLE001 - whatever broke: the caller gets a problem, telemetry the exception
            return replace(self._refuse(request, "internal", "Something broke here; it was recorded."), fault=error)

    async def _judge(self, request: Request) -> Answer:
        if request.method == "OPTIONS":
            allow = (b"allow", request.route.allow.encode())
            preflight = self.cross_origin.preflight(request.headers.get("origin"))
            return Answer(204, [allow, *lines.refusing([]), *preflight, _request_id(request)])
        if request.method not in {"GET", "HEAD"}:
            allowed = request.route.allow
            detail = f"{request.method} is not allowed here; {allowed} are."
            return self._refuse(request, "method-not-allowed", detail, [(b"allow", allowed.encode())])
        try:
            return await self._serve(request, anew=False)
        except ObjectMissing:  # what was remembered may be over: bytes that went and came again are another object
            return await self._serve(request, anew=True)

    async def _serve(self, request: Request, *, anew: bool) -> Answer:
        found = await self._judge_bytes(request, anew=anew)
        if isinstance(found, Refusal):
            return self._refuse(request, *_REFUSALS[found])
        return await self._represent(request, found)

    async def _judge_bytes(self, request: Request, *, anew: bool) -> Known | Refusal:
        if isinstance(request.route, PresetRoute):
            return await self.presets.judge(request, request.route, anew=anew)
        return await self.permissions.judge(request, anew=anew)

    async def _represent(self, request: Request, known: Known) -> Answer:
        grant = known.grant
        current = lines.validators(grant)
        outcome = evaluate(request.headers, current)
        if outcome is Outcome.FAILED:
            return self._refuse(request, "precondition-failed", "The bytes here are others than the request expects.")
        if outcome is Outcome.NOT_MODIFIED:
            return Answer(304, self._complete(request, grant, lines.caching(grant)))
        grant.content.check_health()
        if request.method == "HEAD":
            return Answer(200, self._complete(request, grant, known.headers))
        counts = range_applies(request.headers.get("if-range"), current)
        selection = select(request.headers.get("range") if counts else None, grant.content.size)
        if selection is None:
            return await self._open_whole(request, known)
        if not selection:
            size = grant.content.size
            detail = f"No byte of the {size} here lies in that range."
            return self._refuse(request, "range-not-satisfiable", detail, lines.unsatisfiable(size))
        return await self._open_ranges(request, grant, selection)

    # Bodies are opened before the answer begins: here a missing object or a silent store can still be told from it.

    async def _open_whole(self, request: Request, known: Known) -> Answer:
        grant, started = known.grant, perf_counter()
        content = grant.content
        body: bytes | ByteStream | None = self.at_hand.bodies.get(content.storage_key)
        cache_hit = body is not None
        if body is None:
            body = await open_whole(self.storage, content)
            if content.size <= SMALL:
                body = await read_all(body)
                self.at_hand.bodies.add(content.storage_key, body)
        request.timing.storage = perf_counter() - started
        file = None if isinstance(body, bytes) else body.path
        is_news = known.routine is None or known.routine.file != file
        if is_news and grant.reuse in ALIKE and (cache_hit or file is not None):
            headers = lines.beside(known.headers, self.cross_origin.headers(origin=None))
            known.routine = routine_of(content, headers, file, request.route.template, _named(request.route))
        return Answer(200, self._complete(request, grant, known.headers), body, cache_hit=cache_hit)

    async def _open_ranges(self, request: Request, grant: Grant, ranges: tuple[ByteRange, ...]) -> Answer:
        content, started = grant.content, perf_counter()
        if len(ranges) == 1:
            body: ByteStream = await open_range(self.storage, content, ranges[0])
            headers = lines.partial(grant, ranges[0])
        else:
            layout = Layout(content, ranges)
            body = await open_parts(self.storage, layout)
            headers = lines.multipart(grant, layout.boundary, layout.size)
        request.timing.storage = perf_counter() - started
        return Answer(206, self._complete(request, grant, headers), body, ranges)

    def _complete(self, request: Request, grant: Grant, headers: Headers) -> Headers:
        """Add what depends on the request; a cache would replay timings and ids of an answer for everybody."""
        shared = lines.beside(headers, self.cross_origin.headers(request.headers.get("origin")))
        if grant.reuse is Reuse.SIGNED:
            shared.append(lines.signed(self.permissions.seconds_left(request)))
        if grant.reuse in ALIKE:
            return shared
        timing = request.timing
        total = perf_counter() - timing.started
        return [*shared, lines.server_timing(timing.db, timing.storage, total), _request_id(request)]

    def _refuse(
        self,
        request: Request,
        code: str,
        detail: str,
        facts: Headers | None = None,
        members: dict[str, object] | None = None,
    ) -> Answer:
        status, own, body = self.problem(code, detail, request.path, members or {})
        origin = self.cross_origin.headers(request.headers.get("origin"))
        headers = [*lines.refusing(own), *(facts or []), *origin, _request_id(request)]
        return Answer(status, headers, b"" if request.method == "HEAD" else body)


def _record(observation: RequestObservation, request: Request, answer: Answer, sent: Sent) -> None:
    """Put on record what was asked for and what became of it; a response that broke off tells of that alone."""
    if (failure := sent.failure or answer.fault) is not None:
        observation.note_failure(failure)
    observation.note(**_named(request.route))
    if answer.status in {200, 206} and request.method == "GET":
        observation.note(cache_hit=answer.cache_hit)
    if answer.ranges:
        observation.note(range=",".join(f"{part.first}-{part.last}" for part in answer.ranges))
    if sent.failure is None:  # of what broke off, nobody knows how much arrived
        observation.note(response_bytes=sent.size)
    observation.complete(answer.status)


def _named(route: Route) -> dict[str, str]:
    """What was asked for, as telemetry names it; nothing for names that are none."""
    if route.name is None:
        return {}
    named = {"media_id" if isinstance(route.name, UUID) else "sha256": str(route.name)}
    return named | ({"preset": route.preset} if isinstance(route, PresetRoute) and route.preset else {})


def _request_id(request: Request) -> tuple[bytes, bytes]:
    return (b"x-request-id", request.request_id.encode("latin-1"))
