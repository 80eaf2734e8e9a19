"""All settings, read once from the environment into one frozen value. Names: `REFKEEP_` and the field in capitals."""

from __future__ import annotations

import difflib
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal, NamedTuple

import msgspec

from service import setting_forms as forms
from service.domain.signature import SigningKey
from service.setting_forms import Network

PREFIX = "REFKEEP_"

_SECRET = frozenset({"database_url", "dev_key", "signing_keys"})


class SettingsError(ValueError):
    """A setting is unknown, malformed or missing; `str(error)` names it and never holds a secret."""


def _log_format_of_terminal() -> Literal["json", "console"]:
    return "console" if sys.stderr.isatty() else "json"


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What a deployment decides; secrets are left out of `repr`.

    Sizes are bytes. `database_url` None means the embedded Postgres of `data_dir`, `policies` None the packaged file.
    `drain` is how long readiness is red before the listener closes; `orphan_retention` is a holding's lease,
    `upload_lease` how long bytes may take from the spool to the store before a collector takes them for abandoned;
    `descriptor_ttl` is how long a replica may serve on what it knew of visibility and holds.
    """

    data_dir: Path = Path(".refkeep")
    host: str = "127.0.0.1"
    port: int = 8080
    workers: int = 1
    database_url: str | None = None
    storage: Literal["filesystem", "s3"] = "filesystem"
    s3_bucket: str | None = None
    s3_endpoint_url: str | None = None
    s3_region: str | None = None
    policies: Path | None = None
    max_upload_bytes: int = 5 * 2**30
    public_url: str | None = None
    cors_origins: tuple[str, ...] = ("*",)
    trusted_proxies: tuple[Network, ...] = ()
    drain: timedelta = timedelta(seconds=5)
    log_format: Literal["json", "console"] = msgspec.field(default_factory=_log_format_of_terminal)
    read_only: bool = False
    pool_size: int = 10
    orphan_retention: timedelta = timedelta(days=7)
    trash_retention: timedelta = timedelta(days=30)
    quarantine: timedelta = timedelta(hours=24)
    gc_interval: timedelta = timedelta(seconds=60)
    upload_lease: timedelta = timedelta(hours=24)
    dev_key: str | None = None
    signing_keys: tuple[SigningKey, ...] = ()
    descriptor_ttl: timedelta = timedelta(seconds=1)

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Names and values, a secret only as set or unset."""
        values = {name: getattr(self, name) for name in self.__struct_fields__}
        return [(name, "***" if name in _SECRET and value else value) for name, value in values.items()]

    def __repr__(self) -> str:
        return f"Settings({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class _Reader(NamedTuple):
    read: Callable[[str], object]
    form: str


_TEXT = _Reader(forms.words, "not empty")
_COUNT = _Reader(forms.integer(1, 1000), "a whole number, 1 to 1000")
_DURATION = _Reader(forms.positive_duration, "a duration such as 30d, 24h, 90m, 60s or 250ms")
_HTTP_URL = _Reader(forms.url("http", "https"), "an absolute http or https URL")
_READERS: Mapping[str, _Reader] = {
    "data_dir": _Reader(forms.path, "the path of a folder"),
    "host": _TEXT,
    "port": _Reader(forms.integer(1, 65535), "a port, 1 to 65535"),
    "workers": _COUNT,
    "database_url": _Reader(
        forms.database_url,
        "a URL postgresql://user:password@host:port/database, in whose password / ? # @ are written as %2F %3F %23 %40",
    ),
    "storage": _Reader(forms.one_of("filesystem", "s3"), "filesystem or s3"),
    "s3_bucket": _TEXT,
    "s3_endpoint_url": _Reader(forms.endpoint, "an absolute http or https URL, without a user, a password or a query"),
    "s3_region": _TEXT,
    "policies": _Reader(forms.path, "the path of a TOML file"),
    "max_upload_bytes": _Reader(forms.size, "a size such as 5 GiB, 512 MiB or 1000000"),
    "public_url": _HTTP_URL,
    "cors_origins": _Reader(forms.list_of(forms.origin), "origins as https://example.org, separated by commas, or *"),
    "trusted_proxies": _Reader(forms.list_of(forms.network), "IP addresses or networks, separated by commas"),
    "drain": _Reader(forms.duration, "a duration such as 5s, or 0"),
    "log_format": _Reader(forms.one_of("json", "console"), "json or console"),
    "read_only": _Reader(forms.boolean, "true or false"),
    "pool_size": _COUNT,
    "orphan_retention": _DURATION,
    "trash_retention": _DURATION,
    "quarantine": _DURATION,
    "gc_interval": _DURATION,
    "upload_lease": _DURATION,
    "dev_key": _TEXT,
    "signing_keys": _Reader(forms.list_of(forms.signing_key), "id:base64 of at least 16 bytes, separated by commas"),
    "descriptor_ttl": _DURATION,
}


class Survey(NamedTuple):
    """Settings as far as they can be read, with defaults for the rest, and by name what is wrong, in sentences."""

    settings: Settings
    mistakes: Mapping[str, str]


def load_settings(environ: Mapping[str, str]) -> Settings:
    """Read the settings from `environ`; raise `SettingsError` for an unknown name, a bad value or a missing one."""
    settings, mistakes = survey_settings(environ)
    for sentence in mistakes.values():
        raise SettingsError(sentence)
    return settings


def survey_settings(environ: Mapping[str, str]) -> Survey:
    """Read all that can be read, for whoever wants to know of every mistake."""
    values: dict[str, Any] = {}
    mistakes: dict[str, str] = {}
    for name, text in sorted(environ.items()):
        if name.startswith(PREFIX):
            try:
                values[_field(name)] = _value(name, text.strip())
            except SettingsError as error:
                mistakes[name] = str(error)
    settings, bucket = Settings(**values), f"{PREFIX}S3_BUCKET"
    if settings.storage == "s3" and settings.s3_bucket is None and bucket not in mistakes:
        mistakes[bucket] = f"{PREFIX}STORAGE is s3, but {bucket} is not set."
    return Survey(settings, mistakes)


def _field(name: str) -> str:
    known = {f"{PREFIX}{field.upper()}": field for field in Settings.__struct_fields__}
    if name in known:
        return known[name]
    nearest = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    message = f"{name} is no setting of Refkeep; did you mean {nearest[0]}?"
    raise SettingsError(message)


def _value(name: str, text: str) -> object:
    field = _field(name)
    reader = _READERS[field]
    try:
        return reader.read(text)
    except ValueError:
        is_shown = field not in _SECRET and "@" not in text  # before which a password may stand
        shown = f"{text[:80]!r} is not that" if is_shown else "its value is malformed"
        message = f"{name} must be {reader.form}; {shown}."
        raise SettingsError(message) from None
