"""One call: what is sent with each attempt, made once, so that all attempts are the same request."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import uuid4

import httpx
import msgspec

from refkeep_client.bodies import Body
from refkeep_client.options import CallOptions, ChangeOptions, WriteOptions
from refkeep_client.retry import Retry
from refkeep_client.texts import checked_idempotency_key, checked_traceparent, digest_field

_JSON = "application/json"
_BYTES = "application/octet-stream"
_CLAIMS = ("image/", "video/", "audio/")

Params = list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Call:
    """A request that may be sent more than once.

    `policy` is the path of the one that its body is judged by; `timeout` and `retry` are the client's own where None.
    """

    method: str
    path: str
    params: Params = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    json: bytes | None = None
    body: Body | None = None
    policy: str | None = None
    timeout: httpx.Timeout | float | None = None
    retry: Retry | None = None

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def with_headers(self, **headers: str) -> Call:
        """The same with other headers; `_` stands for `-`."""
        return replace(self, headers={**self.headers, **_named(headers)})


def read(method: str, path: str, options: CallOptions, params: Mapping[str, object] | None = None) -> Call:
    """A call that changes nothing."""
    headers = {name.lower(): value for name, value in options.get("headers", {}).items()}
    if (traceparent := options.get("traceparent")) is not None:
        headers["traceparent"] = checked_traceparent(traceparent)
    return Call(
        method,
        path,
        list(_pairs(params or {})),
        headers,
        timeout=options.get("timeout"),
        retry=options.get("retry"),
    )


def write(method: str, path: str, options: WriteOptions) -> Call:
    """A call that takes effect once, however often it is sent: each carries one idempotency key."""
    key = options.get("idempotency_key")
    checked = uuid4().hex if key is None else checked_idempotency_key(key)
    return read(method, path, options).with_headers(idempotency_key=checked)


def change(method: str, path: str, options: ChangeOptions) -> Call:
    """A write that goes by a version, where one is given."""
    call, version = write(method, path, options), options.get("if_match")
    return call if version is None else call.with_headers(if_match=version_tag(version))


def with_json(call: Call, members: object) -> Call:
    """The same with a command."""
    return replace(call.with_headers(content_type=_JSON), json=msgspec.json.encode(members))


def with_body(call: Call, body: Body, media_type: str | None) -> Call:
    """The same with bytes. Only claims that Refkeep judges are passed on; it finds the type by the bytes itself."""
    claims = media_type is not None and media_type.lower().startswith(_CLAIMS)
    call = call.with_headers(content_type=media_type if claims and media_type else _BYTES)
    if body.source.size is not None:
        call = call.with_headers(content_length=str(body.source.size))
    if body.named is not None:
        call = call.with_headers(content_digest=digest_field(body.named))
    return replace(call, body=body)


def version_tag(version: int) -> str:
    """An entity's version as an entity tag."""
    return f'"{version:d}"'


def present(**members: Any) -> dict[str, Any]:
    """The members that are not None."""
    return {name: value for name, value in members.items() if value is not None}


def _named(headers: Mapping[str, str]) -> dict[str, str]:
    return {name.replace("_", "-"): value for name, value in headers.items()}


def _pairs(params: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    for name, value in params.items():
        if isinstance(value, bool):
            yield name, "true" if value else "false"
        elif value is not None:
            yield name, str(value)
