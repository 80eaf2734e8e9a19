"""What a workspace may know of a blob that it holds."""

from __future__ import annotations

from dataclasses import dataclass

from service.domain.blob import Blob, Sha256
from service.domain.errors import NotFound
from service.domain.ref import ResolvedRef
from service.observability import observed
from service.ports.blobs import BlobLedger
from service.ports.refs import RefLedger


@dataclass(frozen=True, slots=True)
class BlobDescription:
    """A blob and this workspace's refs to it, live and trashed, oldest first."""

    blob: Blob
    refs: tuple[ResolvedRef, ...]


@dataclass(frozen=True, slots=True)
class DescribeBlob:
    """Find a held blob with its refs."""

    blobs: BlobLedger
    refs: RefLedger

    @observed("blob.meta", layer="usecase")
    async def __call__(self, workspace: str, sha256: Sha256) -> BlobDescription:
        """Raises `NotFound`: unknown and not possessed look the same."""
        blob = await self.blobs.find(workspace, sha256)
        if blob is None:
            raise NotFound("This workspace holds no such blob.")
        return BlobDescription(blob, await self.refs.of_blob(workspace, sha256))
