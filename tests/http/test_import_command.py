"""`refkeep import`: what it says, writes down and ends with."""

from __future__ import annotations

import csv
import json
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pyvips
from click.testing import CliRunner

from service.__main__ import main
from tests.logging_state import logging_restored
from tests.parts.caller import Caller, sha256_of
from tests.parts.manifests import as_csv, line, picture
from tests.parts.pictures import card, secretive, stored
from tests.parts.service import Done, Refkeep, Yard, environment, refkeep_here

_HEADER = b"workspace,entity_type,entity_id,role,order,path,source_id\n"
_NOT_TO_BE_HAD: list[dict[str, object]] = [
    {"path": "link.png"},
    {"path": "../0.png"},
    {"url": "https://images.example.org/a.png", "path": None},
    {"url": "http://localhost:1/a.png", "path": None},
]


@pytest.fixture(scope="module")
def kept(yard: Yard) -> Iterator[Refkeep]:
    """A running service, into which is imported."""
    with yard.running() as started:
        yield started


@pytest.fixture
def caller(kept: Refkeep) -> Caller:
    """A caller in a new workspace."""
    return kept.caller("read", "write")


def command(service: Refkeep, *words: object, **settings: object) -> Done:
    where = {"DATA_DIR": service.data_dir, "DATABASE_URL": service.database_url, **settings}
    return refkeep_here("import", *map(str, words), **where)


def manifest(folder: Path, caller: Caller, count: int = 3, **changes: object) -> Path:
    """A manifest of pictures of one marker."""
    for number in range(count):
        (folder / f"{number}.png").write_bytes(picture(f"{caller.workspace} {number}"))
    lines = [line(n, workspace=caller.workspace, entity_id="m1", **changes) for n in range(count)]
    path = folder / "markers.csv"
    path.write_bytes(as_csv(lines))
    return path


def shown(caller: Caller, role: str = "checkpoint_marker/m1/image") -> list[bytes]:
    """What the service shows of a role, in its order."""
    refs = caller.http.get(f"/refs/{role}").json()["items"]
    return [caller.http.get(f"/media/{ref['ref_id']}/file").content for ref in refs]


def run_of(done: Done) -> str:
    document: dict[str, Any] = json.loads(done.stdout)
    return str(document["run"])


def test_what_was_imported_is_served_and_taken_back_as_one(kept: Refkeep, caller: Caller, tmp_path: Path) -> None:
    path, report = manifest(tmp_path, caller), tmp_path / "report.csv"
    done = command(kept, path, "--report", report, "--json")
    assert done.status == 0, done.stderr
    assert json.loads(done.stdout)["counts"] == {"imported": 3}
    assert "3 of 3 rows: 3 imported" in done.stderr
    pictures = [picture(f"{caller.workspace} {n}") for n in range(3)]
    assert shown(caller) == pictures
    with report.open(newline="") as file:
        told = [*csv.DictReader(file)]
    live = caller.http.get("/refs/checkpoint_marker/m1/image").json()["items"]
    assert [(row["source_id"], row["outcome"], row["ref_id"], row["sha256"]) for row in told] == [
        (f"marker:{n}", "imported", ref["ref_id"], ref["blob"]["sha256"]) for n, ref in enumerate(live)
    ]
    run = run_of(done)
    assert {event["data"]["actor"] for event in caller.http.get("/events").json()["events"]} == {f"import:{run}"}
    assert {media["ref_id"] for media in caller.http.get("/media").json()["items"]} == {ref["ref_id"] for ref in live}

    again = command(kept, path)
    assert again.status == 0
    assert "noop\t3\trefs that an import made before" in again.stdout
    assert run in again.stderr
    [listed] = [each for each in json.loads(command(kept, "list", "--json").stdout) if each["run"] == run]
    assert (listed["name"], listed["state"], listed["entities"], listed["counts"]) == (
        "markers.csv",
        "done",
        1,
        {"noop": 3},
    )
    assert f"{run}\tmarkers.csv\tdone" in command(kept, "list").stdout
    assert "noop\t3" in command(kept, "status", run).stdout

    dry = command(kept, "rollback", run, "--dry-run", "--json")
    assert json.loads(dry.stdout) == {"run": run, "released": 3, "left": []}
    assert len(shown(caller)) == 3
    back = command(kept, "rollback", run)
    assert (back.status, back.stdout) == (0, "released\t3\nleft\t0\n")
    assert shown(caller) == []
    assert json.loads(command(kept, "status", run, "--json").stdout)["state"] == "rolled-back"
    anew = command(kept, path, "--json")
    assert run_of(anew) != run
    assert shown(caller) == pictures


def test_photographs_from_telephones_are_shown_upright_small_and_bare(
    kept: Refkeep, caller: Caller, tmp_path: Path
) -> None:
    photo = secretive(stored(6)).resize(32, kernel="nearest").jpegsave_buffer(Q=60)
    (tmp_path / "0.png").write_bytes(photo)
    path = tmp_path / "covers.csv"
    place = {"entity_type": "book", "entity_id": "42", "role": "cover"}
    path.write_bytes(as_csv([line(0, workspace=caller.workspace, **place)]))
    for outcome in ("imported", "noop"):
        done = command(kept, path, "--json")
        assert json.loads(done.stdout)["counts"] == {outcome: 1}, done.stderr
    [ref] = caller.refs("book/42/cover")
    assert ref["original"] == {"sha256": sha256_of(photo), "kept": True}
    [content] = shown(caller, "book/42/cover")
    seen = pyvips.Image.new_from_buffer(content, "")
    assert (max(seen.width, seen.height), seen.width > seen.height) == (2560, card().width > card().height)
    assert b"SECRET" in photo
    assert b"SECRET" not in content


def test_what_a_caller_wrote_stays_and_a_roll_back_says_what_it_leaves(
    kept: Refkeep, caller: Caller, tmp_path: Path
) -> None:
    path = manifest(tmp_path, caller)
    run = run_of(command(kept, path, "--json"))
    first = caller.http.get("/refs/checkpoint_marker/m1/image").json()["items"][0]["ref_id"]
    assert caller.http.patch(f"/media/{first}", json={"alt": "mine"}).status_code == 200
    back = command(kept, "rollback", run)
    assert back.status == 4
    assert back.stdout.splitlines()[:2] == ["released\t2", "left\t1"]
    assert f"{caller.workspace}/checkpoint_marker/m1\t{first}\ttouched\tupdated by key:" in back.stdout
    again = command(kept, path)
    assert again.status == 0, "what is left as it was written is no failure"
    assert "skipped\t2\tleft as somebody wrote it" in again.stdout
    assert "\twritten-live\tSomebody wrote this role: updated by key:" in again.stdout


def test_failed_rows_are_told_and_end_with_4_and_the_rest_is_imported(
    kept: Refkeep, caller: Caller, tmp_path: Path
) -> None:
    path = manifest(tmp_path, caller)
    with path.open("ab") as file:
        file.write(f"{caller.workspace},checkpoint_marker,m2,image,1,nosuch.png,s7\n".encode())
        file.write(f"{caller.workspace},checkpoint_marker,m2,image,2,0.png,s8\n".encode())
        file.write(b"\xff\n")
    report = tmp_path / "report.ndjson"
    done = command(kept, path, "--report", report)
    assert done.status == 4
    rows = {row["line"]: row for row in map(json.loads, report.read_text().splitlines())}
    assert {line_: (row["outcome"], row["code"]) for line_, row in rows.items()} == {
        2: ("imported", None), 3: ("imported", None), 4: ("imported", None),
        5: ("failed", "source-failed"), 6: ("held-back", "held-back"), 7: ("failed", "bad-line"),
    }  # fmt: skip
    assert "5\tfailed\ts7\tsource-failed\tThe file cannot be opened: No such file or directory." in done.stdout
    assert "7\tfailed\t\tbad-line\tByte 1 of the line is not UTF-8." in done.stdout
    assert len(shown(caller)) == 3


def test_a_dry_run_says_what_would_happen_and_writes_nothing(kept: Refkeep, caller: Caller, tmp_path: Path) -> None:
    path = manifest(tmp_path, caller)
    (tmp_path / "1.png").write_bytes(b"text")
    before = kept.contents()
    look = command(kept, path, "--dry-run")
    assert (look.status, "imported\t3" in look.stdout) == (0, True)
    assert "Nothing was written" in look.stderr
    tried = command(kept, path, "--dry-run", "--fetch", "--json")
    assert tried.status == 4
    assert json.loads(tried.stdout)["counts"] == {"failed": 1, "held-back": 2}
    assert not kept.added_since(before)
    assert kept.sql("SELECT count(*) AS n FROM imports WHERE name = 'nosuch'")[0]["n"] == 0


def test_standard_input_and_data_urls(kept: Refkeep, caller: Caller) -> None:
    url = f"data:image/png;base64,{b64encode(picture('data')).decode()}"
    text = json.dumps(line(1, workspace=caller.workspace, entity_id="m1", path=None, url=url))
    settings = environment(DATA_DIR=kept.data_dir, DATABASE_URL=kept.database_url)
    with logging_restored():
        result = CliRunner().invoke(main, ["import", "-", "--json"], input=text, env={**settings})
    assert result.exit_code == 0, result.stderr
    assert shown(caller) == [picture("data")]
    assert "of standard input: 1 rows" in result.stderr


def test_a_root_is_not_left_and_hosts_are_not_asked_unless_allowed(
    kept: Refkeep, caller: Caller, tmp_path: Path
) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "root/link.png").symlink_to(tmp_path / "0.png")
    path = manifest(tmp_path, caller)
    path.write_bytes(as_csv(line(n, workspace=caller.workspace, **place) for n, place in enumerate(_NOT_TO_BE_HAD)))
    done = command(kept, path, "--root", tmp_path / "root", "--allow-host", "localhost:1", "--json")
    assert done.status == 4
    told = {row["source_id"]: (row["code"], row["detail"]) for row in json.loads(done.stdout)["not_imported"]}
    assert told == {
        "marker:0": ("source-refused", "The path leads out of the root."),
        "marker:1": ("source-refused", "The path leads out of the root."),
        "marker:2": ("source-refused", "The host images.example.org is not allowed: name it with --allow-host."),
        "marker:3": ("source-refused", "The host has an address that is not of the public Internet."),
    }


def test_nothing_is_written_where_nothing_may_be(kept: Refkeep, caller: Caller, tmp_path: Path) -> None:
    path = manifest(tmp_path, caller)
    for words in ((path,), ("rollback", "some-run")):
        done = command(kept, *words, READ_ONLY="true")
        assert (done.status, "READ_ONLY is set" in done.stderr) == (5, True)
    assert command(kept, path, "--dry-run", READ_ONLY="true").status == 0
    assert command(kept, "list", READ_ONLY="true").status == 0
    assert shown(caller) == []


@pytest.mark.parametrize(
    ("content", "words", "said"),
    [
        (b"", [], "The manifest cannot be read. Line 1: the manifest is empty."),
        (_HEADER.replace(b"role", b"rule"), [], "Line 1: there is no column 'rule'"),
        (b"x" * (5 * 2**20), [], "Line 1: is longer than 4194304 bytes."),
        (_HEADER, ["--fetch"], "--fetch goes with --dry-run"),
        (_HEADER, ["--allow-host", "https://a.example"], "'https://a.example' is no host such as"),
        (_HEADER, ["--report", "report.pdf"], "A report is a file .csv or .ndjson."),
        (_HEADER, ["--jobs", "0"], "0 is not in the range"),
        (_HEADER, ["--timeout", "soon"], "'soon' is not a duration"),
        (_HEADER, ["--timeout", "0"], "--timeout is longer than 0."),
        (_HEADER, ["--report", "MANIFEST"], "The report would take the place of the manifest."),
        (
            _HEADER,
            ["--report", "/no/such/folder/report.csv"],
            "The report cannot be written: No such file or directory.",
        ),
        (_HEADER, ["--root", "/no/such/folder"], "does not exist"),
    ],
)
def test_a_wrong_command_or_manifest_ends_with_2_and_a_sentence(
    kept: Refkeep, tmp_path: Path, content: bytes, words: list[str], said: str
) -> None:
    path = tmp_path / "manifest.csv"
    path.write_bytes(content)
    before = kept.sql("SELECT count(*) FROM imports")
    done = command(kept, path, *(path if word == "MANIFEST" else word for word in words))
    assert (done.status, said in done.complaint()) == (2, True), done.stderr
    assert kept.sql("SELECT count(*) FROM imports") == before


def test_an_unknown_run_is_told(kept: Refkeep) -> None:
    for word in ("rollback", "status"):
        assert "There is no import 'nosuch'" in command(kept, word, "nosuch").complaint()


def test_long_lines_and_long_manifests_are_read_in_little_memory(kept: Refkeep, caller: Caller, tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    good = f"{caller.workspace},checkpoint_marker,m1,image,1,0.png,s1\n".encode()
    (tmp_path / "0.png").write_bytes(picture("long"))
    with path.open("wb") as file:
        file.write(_HEADER + b"y" * 2**23 + b"\n" + good + b"z" * 2**23)
    done = command(kept, path, "--json")
    assert done.status == 4
    told = json.loads(done.stdout)
    assert told["counts"] == {"imported": 1, "failed": 2}
    assert [(row["line"], row["detail"]) for row in told["not_imported"]] == [
        (2, "The line is longer than 4194304 bytes."),
        (4, "The line is longer than 4194304 bytes."),
    ]


def test_many_failures_are_cut_on_the_screen_and_whole_in_the_report(
    kept: Refkeep, caller: Caller, tmp_path: Path
) -> None:
    path, report = tmp_path / "bad.csv", tmp_path / "bad.ndjson"
    path.write_bytes(as_csv(line(n, workspace=caller.workspace, path="nosuch.png") for n in range(60)))
    done = command(kept, path, "--report", report)
    assert done.status == 4
    assert "… and 10 more: --report has them all." in done.stderr
    assert len(report.read_text().splitlines()) == 60


def test_a_report_takes_the_place_of_no_manifest_however_it_is_spelled(
    kept: Refkeep, caller: Caller, tmp_path: Path
) -> None:
    path = manifest(tmp_path, caller)
    content = path.read_bytes()
    (tmp_path / "folder").mkdir()
    (tmp_path / "soft.csv").symlink_to(path)
    (tmp_path / "hard.csv").hardlink_to(path)
    for spelling in ("folder/../markers.csv", "soft.csv", "hard.csv"):
        done = command(kept, path, "--report", f"{tmp_path}/{spelling}")
        assert (done.status, "take the place of the manifest" in done.complaint()) == (2, True), spelling
    assert path.read_bytes() == content
    assert shown(caller) == []


@pytest.mark.parametrize("count", [3, 200])
@pytest.mark.parametrize("form", ["csv", "ndjson"])
def test_a_report_that_finds_no_room_is_told_and_the_import_is_whole(
    kept: Refkeep, caller: Caller, tmp_path: Path, form: str, count: int
) -> None:
    path, report = manifest(tmp_path, caller), tmp_path / f"report.{form}"
    rows = [line(n, workspace=caller.workspace, entity_id="m1", path="0.png") for n in range(count)]
    path.write_bytes(as_csv(rows))
    report.symlink_to("/dev/full")
    done = command(kept, path, "--report", report, "--json")
    assert (done.status, json.loads(done.stdout)["counts"]) == (1, {"imported": count})
    assert "The report is not whole: No space left on device." in done.complaint()
