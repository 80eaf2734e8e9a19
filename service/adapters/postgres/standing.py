"""Who publishes what was put into a store says in which epoch it saw whose the store is; see decision 035."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from service.adapters.postgres.database import Row
from service.adapters.postgres.errors import StoreInDoubt
from service.ports.moves import Standing

EPOCH: Final = "(SELECT store_epoch FROM sentinel) AS store_epoch"
"""To be read by the statement that locks the object's row: the lock comes first, so that who closes a store waits for
this transaction, or this one sees it closed."""

T = TypeVar("T")


class NeverMoved:
    """A process that puts nothing into a store once its database has been moved to another."""

    epoch = 0

    async def renew(self) -> None:
        """Nobody can tell whose the store is."""


NEVER_MOVED: Final = NeverMoved()


def require_standing(load: Row, standing: Standing) -> None:
    """Raise `StoreInDoubt` where the store was moved on since this process looked last."""
    if load["store_epoch"] != standing.epoch:
        raise StoreInDoubt("The store is being moved; another try may find it.")


async def published_in(standing: Standing, publish: Callable[[], Awaitable[T]]) -> T:
    """What `publish` says; a store in doubt is looked at outside of any transaction, and then it has one more try."""
    try:
        return await publish()
    except StoreInDoubt:
        await standing.renew()
        return await publish()
