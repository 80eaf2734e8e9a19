"""`refkeep keys` and `refkeep workspaces`: who may call, and for whom."""

from __future__ import annotations

import re
from dataclasses import asdict

import click

from service.commands.form import Exit, Group
from service.commands.options import QUOTA
from service.commands.output import (
    json_option,
    plain_errors,
    print_json,
    print_table,
    refuse_read_only,
    visible,
)
from service.commands.postgres import with_database
from service.ports.access import ApiKey, Scope, Workspace

_SLUG_HELP = "lower-case letters, digits and dashes"


def _check_slug(_: click.Context, __: click.Parameter, value: str | None) -> str | None:
    if value is not None and re.fullmatch(r"[a-z0-9][a-z0-9-]{0,62}", value) is None:
        raise click.BadParameter(f"a workspace is {_SLUG_HELP}, at most 63, beginning with a letter or digit.")
    return value


@click.group(cls=Group)
def keys() -> None:
    """API keys: make them, see them, end them."""


@keys.command(
    "create",
    examples=(
        "refkeep keys create --name library --workspace acme --scope read --scope write",
        "KEY=$(refkeep keys create --name operations --all-workspaces --scope operator)",
    ),
    writes=True,
)
@click.option("--name", required=True, help="Whose key this is, for people.")
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice([scope.value for scope in Scope]), help="Repeatable."
)
@click.option("--workspace", callback=_check_slug, help="The workspace it is bound to.")
@click.option("--all-workspaces", is_flag=True, help="Bound to none: each request names one in the Workspace header.")
@json_option
@plain_errors
def create_key(name: str, scopes: tuple[str, ...], workspace: str | None, all_workspaces: bool, as_json: bool) -> None:
    """Make a key and print it, once: only its hash is kept. Without --scope it may read and write."""
    from service.adapters.postgres.access import PostgresKeys
    from service.domain.credentials import new_credentials

    if (workspace is None) != all_workspaces:
        raise click.UsageError("Say either --workspace SLUG or --all-workspaces.")
    if Scope.OPERATOR.value in scopes and not all_workspaces:
        raise click.UsageError("The scope operator goes with --all-workspaces alone.")
    granted = frozenset(Scope(scope) for scope in scopes) or frozenset({Scope.READ, Scope.WRITE})
    refuse_read_only()
    credentials = new_credentials()
    with_database(
        lambda database: PostgresKeys(database).add(
            ApiKey(credentials.id, credentials.secret_hash, name, granted, workspace)
        )
    )
    if as_json:
        print_json(
            {
                "id": credentials.id,
                "key": credentials.token,
                "name": name,
                "scopes": sorted(granted),
                "workspace": workspace,
            }
        )
    else:
        click.echo(credentials.token)


@keys.command(
    "list", examples=("refkeep keys list", "refkeep keys list --json | jq -r '.[] | select(.revoked_at == null).id'")
)
@json_option
@plain_errors
def list_keys(as_json: bool) -> None:
    """Every key, oldest first; never a secret."""
    from service.adapters.postgres.access import PostgresKeys

    rows = [_key_row(key) for key in with_database(lambda database: PostgresKeys(database).all())]
    if as_json:
        print_json(rows)
    else:
        print_table(
            ["id", "name", "scopes", "workspace", "created", "revoked"],
            [
                [
                    row["id"],
                    row["name"],
                    " ".join(row["scopes"] or ()),
                    row["workspace"] or "(all)",
                    row["created_at"],
                    row["revoked_at"],
                ]
                for row in rows
            ],
        )


@keys.command("revoke", examples=("refkeep keys revoke kq3v9x2mfw7p",), writes=True)
@click.argument("key_id")
@json_option
@plain_errors
def revoke_key(key_id: str, as_json: bool) -> None:
    """End a key: within 5 seconds it is dead on every replica. Ending it again changes nothing."""
    from service.adapters.postgres.access import PostgresKeys

    refuse_read_only()
    key = with_database(lambda database: PostgresKeys(database).revoke(key_id))
    if as_json:
        print_json(_key_row(key))
        return
    click.echo(f"revoked {key.id} ({visible(key.name)})")


@click.group(cls=Group)
def workspaces() -> None:
    """Workspaces: the tenants, their quotas and what they use."""


@workspaces.command(
    "create",
    examples=("refkeep workspaces create acme", "refkeep workspaces create acme --max-bytes 50000000000"),
    writes=True,
)
@click.argument("slug", callback=_check_slug)
@click.option("--max-bytes", type=QUOTA, help="Quota in bytes; no limit without it.")
@click.option("--max-items", type=QUOTA, help="Quota in blobs; no limit without it.")
@json_option
@plain_errors
def create_workspace(slug: str, max_bytes: int | None, max_items: int | None, as_json: bool) -> None:
    """Make a workspace, or give one another quota."""
    from service.adapters.postgres.access import PostgresWorkspaces

    refuse_read_only()
    with_database(lambda database: PostgresWorkspaces(database).put(slug, max_bytes, max_items))
    if as_json:
        print_json({"slug": slug, "max_bytes": max_bytes, "max_items": max_items})
        return
    click.echo(f"workspace {slug}")


@workspaces.command("list", examples=("refkeep workspaces list", "refkeep workspaces list --json"))
@json_option
@plain_errors
def list_workspaces(as_json: bool) -> None:
    """Every workspace with its quota and use."""
    from service.adapters.postgres.access import PostgresWorkspaces

    rows = [
        _workspace_row(workspace) for workspace in with_database(lambda database: PostgresWorkspaces(database).all())
    ]
    if as_json:
        print_json(rows)
    else:
        columns = ["slug", "used_bytes", "max_bytes", "used_items", "max_items", "created_at"]
        print_table(columns, [[row[column] for column in columns] for row in rows])


@workspaces.command(
    "check",
    examples=("refkeep workspaces check", "refkeep workspaces check || refkeep fsck --repair-quota"),
    statuses={Exit.FAULT: "they differ, or a fault"},
)
@json_option
@plain_errors
def check_workspaces(as_json: bool) -> None:
    """Compare the use that is charged with what is held; `refkeep fsck --repair-quota` mends what differs."""
    from service.adapters.postgres.space import PostgresSpace

    drifted = with_database(lambda database: PostgresSpace(database).drifted())
    rows = [asdict(drift) for drift in drifted]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
    else:
        click.echo("Every workspace is charged what it holds.")
    if rows:
        raise SystemExit(Exit.FAULT)


def _key_row(key: ApiKey) -> dict[str, str | list[str] | None]:
    from service.schemas.events import rfc3339

    return {
        "id": key.id,
        "name": key.name,
        "scopes": sorted(key.scopes),
        "workspace": key.workspace,
        "created_at": None if key.created_at is None else rfc3339(key.created_at),
        "revoked_at": None if key.revoked_at is None else rfc3339(key.revoked_at),
    }


def _workspace_row(workspace: Workspace) -> dict[str, str | int | None]:
    from service.schemas.events import rfc3339

    return {
        "slug": workspace.slug,
        "max_bytes": workspace.max_bytes,
        "max_items": workspace.max_items,
        "used_bytes": workspace.used_bytes,
        "used_items": workspace.used_items,
        "created_at": rfc3339(workspace.created_at),
    }
