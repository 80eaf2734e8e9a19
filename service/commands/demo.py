"""What `refkeep dev` adds to `serve`: a demo workspace, a key with every scope, and lines to try."""

from __future__ import annotations

import os
from base64 import b64encode
from pathlib import Path
from secrets import token_bytes

import click

from service import setting_forms
from service.adapters.postgres.access import PostgresKeys, PostgresWorkspaces
from service.adapters.postgres.opening import open_database
from service.domain.credentials import Credentials, new_credentials, parse_token
from service.domain.signature import SigningKey
from service.ports.access import ApiKey, Scope
from service.settings import Settings

DEMO = "demo"
_KEY_FILE = "dev-key"
_SIGNING_KEY_FILE = "signing-key"


def signing_key(settings: Settings) -> SigningKey:
    """The key that signs URLs here, made at the first start and kept beside the development key."""
    path = settings.data_dir / _SIGNING_KEY_FILE
    if not path.exists():
        _write_secret(path, f"dev:{b64encode(token_bytes(32)).decode()}")
    try:
        return setting_forms.signing_key(path.read_text("ascii").strip())
    except ValueError as error:
        raise click.ClickException(f"{path} holds no key of the form id:base64: remove it.") from error


async def prepare_demo(settings: Settings, url: str) -> Credentials:
    """Make sure that the demo workspace and the development key exist; return the key."""
    credentials = _dev_credentials(settings)
    database = await open_database({"dsn": url}, 1)
    try:
        await PostgresWorkspaces(database).ensure(DEMO)
        keys = PostgresKeys(database)
        known = await keys.find(credentials.id)
        if known is None:
            scopes = frozenset(Scope)
            await keys.add(ApiKey(credentials.id, credentials.secret_hash, "development", scopes, None))
        elif not credentials.matches(known.secret_hash) or known.revoked_at is not None:
            raise click.ClickException(
                f"The development key {credentials.id} was revoked or is another key's: remove it."
            )
    finally:
        await database.aclose()
    return credentials


def greet(settings: Settings, credentials: Credentials) -> None:
    """Say where it runs and what to try first."""
    address = settings.public_url or f"http://{_bracketed(settings.host)}:{settings.port}"
    click.echo(
        f"""
Refkeep keeps media for as long as something refers to it.

  address    {address}          (reference: {address}/docs)
  data       {settings.data_dir}
  key        {credentials.token}

Try, with any picture of yours:

  export KEY={credentials.token}
  curl -sS -T cover.jpg -H "Authorization: Bearer $KEY" {address}/refs/book/42/cover/0
  curl -sS -H "Authorization: Bearer $KEY" {address}/refs/book/42
  curl -sS -H "Authorization: Bearer $KEY" {address}/events

The first answer's links.file opens in a browser. Ctrl-C stops everything.
"""
    )


def _dev_credentials(settings: Settings) -> Credentials:
    if settings.dev_key is not None:
        return _parsed(settings.dev_key, "REFKEEP_DEV_KEY")
    path = settings.data_dir / _KEY_FILE
    if path.exists():
        return _parsed(path.read_text("ascii").strip(), str(path))
    credentials = new_credentials()
    _write_secret(path, credentials.token)
    return credentials


def _parsed(token: str, where: str) -> Credentials:
    credentials = parse_token(token)
    if credentials is None:
        raise click.ClickException(f"{where} holds no key as `refkeep keys create` prints them.")
    return credentials


def _write_secret(path: Path, text: str) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    unfinished = path.with_name(f"{path.name}.new")
    unfinished.unlink(missing_ok=True)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(f"{text}\n")
    unfinished.rename(path)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
