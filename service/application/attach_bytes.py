"""Upload and attach in one request: two use cases, and bytes that would be refused are not kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Final

from service.application.attach_blob import AttachBlob
from service.application.changes import attach_question
from service.application.normalise import name_of
from service.application.upload_blob import Received, Upload, UploadBlob
from service.domain.blob import Blob, Sha256
from service.domain.decision import Attach, Decision, RoleState, decide_admission, reject
from service.domain.errors import Rejected
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefOutcome, RoleJudge, RoleQuestion

_NOT_KEPT: Final = Replay(b"")
"""As if it had been done before: what was made of the bytes is kept in their place."""


@dataclass(frozen=True, slots=True)
class Target:
    """The role that the bytes are for, and the command as soon as they have a name."""

    entity: EntityKey
    role: str
    command: Callable[[Sha256], Attach]


@dataclass(frozen=True, slots=True)
class AttachBytes:
    """Keep the bytes of an upload and fill a slot with them."""

    upload: UploadBlob
    attach: AttachBlob

    @observed("ref.put", layer="usecase")
    async def __call__(
        self, upload: Upload, target: Target, claim: Claim[RefOutcome] | None = None
    ) -> RefOutcome | Replay:
        """The outcome of the attach. Raises what either use case raises, and the renderer.

        What can be refused is refused before the bytes are kept. Where the role changes between then and the attach,
        they stay for their lease: another request may have been told meanwhile that the workspace holds them. Of a
        picture that had to be made to comply, only what the policy says is kept of what was sent.
        """
        passage = _Passage(self, target, claim)
        try:
            await self.upload(self._limited(upload, target, claim), admit=passage.admit)
        except Rejected as error:
            if not passage.is_rehearsing:
                await self._record(upload, target, error)
            raise
        return passage.end if isinstance(passage.end, Replay) else await self.attach(passage.end, passage.claim)

    def _limited(self, upload: Upload, target: Target, claim: Claim[RefOutcome] | None) -> Upload:
        """Not a byte more than the policy takes. Raises `PolicyUnknown` before any is read."""
        policy = self.attach.rules.policies.of(target.entity.type, target.role)
        may_be_dropped = policy.normalisation is not None and not policy.keep_original
        max_bytes = min(upload.max_bytes, policy.max_bytes or upload.max_bytes)
        return replace(upload, max_bytes=max_bytes, keyed=claim is not None or may_be_dropped)

    async def _record(self, upload: Upload, target: Target, error: Rejected) -> None:
        """Put a refusal on record that the upload came to, about whole bytes or not; raises it again."""

        def judge(state: RoleState) -> Decision:
            return reject(state, target.entity, target.role, upload.actor, error)

        await self.attach.refs.change(RoleQuestion(target.entity, target.role, None, None), judge)


@dataclass(slots=True)
class _Passage:
    """Bytes between their arrival and their attach.

    `end` is what comes of them, as soon as they were admitted: the attach, for which `claim` is, or the answer of a
    request that was carried out before.
    """

    use: AttachBytes
    target: Target
    asked: Claim[RefOutcome] | None
    claim: Claim[RefOutcome] | None = None
    is_rehearsing: bool = False
    end: Attach | Replay = field(init=False)

    async def admit(self, received: Received) -> Replay | None:
        """Refuse, on the record, or make what the ref will show; a replay means that these bytes are not kept."""
        self.claim = None if self.asked is None else self.asked.about(received.sha256)
        command, normalise = self.target.command(received.sha256), self.use.attach.normalise
        wanted = normalise.wanted(command, received.media)
        if wanted is None:
            return await self._end(replace(command, sent=received.sha256), received)
        if (replay := await self._end(command, received, self._admission(command))) is not None:
            return replay
        rendered = await normalise.renderer.normalise(received.path, received.media.media_type, wanted)
        if rendered is None:
            return await self._end(replace(command, sent=received.sha256), received)
        made = Received(name_of(rendered), len(rendered.content), rendered.media, received.path)
        ready = replace(command, sha256=made.sha256, sent=received.sha256)
        if (replay := await self._end(ready, made)) is not None:
            return replay
        policy = self.use.attach.rules.policies.of(command.entity.type, command.role)
        if policy.keep_original:  # what was made is no use to anyone without it, and would be charged all the same
            both = {made.sha256: made.size, received.sha256: received.size}
            await self.use.upload.require_room_for_all(command.entity.workspace, both)
        await normalise.keep(ready, rendered)
        return None if policy.keep_original else _NOT_KEPT

    def _admission(self, command: Attach) -> RoleJudge:
        return lambda state: decide_admission(state, command, self.use.attach.rules.policies)

    async def _end(self, command: Attach, received: Received, judge: RoleJudge | None = None) -> Replay | None:
        """Judge as if the bytes were held: a refusal is recorded and raised before they are kept."""
        judge = judge or self.use.attach.rules.change(command).judge

        def judged(state: RoleState) -> Decision:
            blob = Blob(received.sha256, received.size, received.media, state.now)
            return judge(replace(state, blob=blob))

        self.is_rehearsing = True
        replay = await self.use.attach.refs.rehearse(attach_question(command), judged, self.claim)
        self.is_rehearsing, self.end = False, replay or command
        return replay
