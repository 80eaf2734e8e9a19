"""What entities show: slots that are filled, put in order, released."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import Unpack
from uuid import UUID

import msgspec

from refkeep_client.blobs import check_sent
from refkeep_client.bodies import Body, body_of
from refkeep_client.calls import Call, change, present, read, with_body, with_json, write
from refkeep_client.content import Content
from refkeep_client.keys import EntityKey, RoleKey, SlotKey
from refkeep_client.operations import Operation, members_of
from refkeep_client.options import AttachOptions, CallOptions, ChangeOptions, PutOptions, WriteOptions
from refkeep_client.problems import Unexpected
from refkeep_client.results import Attached, Changed, Decision, Entity, EntityRefs, Ref
from refkeep_client.sending import Sender
from refkeep_client.texts import checked_sha256, path_of, ref_id_text, refs_path

_SETTLING_ROUNDS = 8


class _Page(msgspec.Struct, frozen=True):
    entity: Entity
    items: tuple[Ref, ...]
    next: str | None = None


class _Results(msgspec.Struct, frozen=True):
    results: tuple[Changed, ...]


class Refs:
    """`refkeep.refs`. Where content is asked for, text is the SHA-256 of bytes sent before, anything else the bytes."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender

    async def get(self, of: EntityKey | RoleKey, **options: Unpack[CallOptions]) -> EntityRefs:
        """All live refs of an entity or a role, in order, of one version; none is an empty list.

        Raises `Unexpected` where the entity changes faster than its pages can be read.
        """
        for _ in range(_SETTLING_ROUNDS):
            if (found := await self._read_all(of, options)) is not None:
                return found
        raise Unexpected(f"{of} kept changing while its pages were read.")

    async def put(self, slot: SlotKey, content: str | Content, **options: Unpack[PutOptions]) -> Attached:
        """Fill a slot: `insert`, `replace` (the former ref is in the trash) or `noop`.

        To replace in a list needs `if_match`. Raises `PreconditionRequired`, `VersionConflict`, `Rejected`
        (`BlobNotHeld`, `TooLarge` …), `QuotaExceeded`; for bytes what `Blobs.send` raises, too.
        """
        call = change("PUT", refs_path(slot), options)
        if options.get("if_empty", False):
            call = call.with_headers(if_none_match="*")
        return await self._attach(call, slot, content, options)

    async def append(self, role: RoleKey, content: str | Content, **options: Unpack[AttachOptions]) -> Attached:
        """Put a ref behind the last one of a list. Raises `Conflict` when it is full, and what `put` raises."""
        return await self._attach(change("POST", refs_path(role), options), role, content, options)

    async def insert(self, slot: SlotKey, content: str | Content, **options: Unpack[AttachOptions]) -> Attached:
        """Put a ref before the one at that position of a list; needs `if_match`. Raises what `append` raises."""
        call = change("POST", refs_path(slot.role_key), options)
        return await self._attach(call, slot, content, options, slot.position)

    async def order(self, role: RoleKey, ref_ids: Iterable[UUID | str], **options: Unpack[ChangeOptions]) -> Changed:
        """Put the live refs of a list in this order, each once; needs `if_match`.

        Raises `Rejected` (`not-a-permutation`), `VersionConflict`, `PreconditionRequired`.
        """
        call = change("PUT", refs_path(role, "order"), options)
        members = {"ref_ids": [ref_id_text(ref_id) for ref_id in ref_ids]}
        return await self._sender.ask_write(with_json(call, members), Changed)

    async def release(self, what: SlotKey | RoleKey | EntityKey, **options: Unpack[ChangeOptions]) -> Changed:
        """Send a slot's ref, a role's or all of an entity to the trash; again is a `noop`.

        A position of a list needs `if_match`; by id, see `Media.delete`. Raises `VersionConflict`,
        `PreconditionRequired`.
        """
        return await self._sender.ask_write(change("DELETE", refs_path(what), options), Changed)

    async def batch(self, operations: Sequence[Operation], **options: Unpack[WriteOptions]) -> tuple[Changed, ...]:
        """Up to 100 operations in their order, all of them or none.

        Raises the first problem; its `members["index"]` says whose it is.
        """
        members = {"operations": [members_of(operation) for operation in operations]}
        call = with_json(write("POST", "/refs/batch", options), members)
        return (await self._sender.ask(call, _Results)).results

    async def _attach(
        self,
        call: Call,
        key: RoleKey | SlotKey,
        content: str | Content,
        options: AttachOptions,
        position: int | None = None,
    ) -> Attached:
        labels = {name: options.get(name) for name in ("filename", "alt", "owner", "visibility")}
        members = present(**labels, position=position)
        if isinstance(content, str):
            command = with_json(call, {"sha256": checked_sha256(content), **members})
            return await self._sender.ask_write(command, Attached)
        body = body_of(content, options)
        query = [(name, str(value)) for name, value in members.items()]
        policy = path_of("policies", key.entity_type, key.role)
        upload = with_body(replace(call, params=query, policy=policy), body, options.get("media_type"))
        attached = await self._sender.ask_write(upload, Attached)
        _check_attached(attached, body)
        return attached

    async def _read_all(self, of: EntityKey | RoleKey, options: CallOptions) -> EntityRefs | None:
        """All pages; None where the version moved on between them."""
        page = await self._sender.ask(read("GET", refs_path(of), options), _Page)
        first, items = page.entity, list(page.items)
        while page.next is not None:
            page = await self._sender.ask(read("GET", refs_path(of), options, {"cursor": page.next}), _Page)
            if page.entity != first:
                return None
            items += page.items
        return EntityRefs(entity=first, items=tuple(items))


def _check_attached(attached: Attached, body: Body) -> None:
    """Raises `Corrupted` unless the ref shows the bytes that went out, or was made of them.

    A ref that was there before need not remember these: another picture may have become the same one.
    """
    ref = attached.ref
    if attached.decision not in {Decision.NOOP, Decision.UPDATE}:
        check_sent(ref.blob.sha256 if ref.original is None else ref.original.sha256, body)
