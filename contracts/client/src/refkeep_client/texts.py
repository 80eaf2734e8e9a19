"""Texts that become part of a request, each checked so that it cannot become another one.

A wrong one is `ValueError`, which never repeats what may be a secret.
"""

from __future__ import annotations

import re
from base64 import b64encode
from urllib.parse import quote
from uuid import UUID

import httpx

from refkeep_client.keys import AnyKey, EntityKey, SlotKey

_KEY = re.compile(r"[A-Za-z0-9._~+/=-]{1,512}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_IDEMPOTENCY_KEY = re.compile(r"[!#-~]{1,255}")
_SLUG = re.compile(r"[!-~]{1,255}")
_DOTS = {"", ".", ".."}


def checked_base(url: str) -> str:
    """The address of a service: `https://host[:port][/prefix]`."""
    base = httpx.URL(url)
    if base.scheme not in {"http", "https"} or not base.host:
        raise ValueError("The address of a service begins with https:// or http:// and a host.")
    if base.userinfo or base.query or base.fragment:
        raise ValueError("The address of a service has no user, no query and no fragment; the key is passed as key.")
    return str(base).rstrip("/")


def checked_key(key: str) -> str:
    """A key that can be sent."""
    if _KEY.fullmatch(key) is None:
        raise ValueError("This cannot be a key: rk_<id>_<secret>, with nothing around it.")
    return key


def checked_slug(slug: str) -> str:
    """A workspace's name that can be sent."""
    if _SLUG.fullmatch(slug) is None:
        raise ValueError("The name of a workspace has visible ASCII characters alone.")
    return slug


def checked_idempotency_key(key: str) -> str:
    """An idempotency key that Refkeep takes."""
    if _IDEMPOTENCY_KEY.fullmatch(key) is None:
        raise ValueError("An idempotency key is 1 to 255 visible ASCII characters without quotes.")
    return key


def checked_traceparent(traceparent: str) -> str:
    """A W3C trace context that can be sent; whether it is one is judged by who reads it."""
    if not traceparent.isascii() or not traceparent.isprintable():
        raise ValueError("A traceparent has visible ASCII characters alone.")
    return traceparent


def checked_sha256(sha256: str) -> str:
    """A SHA-256 as Refkeep spells it."""
    if _SHA256.fullmatch(sha256) is None:
        raise ValueError("A SHA-256 is 64 hexadecimal digits in lower case; a path is given as pathlib.Path.")
    return sha256


def ref_id_text(ref_id: UUID | str) -> str:
    """The one spelling of a ref's id."""
    return str(ref_id if isinstance(ref_id, UUID) else UUID(ref_id))


def path_of(*segments: str) -> str:
    """A path that has these segments whatever is in them: `/refs/book/42`."""
    if not _DOTS.isdisjoint(segments):
        raise ValueError("A name is neither empty nor made of dots.")
    return "".join(f"/{quote(segment, safe=':@~')}" for segment in segments)


def refs_path(key: AnyKey, *rest: str) -> str:
    """Where the refs of an entity, a role or a slot are."""
    names = [key.entity_type, key.entity_id]
    if not isinstance(key, EntityKey):
        names.append(key.role)
    if isinstance(key, SlotKey):
        names.append(str(key.position))
    return path_of("refs", *names, *rest)


def digest_field(sha256: str) -> str:
    """The value of `Content-Digest` (RFC 9530)."""
    return f"sha-256=:{b64encode(bytes.fromhex(sha256)).decode()}:"
