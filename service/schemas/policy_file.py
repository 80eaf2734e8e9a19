"""The policy file: TOML in, `Policies` out, and its JSON Schema (contracts/policies.schema.json) from the same types.

The form is documented where it is used: in the packaged service/policies.toml.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Collection
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from service.domain.policy import Cardinality, Oversize, Policies, Policy, Visibility
from service.domain.rendition import RESERVED_NAMES, Preset
from service.schemas.preset_file import (
    NORMALISING_RULES,
    PRESET_RULES,
    Duration,
    Flag,
    NormalisingTable,
    PresetName,
    PresetNames,
    PresetTable,
    milliseconds,
    normalisation_of,
    normalising_mistake,
    preset_mistake,
    preset_of,
)

_NAME = r"(\*|[a-z][a-z0-9_]{0,63})"
_SUBTYPE = r"[a-z0-9][a-z0-9!#$&^_.+-]{0,126}"  # RFC 6838 §4.2
_END = r"$(?!\n)"  # in JSON Schema `$` is the end, in Python it is also the line feed before it
_MAX_COUNT = 2**50
_MAX_FILE = 2**20
"""Bytes of a file that are read: a thousand roles take a tenth of it, and a device has no end."""
_UNITS = {"B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "MP": 1_000_000}

Unset = msgspec.UnsetType
PolicyName = Annotated[str, Meta(pattern=f"^{_NAME}/{_NAME}{_END}")]
MediaType = Annotated[str, Meta(pattern=rf"^(\*/\*|{_SUBTYPE}/(\*|{_SUBTYPE})){_END}")]
MediaTypes = Annotated[
    list[MediaType], Meta(min_length=1, description='a list of "type/subtype", "type/*" or "*/*", in lower case')
]
Count = Annotated[int, Meta(ge=1, le=_MAX_COUNT)]
BytesText = Annotated[str, Meta(pattern=f"^[1-9][0-9]{{0,5}} (B|KiB|MiB|GiB){_END}")]
Bytes = Annotated[Count | BytesText, Meta(description='a number of bytes, or text such as "25 MiB"')]
PixelsText = Annotated[str, Meta(pattern=f"^[1-9][0-9]{{0,5}} MP{_END}")]
Pixels = Annotated[Count | PixelsText, Meta(description='a number of pixels, or text such as "50 MP" (millions)')]
Items = Annotated[int, Meta(ge=1, le=1_000_000, description="a number of refs, 1 to 1000000")]
CardinalityWord = Annotated[Literal["single", "list"], Meta(description='"single" or "list"')]
VisibilityWord = Annotated[Literal["public", "private"], Meta(description='"public" or "private"')]


class PolicyTable(NormalisingTable, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """One table `[policies."entity_type/role"]`; a limit that is not there does not exist."""

    cardinality: CardinalityWord
    visibility: VisibilityWord
    media_types: MediaTypes
    public_allowed: Flag = True
    max_bytes: Bytes | Unset = msgspec.UNSET
    max_pixels: Pixels | Unset = msgspec.UNSET
    max_duration: Duration | Unset = msgspec.UNSET
    max_items: Items = 1000
    presets: PresetNames = msgspec.field(default_factory=list)
    eager: PresetNames = msgspec.field(default_factory=list)


class PolicyFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The whole file: at least one policy, and the presets that policies name."""

    policies: Annotated[dict[PolicyName, PolicyTable], Meta(min_length=1)]
    presets: dict[PresetName, PresetTable] = msgspec.field(default_factory=dict)


class PolicyFileError(ValueError):
    """A policy file that cannot be used: `str(error)` is a sentence with the file, the line (from 1) and the member."""

    def __init__(self, source: str, line: int | None, sentence: str) -> None:
        super().__init__(f"{source}: {sentence}" if line is None else f"{source}, line {line}: {sentence}")
        self.source, self.line = source, line


def load_policies(path: Path | None) -> Policies:
    """Return the policies of the file at `path`, of the packaged one when None. Raises `PolicyFileError`."""
    file = files("service").joinpath("policies.toml") if path is None else path
    try:
        with file.open("rb") as opened:
            content = opened.read(_MAX_FILE + 1)
        if len(content) > _MAX_FILE:
            raise PolicyFileError(str(file), None, "This is more than 1 MiB, and no policy file.")
        return parse_policies(content.decode("utf-8-sig"), str(file))
    except UnicodeDecodeError as error:
        raise PolicyFileError(str(file), None, "This is not UTF-8 text.") from error
    except OSError as error:
        raise PolicyFileError(str(file), None, f"The file cannot be read: {error.strerror}.") from error


def parse_policies(text: str, source: str) -> Policies:
    """Return the policies that `text` states; `source` is what an error calls it. Raises `PolicyFileError`."""
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise PolicyFileError(source, _line_of_syntax(text, error), f"This is no TOML: {error}.") from error
    except RecursionError as error:
        raise PolicyFileError(source, None, "This is nested too deeply to be read.") from error
    return _Checked(text, source).policies(document)


def policies_schema() -> dict[str, object]:
    """The JSON Schema (2020-12) of exactly what `parse_policies` takes."""
    schema: dict[str, object] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Refkeep policy file",
    }
    schema |= msgspec.json.schema(PolicyFile)
    tables: dict[str, dict[str, object]] = schema["$defs"]  # type: ignore[assignment]  # a schema is a tree of values
    tables["PresetTable"]["allOf"] = PRESET_RULES
    tables["PolicyTable"]["allOf"] = [
        {
            "if": {"properties": {"public_allowed": {"const": False}}, "required": ["public_allowed"]},
            "then": {"properties": {"visibility": {"const": "private"}}},
        },
        {
            "if": {"properties": {"cardinality": {"const": "single"}}, "required": ["cardinality"]},
            "then": {"properties": {"max_items": False}},
        },
        *NORMALISING_RULES,
    ]
    return schema


class _Checked:
    """Goes through one document member by member, so that an error can name the member and its line."""

    def __init__(self, text: str, source: str) -> None:
        self._text, self._source = text, source

    def policies(self, document: dict[str, object]) -> Policies:
        for name in document:
            if name not in {"policies", "presets"}:
                known = '[policies."entity_type/role"] and [presets.name]'
                raise self._error((name,), f'"{name}" is unknown; the file holds tables {known}.')
        tables, presets = document.get("policies"), document.get("presets", {})
        if not isinstance(tables, dict) or not tables:
            raise self._error(("policies",), 'There is no policy; each is a table [policies."entity_type/role"].')
        if not isinstance(presets, dict):
            raise self._error(("presets",), "presets must hold tables [presets.name].")
        made = tuple(self._preset(name, table) for name, table in presets.items())
        return Policies(tuple(self._policy(name, table, presets.keys()) for name, table in tables.items()), made)

    def _preset(self, name: str, table: object) -> Preset:
        path = ("presets", name)
        if name in RESERVED_NAMES:
            raise self._error(path, f'No preset may be called "{name}": /blobs/… has that already.')
        if not _fits(name, PresetName):
            raise self._error(path, f'"{name}" is no name of a preset: [a-z][a-z0-9_-]{{0,31}}.')
        members = self._checked(path, f"presets.{name}", table, PresetTable)
        if (mistake := preset_mistake(members)) is not None:
            place = (*path, mistake[0]) if mistake[0] in members else path
            raise self._error(place, f"presets.{name} {mistake[1]}.")
        return preset_of(name, msgspec.convert(members, PresetTable))

    def _policy(self, name: str, table: object, presets: Collection[str]) -> Policy:
        path = ("policies", name)
        if not _fits(name, PolicyName):
            raise self._error(path, f'"{name}" is no "entity_type/role"; either of them may be "*".')
        members = self._checked(path, f'policies."{name}"', table, PolicyTable)
        self._check_together(name, members)
        policy = _policy_of(name, msgspec.convert(members, PolicyTable))
        self._check_presets(name, policy, presets)
        return policy

    def _checked(
        self, path: tuple[str, ...], title: str, table: object, kind: type[PolicyTable | PresetTable]
    ) -> dict[str, object]:
        """The table, each of its members in its form."""
        fields = {field.encode_name: field for field in msgspec.structs.fields(kind)}
        if not isinstance(table, dict):
            raise self._error(path, f"{title} must be a table.")
        for member, value in table.items():
            if member not in fields:
                raise self._error((*path, member), f'"{member}" is unknown in {title}; known: {", ".join(fields)}.')
            if not _fits(value, fields[member].type):
                raise self._error((*path, member), f"{member} of {title} must be {_description(kind, member)}.")
        for member, field in fields.items():
            if field.required and member not in table:
                raise self._error(path, f"{title} lacks {member}: {_description(kind, member)}.")
        return table

    def _check_together(self, name: str, table: dict[str, object]) -> None:
        path, title = ("policies", name), f'policies."{name}"'
        if table["visibility"] == "public" and table.get("public_allowed") is False:
            sentence = f'public_allowed of {title} contradicts its visibility, "public".'
            raise self._error((*path, "public_allowed"), sentence)
        if table["cardinality"] == "single" and "max_items" in table:
            sentence = f"max_items of {title} is for lists; a single role holds one ref."
            raise self._error((*path, "max_items"), sentence)
        if (mistake := normalising_mistake(table)) is not None:
            raise self._error((*path, mistake[0]), f"{mistake[0]} of {title} {mistake[1]}.")

    def _check_presets(self, name: str, policy: Policy, known: Collection[str]) -> None:
        path, title = ("policies", name), f'policies."{name}"'
        for preset in policy.presets:
            if preset not in known:
                names = ", ".join(known) or "none"
                raise self._error((*path, "presets"), f'presets of {title} names "{preset}"; there is {names}.')
        for preset in policy.eager:
            if preset not in policy.presets:
                raise self._error((*path, "eager"), f'eager of {title} names "{preset}", which is not in its presets.')

    def _error(self, path: tuple[str, ...], sentence: str) -> PolicyFileError:
        return PolicyFileError(self._source, _line_of(self._text, path), sentence)


def _fits(value: object, kind: object) -> bool:
    try:
        msgspec.convert(value, kind)
    except msgspec.ValidationError:
        return False
    return True


def _description(kind: type[PolicyTable | PresetTable], member: str) -> str:
    properties = msgspec.json.schema(kind)["$defs"][kind.__name__]["properties"]
    return str(properties[member]["description"])


def _policy_of(name: str, table: PolicyTable) -> Policy:
    entity_type, _, role = name.partition("/")
    return Policy(
        entity_type=entity_type,
        role=role,
        cardinality=Cardinality(table.cardinality),
        visibility=Visibility(table.visibility),
        public_allowed=table.public_allowed,
        media_types=tuple(table.media_types),
        max_bytes=_count(table.max_bytes),
        max_pixels=_count(table.max_pixels),
        max_edge=table.max_edge or None,
        oversize=Oversize(table.oversize),
        max_duration_ms=milliseconds(table.max_duration),
        max_items=table.max_items,
        presets=tuple(dict.fromkeys(table.presets)),
        eager=tuple(dict.fromkeys(table.eager)),
        keep_original=table.keep_original,
        normalisation=normalisation_of(table),
    )


def _count(value: int | str | Unset) -> int | None:
    if isinstance(value, str):
        amount, unit = value.split(" ")
        return int(amount) * _UNITS[unit]
    return value or None


def _line_of_syntax(text: str, error: tomllib.TOMLDecodeError) -> int:
    found = re.search(r"at line (\d+)", str(error))
    return int(found[1]) if found else max(1, len(text.splitlines()))


def _line_of(text: str, path: tuple[str, ...]) -> int:
    """The line of the statement that brings the member into being, 1 when none does.

    tomllib tells no positions, and TOML spells one member in many ways: so the file is read again, a line longer each
    time. The statement begins after the last part of the file that is whole without the member.
    """
    lines, whole_without = text.splitlines(keepends=True), 0
    for count in range(1, len(lines) + 1):
        try:
            document = tomllib.loads("".join(lines[:count]))
        except tomllib.TOMLDecodeError:
            continue
        if _holds(document, path):
            return whole_without + 1
        whole_without = count
    return 1


def _holds(document: object, path: tuple[str, ...]) -> bool:
    for name in path:
        if not isinstance(document, dict) or name not in document:
            return False
        document = document[name]
    return True
