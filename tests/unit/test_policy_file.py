"""The policy file: what it takes, and where it says that something is wrong."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.policy import Cardinality, Oversize, Policy, Visibility
from service.domain.rendition import Animation, Colour, Fit, Format, Normalisation, Preset
from service.schemas.policy_file import PolicyFileError, load_policies, parse_policies, policies_schema

SCHEMA = Path("contracts/policies.schema.json")
RULES = {"cardinality": "single", "visibility": "public", "media_types": ["image/png"]}
PRESETS = {"small": {"width": 320}, "thumb": {"width": 80, "height": 80, "fit": "cover"}}
COVER = """
[policies."book/cover"]
cardinality = "single"
visibility = "public"
media_types = ["image/png"]
"""


def toml(value: object) -> str:
    """JSON's spelling of text, numbers and lists is TOML's; a table is written inline."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(toml(item) for item in value) + "]"
    return json.dumps(value, ensure_ascii=False)


def file(tables: dict[str, object]) -> str:
    return "\n".join(f"{name} = {toml(table)}" for name, table in tables.items())


def document(**members: object) -> str:
    rules = {name: value for name, value in (RULES | members).items() if value is not None}
    return file({"presets": PRESETS, "policies": {"book/cover": rules}})


def is_loaded(text: str) -> bool:
    try:
        parse_policies(text, "policies.toml")
    except PolicyFileError:
        return False
    return True


def is_described(text: str) -> bool:
    return bool(jsonschema.Draft202012Validator(policies_schema()).is_valid(tomllib.loads(text)))


def test_the_packaged_policies_are_those_of_the_design() -> None:
    policies = load_policies(None)
    pictures = ("image/jpeg", "image/png", "image/apng", "image/webp", "image/gif", "image/avif")

    assert policies.known() == [
        "block/image",
        "block/video",
        "book/cover",
        "bookshelf/cover",
        "checkpoint_marker/image",
        "document/file",
        "library/cover",
    ]
    for name in ("book", "library", "bookshelf"):
        assert policies.of(name, "cover") == Policy(
            name,
            "cover",
            Cardinality.SINGLE,
            Visibility.PUBLIC,
            media_types=pictures,
            max_bytes=25 * 2**20,
            max_pixels=50_000_000,
            max_edge=2560,
            oversize=Oversize.DOWNSCALE,
            presets=("thumb", "small", "medium", "large"),
            normalisation=Normalisation(max_edge=2560),
        )
    assert [preset.name for preset in policies.presets] == ["thumb", "small", "medium", "large"]
    assert policies.preset("thumb") == Preset("thumb", 160, 160, Fit.COVER)
    assert policies.preset("large") == Preset("large", 1600, 1600)
    assert policies.of("block", "image").max_bytes == 50 * 2**20
    assert policies.of("block", "video").media_types == ("video/mp4", "video/webm")
    assert policies.of("block", "video").max_bytes == 2 * 2**30
    assert policies.of("document", "file").visibility is Visibility.PRIVATE
    assert policies.of("document", "file").accepts_type("text/html")


def test_every_member_arrives_in_bytes_pixels_and_milliseconds() -> None:
    text = """
    [policies."*/gallery"]
    cardinality = "list"
    visibility = "private"
    public_allowed = false
    media_types = ["image/*", "video/mp4"]
    max_bytes = "3 GiB"
    max_pixels = "2 MP"
    max_edge = 4000
    oversize = "reject"
    max_duration = "90s"
    max_items = 12
    """
    assert parse_policies(text, "policies.toml").items == (
        Policy(
            "*",
            "gallery",
            Cardinality.LIST,
            Visibility.PRIVATE,
            public_allowed=False,
            media_types=("image/*", "video/mp4"),
            max_bytes=3 * 2**30,
            max_pixels=2_000_000,
            max_edge=4000,
            oversize=Oversize.REJECT,
            max_duration_ms=90_000,
            max_items=12,
        ),
    )


def test_every_member_of_a_preset_arrives() -> None:
    text = """
    [presets.teaser]
    width = 320
    height = 200
    fit = "cover"
    formats = ["webp", "original", "webp"]
    quality = { webp = 70, jpeg = 71 }
    effort = 6
    enlarge = true
    max_frames = 50
    max_animation = "10s"
    [presets.small]
    width = 320
    """
    policies = parse_policies(COVER + text, "x")
    assert policies.preset("teaser") == Preset(
        "teaser",
        320,
        200,
        Fit.COVER,
        (Format.WEBP, Format.ORIGINAL),
        ((Format.WEBP, 70), (Format.JPEG, 71)),
        6,
        enlarge=True,
        animation=Animation(50, 10_000),
    )
    assert policies.preset("small") == Preset("small", 320, None)
    assert policies.preset("large") is None


@pytest.mark.parametrize(
    ("text", "rules"),
    [
        ("", None),
        ("max_edge = 9", None),
        ("normalise = true", Normalisation()),
        ("normalise = false", None),
        ('normalise = true\nmax_edge = 9\nstrip = false\ncolour = "keep"', Normalisation(None, False, Colour.KEEP)),
        ('max_edge = 2560\noversize = "downscale"', Normalisation(2560)),
        (
            'max_edge = 9\noversize = "downscale"\nformat = "webp"\nmax_frames = 2\nmax_animation = "3s"',
            Normalisation(9, format=Format.WEBP, animation=Animation(2, 3000)),
        ),
    ],
)
def test_a_policy_says_whether_and_how_pictures_are_normalised(text: str, rules: Normalisation | None) -> None:
    assert parse_policies(COVER + text, "x").items[0].normalisation == rules


def test_a_policy_names_its_presets_each_once() -> None:
    text = 'presets = ["small", "thumb", "small"]\neager = ["thumb"]\nnormalise = true\nkeep_original = false\n'
    presets = "[presets.small]\nwidth = 9\n[presets.thumb]\nheight = 9\n"
    [policy] = parse_policies(COVER + text + presets, "x").items
    assert (policy.presets, policy.eager, policy.keep_original) == (("small", "thumb"), ("thumb",), False)


PRESET_VALUES: dict[str, list[object]] = {
    "width": [1, 16_383, 0, 16_384, "320", None],
    "height": [1, 16_383, 0, 1.5, None],
    "fit": ["cover", "contain", "inside", "fill", 1],
    "formats": [["avif"], ["original", "png"], [], ["tiff"], "webp"],
    "quality": [{}, {"avif": 1}, {"webp": 100, "jpeg": 80}, {"webp": 101}, {"png": 5}, 80],
    "effort": [0, 9, 10, -1],
    "enlarge": [True, False, 1],
    "max_frames": [1, 100_000, 0],
    "max_animation": ["10s", "10"],
    "sharpen": [True],
}


@given(
    st.sampled_from(["small", "a-b_9", "a" * 32, "a" * 33, "meta", "why", "whys", "Small", "9", "", "small\n"]),
    st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in PRESET_VALUES.items()}),
)
def test_schema_and_loader_agree_on_every_preset(name: str, members: dict[str, object]) -> None:
    given_members = {member: value for member, value in members.items() if value is not None}
    text = file({"presets": {name: given_members}, "policies": {"book/cover": RULES}})
    assert is_loaded(text) is is_described(text)


@pytest.mark.parametrize(("text", "ms"), [("250ms", 250), ("90s", 90_000), ("10m", 600_000), ("2h", 7_200_000)])
def test_durations_are_read_in_their_units(text: str, ms: int) -> None:
    assert parse_policies(document(max_duration=text), "x").items[0].max_duration_ms == ms


@pytest.mark.parametrize(
    ("text", "line", "member"),
    [
        (COVER + 'max_bytes = "25 MX"\n', 6, "max_bytes"),
        (COVER + "\n# a comment\nmax_pixels = -1\n", 8, "max_pixels"),
        (COVER + "max_edge = 1.5\n", 6, "max_edge"),
        (COVER + 'max_duration = "ten minutes"\n', 6, "max_duration"),
        (COVER + 'oversize = "shrink"\n', 6, "oversize"),
        (COVER + 'oversize = "downscale"\n', 6, "oversize"),
        (COVER + 'max_edge = 9\noversize = "downscale"\nnormalise = false\n', 8, "normalise"),
        (COVER + "max_edge = 9\nstrip = true\n", 7, "strip of"),
        (COVER + "keep_original = false\nnormalise = false\n", 6, "no effect without normalise = true"),
        (COVER + 'presets = ["small"]\n', 6, '"small"; there is none'),
        (COVER + 'presets = ["large"]\n[presets.small]\nwidth = 9\n', 6, '"large"; there is small'),
        (COVER + 'eager = ["small"]\n[presets.small]\nwidth = 9\n', 6, "not in its presets"),
        (COVER + 'presets = ["why"]\n', 6, "presets"),
        (COVER + "[presets.meta]\nwidth = 9\n", 6, 'called "meta"'),
        (COVER + "[presets.Small]\nwidth = 9\n", 6, '"Small"'),
        (COVER + "[presets]\nsmall = 9\n", 7, "presets.small must be a table"),
        (COVER + "presets = 9\n", 6, "presets"),
        ("presets = 9\n" + COVER, 1, "presets must hold tables"),
        (COVER + "[presets.small]\nenlarge = true\n", 6, "lacks width and height"),
        (COVER + '[presets.small]\nwidth = 9\nfit = "cover"\n', 8, "needs both"),
        (COVER + '[presets.small]\nwidth = 9\nformats = ["tiff"]\n', 8, "formats"),
        (COVER + "[presets.small]\nwidth = 9\nquality = 80\n", 8, "quality"),
        (COVER + "[presets.small]\nwidth = 9\nquality = { png = 80 }\n", 8, "quality"),
        (COVER + "[presets.small]\nwidth = 16384\n", 7, "width"),
        (COVER + "[presets.small]\nwidth = 9\ncolour = 1\n", 8, '"colour" is unknown'),
        (COVER + "public_allowed = 1\n", 6, "public_allowed"),
        (COVER + "public_allowed = false\n", 6, "public_allowed"),
        (COVER + "max_items = 5\n", 6, "max_items"),
        (COVER + "max_width = 5\n", 6, "max_width"),
        (COVER.replace('"single"', '"several"'), 3, "cardinality"),
        (COVER.replace('"public"', "true"), 4, "visibility"),
        (COVER.replace('["image/png"]', '[\n  "image/png",\n  "IMAGE/PNG",\n]\nmax_edge = 5'), 5, "media_types"),
        (COVER.replace('["image/png"]', "[]"), 5, "media_types"),
        (COVER.replace('visibility = "public"\n', ""), 2, "visibility"),
        (COVER.replace("book/cover", "Book/cover"), 2, "Book/cover"),
        (COVER.replace("book/cover", "book"), 2, '"book"'),
        (COVER + COVER.replace("book", "library").replace("single", "no"), 8, "library/cover"),
        (COVER + "[limits]\nmax_bytes = 5\n", 6, "limits"),
        (COVER + '[policies]\n"a/b" = 5\n', 7, '"a/b" must be a table'),
        ('policies."a/b" = 5\n', 1, "a/b"),
        ('# nothing\n\npolicies."a/b".visibility = "public"\npolicies."a/b".oversize = 7\n', 4, "oversize"),
        ('[policies]\n"a/b" = { visibility = "public", cardinality = "x" }\n', 2, "cardinality"),
        ("policies = []\n", 1, "policies"),
        ("", 1, "policies"),
        (COVER + "max_edge = \n", 6, "This is no TOML"),
        (COVER + 'max_edge = "', 6, "This is no TOML"),
        (COVER + COVER, 7, "This is no TOML"),
    ],
)
def test_an_error_names_the_file_the_line_and_the_member(text: str, line: int, member: str) -> None:
    with pytest.raises(PolicyFileError) as caught:
        parse_policies(text, "house.toml")

    assert caught.value.line == line
    assert str(caught.value).startswith(f"house.toml, line {line}: ")
    assert member in str(caught.value)
    assert str(caught.value).endswith(".")


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(PolicyFileError, match=r"none\.toml: The file cannot be read: No such file or directory\."):
        load_policies(tmp_path / "none.toml")
    with pytest.raises(PolicyFileError, match="cannot be read"):
        load_policies(tmp_path)


def test_a_file_that_is_no_text_is_named(tmp_path: Path) -> None:
    (tmp_path / "picture.toml").write_bytes(b"\xff\xd8\xff")
    with pytest.raises(PolicyFileError, match=r"picture\.toml: This is not UTF-8 text\."):
        load_policies(tmp_path / "picture.toml")


def test_a_file_that_has_no_end_is_not_read_to_it() -> None:
    with pytest.raises(PolicyFileError, match=r"/dev/zero: This is more than 1 MiB, and no policy file\."):
        load_policies(Path("/dev/zero"))


def test_what_is_nested_too_deeply_is_a_mistake_of_the_file() -> None:
    with pytest.raises(PolicyFileError, match=r"house\.toml: This is nested too deeply to be read\."):
        parse_policies("a = " + "[" * 10_000 + "]" * 10_000, "house.toml")


def test_line_ends_and_the_mark_that_windows_writes_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"\xef\xbb\xbf" + COVER.replace("\n", "\r\n").encode())
    assert load_policies(tmp_path / "mine.toml").known() == ["book/cover"]


def test_a_file_of_ones_own_replaces_the_packaged_one(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(COVER)
    assert load_policies(tmp_path / "mine.toml").known() == ["book/cover"]


def test_the_published_schema_is_the_one_of_the_loader() -> None:
    assert json.loads(SCHEMA.read_text()) == policies_schema()
    jsonschema.Draft202012Validator.check_schema(policies_schema())


def test_the_schema_takes_the_packaged_file() -> None:
    assert is_described(Path("service/policies.toml").read_text())


VALUES: dict[str, list[object]] = {
    "cardinality": ["single", "list", "List", "", 1, None],
    "visibility": ["public", "private", "secret", True, None],
    "media_types": [
        ["*/*"],
        ["image/*", "video/mp4"],
        ["a/b+c.d"],
        [],
        ["*"],
        ["*/png"],
        ["image/"],
        "image/png",
        None,
    ],
    "public_allowed": [True, False, 0, "false"],
    "max_bytes": [
        1,
        2**50,
        0,
        -1,
        2**50 + 1,
        2**70,
        "25 MiB",
        "1 B",
        "25MiB",
        "25 MB",
        "025 MiB",
        "25 MiB\n",
        2.5,
        True,
    ],
    "max_pixels": [1, "50 MP", "0 MP", "50 MiB", "50 mp", " 50 MP", "50 MP\n", False],
    "max_edge": [1, 1_000_000, 0, 1_000_001, "2560", 1.5],
    "oversize": ["reject", "downscale", "shrink", 1],
    "max_duration": ["10m", "90s", "250ms", "2h", "0s", "1d", "10", 10, "10m\n"],
    "max_items": [1, 1_000_000, 0, 1_000_001, "5"],
    "presets": [["small"], [], ["small", "small"], ["Small"], ["meta"], "small", None],
    "normalise": [True, False, 1],
    "strip": [True, False, "no"],
    "colour": ["keep", "srgb", "p3"],
    "format": ["original", "webp", "tiff"],
    "max_frames": [1, 100_000, 0, 100_001, "5"],
    "max_animation": ["30s", "250ms", "0s", 30],
    "keep_original": [True, False, None, 0],
}


@pytest.mark.parametrize(
    "name", ["book/cover", "*/*", "a_1/*", "book", "book/cover/0", "Book/cover", "book/", "/cover\n"]
)
def test_schema_and_loader_agree_on_names(name: str) -> None:
    text = toml({"policies": {name: RULES}})[1:-1]
    assert is_loaded(text) is is_described(text)


@given(st.fixed_dictionaries({}, optional={name: st.sampled_from(values) for name, values in VALUES.items()}))
def test_schema_and_loader_agree_on_every_table(members: dict[str, object]) -> None:
    text = document(**members)
    assert is_loaded(text) is is_described(text)


@pytest.mark.parametrize(("name", "value"), [(name, value) for name, values in VALUES.items() for value in values])
def test_schema_and_loader_agree_on_each_value(name: str, value: object) -> None:
    for cardinality in ("single", "list"):
        text = document(**({"cardinality": cardinality} | {name: value}))
        assert is_loaded(text) is is_described(text)


@given(st.text(max_size=200))
def test_any_text_is_policies_or_an_error_with_a_sentence(text: str) -> None:
    try:
        parse_policies(text, "x.toml")
    except PolicyFileError as error:
        assert str(error).startswith("x.toml")


def test_the_annotated_example_is_a_policy_file_with_every_setting() -> None:
    text = SCHEMA.with_name("policies.example.toml").read_text()
    assert is_described(text)
    policies = parse_policies(text, "policies.example.toml")
    assert len(policies.items) == len(tomllib.loads(text)["policies"]) >= 4
    defined = json.loads(SCHEMA.read_text())["$defs"]
    for kind, title in (("policies", "PolicyTable"), ("presets", "PresetTable")):
        used = {name for table in tomllib.loads(text)[kind].values() for name in table}
        assert used == defined[title]["properties"].keys()
        settings = [line for line in text.splitlines() if " = " in line and not line.startswith("#")]
        assert {line.split(" = ")[0] for line in settings if "#" in line} >= used - {"cardinality"}
