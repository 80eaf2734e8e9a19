"""What a write brings: a JSON command, a raw body, or a form; and the key that makes it repeatable."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Callable, Collection
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
from litestar import Request

from service.application.upload_blob import Upload
from service.domain.blob import Sha256, parse_sha256
from service.domain.decision import Expectation
from service.domain.errors import BadRequest
from service.domain.filename import clean_filename
from service.domain.ref import Labels, parse_labels
from service.observability import timed_stream
from service.ports.idempotency import Claim, Outcome
from service.router.answers import JSON, Answer, stored
from service.router.body import body_chunks, parse_content_length, read_json, verified
from service.router.callers import Caller
from service.router.digests import parse_digests
from service.router.idempotency import parse_idempotency_key
from service.router.multipart import FIELDS, UploadForm, is_form, open_form
from service.router.versions import parse_if_match, parse_only_if_empty
from service.schemas.requests import AttachFields, AttachRequest

HttpRequest = Request[Any, Any, Any]
Shape = TypeVar("Shape")
_FORM_OVERHEAD = 64 * 1024
_NUMBER = re.compile(r"0|[1-9][0-9]*")


@dataclass(frozen=True, slots=True)
class Bytes:
    """A body of bytes on its way in.

    `declared` is its length in bytes where the request says so, `digest` the one that came with it, `media_type` and
    `filename` what the sender claims.
    """

    chunks: AsyncIterator[bytes]
    declared: int | None = None
    digest: Sha256 | None = None
    media_type: str | None = None
    filename: str | None = None


@dataclass(frozen=True, slots=True)
class Intake:
    """The members of a request, and the bytes that came with them; None for a JSON command."""

    fields: AttachFields
    bytes: Bytes | None

    def sha256(self) -> Sha256 | None:
        """The hash that the caller names. Raises `BadHash`."""
        return None if self.fields.sha256 is None else parse_sha256(self.fields.sha256)

    def labels(self) -> Labels:
        """What the ref will say about its bytes. Raises `BadName` for text that cannot be shown."""
        labels = clean_labels(self.fields.filename, self.fields.alt, self.fields.owner)
        if labels.filename is None and self.bytes is not None:
            return replace(labels, filename=self.bytes.filename)
        return labels


def clean_labels(filename: str | None, alt: str | None, owner: str | None) -> Labels:
    """What a ref may say, from what its writer sends. Raises `BadName` for text that cannot be shown."""
    return parse_labels(None if filename is None else clean_filename(filename), alt, owner)


def content_type(request: HttpRequest) -> str:
    """The media type that the request claims, without its parameters, in lower case; empty when it claims none."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def raw_body(request: HttpRequest, limit: int) -> Bytes:
    """The body as it is. Raises `BadRequest` for its digests; reading it raises what `body_chunks` raises."""
    _refuse_parts_and_codings(request)
    declared, promised = _declared(request), _promised(request)
    named = promised.pop("sha-256", None)  # what the bytes are named by is computed anyway
    chunks = body_chunks(request.receive, limit=limit, declared=declared)
    chunks = timed_stream("receive", verified(chunks, promised) if promised else chunks)
    digest = None if named is None else Sha256(named.hex())
    return Bytes(chunks, declared, digest, content_type(request) or None)


async def read_form(request: HttpRequest, limit: int, known: frozenset[str] = FIELDS) -> tuple[AttachFields, Bytes]:
    """The text parts and the file of a form; its digests are of the whole body (RFC 9530). Raises `BadRequest`."""
    _refuse_parts_and_codings(request)
    declared = _declared(request)
    chunks = body_chunks(request.receive, limit=limit + _FORM_OVERHEAD, declared=declared)
    if promised := _promised(request):
        chunks = verified(chunks, promised)
    form: UploadForm = await open_form(request.headers["content-type"], chunks, known)
    at_least = None if declared is None else max(declared - _FORM_OVERHEAD, 0)
    file = timed_stream("receive", form.file)
    return _fields(dict(form.fields)), Bytes(file, at_least, media_type=form.media_type, filename=form.filename)


async def read_intake(request: HttpRequest, limit: int) -> Intake:
    """Whatever a write of a ref may bring: `application/json` is always the command. Raises `BadRequest`."""
    query = query_members(request)
    if content_type(request) == JSON:
        return Intake(await read_command(request, AttachRequest), None)
    if is_form(request.headers.get("content-type")):
        if query:
            raise BadRequest("A form takes its members as text parts, not as query parameters.")
        return Intake(*await read_form(request, limit))
    return Intake(_fields(query), raw_body(request, limit))


async def read_command(
    request: HttpRequest, shape: type[Shape], empty: Shape | None = None, types: Collection[str] = (JSON,)
) -> Shape:
    """A JSON body of one of `types` that takes no query beside it. Raises `BadRequest`.

    An absent one is `empty`, where that is given.
    """
    refuse_query(request)
    declared = _declared(request)
    may_be_absent = empty is not None and not declared
    if content_type(request) not in types and not may_be_absent:
        raise BadRequest(f"Send {' or '.join(types)}.")
    return await read_json(request.receive, shape, declared=declared, empty=empty)


def refuse_query(request: HttpRequest) -> None:
    """Raises `BadRequest` for a call that takes no query: what it says would narrow nothing down."""
    if query_pairs(request):
        raise BadRequest("This call takes no query parameters.")


def expectation_of(request: HttpRequest) -> Expectation:
    """What the caller says it saw: `If-Match`, `If-None-Match`. Raises `BadRequest`."""
    headers = request.headers
    return Expectation(parse_if_match(headers.get("if-match")), parse_only_if_empty(headers.get("if-none-match")))


def query_pairs(request: HttpRequest, most: int = 32) -> list[tuple[str, str]]:
    """The query's parameters in their order. Raises `BadRequest` when it is no UTF-8, or has more than `most`."""
    try:
        text = request.scope["query_string"].decode("ascii")
        return parse_qsl(text, keep_blank_values=True, strict_parsing=bool(text), max_num_fields=most, errors="strict")
    except ValueError as error:
        raise BadRequest("The query is malformed.") from error


def query_members(request: HttpRequest) -> dict[str, str]:
    """The query's parameters. Raises `BadRequest` when one is given twice or is no UTF-8."""
    return unique_members(query_pairs(request))


def unique_members(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """Parameters by their names. Raises `BadRequest` when one is given twice."""
    members = dict(pairs)
    if len(members) < len(pairs):
        raise BadRequest("A query parameter is given twice.")
    return members


def members_as(shape: type[Shape], members: dict[str, str]) -> Shape:
    """Texts as a typed value. Raises `BadRequest` for an unknown name or a value of the wrong form."""
    try:
        value = msgspec.convert(members, shape, strict=False)
    except msgspec.ValidationError as error:
        raise BadRequest(f"{error}.") from error
    for name, text in members.items():
        # It takes the text "null" for absence, too, which nobody means who sends it.
        if getattr(value, name) is None:
            raise BadRequest(f"null is no value of {name}: leave it out.")
        # The conversion takes `1e1` for a number; a number has one spelling here.
        if isinstance(getattr(value, name), int) and _NUMBER.fullmatch(text) is None:
            raise BadRequest(f"{name} is a number in decimal digits.")
    return value


def upload_of(caller: Caller, body: Bytes, limit: int, named: Sha256 | None) -> Upload:
    """The upload that a use case takes. Raises `BadRequest` when the request names other bytes than its digest."""
    if None not in {named, body.digest} and named != body.digest:
        raise BadRequest("Content-Digest or Repr-Digest names other bytes than the request.")
    expected = named or body.digest
    return Upload(caller.workspace, caller.actor, body.chunks, limit, body.declared, expected, body.media_type)


def claim_of(
    request: HttpRequest, present: Callable[[Outcome], Answer], members: object = None
) -> Claim[Outcome] | None:
    """The claim of `Idempotency-Key`, None without it.

    Two requests are the same when method, path, query, conditions, members and bytes are.
    """
    key = parse_idempotency_key(request.headers.get("idempotency-key"))
    if key is None:
        return None
    scope = request.scope
    conditions = [request.headers.get(name) for name in ("if-match", "if-none-match")]
    parts = (scope["method"].encode(), scope["path"].encode(), scope["query_string"], _text(conditions), _text(members))
    return Claim(key, sha256(b"\0".join(parts)).digest(), stored(present))


def _text(value: object) -> bytes:
    return msgspec.json.encode(value)


def _declared(request: HttpRequest) -> int | None:
    return parse_content_length(request.headers.get("content-length"))


def _fields(members: dict[str, str]) -> AttachFields:
    return members_as(AttachFields, members)


def _promised(request: HttpRequest) -> dict[str, bytes]:
    """The digests of `Content-Digest` and `Repr-Digest`. Raises `BadRequest` when they differ."""
    promised: dict[str, bytes] = {}
    for field in ("content-digest", "repr-digest"):
        for name, digest in parse_digests(field, ", ".join(request.headers.getall(field, [])) or None).items():
            if promised.setdefault(name, digest) != digest:
                raise BadRequest("Content-Digest and Repr-Digest name different bytes.")
    return promised


def _refuse_parts_and_codings(request: HttpRequest) -> None:
    """Bytes are kept as they come: a part or a coding of a file would pass for the file (RFC 9110 §14.5, §8.4)."""
    if "content-range" in request.headers:
        raise BadRequest("Send the whole file: Content-Range is not taken.")
    if request.headers.get("content-encoding", "identity").strip().lower() != "identity":
        raise BadRequest("Send the bytes themselves: no Content-Encoding is taken.")
