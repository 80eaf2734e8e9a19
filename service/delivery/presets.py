"""Renditions of what a caller may have: which may be asked for, in which format, and where their bytes are."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import lru_cache
from time import perf_counter

from service.application.make_rendition import MakeRendition, Wanted
from service.delivery.access import Refusal, Reuse, Variant, on_hold
from service.delivery.answer import Request
from service.delivery.asgi import Scope, accepted
from service.delivery.headers import whole
from service.delivery.known import Asker, Known
from service.delivery.permissions import Permissions
from service.delivery.routes import PresetRoute, Route, What
from service.domain.errors import NotFound, Unavailable
from service.domain.negotiation import by_extension, negotiate
from service.domain.policy import Policies
from service.domain.rendition import Format, Preset, offered

_SHORT = 256
"""Characters of an `Accept` whose meaning is remembered: those of browsers have a hundred."""

Choice = Callable[[str, str, str | None], Format | None]
"""From a preset's name, the parent's media type and `Accept` to the format that is sent."""


@dataclass(frozen=True, slots=True)
class Presets:
    """Answers for renditions as `Permissions` does for what they are made of, and by what that grants.

    Only a preset that the policy of a ref names can be asked of it, and of a blob only what a live public ref of it
    admits, or a ref of the caller's own workspace: nobody outside decides what is computed, and no answer tells of refs
    that the caller may not see. What a caller learns beyond the 404 of everyone is of bytes that it may have.
    """

    permissions: Permissions
    policies: Policies
    make: MakeRendition
    _negotiated: Choice = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """What browsers ask for is always the same."""
        object.__setattr__(self, "_negotiated", lru_cache(maxsize=1024)(self._negotiate))

    def what(self, route: Route, scope: Scope) -> What | None:
        """What the answer to everybody is kept by, None where nothing is known of the parent's either."""
        if not isinstance(route, PresetRoute) or route.extension is not None:
            return route.what
        if route.name is None or route.preset is None:
            return None
        parent = self.permissions.grants.get((route.name, Asker.ANYONE))
        accept = accepted(scope)
        if parent is None or (accept is not None and len(accept) > _SHORT):
            return None
        chosen = self._negotiated(route.preset, parent.grant.content.media_type, accept)
        return None if chosen is None else (route.name, route.preset, chosen)

    async def judge(self, request: Request, route: PresetRoute, *, anew: bool = False) -> Known | Refusal:
        """What may be sent, `anew` without looking at what is remembered. Making it may take seconds.

        Raises `NotFound` where a caller who may have the parent may have no such rendition of it, and what
        `Permissions` and `MakeRendition` raise.
        """
        found = await self._find(request, route, anew=anew)
        if not isinstance(found, Wanted):
            return found
        await self.make(found)
        # What was granted may have ended while it was made: everything is judged anew.
        found = await self._find(request, route, anew=True)
        if isinstance(found, Wanted):
            raise Unavailable("The rendition ended as soon as it was made.")
        return found

    def _negotiate(self, name: str, media_type: str, accept: str | None) -> Format | None:
        preset = self.policies.preset(name)
        formats = () if preset is None else offered(preset, media_type)
        return negotiate(accept, formats) if formats else None

    async def _find(self, request: Request, route: PresetRoute, *, anew: bool) -> Known | Refusal | Wanted:
        parent = await self.permissions.judge(request, anew=anew)
        if isinstance(parent, Refusal):
            return parent
        started = perf_counter()
        try:
            return await self._of(parent, route, request.headers.get("accept"), anew=anew)
        finally:
            request.timing.db += perf_counter() - started

    async def _of(
        self, parent: Known, route: PresetRoute, accept: str | None, *, anew: bool
    ) -> Known | Refusal | Wanted:
        preset = self.policies.preset(route.preset or "")
        chosen = None if preset is None else _choose(route, preset, parent.grant.content.media_type, accept)
        what = _what(route, chosen)
        known = None if anew or what is None else self.permissions.grants.get((what, parent.asker))
        if known is not None:
            return known
        reuse = None if preset is None else await self._reuse(parent, preset)
        if preset is None or reuse is None:
            raise NotFound(self._not_offered(parent, route))
        if chosen is None or what is None:
            raise NotFound(_none_such(route, preset, parent.grant.content.media_type))
        wanted = Wanted(parent.grant.content, preset, chosen)
        rendition = await self.make.find(wanted)
        if rendition is None:
            return wanted
        if rendition.hold is not None:
            return on_hold(rendition.hold)
        variant = Variant(parent.grant.content.sha256, preset.name, chosen, negotiated=route.extension is None)
        grant = replace(parent.grant, content=rendition.content, reuse=reuse, variant=variant)
        return self.permissions.grants.add_variant(what, parent, grant, whole(grant))

    def _not_offered(self, parent: Known, route: PresetRoute) -> str:
        """What those who may have the parent are told."""
        media = parent.grant.media
        if media is None:
            return f"No ref that you may know of shows these bytes in a role with the preset {route.preset}."
        policy = self.policies.find(media.entity_type, media.role)
        names = ", ".join(policy.presets if policy is not None else ()) or "none"
        return f"{media.entity_type}/{media.role} has no preset {route.preset}; it has: {names}."

    async def _reuse(self, parent: Known, preset: Preset) -> Reuse | None:
        """How the answer may be kept; None where no ref that the caller may know of admits the preset."""
        grant = parent.grant
        if grant.media is not None:
            policy = self.policies.find(grant.media.entity_type, grant.media.role)
            return grant.reuse if policy is not None and preset.name in policy.presets else None
        workspace = parent.asker if isinstance(parent.asker, str) else None
        roles = self.policies.admitting(preset.name)
        admission = await self.permissions.descriptors.admission(grant.content.sha256, workspace, roles)
        if admission.public:
            return Reuse.SHARED
        return Reuse.NEVER if admission.own else None


def _choose(route: PresetRoute, preset: Preset, media_type: str, accept: str | None) -> Format | None:
    formats = offered(preset, media_type)
    if route.extension is not None:
        return by_extension(route.extension, formats)
    return negotiate(accept, formats) if formats else None


def _what(route: PresetRoute, chosen: Format | None) -> What | None:
    if chosen is None or route.name is None or route.preset is None:
        return None
    return route.what or (route.name, route.preset, chosen)


def _none_such(route: PresetRoute, preset: Preset, media_type: str) -> str:
    formats = offered(preset, media_type)
    if not formats:
        return f"No picture can be made of these bytes, {media_type}."
    extensions = ", ".join(each.extension for each in formats)
    return f"The preset {preset.name} does not come as {route.extension} of these bytes, but as {extensions}."
