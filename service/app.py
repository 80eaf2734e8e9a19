"""One worker: it opens its parts, puts them together to one ASGI application, and works in the background meanwhile."""

from __future__ import annotations

import asyncio
import gc
import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from dataclasses import dataclass, field
from functools import partial
from importlib.metadata import version

from service.adapters.observed import ObservedRenderer, ObservedStorage
from service.adapters.postgres.access import PostgresKeys, PostgresWorkspaces
from service.adapters.postgres.database import REQUEST_PATIENCE
from service.adapters.postgres.descriptors import PostgresDescriptors
from service.adapters.postgres.feed import PostgresFeed
from service.adapters.postgres.moves import pulse_name
from service.adapters.postgres.opening import open_database
from service.adapters.postgres.pulse import listening
from service.adapters.remembered import RememberedKeys
from service.adapters.vips.prober import VipsProber
from service.adapters.vips.renderer import VipsRenderer
from service.application.authenticate import Authenticate
from service.application.make_ahead import MakeAhead
from service.background import collecting, measuring
from service.composition import (
    Parts,
    create_make_rendition,
    create_storage,
    create_use_cases,
    file_check,
    location_of,
    looking_prober,
    open_everywhere,
)
from service.delivery.endpoint import Delivery
from service.delivery.headers import CrossOrigin
from service.delivery.known import KnownGrants
from service.delivery.permissions import Permissions
from service.delivery.presets import Presets
from service.delivery.routes import match
from service.delivery.routine import AtHand
from service.domain.policy import Policies
from service.domain.signature import Signatures
from service.drain import Drain
from service.lifeline import giving_up_at
from service.observability import outlets
from service.router.api import create_api, operations_by_route
from service.router.callers import Callers
from service.router.gateway import App, Gateway, Receive, Scope, Send, guarded, with_head
from service.router.operations import Operations
from service.router.problems import problem_answer
from service.router.proxies import behind_proxies
from service.router.settling import settled
from service.schemas.policy_file import load_policies
from service.settings import Settings
from service.tailer import tailing
from service.telemetry.crew import Crew, joined
from service.telemetry.loop_lag import watching_loop
from service.telemetry.requests import Route, instrument
from service.telemetry.sdk import Telemetry, start_telemetry


@dataclass(frozen=True, slots=True)
class Deployment:
    """What a process serves: settings, where its Postgres is, and which unbound keys have a workspace of their own.

    Made once, in front of the workers, which know each other by its `name`.
    """

    settings: Settings
    database_url: str
    default_workspaces: dict[str, str]
    name: str = field(default_factory=partial(secrets.token_hex, 8))


def create_app(deployment: Deployment, drain: Drain) -> App:
    """The application of one worker; its lifespan opens and closes everything that holds a resource."""
    return _Worker(deployment, drain, load_policies(deployment.settings.policies))


class _Worker:
    """An ASGI application that exists whole between startup and shutdown of its lifespan."""

    def __init__(self, deployment: Deployment, drain: Drain, policies: Policies) -> None:
        self._deployment, self._drain, self._policies = deployment, drain, policies
        self._app: App | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._app is not None:
            await self._app(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        await receive()
        async with AsyncExitStack() as stack:
            with giving_up_at(self._drain):
                try:
                    await self._start(stack)
                except Exception as error:
                    await send({"type": "lifespan.startup.failed", "message": f"{type(error).__name__}: {error}"})
                    raise
            await send({"type": "lifespan.startup.complete"})
            await receive()
        await send({"type": "lifespan.shutdown.complete"})

    async def _start(self, stack: AsyncExitStack) -> None:
        settings = self._deployment.settings
        parts = await stack.enter_async_context(_open_parts(self._deployment, self._drain, self._policies))
        ahead = await stack.enter_async_context(_making_ahead(settings, parts, self._policies))
        self._app = _assemble(self._deployment, self._drain, self._policies, parts, ahead)
        await stack.enter_async_context(collecting(settings, self._policies, parts, self._drain))
        if parts.crew.number == 0:
            await stack.enter_async_context(measuring(settings, self._policies, parts, self._drain))
        gc.collect()
        gc.freeze()  # what a worker is made of stays: to look through it time and again took a quarter of all work


@asynccontextmanager
async def _open_parts(deployment: Deployment, drain: Drain, policies: Policies) -> AsyncIterator[Parts]:
    settings = deployment.settings
    async with AsyncExitStack() as stack:
        crew = stack.enter_context(joined(deployment.name, settings.workers))
        telemetry = _started_telemetry(settings, crew)
        stack.push_async_callback(asyncio.to_thread, telemetry.shutdown)
        stack.enter_context(watching_loop())
        connect = {"dsn": deployment.database_url}
        database = await open_database(connect, settings.pool_size, REQUEST_PATIENCE)
        stack.push_async_callback(database.aclose)
        outlets().pool = database.state
        await stack.enter_async_context(listening(connect, database, pulse_name(str(location_of(settings)))))
        storage = create_storage(settings)
        await storage.aopen()
        stack.push_async_callback(storage.aclose)
        if not settings.read_only:
            await storage.sweep_abandoned()
        everywhere = await stack.enter_async_context(open_everywhere(settings, database, storage))
        prober, vips = VipsProber(), VipsRenderer()
        renderer, outlets().renderings = ObservedRenderer(vips), vips.state
        stack.push_async_callback(prober.aclose)
        stack.push_async_callback(renderer.aclose)
        await asyncio.gather(prober.warm(), *([renderer.warm()] if policies.need_pictures else []))
        tail = await stack.enter_async_context(tailing(PostgresFeed(database), drain))
        observed, looking = ObservedStorage(everywhere.storage), looking_prober(prober, renderer)
        yield Parts(database, storage, observed, looking, renderer, telemetry, crew, tail, everywhere.standing)


def _started_telemetry(settings: Settings, crew: Crew) -> Telemetry:
    telemetry = start_telemetry(
        log_format=settings.log_format, worker=str(crew.number), service_version=version("refkeep")
    )
    crew.tell(telemetry.told)
    return telemetry


@asynccontextmanager
async def _making_ahead(settings: Settings, parts: Parts, policies: Policies) -> AsyncIterator[MakeAhead]:
    """What makes renditions, those that are asked for and those of eager presets; it ends before its parts do."""
    async with aclosing(create_make_rendition(settings, parts)) as make:
        ahead = MakeAhead(policies, PostgresDescriptors(parts.database), make)
        running = asyncio.create_task(ahead.run())
        try:
            yield ahead
        finally:
            running.cancel()
            await asyncio.wait([running])


def _rendered_metrics(parts: Parts, accept: str) -> tuple[bytes, str]:
    return parts.telemetry.render_metrics(accept, parts.crew.ask())


def _assemble(deployment: Deployment, drain: Drain, policies: Policies, parts: Parts, ahead: MakeAhead) -> App:
    settings, database = deployment.settings, parts.database
    authenticate = Authenticate(RememberedKeys(PostgresKeys(database)), deployment.default_workspaces)
    callers = Callers(authenticate, PostgresWorkspaces(database), settings.read_only)
    permissions = Permissions(
        PostgresDescriptors(database),
        callers.reader,
        KnownGrants(settings.descriptor_ttl.total_seconds()),
        Signatures(settings.signing_keys),
    )
    delivery = Delivery(
        permissions,
        parts.storage,
        problem_answer,
        Presets(permissions, policies, ahead.make),
        AtHand(is_file=file_check(settings)),
        cross_origin=CrossOrigin(settings.cors_origins),
    )
    operations = Operations(
        checks={"database": database.check, "storage": parts.storage.check},
        is_draining=lambda: drain.draining,
        render_metrics=lambda accept: asyncio.to_thread(_rendered_metrics, parts, accept),
    )
    api = create_api(create_use_cases(settings, policies, callers, parts, ahead), operations)
    gateway = Gateway(
        delivery,
        settled(instrument(guarded(with_head(api)), [Route(*route) for route in operations_by_route()])),
        lambda scope: match(scope) is not None,
    )
    return behind_proxies(gateway, settings.trusted_proxies)
