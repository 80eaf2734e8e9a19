"""Everything that handlers call, built by the composition root and handed to each of them as `use`."""

from __future__ import annotations

from dataclasses import dataclass

from service.application.attach_blob import AttachBlob
from service.application.attach_bytes import AttachBytes
from service.application.await_events import AwaitEvents
from service.application.change_refs import ChangeRefs
from service.application.confirm_holding import ConfirmHolding
from service.application.describe_blob import DescribeBlob
from service.application.explain_blob import ExplainBlob
from service.application.find_missing import FindMissing
from service.application.follow_events import FollowEvents
from service.application.get_hold import GetHold
from service.application.get_media import GetMedia
from service.application.get_workspace import GetWorkspace
from service.application.give_up_holding import GiveUpHolding
from service.application.grant_holding import GrantHolding
from service.application.lift_hold import LiftHold
from service.application.list_events import ListEvents
from service.application.list_media import ListMedia
from service.application.list_refs import ListRefs
from service.application.place_hold import PlaceHold
from service.application.purge_media import PurgeMedia
from service.application.put_workspace import PutWorkspace
from service.application.release_media import ReleaseMedia
from service.application.release_refs import ReleaseRefs
from service.application.release_slot import ReleaseSlot
from service.application.reorder_role import ReorderRole
from service.application.restore_media import RestoreMedia
from service.application.revise_media import ReviseMedia
from service.application.sign_media import SignMedia
from service.application.sign_media_list import SignMediaList
from service.application.take_snapshot import TakeSnapshot
from service.application.upload_blob import UploadBlob
from service.domain.policy import Policies
from service.router.callers import Callers
from service.schemas.media import Presenter


@dataclass(frozen=True, slots=True)
class UseCases:
    """The use cases, and what handlers need beside them.

    Who calls, what a document looks like, how much may come in.
    """

    callers: Callers
    present: Presenter
    policies: Policies
    max_upload_bytes: int
    upload_blob: UploadBlob
    confirm_holding: ConfirmHolding
    find_missing: FindMissing
    describe_blob: DescribeBlob
    give_up_holding: GiveUpHolding
    grant_holding: GrantHolding
    attach_blob: AttachBlob
    attach_bytes: AttachBytes
    release_slot: ReleaseSlot
    list_refs: ListRefs
    reorder_role: ReorderRole
    release_refs: ReleaseRefs
    change_refs: ChangeRefs
    get_media: GetMedia
    list_media: ListMedia
    release_media: ReleaseMedia
    revise_media: ReviseMedia
    restore_media: RestoreMedia
    purge_media: PurgeMedia
    sign_media: SignMedia
    sign_media_list: SignMediaList
    list_events: ListEvents
    await_events: AwaitEvents
    follow_events: FollowEvents
    take_snapshot: TakeSnapshot
    explain_blob: ExplainBlob
    place_hold: PlaceHold
    lift_hold: LiftHold
    get_hold: GetHold
    get_workspace: GetWorkspace
    put_workspace: PutWorkspace
