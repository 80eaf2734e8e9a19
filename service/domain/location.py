"""Where a store is, as one line of text without secrets: `file:///srv/refkeep/blobs`, `s3://bucket?endpoint=…`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit

_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]{1,254}", re.IGNORECASE)
_OPTIONS = ("endpoint", "region", "profile")
_MOST = 5000


@dataclass(frozen=True, slots=True)
class FolderLocation:
    """The folder that has `objects` and `staging`: the `blobs` of a DATA_DIR, absolute."""

    path: PurePosixPath

    def __str__(self) -> str:
        return f"file://{quote(str(self.path), errors='surrogateescape')}"


@dataclass(frozen=True, slots=True)
class BucketLocation:
    """A bucket. `endpoint` as S3_ENDPOINT_URL, `profile` one of the AWS configuration files, for other credentials."""

    bucket: str
    endpoint: str | None = None
    region: str | None = None
    profile: str | None = None

    def __str__(self) -> str:
        given = [(name, value) for name in _OPTIONS if (value := getattr(self, name)) is not None]
        return f"s3://{self.bucket}" + (f"?{urlencode(given, safe=':/')}" if given else "")


Location = FolderLocation | BucketLocation


def parse_location(text: str) -> Location:
    """Read a location; raise `ValueError` for any other text, for a relative path, and for a password in an address."""
    parts = urlsplit(text)
    if len(text) > _MOST or parts.fragment or not text.isprintable():
        raise ValueError(text)
    if parts.scheme == "file":
        return _folder(text, parts.netloc, unquote(parts.path), parts.query)
    if parts.scheme == "s3":
        return _bucket(text, parts.netloc, parts.path, parts.query)
    raise ValueError(text)


def _folder(text: str, host: str, path: str, query: str) -> FolderLocation:
    found = PurePosixPath(path)
    if host or query or not found.is_absolute() or ".." in found.parts or not path.isprintable():
        raise ValueError(text)
    return FolderLocation(PurePosixPath("/", *found.parts[1:]))


def _bucket(text: str, bucket: str, path: str, query: str) -> BucketLocation:
    pairs = parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    options = dict(pairs)
    well_formed = len(options) == len(pairs) and all(name in _OPTIONS and value for name, value in pairs)
    if not well_formed or path.strip("/") or _BUCKET.fullmatch(bucket) is None:
        raise ValueError(text)
    if (endpoint := options.get("endpoint")) is not None:
        options["endpoint"] = _endpoint(text, endpoint)
    return BucketLocation(bucket, **options)


def _endpoint(text: str, endpoint: str) -> str:
    parts = urlsplit(endpoint)
    if parts.scheme not in {"http", "https"} or not parts.netloc or "@" in parts.netloc or parts.query:
        raise ValueError(text)
    return endpoint.rstrip("/")
