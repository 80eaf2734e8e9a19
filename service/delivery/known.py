"""What delivery knows already: who may have what, for a moment, and the answers that follow from it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum, auto
from time import monotonic

from service.delivery.access import Grant
from service.delivery.asgi import Headers
from service.delivery.routes import What
from service.delivery.routine import Routine
from service.domain.health import Health


class Asker(Enum):
    """Who asks without a key."""

    ANYONE = auto()
    SIGNED = auto()


Asked = tuple[What, str | Asker]
"""What is asked for, and who asks: a workspace by its slug, or nobody in particular."""


@dataclass(slots=True)
class Known:
    """A grant with the headers of its 200, as far as they do not depend on the request.

    `routine` is the answer to ordinary requests for it, once its bytes were found.
    """

    grant: Grant
    headers: Headers
    until: float
    asker: str | Asker
    routine: Routine | None = None


class KnownGrants:
    """Grants of the last `ttl` seconds, the latest `most` of them. An absence or a refusal is never remembered.

    So what was attached a moment ago is served at once everywhere, while a hold or a release takes up to `ttl`.
    """

    def __init__(self, ttl: float, clock: Callable[[], float] = monotonic, most: int = 20_000) -> None:
        self._ttl, self._clock, self._most = ttl, clock, most
        self._known: OrderedDict[Asked, Known] = OrderedDict()

    def get(self, asked: Asked) -> Known | None:
        """What was granted on this question, None where that is not known or too long ago."""
        known = self._known.get(asked)
        return known if known is not None and known.until > self._clock() else None

    def now(self) -> float:
        """The time that `add` wants: take it before the facts are asked for."""
        return self._clock()

    def add(self, asked: Asked, grant: Grant, headers: Headers, since: float) -> Known:
        """Remember a grant whose facts were asked for at `since`; bytes that wait to be healed are not remembered."""
        return self._keep(asked, Known(grant, headers, since + self._ttl, asked[1]))

    def renew(self, asked: Asked, grant: Grant, since: float) -> Known | None:
        """What was known of a grant that has just been asked for again, at `since`; None where it was none or another.

        Headers and routine follow from the grant alone: they outlast the time for which it was remembered.
        """
        known = self._known.get(asked)
        if known is None or known.grant != grant:
            return None
        known.until = since + self._ttl
        self._known.move_to_end(asked)
        return known

    def add_variant(self, what: What, parent: Known, grant: Grant, headers: Headers) -> Known:
        """Remember a rendition for as long as what its parent grants is remembered."""
        return self._keep((what, parent.asker), Known(grant, headers, parent.until, parent.asker))

    def _keep(self, asked: Asked, known: Known) -> Known:
        if known.grant.content.health is not Health.OK:
            return known
        self._known[asked] = known
        self._known.move_to_end(asked)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return known
