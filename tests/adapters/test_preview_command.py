"""`refkeep policies preview`: a page and a sheet that show what each preset makes of a picture."""

from __future__ import annotations

import base64
import os
import re
from pathlib import Path

import click
import pytest
import pyvips
from click.testing import CliRunner

from service.commands.policies import policies
from service.commands.preview import make_one
from service.domain.errors import RenderFailed
from service.domain.rendition import Format
from tests import samples
from tests.parts import pictures
from tests.parts.darkroom import THUMB, PlainRenderer
from tests.parts.pictures import saved

POLICIES = """
[policies."book/cover"]
cardinality = "single"
visibility = "public"
media_types = ["image/*"]
presets = ["thumb", "small"]

[presets.thumb]
width = 40
height = 40
fit = "cover"

[presets.small]
width = 64
formats = ["webp", "original"]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "rules.toml"
    path.write_text(POLICIES)
    return path


def run(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(policies, ["preview", *map(str, words)])
    return done.exit_code, done.output


def test_a_page_shows_every_rendition_with_its_size_and_needs_no_other_file(tmp_path: Path, rules: Path) -> None:
    photo = tmp_path / "a <photo>.jpg"
    photo.write_bytes(saved(pictures.stored(6), ".jpg"))

    status, said = run(photo, "--policies", rules, "--out", tmp_path / "out")

    assert status == 0, said
    page = (tmp_path / "out" / "a <photo>.preview.html").read_text()
    assert "<photo>" not in page.replace("&lt;photo&gt;", "")
    shown = re.findall(r'src="data:(image/\w+);base64,([^"]+)" width="(\d+)" height="(\d+)"', page)
    assert [kind for kind, *_ in shown] == ["image/avif", "image/webp", "image/jpeg", "image/webp", "image/jpeg"]
    for _, data, width, height in shown:
        image = pyvips.Image.new_from_buffer(base64.b64decode(data), "")
        assert (image.width, image.height) == (int(width), int(height))
    assert all(word in page for word in ("thumb.avif", "40 x 40", "small.jpg", "64 x 43", " B", "ThumbHash"))
    assert not re.search(r'(?:src|href)="(?!data:)', page)
    sheet = pyvips.Image.new_from_file(str(tmp_path / "out" / "a <photo>.preview.png"))
    assert (sheet.width, sheet.bands) == (4 * 300 + 3 * 12 + 2 * 12, 3)
    assert sheet.height > 2 * 300
    assert str(tmp_path / "out") in said


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"no picture", "text/plain"), (samples.jpeg()[:500], "truncated or corrupt")]
)
def test_what_is_no_picture_is_said_in_a_sentence(tmp_path: Path, rules: Path, content: bytes, sentence: str) -> None:
    (tmp_path / "file").write_bytes(content)
    status, said = run(tmp_path / "file", "--policies", rules, "--out", tmp_path)
    assert status == 1
    assert sentence in said
    assert "Traceback" not in said


def test_policies_without_presets_and_mistakes_are_said_in_a_sentence(tmp_path: Path, rules: Path) -> None:
    rules.write_text(POLICIES.partition("presets = ")[0])
    status, said = run(rules, "--policies", rules)
    assert (status, "no presets" in said) == (1, True)
    rules.write_text(POLICIES + "sharpen = true\n")
    status, said = run(rules, "--policies", rules)
    assert (status, '"sharpen" is unknown' in said) == (1, True)


def test_names_that_nobody_can_read_and_what_is_no_file_are_refused(tmp_path: Path, rules: Path) -> None:
    unreadable = tmp_path / os.fsdecode(b"b\xff.jpg")
    unreadable.write_bytes(saved(pictures.card(), ".jpg"))
    os.mkfifo(tmp_path / "pipe.jpg")
    for path, sentence in ((unreadable, "b\\udcff.jpg' is not UTF-8."), (tmp_path / "pipe.jpg", "is no regular file.")):
        status, said = run(path, "--policies", rules, "--out", tmp_path)
        assert status == 2
        assert sentence in said


def test_a_folder_whose_name_is_no_text_is_written_to_and_told(tmp_path: Path, rules: Path) -> None:
    (tmp_path / "photo.jpg").write_bytes(saved(pictures.card(), ".jpg"))
    folder = tmp_path / os.fsdecode(b"\xff\n")
    status, said = run(tmp_path / "photo.jpg", "--policies", rules, "--out", folder)
    assert (status, "\\udcff\\n/photo.preview.png" in said) == (0, True)
    status, said = run(tmp_path / "photo.jpg", "--policies", rules, "--out", folder, "--json")
    assert (status, "\ufffd\\n/photo.preview.png" in said) == (0, True)
    assert (folder / "photo.preview.html").exists()


@pytest.mark.anyio
async def test_a_preset_that_is_beyond_all_bounds_is_named(tmp_path: Path) -> None:
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(b"a picture")
    renderer = PlainRenderer(fails_with=RenderFailed("image/jpeg"))
    with pytest.raises(click.ClickException, match=r"^thumb\.avif: No picture can be made of these bytes, image/jpeg"):
        await make_one(renderer, photo, "image/jpeg", (THUMB, Format.AVIF))
