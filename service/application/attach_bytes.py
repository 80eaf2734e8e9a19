"""Upload and attach in one request: two use cases, and bytes that would be refused are not kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from service.application.attach_blob import AttachBlob
from service.application.upload_blob import Received, Upload, UploadBlob
from service.domain.blob import Blob, Sha256
from service.domain.decision import Attach, Decision, RoleState, reject
from service.domain.errors import Rejected
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefOutcome, RoleQuestion


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
        """The outcome of the attach. Raises what either use case raises.

        What can be refused is refused before the bytes are kept. Where the role changes between then and the attach,
        they stay for their lease: another request may have been told meanwhile that the workspace holds them.
        """
        rehearsing = False

        async def admit(received: Received) -> Replay | None:
            nonlocal rehearsing
            rehearsing = True
            replay = await self._rehearse(target.command(received.sha256), received, claim)
            rehearsing = False
            return replay

        try:
            uploaded = await self.upload(replace(self._limited(upload, target), keyed=claim is not None), admit=admit)
        except Rejected as error:
            if not rehearsing:
                await self._record(upload, target, error)
            raise
        if isinstance(uploaded, Replay):
            return uploaded
        sha256 = uploaded.blob.sha256
        return await self.attach(target.command(sha256), None if claim is None else claim.about(sha256))

    def _limited(self, upload: Upload, target: Target) -> Upload:
        """Not a byte more than the policy takes. Raises `PolicyUnknown` before any is read."""
        policy = self.attach.rules.policies.of(target.entity.type, target.role)
        return replace(upload, max_bytes=min(upload.max_bytes, policy.max_bytes or upload.max_bytes))

    async def _rehearse(self, command: Attach, received: Received, claim: Claim[RefOutcome] | None) -> Replay | None:
        """Judge the attach as if the bytes were held: a refusal is recorded and raised before they are kept."""
        change = self.attach.rules.change(command)

        def judge(state: RoleState) -> Decision:
            blob = Blob(received.sha256, received.size, received.media, state.now)
            return change.judge(replace(state, blob=blob))

        about = None if claim is None else claim.about(received.sha256)
        question = RoleQuestion(command.entity, command.role, command.position, command.sha256)
        return await self.attach.refs.rehearse(question, judge, about)

    async def _record(self, upload: Upload, target: Target, error: Rejected) -> None:
        """Put a refusal on record that the upload came to, about whole bytes or not; raises it again."""

        def judge(state: RoleState) -> Decision:
            return reject(state, target.entity, target.role, upload.actor, error)

        await self.attach.refs.change(RoleQuestion(target.entity, target.role, None, None), judge)
