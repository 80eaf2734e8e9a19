"""REDbot, the lint for HTTP, on what the world may fetch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests import samples
from tests.parts.caller import Caller
from tests.parts.lint_http import notes_on
from tests.parts.service import Yard

POLICIES = """
[policies."shelf/thing"]
cardinality = "list"
visibility = "public"
media_types = ["*/*"]
presets = ["thumb"]

[presets.thumb]
width = 200
"""
CONTENTS = {"picture": samples.photograph(), "nothing": b"", "download": b"%PDF-1.7\n" + bytes(5000)}
CASES = [
    ("blob", "picture"),
    ("blob", "nothing"),
    ("blob", "download"),
    ("named file", "picture"),
    ("named file", "nothing"),
    ("file", "download"),
    ("preset", "picture"),
    ("negotiated preset", "picture"),
]
FAULTS = {"bad", "warning"}
# The contract asks for `public`: with it, caches also keep what was asked for with a key.
PUBLIC = {"STORE_PUBLIC_UNNECESSARY"}
ACCEPTED = {"blob": PUBLIC, "preset": PUBLIC, "negotiated preset": PUBLIC, "file": set[str](), "named file": set[str]()}
BELOW = {"preset": "/thumb.webp", "negotiated preset": "/thumb"}
Notes = set[tuple[str, str, str]]


def address(shelf: Caller, way: str, content: bytes) -> str:
    filename = "cover é.jpg" if way == "named file" else ""
    links = shelf.post("shelf/1/thing", content, filename=filename).json()["ref"]["links"]
    return f"{str(shelf.http.base_url).rstrip('/')}{links['file' if 'file' in way else 'blob']}{BELOW.get(way, '')}"


@pytest.fixture(scope="module")
def opinions(yard: Yard) -> Iterator[dict[tuple[str, str], Notes]]:
    """What REDbot says of each; it takes its time, so it is asked for all at once."""
    file = yard.folder / "shelf.toml"
    file.write_text(POLICIES)
    with yard.running(POLICIES=file) as service, ThreadPoolExecutor(len(CASES)) as pool:
        shelf = service.caller("read", "write")
        addresses = [address(shelf, way, CONTENTS[name]) for way, name in CASES]
        yield dict(zip(CASES, pool.map(notes_on, addresses), strict=True))


@pytest.mark.parametrize(("way", "content"), CASES)
def test_redbot_finds_no_fault(opinions: dict[tuple[str, str], Notes], way: str, content: str) -> None:
    told = opinions[way, content]
    assert {note for _, level, note in told if level in FAULTS} == ACCEPTED[way]
    praised = {note for _, level, note in told if level == "good"}
    assert praised >= {"INM_304", "CL_CORRECT", "FRESHNESS_FRESH", "CONTENT_TYPE_OPTIONS"}
    assert ("RANGE_CORRECT" in praised) == (content != "nothing")
    assert ("IMS_304" in praised) == ("file" in way)
