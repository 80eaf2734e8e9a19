"""contracts/storage.yaml says where bytes lie: all that the adapters write is there, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from service.adapters.filesystem.storage import FilesystemStorage
from service.adapters.keys import is_key
from service.adapters.s3.abilities import find_abilities
from service.adapters.s3.client import connect
from service.application.guard_store import NOTES
from tests.parts.blobs import files_under
from tests.parts.buckets import emptied_bucket, opened, physical_keys
from tests.parts.seaweed import Seaweed

pytestmark = pytest.mark.anyio

LAYOUT: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "contracts/storage.yaml").read_text())
SHA = "9ea4faa9e3fb6a58be4f77d09c3e8f7f2d74ddccc7b2a2fbb6efe9398deaacab"
KEY = f"{SHA[:2]}/{SHA[2:4]}/{SHA}.0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b"
ID = b"0199a1b2-7c3d-7e4f-8a5b-6c7d8e9f0a1b"
CONTENT = {"sentinel": ID, "fence": b"7", "move": ID}
FOLDERS = {folder["name"]: folder["content"] for folder in LAYOUT["filesystem"]["folders"]}


def kind_of(name: str) -> str:
    """What a name is by the contract."""
    patterns = {"key": LAYOUT["key"]["pattern"], "upload": LAYOUT["filesystem"]["upload"]}
    patterns |= {prefix["name"]: prefix["pattern"] for prefix in LAYOUT["s3"]["prefixes"]}
    patterns |= {"note": f"^({'|'.join(note['name'] for note in LAYOUT['notes'])})$"}
    found = [kind for kind, pattern in patterns.items() if re.search(pattern, name)]
    assert len(found) == 1, name
    return found[0]


async def fill(store: Any) -> None:
    staged = await store.stage()
    await staged.write(b"Hello, Refkeep.\n")
    await staged.commit(KEY)
    for note in NOTES:
        await store.write_note(note, CONTENT[note])


async def test_the_notes_are_those_that_guard_the_store_and_have_their_form() -> None:
    assert {
        note["name"]: bool(re.search(note["pattern"], CONTENT[note["name"]].decode())) for note in LAYOUT["notes"]
    } == dict.fromkeys(NOTES, True)


async def test_a_key_is_what_the_adapters_take_for_one() -> None:
    wrong = [KEY.upper(), KEY[:-1], KEY.replace("-7e4f-", "-4e4f-"), f"ff/{KEY[3:]}", f"{KEY}\n", f"/{KEY}", "sentinel"]
    for text in [KEY, *wrong]:
        assert is_key(text) is bool(re.search(LAYOUT["key"]["pattern"] + r"(?!\n)", text)) is (text == KEY)


async def test_a_folder_has_the_files_of_the_contract(tmp_path: Path) -> None:
    root = tmp_path / LAYOUT["filesystem"]["root"]
    store = FilesystemStorage(root)
    await store.aopen()
    await fill(store)
    unfinished = await store.stage()
    await unfinished.write(b"x")
    await unfinished.flush()
    found = {name.partition("/")[::2] for name in files_under(root)}
    assert {(folder, kind_of(name)) for folder, name in found} == {
        (folder, kind) for folder, kinds in FOLDERS.items() for kind in kinds
    }
    assert {(path.stat().st_mode & 0o777) for path in root.rglob("*") if path.is_file()} == {0o600}
    await unfinished.cancel()


async def test_a_bucket_has_the_keys_of_the_contract(seaweed: Seaweed, tmp_path: Path) -> None:
    config = await emptied_bucket(seaweed)
    tried: set[str] = set()
    async with opened(config, tmp_path / LAYOUT["s3"]["spool"]) as store:
        await fill(store)
        assert {kind_of(key) for key in await physical_keys(config)} == {"key", "note"}
        async with connect(config) as client:
            client.meta.events.register(
                "before-call.s3.PutObject",
                lambda params, **_: tried.add(params["url_path"].removeprefix(f"/{config.bucket}").lstrip("/")),
            )
            await find_abilities(client, config)
    assert {kind_of(key) for key in tried} == {"probe/"}
    assert {kind_of(key) for key in await physical_keys(config)} == {"key", "note"}
