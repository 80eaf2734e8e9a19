"""Several changes of refs, all of them or none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from service.application.changes import Command, Rules
from service.application.normalise import Normalise
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import BatchOutcome, RefLedger


@dataclass(frozen=True, slots=True)
class ChangeRefs:
    """Carry out commands in their order, in one transaction."""

    refs: RefLedger
    rules: Rules
    normalise: Normalise

    @observed("ref.batch", layer="usecase")
    async def __call__(
        self, workspace: str, commands: Sequence[Command], claim: Claim[BatchOutcome] | None = None
    ) -> BatchOutcome | Replay:
        """The outcome of each, durable on return.

        Raises what the first of them that fails raises, with its `index`; then none has happened.
        """
        ready = await self.normalise.batch(workspace, commands, claim)
        if isinstance(ready, Replay):
            return ready
        return await self.refs.change_all(workspace, [self.rules.change(command) for command in ready], claim)
