"""Whether a request may have bytes: by what everyone may see, by a key's workspace, or by a signed address."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from time import perf_counter, time
from uuid import UUID

from service.delivery.access import Grant, Refusal, judge_blob, judge_media, judge_signed
from service.delivery.answer import Request
from service.delivery.headers import whole
from service.delivery.known import Asker, Known, KnownGrants
from service.delivery.routes import Name
from service.domain.signature import Signatures
from service.ports.descriptors import Descriptors

Reader = Callable[[Mapping[str, str]], Awaitable[str | None]]
"""From request headers (lower-case names) to the workspace whose bytes the caller may read, None where there is none.

Raises `Unauthorized` for a bad key, or another `RefkeepError`: each is answered as its problem.
"""

_SIGNED = "signature="


@dataclass(frozen=True, slots=True)
class Permissions:
    """Judges requests; `clock` tells the seconds since 1970 by which signed addresses end."""

    descriptors: Descriptors
    reader: Reader
    grants: KnownGrants
    signatures: Signatures = field(default_factory=Signatures)
    clock: Callable[[], float] = time

    async def judge(self, request: Request, *, anew: bool = False) -> Known | Refusal:
        """What may be sent, `anew` without looking at what is remembered.

        A signature that does not hold is a refusal, whatever a key or everyone may see.

        Raises what `reader` raises, and `Unavailable`.
        """
        started = perf_counter()
        try:
            asker = await self.reader(request.headers) or Asker.ANYONE
            if _SIGNED in request.query:
                asker = Asker.SIGNED
            name = request.route.name
            if name is None or (asker is Asker.SIGNED and not self.seconds_left(request)):
                return Refusal.NOT_FOUND
            known = None if anew else self.grants.get((name, asker))
            return known or await self._look_up(name, asker)
        finally:
            request.timing.db = perf_counter() - started

    def seconds_left(self, request: Request) -> float:
        """How long the signed address of the request holds; 0 where it does not."""
        now = self.clock()
        expiry = self.signatures.expiry(request.signed_path, request.query, now)
        return 0 if expiry is None else expiry - now

    async def _look_up(self, name: Name, asker: str | Asker) -> Known | Refusal:
        since = self.grants.now()
        verdict = await self._ask(name, asker)
        if isinstance(verdict, Refusal):
            return verdict
        known = self.grants.renew((name, asker), verdict, since)
        return known or self.grants.add((name, asker), verdict, whole(verdict), since)

    async def _ask(self, name: Name, asker: str | Asker) -> Grant | Refusal:
        workspace = None if isinstance(asker, Asker) else asker
        if not isinstance(name, UUID):
            # Only files of refs are signed: what is signed must end with a release.
            return judge_blob(await self.descriptors.of_blob(name, workspace))
        media = await self.descriptors.of_ref(name, workspace)
        return judge_signed(media) if asker is Asker.SIGNED else judge_media(media)
