"""Delivery over descriptors at hand, and what a client of it sees."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import anyio

from service.delivery.asgi import Message
from service.delivery.endpoint import Delivery
from service.delivery.known import KnownGrants
from service.delivery.permissions import Permissions
from service.delivery.presets import Presets
from service.domain.blob import Sha256, parse_sha256
from service.domain.errors import Unauthorized
from service.domain.policy import RoleRule, Visibility
from service.domain.ref import RefState
from service.domain.signature import Signatures
from service.ports.descriptors import Admission, BlobDescriptor, MediaDescriptor, PurgedMedia, ServableBytes
from service.ports.storage import Storage
from service.router.problems import problem_answer
from tests.parts.darkroom import PRESET_POLICIES, Darkroom

MIB = 1024 * 1024
REF_ID = UUID("01890a5d-ac96-774b-bcce-b302099a8057")
FILE = f"/media/{REF_ID}/file"
CREATED = datetime(2026, 1, 2, 3, 4, 5, 678000, tzinfo=UTC)
NOW = 1_795_000_000.5
"""The time by which signed addresses are judged."""
NO_KEYS = Signatures()
OURS, BAD = {"authorization": "Bearer ours"}, {"authorization": "Bearer bad"}


@dataclass
class KnownDescriptors:
    """Descriptors in dictionaries: blobs with the workspaces that hold them, refs with the workspace that owns them."""

    blobs: dict[Sha256, tuple[BlobDescriptor, set[str]]] = field(default_factory=dict)
    refs: dict[UUID, tuple[MediaDescriptor | PurgedMedia, str]] = field(default_factory=dict)
    roles_of: dict[Sha256, list[tuple[str, str, bool, str]]] = field(default_factory=dict)
    """Refs of a blob: entity type, role, whether it is live and public, whose it is."""

    async def of_blob(self, sha256: Sha256, workspace: str | None) -> BlobDescriptor | None:
        """See the port."""
        if sha256 not in self.blobs:
            return None
        blob, holders = self.blobs[sha256]
        return replace(blob, held=workspace in holders)

    async def of_ref(self, ref_id: UUID, workspace: str | None) -> MediaDescriptor | PurgedMedia | None:
        """See the port."""
        if ref_id not in self.refs:
            return None
        media, owner = self.refs[ref_id]
        return replace(media, owned=workspace == owner)

    async def admission(self, sha256: Sha256, workspace: str | None, roles: Sequence[RoleRule]) -> Admission:
        """See the port; the refs of a blob are in `roles_of`."""
        shown = self.roles_of.get(sha256, [])
        admitted = [(public, owner) for entity_type, role, public, owner in shown if admits(roles, entity_type, role)]
        return Admission(any(public for public, _ in admitted), any(owner == workspace for _, owner in admitted))


def admits(roles: Sequence[RoleRule], entity_type: str, role: str) -> bool:
    """What the first rule that fits says."""
    fits = (each for each in roles if each.entity_type in {"*", entity_type} and each.role in {"*", role})
    return next((each.admits for each in fits), False)


async def reader(headers: Mapping[str, str]) -> str | None:
    """The workspace of a key: `ours`, `theirs`, or one that is bad."""
    if headers.get("authorization") == BAD["authorization"]:
        raise Unauthorized
    return {"Bearer ours": "ours", "Bearer theirs": "theirs"}.get(headers.get("authorization", ""))


@dataclass
class Response:
    """What came, message by message."""

    status: int = 0
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    complete: bool = False
    path: Path | None = None

    def take(self, message: Message) -> None:
        """Add a message; fails for one that must not come."""
        match message["type"]:
            case "http.response.start":
                names = [name for name, _ in message["headers"]]
                assert len(names) == len(set(names)), "a header stands twice"
                self.status = message["status"]
                self.headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
            case "http.response.pathsend":
                self.path, self.complete = Path(message["path"]), True
                self.body = self.path.read_bytes()
            case "http.response.body":
                assert not self.complete, "bytes after the end"
                self.body += message.get("body", b"")
                self.complete = not message.get("more_body", False)


def scope_of(method: str, path: str, headers: Mapping[str, str], **more: Any) -> dict[str, Any]:
    """The scope of a request."""
    return {
        "type": "http",
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(name.encode(), value.encode("latin-1")) for name, value in headers.items()],
        "extensions": {},
        **more,
    }


async def stays() -> Message:
    """Receive from a client that sends nothing more and does not go away."""
    await anyio.sleep_forever()
    raise AssertionError


async def call(
    delivery: Delivery, path: str, headers: Mapping[str, str] | None = None, method: str = "GET", **more: Any
) -> Response:
    """Ask once."""
    response = Response()

    async def send(message: Message) -> None:
        response.take(message)

    await delivery(scope_of(method, path, headers or {}, **more), stays, send)
    return response


@dataclass
class Desk:
    """A delivery with what it serves from."""

    storage: Storage
    descriptors: KnownDescriptors
    delivery: Delivery
    darkroom: Darkroom

    async def add(self, content: bytes, *, public: bool = True, media_type: str = "image/png") -> str:
        """Store `content`, held by the workspace `ours`; return its path."""
        name = parse_sha256(sha256(content).hexdigest())
        served = ServableBytes(name, len(content), media_type, f"{name[:2]}/{name[2:4]}/{name}.{REF_ID}")
        staged = await self.storage.stage()
        await staged.write(content)
        await staged.commit(served.storage_key)
        self.describe(served, public=public)
        return f"/blobs/{name}"

    def describe(self, content: ServableBytes, *, public: bool = True) -> str:
        """Make known what is stored, held by `ours`; return its path."""
        self.descriptors.blobs[content.sha256] = (BlobDescriptor(content, public, held=False), {"ours"})
        return f"/blobs/{content.sha256}"

    async def add_media(
        self, visibility: Visibility = Visibility.PUBLIC, state: RefState = RefState.LIVE, content: bytes = b"abc"
    ) -> str:
        """Store `content` behind the ref of `FILE`, of `ours`."""
        path = await self.add(content, public=False)
        served = self.descriptors.blobs[parse_sha256(path.removeprefix("/blobs/"))][0].content
        media = MediaDescriptor(REF_ID, served, visibility, state, False, "für.png", CREATED, "book", "cover")
        self.descriptors.refs[REF_ID] = (media, "ours")
        return FILE


def desk_on(
    storage: Storage, grants: KnownGrants | None = None, signatures: Signatures = NO_KEYS, **options: Any
) -> Desk:
    """Unless `grants` says otherwise, nothing is remembered of permissions."""
    descriptors = KnownDescriptors()
    permissions = Permissions(descriptors, reader, grants or KnownGrants(0), signatures, lambda: NOW)
    darkroom = Darkroom(storage)
    presets = Presets(permissions, PRESET_POLICIES, darkroom.replica())
    return Desk(storage, descriptors, Delivery(permissions, storage, problem_answer, presets, **options), darkroom)


def noise(size: int) -> bytes:
    """Bytes that do not repeat, the same each time."""
    return Random(size).randbytes(size)
