"""What the services answer with."""

from __future__ import annotations

from typing import Any
from urllib.parse import urljoin
from uuid import UUID

from litestar import Response

from refkeep_client import Attached
from tests.consumers.shared.settings import Settings


def shown(settings: Settings, ref_id: UUID | None) -> dict[str, Any] | None:
    """A picture by its ref, None where there is none; browsers fetch it from Refkeep or its cache, never through us."""
    if ref_id is None:
        return None
    return {"ref_id": str(ref_id), "url": urljoin(settings.media_url, f"/media/{ref_id}/file")}


def attached_answer(settings: Settings, attached: Attached) -> Response[dict[str, Any]]:
    """What an upload came to: 201 where something is shown that was not there, 200 where it took a place or changed
    nothing."""
    ref = attached.ref
    picture = {
        **(shown(settings, ref.ref_id) or {}),
        "sha256": ref.blob.sha256,
        "media_type": ref.blob.media_type,
        "width": ref.blob.width,
        "height": ref.blob.height,
    }
    document = {"decision": attached.decision, "picture": picture, "version": attached.entity.version}
    return Response(document, status_code=201 if attached.decision == "insert" else 200)
