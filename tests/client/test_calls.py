"""Each call against the real service: what it does, what it answers, what it raises."""

from __future__ import annotations

from asyncio import to_thread
from hashlib import sha256
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from refkeep_client import (
    AppendRef,
    BlobNotHeld,
    Conflict,
    Decision,
    EntityKey,
    Forbidden,
    Gone,
    IdempotencyConflict,
    NotFound,
    OrderRefs,
    Original,
    Patch,
    PreconditionRequired,
    PutRef,
    QuotaExceeded,
    Ref,
    Refkeep,
    Rejected,
    Release,
    Restore,
    SlotKey,
    Unauthorized,
    VersionConflict,
)
from tests import samples
from tests.parts.service import Refkeep as Service

pytestmark = pytest.mark.anyio

COVER = SlotKey("book", "42", "cover")
FILES = EntityKey("document", "7").role("file")


async def sent(refkeep: Refkeep, *contents: bytes) -> list[str]:
    return [(await refkeep.blobs.send(content)).blob.sha256 for content in contents]


async def test_bytes_are_sent_described_explained_and_given_up(refkeep: Refkeep) -> None:
    picture = samples.png()
    first, second = await refkeep.blobs.send(picture, media_type="image/png"), await refkeep.blobs.send(picture)
    assert (first.decision, second.decision) == (Decision.INSERT, Decision.DUPLICATE)
    assert first.blob == second.blob
    assert (first.blob.sha256, first.blob.size) == (sha256(picture).hexdigest(), len(picture))
    assert (first.blob.media_type, first.blob.readable) == ("image/png", True)
    other = "0" * 64
    assert await refkeep.blobs.missing([other, first.blob.sha256]) == (other,)
    meta = await refkeep.blobs.meta(first.blob.sha256)
    assert (meta.sha256, meta.width, meta.refs) == (first.blob.sha256, first.blob.width, ())
    assert [reason.kind for reason in (await refkeep.blobs.why(meta.sha256)).reasons] == ["holding"]
    await refkeep.blobs.delete(meta.sha256)
    for call in (refkeep.blobs.meta(meta.sha256), refkeep.blobs.why(meta.sha256), refkeep.blobs.delete(meta.sha256)):
        with pytest.raises(NotFound):
            await call


async def test_bytes_in_use_are_not_given_up(refkeep: Refkeep) -> None:
    attached = await refkeep.refs.put(FILES.slot(), b"in use")
    with pytest.raises(Conflict) as raised:
        await refkeep.blobs.delete(attached.ref.blob.sha256)
    assert raised.value.code == "blob-in-use"
    assert [ref.ref_id for ref in (await refkeep.blobs.meta(attached.ref.blob.sha256)).refs] == [attached.ref.ref_id]


async def whole(refkeep: Refkeep, ref: Ref, folder: Path) -> bytes:
    """What a ref shows."""
    await refkeep.media.download(ref.ref_id, folder / "shown")
    return (folder / "shown").read_bytes()


async def test_a_cover_is_put_replaced_and_put_again(refkeep: Refkeep, tmp_path: Path) -> None:
    hashes = await sent(refkeep, samples.png(), samples.jpeg())
    first = await refkeep.refs.put(COVER, hashes[0], alt="A first cover", filename="ä cover.png", owner="me")
    assert (first.decision, first.entity.version, first.replaced) == ("insert", 1, None)
    assert (first.ref.alt, first.ref.filename, first.ref.owner) == ("A first cover", "ä cover.png", "me")
    assert (first.ref.state, first.ref.visibility, first.ref.position) == ("live", "public", 0)
    second = await refkeep.refs.put(COVER, samples.jpeg(), alt="A better – cover & more", media_type="image/jpeg")
    assert (second.decision, second.entity.version) == ("replace", 2)
    assert (second.ref.alt, second.ref.original) == ("A better – cover & more", Original(sha256=hashes[1], kept=True))
    assert second.ref.blob.placeholder is not None
    assert second.replaced is not None
    assert (second.replaced.ref_id, second.replaced.state) == (first.ref.ref_id, "trashed")
    again = await refkeep.refs.put(COVER, hashes[1], alt="A better – cover & more")
    assert (again.decision, again.ref.ref_id, again.event) == ("noop", second.ref.ref_id, None)
    shown = await refkeep.refs.put(COVER, await whole(refkeep, second.ref, tmp_path))
    assert (shown.decision, shown.ref) == ("noop", again.ref), "what it was made of stays"


async def test_a_list_is_appended_inserted_ordered_and_released(refkeep: Refkeep) -> None:
    a, b, c = await sent(refkeep, b"a", b"b", b"c")
    first = (await refkeep.refs.append(FILES, a)).ref
    appended = await refkeep.refs.append(FILES, b"c")
    last = appended.ref
    middle = (await refkeep.refs.insert(FILES.slot(1), b, if_match=appended.entity.version)).ref
    listed = await refkeep.refs.get(FILES)
    assert [ref.blob.sha256 for ref in listed.items] == [a, b, c]
    assert listed.entity.version == 3
    turned: list[UUID | str] = [last.ref_id, middle.ref_id, str(first.ref_id)]
    ordered = await refkeep.refs.order(FILES, turned, if_match=3)
    assert (ordered.decision, ordered.entity.version) == ("reorder", 4)
    released = await refkeep.refs.release(FILES.slot(0), if_match=4)
    assert (released.decision, released.ref and released.ref.ref_id) == ("release", last.ref_id)
    assert [ref.ref_id for ref in (await refkeep.refs.get(FILES.entity)).items] == [middle.ref_id, first.ref_id]
    role = await refkeep.refs.release(FILES)
    assert {ref.ref_id for ref in role.refs} == {middle.ref_id, first.ref_id}
    assert (await refkeep.refs.release(FILES.entity)).decision == "noop"
    assert (await refkeep.refs.get(FILES)).items == ()


async def test_more_refs_than_a_page_has_are_read_to_the_end(refkeep: Refkeep) -> None:
    [only] = await sent(refkeep, b"again and again")
    for _ in range(6):
        await refkeep.refs.batch([AppendRef(role=FILES, sha256=only)] * 100)
    listed = await refkeep.refs.get(FILES)
    assert [ref.position for ref in listed.items] == list(range(600))
    assert listed.entity.version == 600
    found = [ref.ref_id async for ref in refkeep.media.list(entity_type="document", entity_id="7", page_size=250)]
    assert sorted(found) == sorted(ref.ref_id for ref in listed.items)


async def test_what_was_not_seen_is_not_changed(refkeep: Refkeep) -> None:
    await refkeep.refs.append(FILES, b"one")
    for call in (
        refkeep.refs.put(FILES.slot(), b"other"),
        refkeep.refs.insert(FILES.slot(), b"other"),
        refkeep.refs.release(FILES.slot()),
    ):
        with pytest.raises(PreconditionRequired) as demanded:
            await call
        assert demanded.value.version == 1
    for late in (
        refkeep.refs.put(FILES.slot(), b"other", if_match=0),
        refkeep.refs.put(FILES.slot(), b"other", if_empty=True),
        refkeep.refs.release(FILES.entity, if_match=7),
    ):
        with pytest.raises(VersionConflict) as conflict:
            await late
        assert conflict.value.version == 1
    assert (await refkeep.refs.get(FILES)).entity.version == 1


async def test_a_batch_does_all_or_nothing(refkeep: Refkeep) -> None:
    a, b = await sent(refkeep, b"a", b"b")
    done = await refkeep.refs.batch(
        [
            PutRef(slot=FILES.slot(), sha256=a, alt="A", if_empty=True),
            AppendRef(role=FILES, sha256=b, filename="b.txt"),
            AppendRef(role=FILES, sha256=b, position=0, if_match=2),
        ]
    )
    assert [change.decision for change in done] == ["insert"] * 3
    ids = [change.ref.ref_id for change in done if change.ref is not None]
    changed = await refkeep.refs.batch(
        [
            OrderRefs(role=FILES, ref_ids=(ids[0], str(ids[1]), ids[2]), if_match=3),
            Patch(ref_id=ids[0], changes={"alt": None, "owner": "me"}),
            Release(what=ids[2]),
            Restore(ref_id=ids[2]),
            Release(what=FILES.slot(0), if_match=7),
            Release(what=FILES),
            Release(what=FILES.entity),
        ]
    )
    assert [change.decision for change in changed] == [
        "reorder",
        "update",
        "release",
        "restore",
        "release",
        "release",
        "noop",
    ]
    assert changed[1].ref is not None
    assert (changed[1].ref.alt, changed[1].ref.owner) == (None, "me")
    with pytest.raises(BlobNotHeld) as raised:
        await refkeep.refs.batch([AppendRef(role=FILES, sha256=a), AppendRef(role=FILES, sha256="0" * 64)])
    assert raised.value.members["index"] == 1
    assert (await refkeep.refs.get(FILES)).items == ()


async def test_media_is_read_changed_released_restored_and_purged(refkeep: Refkeep) -> None:
    first = (await refkeep.refs.put(COVER, samples.png(), alt="Alt", owner="me")).ref
    assert await refkeep.media.get(first.ref_id) == first
    updated = await refkeep.media.patch(str(first.ref_id), alt=None, visibility="private")
    assert updated.decision == "update"
    assert updated.ref is not None
    assert (updated.ref.alt, updated.ref.owner, updated.ref.visibility) == (None, "me", "private")
    assert (await refkeep.media.delete(first.ref_id)).decision == "release"
    assert (await refkeep.media.delete(first.ref_id)).decision == "noop"
    assert [ref.ref_id async for ref in refkeep.media.list(state="trashed")] == [first.ref_id]
    second = (await refkeep.refs.put(COVER, samples.jpeg())).ref
    with pytest.raises(Conflict) as taken:
        await refkeep.media.restore(first.ref_id)
    assert taken.value.code == "slot-taken"
    restored = await refkeep.media.restore(first.ref_id, replace=True)
    assert restored.replaced is not None
    assert restored.replaced.ref_id == second.ref_id
    assert (await refkeep.media.purge(second.ref_id)).decision == "purge"
    with pytest.raises(Gone):
        await refkeep.media.get(second.ref_id)
    page = await refkeep.media.page(ref_ids=[first.ref_id, str(second.ref_id)], limit=5)
    assert ([ref.ref_id for ref in page.items], page.next) == ([first.ref_id], None)


async def test_signed_addresses_are_made_one_by_one_and_many_at_once(refkeep: Refkeep) -> None:
    ref_ids = [(await refkeep.refs.append(FILES, content)).ref.ref_id for content in (b"a", b"b")]
    one = await refkeep.media.sign(ref_ids[0], 60)
    assert one.url.startswith(f"/media/{ref_ids[0]}/file?")
    many = await refkeep.media.sign_many([*ref_ids, uuid4()], 60)
    assert [signed.ref_id for signed in many] == ref_ids


async def test_policies_and_workspaces_say_what_may_be_sent(refkeep: Refkeep, workspace: str) -> None:
    policy = await refkeep.policies.get("book", "cover")
    assert (policy.cardinality, policy.max_items, policy.visibility) == ("single", 1, "public")
    assert "image/png" in policy.media_types
    with pytest.raises(Rejected) as unknown:
        await refkeep.policies.get("book", "index")
    assert unknown.value.code == "policy-unknown"
    assert "book/cover" in unknown.value.members["known"]
    await refkeep.blobs.send(b"12345")
    found = await refkeep.workspaces.get(workspace)
    assert (found.slug, found.used.logical_bytes, found.used.items) == (workspace, 5, 1)


async def test_what_is_not_there_or_not_allowed_is_an_exception_of_its_own(
    refkeep: Refkeep, service: Service, workspace: str
) -> None:
    with pytest.raises(NotFound) as missing:
        await refkeep.media.get(uuid4())
    assert (missing.value.status, missing.value.code, missing.value.retryable) == (404, "not-found", False)
    assert missing.value.request_id
    assert missing.value.request_id in str(missing.value)
    async with Refkeep(service.url, key=await to_thread(service.key, workspace, "read")) as reader:
        with pytest.raises(Forbidden):
            await reader.blobs.send(b"")
    async with Refkeep(service.url, key="rk_nobody_nothing") as nobody:
        with pytest.raises(Unauthorized):
            await nobody.refs.get(FILES)


async def test_a_key_for_all_workspaces_names_one(service: Service, workspace: str) -> None:
    key = await to_thread(service.key, None, "read", "write", "operator")
    async with Refkeep(service.url, key=key, workspace=workspace) as operator:
        attached = await operator.refs.put(FILES.slot(), b"bytes")
        assert attached.ref.workspace == workspace
        assert (await operator.workspaces.get(workspace, physical=True)).used.physical_bytes == 5


async def test_a_quota_that_is_used_up_is_an_exception_of_its_own(
    refkeep: Refkeep, service: Service, workspace: str
) -> None:
    await to_thread(service.sql, "UPDATE workspaces SET max_bytes = 3 WHERE slug = $1", workspace)
    with pytest.raises(QuotaExceeded):
        await refkeep.blobs.send(b"four")


async def test_the_same_idempotency_key_brings_the_same_answer(refkeep: Refkeep) -> None:
    first = await refkeep.refs.append(FILES, b"once", idempotency_key="outbox-17")
    again = await refkeep.refs.append(FILES, b"once", idempotency_key="outbox-17")
    assert (first.replayed, again.replayed) == (False, True)
    assert again.ref == first.ref
    with pytest.raises(IdempotencyConflict) as raised:
        await refkeep.refs.append(FILES, b"other", idempotency_key="outbox-17")
    assert raised.value.code == "idempotency-key-reuse"
    assert len((await refkeep.refs.get(FILES)).items) == 1
