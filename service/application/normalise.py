"""Pictures are made to comply with the policy of their role before a ref shows them: upright, small enough, bare."""

from __future__ import annotations

import asyncio
import hashlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace

from service.application.at_hand import at_hand
from service.application.changes import Command, Rules, attach_question
from service.application.upload_blob import Upload, UploadBlob
from service.domain.blob import Blob, MediaInfo, Sha256
from service.domain.decision import Attach, Decision, RoleState, decide_admission, reject
from service.domain.errors import BlobNotHeld, OnHold, RefkeepError, Rejected, operation
from service.domain.event import DecisionKind, HoldingEvent
from service.domain.health import Health
from service.domain.holding_decision import HoldingState, decide_renewal
from service.domain.policy import Policy, normalisation_for, refusal_of
from service.domain.rendition import Normalisation
from service.observability import observed
from service.ports.descriptors import Descriptors, ServableBytes
from service.ports.idempotency import Claim, Replay
from service.ports.normalisations import Normalisations
from service.ports.refs import BatchOutcome, RefLedger, RefOutcome, RoleJudge
from service.ports.renderer import Rendered, Renderer


@dataclass(frozen=True, slots=True)
class Normalise:
    """What goes before an attach: `command.sent` says afterwards that it was done.

    Each workspace makes its own, also of what others have sent, too: how long it takes tells nothing about them.
    """

    rules: Rules
    refs: RefLedger
    upload: UploadBlob
    descriptors: Descriptors
    renderer: Renderer
    memory: Normalisations
    at_once: int = 1

    async def attach(self, command: Attach, claim: Claim[RefOutcome] | None = None) -> Attach | Replay:
        """The command for what the ref will show, or the answer of a request that was carried out before.

        What the policy refuses is on record before anything is decoded. Raises what `RefLedger.rehearse` and `held`
        raise; a reject is on record.
        """
        if command.sent is not None or self._policy(command) is None:
            return command
        found: list[Blob | None] = []

        def judge(state: RoleState) -> Decision:
            found.append(state.blob)
            return decide_admission(state, command, self.rules.policies)

        if (replay := await self.refs.rehearse(attach_question(command), judge, claim)) is not None:
            return replay
        blob = found[-1]
        return command if blob is None else await self._held_on_record(command, blob)

    async def batch(
        self, workspace: str, commands: Sequence[Command], claim: Claim[BatchOutcome] | None = None
    ) -> Sequence[Command] | Replay:
        """The same for many, `at_once` at a time; the error of the first that fails is on record, with its `index`.

        What is not held or refused by itself is left as it is, for the ledger to refuse. After a failure none is begun.
        """
        asked = [command for command in commands if isinstance(command, Attach) and self._policy(command) is not None]
        if not asked:
            return commands
        if claim is not None:
            replay = await self.refs.rehearse(attach_question(asked[0]), lambda _: Decision(DecisionKind.NOOP), claim)
            if replay is not None:
                return replay
        return await _Batch(self, workspace, list(commands)).run()

    async def held(self, command: Attach, blob: Blob) -> Attach:
        """The command for bytes that the workspace holds.

        Raises `BlobNotHeld` where they ended meanwhile, the `Rejected` of bytes of which nothing can be made or
        that are on hold, what `at_hand` raises, and what an upload raises.
        """
        workspace, wanted = command.entity.workspace, self.wanted(command, blob.media)
        if wanted is None:
            return replace(command, sent=blob.sha256)
        definition = wanted.definition(self.renderer.engine)
        result = await self._recalled(command, definition)
        if result is None:
            result = await self._make(command, blob, wanted)
            await self.memory.remember(workspace, blob.sha256, definition, result)
        return replace(command, sha256=result, sent=blob.sha256)

    @observed("rendition.normalise", layer="usecase")
    async def _make(self, command: Attach, blob: Blob, wanted: Normalisation) -> Sha256:
        """The name of what complies: of other bytes, which the workspace holds then, or of these as they are."""
        content = await self._content(command.entity.workspace, blob.sha256)
        async with at_hand(self.upload.storage, content) as path:
            rendered = await self.renderer.normalise(path, blob.media.media_type, wanted)
        return blob.sha256 if rendered is None else await self.keep(command, rendered)

    def wanted(self, command: Attach, media: MediaInfo) -> Normalisation | None:
        """What the bytes of a command are made to comply with; None where they are shown as they were sent."""
        policy = self._policy(command)
        return None if policy is None else normalisation_for(policy, media)

    async def keep(self, command: Attach, rendered: Rendered) -> Sha256:
        """Give the workspace what was made for it, as if it had sent it; returns its name."""

        async def chunks() -> AsyncIterator[bytes]:
            yield rendered.content

        name, size = name_of(rendered), len(rendered.content)
        await self.upload(Upload(command.entity.workspace, command.actor, chunks(), size, size, name))
        return name

    def _policy(self, command: Attach) -> Policy | None:
        """The policy of the role, if it has something to comply with."""
        policy = self.rules.policies.find(command.entity.type, command.role)
        return None if policy is None or policy.normalisation is None else policy

    async def one_of_many(self, workspace: str, command: Attach) -> Attach:
        """As `held`, of what the policy does not refuse; what it does, or is not held, is left as it is."""
        policy = self._policy(command)
        blob = None if policy is None else await self.upload.blobs.find(workspace, command.sha256)
        if policy is None or blob is None or refusal_of(policy, blob.size, blob.media) is not None:
            return command
        return await self.held(command, blob)

    async def record(self, command: Attach, error: RefkeepError) -> None:
        """Put on record that nothing can be made of the bytes, if that is what the error says."""
        if isinstance(error, Rejected):
            with suppress(Rejected):
                await self.refs.change(attach_question(command), _rejecting(command, error))

    async def _held_on_record(self, command: Attach, blob: Blob) -> Attach:
        try:
            return await self.held(command, blob)
        except Rejected as error:
            await self.record(command, error)
            raise

    async def _recalled(self, command: Attach, definition: str) -> Sha256 | None:
        """What was made of it before, if it will not end before the attach."""
        workspace, lease = command.entity.workspace, self.rules.lifetimes.holding
        result = await self.memory.recall(workspace, command.sha256, definition)
        if result is None or result == command.sha256:
            return result

        def judge(state: HoldingState) -> HoldingEvent | None:
            long_enough = state.holding is None or state.holding.lease_until - state.now > lease / 2
            return None if long_enough else decide_renewal(state, lease, command.actor)

        return result if result in await self.upload.blobs.renew(workspace, [result], judge) else None

    async def _content(self, workspace: str, sha256: Sha256) -> ServableBytes:
        found = await self.descriptors.of_blob(sha256, workspace)
        if found is None or not found.held or found.content.health is not Health.OK:
            raise BlobNotHeld(sha256)
        if found.hold is not None:
            raise OnHold
        return found.content


@dataclass(slots=True)
class _Batch:
    """Commands on their way to be ready, each in its place. The same bytes are made to comply by one at a time."""

    use: Normalise
    workspace: str
    commands: list[Command]
    faults: dict[int, tuple[Attach, RefkeepError]] = field(default_factory=dict)
    locks: defaultdict[Sha256, asyncio.Lock] = field(default_factory=lambda: defaultdict(asyncio.Lock))

    async def run(self) -> Sequence[Command]:
        """What fails is begun after all that lies before it: who is quicker does not decide what is raised."""
        attaches = iter([(index, each) for index, each in enumerate(self.commands) if isinstance(each, Attach)])
        async with asyncio.TaskGroup() as group:
            for _ in range(self.use.at_once):
                group.create_task(self._some(attaches))
        if self.faults:
            command, error = self.faults[min(self.faults)]
            await self.use.record(command, error)
            raise error
        return self.commands

    async def _some(self, attaches: Iterator[tuple[int, Attach]]) -> None:
        for index, command in attaches:
            if self.faults:
                return
            try:
                with operation(index):
                    async with self.locks[command.sha256]:
                        self.commands[index] = await self.use.one_of_many(self.workspace, command)
            except RefkeepError as error:
                self.faults[index] = command, error


def name_of(rendered: Rendered) -> Sha256:
    """The name of bytes that were made here."""
    return Sha256(hashlib.sha256(rendered.content).hexdigest())


def _rejecting(command: Attach, error: Rejected) -> RoleJudge:
    return lambda state: reject(state, command.entity, command.role, command.actor, error, command.sha256)
