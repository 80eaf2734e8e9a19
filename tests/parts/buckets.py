"""The tests' bucket on SeaweedFS, looked at from behind the adapter."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from service.adapters.s3.client import S3Config, connect
from service.adapters.s3.storage import S3Storage
from tests.parts.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed

BUCKET = "refkeep-tests"


def config_for(server: Seaweed) -> S3Config:
    """With patience for a busy machine: how soon a store is given up is the affair of a few tests, which say so."""
    return S3Config(
        BUCKET,
        server.url,
        access_key_id=ACCESS_KEY,
        secret_access_key=SECRET_KEY,
        read_timeout=60.0,
        patience=60.0,
    )


@asynccontextmanager
async def opened(config: S3Config, spool: Path) -> AsyncIterator[S3Storage]:
    """A storage, closed at the end."""
    storage = S3Storage(config, spool)
    await storage.aopen()
    try:
        yield storage
    finally:
        await storage.aclose()


async def emptied_bucket(server: Seaweed, **changes: Any) -> S3Config:
    """The configuration of the bucket, which exists and holds nothing."""
    config = config_for(server)
    async with connect(config) as client:
        if BUCKET not in [bucket["Name"] for bucket in (await client.list_buckets())["Buckets"]]:
            await client.create_bucket(Bucket=BUCKET)
        while found := (await client.list_objects_v2(Bucket=BUCKET)).get("Contents", []):
            await client.delete_objects(Bucket=BUCKET, Delete={"Objects": [{"Key": each["Key"]} for each in found]})
        for upload in (await client.list_multipart_uploads(Bucket=BUCKET)).get("Uploads", []):
            await client.abort_multipart_upload(Bucket=BUCKET, Key=upload["Key"], UploadId=upload["UploadId"])
    return replace(config, **changes)


async def physical_keys(config: S3Config) -> set[str]:
    """Every key of the bucket, and `upload of <key>` for each that is still on its way in parts."""
    async with connect(config) as client:
        pages = client.get_paginator("list_objects_v2").paginate(Bucket=config.bucket)
        stored = {found["Key"] async for page in pages for found in page.get("Contents", [])}
        uploads = await client.list_multipart_uploads(Bucket=config.bucket)
    return stored | {f"upload of {found['Key']}" for found in uploads.get("Uploads", [])}
