"""Upload and attach in one request: two use cases, and bytes that would be refused are not kept."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from service.application.attach_blob import AttachBlob
from service.application.upload_blob import Received, Upload, UploadBlob
from service.domain.blob import Blob, Sha256
from service.domain.decision import Attach, Decision, RoleState, decide_attach, reject
from service.domain.errors import BlobInUse, NotFound, RefkeepError, Rejected
from service.domain.event import DecisionKind
from service.domain.slot import EntityKey
from service.observability import observed
from service.ports.blobs import BlobLedger, BlobOutcome
from service.ports.idempotency import Claim, Replay
from service.ports.refs import RefOutcome, RoleQuestion


@dataclass(frozen=True, slots=True)
class Target:
    """The role that the bytes are for, and the command as soon as they have a name."""

    entity: EntityKey
    role: str
    command: Callable[[Sha256], Attach]


class _Admitted(Exception):
    """Ends a rehearsal: the attach would be carried out now."""


@dataclass(frozen=True, slots=True)
class AttachBytes:
    """Keep the bytes of an upload and fill a slot with them."""

    upload: UploadBlob
    attach: AttachBlob
    blobs: BlobLedger

    @observed("ref.put", layer="usecase")
    async def __call__(
        self, upload: Upload, target: Target, claim: Claim[RefOutcome] | None = None
    ) -> RefOutcome | Replay:
        """The outcome of the attach. Raises what either use case raises.

        After a refusal the workspace holds no more than before.
        """
        rehearsing = False

        async def admit(received: Received) -> Replay | None:
            nonlocal rehearsing
            rehearsing = True
            replay = await self._rehearse(target.command(received.sha256), received, claim)
            rehearsing = False
            return replay

        try:
            uploaded = await self.upload(self._limited(upload, target), admit=admit)
        except Rejected as error:
            if not rehearsing:
                await self._record(upload, target, error)
            raise
        if isinstance(uploaded, Replay):
            return uploaded
        return await self._attach(upload, target, uploaded, claim)

    def _limited(self, upload: Upload, target: Target) -> Upload:
        """Not a byte more than the policy takes. Raises `PolicyUnknown` before any is read."""
        policy = self.attach.policies.of(target.entity.type, target.role)
        return replace(upload, max_bytes=min(upload.max_bytes, policy.max_bytes or upload.max_bytes))

    async def _attach(
        self, upload: Upload, target: Target, uploaded: BlobOutcome, claim: Claim[RefOutcome] | None
    ) -> RefOutcome | Replay:
        sha256 = uploaded.blob.sha256
        try:
            return await self.attach(target.command(sha256), None if claim is None else claim.about(sha256))
        except RefkeepError:
            await self._give_back(upload, uploaded)
            raise

    async def _rehearse(self, command: Attach, received: Received, claim: Claim[RefOutcome] | None) -> Replay | None:
        """Judge the attach as if the bytes were held: a refusal is recorded and raised before they are kept."""

        def judge(state: RoleState) -> Decision:
            blob = Blob(received.sha256, received.size, received.media, state.now)
            policies, trash = self.attach.policies, self.attach.lifetimes.trash
            decision = decide_attach(replace(state, blob=blob), command, policies, trash)
            if decision.error is None:
                raise _Admitted
            return decision

        question = RoleQuestion(command.entity, command.role, command.position, command.sha256)
        about = None if claim is None else claim.about(received.sha256)
        try:
            outcome = await self.attach.refs.change(question, judge, about)
        except _Admitted:
            return None
        return outcome if isinstance(outcome, Replay) else None

    async def _record(self, upload: Upload, target: Target, error: Rejected) -> None:
        """Put a refusal on record that came before the bytes were whole; raises it again."""

        def judge(state: RoleState) -> Decision:
            return reject(state, target.entity, target.role, upload.actor, error)

        await self.attach.refs.change(RoleQuestion(target.entity, target.role, None, None), judge)

    async def _give_back(self, upload: Upload, uploaded: BlobOutcome) -> None:
        """Something changed between rehearsal and attach.

        What this request brought in goes again, unless a ref needs it.
        """
        if uploaded.decision is not DecisionKind.INSERT:
            return
        try:
            await self.blobs.release(upload.workspace, uploaded.blob.sha256, upload.actor)
        except (BlobInUse, NotFound):
            return
