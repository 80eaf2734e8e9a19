"""What a store's answers mean, in one place."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import aiohttp
from botocore.exceptions import BotoCoreError, ClientError

from service.domain.errors import ObjectMissing, RefkeepError, StorageFull, StorageUnavailable

_FULL_CODES = {"InsufficientStorage", "QuotaExceeded", "XMinioStorageFull"}
_FULL_STATUS = 507
_RANGE_STATUS = 416
_TAKEN_STATUS = 412
_REFUSAL_STATUSES = {400, 412, 501}


def code_of(error: ClientError) -> str:
    """The store's own code, `NoSuchKey`; the status as text where the answer had no body, as for every HEAD."""
    return error.response.get("Error", {}).get("Code", "")


def is_missing(error: ClientError) -> bool:
    """Whether the store says so of the object. A 404 without this code may come from a proxy or mean the bucket."""
    return code_of(error) == "NoSuchKey"


def is_beyond_end(error: ClientError) -> bool:
    """Whether the object exists and ends before the range that was asked for (RFC 9110 §15.5.17)."""
    return _status_of(error) == _RANGE_STATUS


def is_taken(error: ClientError) -> bool:
    """Whether the key exists, or the upload that would make it has ended: an earlier attempt may have landed."""
    return _status_of(error) == _TAKEN_STATUS or has_ended(error)


def has_ended(error: ClientError) -> bool:
    """Whether the upload in parts is there no more."""
    return code_of(error) == "NoSuchUpload"


def is_refusal(error: ClientError) -> bool:
    """Whether the store understood the request and will not do it, whoever asks and however often."""
    return _status_of(error) in _REFUSAL_STATUSES


def meaning_of(error: ClientError, key: str = "") -> RefkeepError:
    """The one table from answers to errors of the domain."""
    if is_missing(error):
        return ObjectMissing(key)
    if code_of(error) in _FULL_CODES or _status_of(error) == _FULL_STATUS:
        return StorageFull("No room is left in the store.")
    return StorageUnavailable(f"The store answered {_status_of(error)} {code_of(error)}.")


@contextlib.asynccontextmanager
async def answering(seconds: float, key: str = "") -> AsyncIterator[None]:
    """Bound a call to `seconds` and turn every failure of the store into an error of the domain."""
    try:
        async with asyncio.timeout(seconds):
            yield
    except ClientError as error:
        raise meaning_of(error, key) from error
    except (BotoCoreError, aiohttp.ClientError, TimeoutError) as error:
        raise StorageUnavailable(f"The store did not answer: {type(error).__name__}.") from error


def _status_of(error: ClientError) -> int:
    return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
