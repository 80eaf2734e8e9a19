"""Placeholders come with every look at bytes, and no failure to make one is anyone's affair."""

from __future__ import annotations

from pathlib import Path

import pytest

from service.adapters.illustrating import IllustratingProber
from tests.parts.house import SignedProber
from tests.parts.rendering import PLACEHOLDER, WordRenderer

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize(
    ("content", "placeholder"),
    [
        (b"image/png\nfine", PLACEHOLDER),
        (b"video/mp4\nfine", PLACEHOLDER),
        (b"image/png!\nbreaks off", None),
        (b"text/plain\nshows nothing", None),
        (b"no media", None),
        (b"image/png\nbusy", None),
        (b"image/png\nbroken", None),
    ],
)
async def test_what_can_be_shown_has_a_placeholder(tmp_path: Path, content: bytes, placeholder: object) -> None:
    path = tmp_path / "bytes"
    path.write_bytes(content)
    prober = IllustratingProber(SignedProber(), WordRenderer())
    await prober.warm()
    found = await prober.probe(path)
    assert found.placeholder == placeholder
    assert found.media_type == (await SignedProber().probe(path)).media_type
    assert prober.knows("image/png")
    await prober.aclose()
