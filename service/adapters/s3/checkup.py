"""A bucket tried out, right by right, on an object of its own that is removed again."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from service.adapters.s3.abilities import Abilities, find_abilities
from service.adapters.s3.client import S3Config, connect
from service.adapters.s3.errors import code_of
from service.domain.errors import RefkeepError, StorageUnavailable

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

_BODY = b"probe"
_SECONDS = 5.0
_HEADERS: Mapping[str, str] = {}


@dataclass(slots=True)
class BucketFacts:
    """`refused` is by right, as policies name it, the store's own code, or the name of why nobody answered.

    `ahead` is how many seconds the store's clock is ahead, to the second, None where it does not say.
    """

    refused: dict[str, str] = field(default_factory=dict)
    ahead: float | None = None
    abilities: Abilities | None = None


async def try_out(config: S3Config) -> BucketFacts:
    """List, write, read, remove. After the first that nobody answers nothing more is tried."""
    facts, patient = BucketFacts(), replace(config, attempts=2)
    try:
        await _try_all(facts, patient)
    except StorageUnavailable as error:
        facts.refused["s3:ListBucket"] = type(error.__cause__).__name__
    return facts


async def _try_all(facts: BucketFacts, patient: S3Config) -> None:
    key = f"probe/{uuid4().hex}"
    async with connect(patient) as client:
        bucket = patient.bucket
        await _try(facts, "s3:ListBucket", client.list_objects_v2(Bucket=bucket, MaxKeys=1))
        if facts.refused:
            return
        if await _try(facts, "s3:PutObject", client.put_object(Bucket=bucket, Key=key, Body=_BODY)):
            await _try(facts, "s3:GetObject", _read(client, bucket, key))
            await _try(facts, "s3:DeleteObject", client.delete_object(Bucket=bucket, Key=key))
        await _try(facts, "s3:ListBucketMultipartUploads", client.list_multipart_uploads(Bucket=bucket, MaxUploads=1))
        if not facts.refused:
            with contextlib.suppress(RefkeepError):
                facts.abilities = await find_abilities(client, patient)


async def _try(facts: BucketFacts, right: str, call: Any) -> bool:
    try:
        async with asyncio.timeout(_SECONDS):
            answer = await call
    except ClientError as error:
        facts.refused[right] = code_of(error)
        answer = error.response
    except (BotoCoreError, aiohttp.ClientError, TimeoutError) as error:
        facts.refused[right] = type(error).__name__
        return False
    headers = answer.get("ResponseMetadata", {}).get("HTTPHeaders", _HEADERS)
    if (date := headers.get("date")) is not None:
        facts.ahead = (parsedate_to_datetime(date) - datetime.now(UTC)).total_seconds()
    return right not in facts.refused


async def _read(client: S3Client, bucket: str, key: str) -> Any:
    answer = await client.get_object(Bucket=bucket, Key=key)
    async with answer["Body"] as body:
        await body.read()
    return answer
