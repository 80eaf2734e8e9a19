"""The connection to the store: addressing, credentials, time-outs, retries."""

from __future__ import annotations

import contextlib
import functools
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aiobotocore.config import AioConfig
from aiobotocore.session import AioSession, get_session
from botocore.exceptions import BotoCoreError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnection

from service.domain.errors import StorageUnavailable

if TYPE_CHECKING:
    from types_aiobotocore_s3.client import S3Client

_TRANSIENT_STATUSES = {429, 500, 502, 503, 504}
_TRANSIENT_CODES = {"RequestTimeout", "InternalError", "SlowDown"}
_FIRST_DELAY, _LONGEST_DELAY = 0.05, 0.5
_EMPTY: dict[str, object] = {}


@dataclass(frozen=True, slots=True)
class S3Config:
    """Which store, and how long to bear with it. Durations are seconds.

    Without `access_key_id` the usual AWS variables, files and roles supply the credentials, those of `profile` where it
    is named. `patience` bounds one
    command with all its attempts, an upload gets one second more for every `slowest_upload` bytes. `checksums` and
    `conditional` (`If-None-Match: *`) are used where a probe before the first upload finds that the store honours them;
    False never sends them, for stores that refuse them.
    """

    bucket: str
    endpoint_url: str | None = None
    region: str = "us-east-1"
    access_key_id: str | None = None
    secret_access_key: str | None = field(default=None, repr=False)
    profile: str | None = None
    checksums: bool = True
    conditional: bool = True
    connect_timeout: float = 2.0
    read_timeout: float = 10.0
    patience: float = 5.0
    slowest_upload: int = 1024 * 1024
    attempts: int = 8
    connections: int = 64

    def upload_patience(self, size: int) -> float:
        """Seconds that an upload of `size` bytes may take."""
        return self.patience + size / self.slowest_upload


def wants_checksums() -> bool:
    """Whether AWS_REQUEST_CHECKSUM_CALCULATION, or the usual configuration file, leaves checksums on."""
    try:
        asked = _session().get_config_variable("request_checksum_calculation")
    except BotoCoreError:  # files that cannot be read: `connect` says so
        return True
    return bool(asked != "when_required")


@contextlib.asynccontextmanager
async def connect(config: S3Config) -> AsyncIterator[S3Client]:
    """Yield a client; no request is sent yet. Raises `StorageUnavailable` for settings that make none."""
    async with contextlib.AsyncExitStack() as stack:
        try:
            client = await stack.enter_async_context(_client(config))
        except (BotoCoreError, OSError, ValueError) as error:
            raise StorageUnavailable(f"The settings of the store make no client: {type(error).__name__}.") from error
        retries = _Retries(config.attempts)
        client.meta.events.register_first("needs-retry.s3", retries.delay)  # type: ignore[arg-type] # stubs: -> None
        yield client


def _client(config: S3Config) -> contextlib.AbstractAsyncContextManager[S3Client]:
    return _session(config.profile).create_client(
        "s3",
        region_name=config.region,
        endpoint_url=config.endpoint_url,
        aws_access_key_id=config.access_key_id,
        aws_secret_access_key=config.secret_access_key,
        config=_transport(config),
    )


@functools.cache
def _session(profile: str | None = None) -> AioSession:
    """Return the one session: it holds no connection, but parsing the service's description costs 0.15 s each time."""
    session = get_session()
    if profile is not None:
        session.set_config_variable("profile", profile)
    return session


def _transport(config: S3Config) -> AioConfig:
    return AioConfig(
        connect_timeout=config.connect_timeout,
        read_timeout=config.read_timeout,
        max_pool_connections=config.connections,
        retries={"mode": "standard", "total_max_attempts": 1},
        # Signing the payload would hash every file in the event loop; the checksum header protects it instead.
        s3={"addressing_style": "path", "payload_signing_enabled": False},
        request_checksum_calculation="when_required",
        response_checksum_validation="when_required",
    )


class _Retries:
    """Retries after tenths of a second: the built-in mode sleeps up to 1, 2, 4, 8 s, longer than a request may take."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts

    def delay(
        self,
        attempts: int,
        response: tuple[object, dict[str, dict[str, object]]] | None,
        caught_exception: Exception | None,
        **_: object,
    ) -> float | None:
        """Seconds to wait before the next attempt, None when the answer stands."""
        if attempts >= self._attempts or not (_is_lost(caught_exception) or _is_transient(response)):
            return None
        delay: float = min(_LONGEST_DELAY, _FIRST_DELAY * 2**attempts)
        return delay * random.uniform(0.5, 1.0)  # noqa: S311 (jitter is no secret)


def _is_lost(error: Exception | None) -> bool:
    return isinstance(error, NoConnection | HTTPClientError)


def _is_transient(response: tuple[object, dict[str, dict[str, object]]] | None) -> bool:
    if response is None:
        return False
    status = response[1].get("ResponseMetadata", _EMPTY).get("HTTPStatusCode")
    return status in _TRANSIENT_STATUSES or response[1].get("Error", _EMPTY).get("Code") in _TRANSIENT_CODES
