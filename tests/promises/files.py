"""The files of contracts/ and openapi.yaml: which are written, and how each is compared with the release."""

from __future__ import annotations

import json
import shutil
import tomllib
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path

import yaml

from service.router.openapi.document import build_document
from service.schemas.policy_file import policies_schema
from tests.promises.api import compare_apis
from tests.promises.changes import CONTRACTS, Change, Json
from tests.promises.events import event_schemas, read_source
from tests.promises.problems import problem_table
from tests.promises.records import compare_records
from tests.promises.samples import sample_events
from tests.promises.schemas import Schemas

ROOT = CONTRACTS.parent
RELEASED = CONTRACTS / "released"
SEAL = "release.json"
Comparison = Callable[[Json, Json, str], Iterator[Change]]


def _as_api(old: Json, new: Json, _name: str) -> Iterator[Change]:
    return compare_apis(old, new)


def _as_read(old: Json, new: Json, name: str) -> Iterator[Change]:
    return Schemas(old, new, "answer").compare(old, new, name)


def _as_written(old: Json, new: Json, name: str) -> Iterator[Change]:
    return Schemas(old, new, "request").compare(old, new, name)


COMPARED: dict[str, tuple[Path, Comparison]] = {
    "openapi.yaml": (ROOT, _as_api),
    "policies.schema.json": (CONTRACTS, _as_written),
    "problems.json": (CONTRACTS, compare_records),
    "decisions.yaml": (CONTRACTS, compare_records),
    "telemetry.json": (CONTRACTS, compare_records),
    "storage.yaml": (CONTRACTS, compare_records),
}
"""By name: the folder of the file, and how it is compared. The schemas of events/ are read by consumers."""


def generated() -> dict[Path, str]:
    """What of contracts/ is written by the code, by file."""
    tables = {
        "problems.json": problem_table(build_document()),
        "policies.schema.json": policies_schema(),
        **{f"events/{type_}.schema.json": schema for type_, schema in _event_schemas().items()},
    }
    return {CONTRACTS / name: _json(table) for name, table in tables.items()}


def compared(released: Path = RELEASED) -> Iterator[Change]:
    """Every difference between the last release and what stands here."""
    for name in sorted(_released_names(released) | _names()):
        before, after = read(name, released), read(name)
        if before is None or after is None:
            yield Change("file-removed" if after is None else "file-added", "answer", name, "the file")
        else:
            how = COMPARED[name][1] if name in COMPARED else _as_read
            yield from how(before, after, name)


def read(name: str, folder: Path | None = None) -> Json:
    """A file as it stands here, or in a folder of copies; None where it is not there."""
    file = _place(name) if folder is None else folder / name
    if not file.exists():
        return None
    text = file.read_text()
    return json.loads(text) if file.suffix == ".json" else yaml.load(text, yaml.CSafeLoader)


def version() -> str:
    """The version of pyproject.toml."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"])


def seal(released: Path = RELEASED) -> dict[str, str]:
    """Which release the copies are of, and its day."""
    found: dict[str, str] = json.loads((released / SEAL).read_text())
    return found


def cut(released: Path = RELEASED) -> None:
    """Make what stands here the last release."""
    shutil.rmtree(released, ignore_errors=True)
    for name in sorted(_names()):
        (released / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(_place(name), released / name)
    (released / SEAL).write_text(_json({"version": version(), "date": str(date.today())}))  # noqa: DTZ011 - a day


def _event_schemas() -> dict[str, Json]:
    return event_schemas(read_source(), sample_events())


def _names() -> set[str]:
    return {*COMPARED, *(f"events/{path.name}" for path in (CONTRACTS / "events").glob("*.schema.json"))}


def _released_names(released: Path) -> set[str]:
    found = (path.relative_to(released).as_posix() for path in released.rglob("*") if path.is_file())
    return {name for name in found if name != SEAL}


def _place(name: str) -> Path:
    return COMPARED[name][0] / name if name in COMPARED else CONTRACTS / name


def _json(document: Json) -> str:
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"
