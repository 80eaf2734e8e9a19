"""Replicas behind nginx on one Postgres and one SeaweedFS of three volume servers, as docs/scaling.md draws them."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.parts.buckets import emptied_bucket
from tests.parts.caller import Caller
from tests.parts.edges import Edge, running_balancer
from tests.parts.origin import POLICIES, Replica
from tests.parts.postgres import PostgresServer
from tests.parts.seaweed import ACCESS_KEY, SECRET_KEY, free_ports
from tests.parts.seaweed_cluster import Cluster, running_cluster
from tests.parts.service import Yard

DRAIN_S = 2


@dataclass(frozen=True)
class Ground:
    """What stands, and a writer of one workspace, who asks nginx."""

    cluster: Cluster
    replicas: list[Replica]
    edge: Edge
    writer: Caller


@contextmanager
def laid_ground(folder: Path, postgres: PostgresServer, replicas: int) -> Iterator[Ground]:
    """Everything is up; it all ends with the block."""
    for name in ("weed", "nginx"):
        (folder / name).mkdir()
    (folder / "policies.toml").write_text(POLICIES)
    with ExitStack() as stack:
        database_url = stack.enter_context(postgres.database())
        cluster = stack.enter_context(running_cluster(folder / "weed"))
        config = asyncio.run(emptied_bucket(cluster.server))
        settings = {
            "STORAGE": "s3",
            "S3_BUCKET": config.bucket,
            "S3_ENDPOINT_URL": cluster.server.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "DATABASE_URL": database_url,
            "POLICIES": folder / "policies.toml",
            "DRAIN": f"{DRAIN_S}s",
        }
        members = _replicas(stack, Yard(folder, postgres), settings, replicas)
        edge = stack.enter_context(running_balancer(folder / "nginx", [member.port for member in members]))
        first = members[0].running
        assert first is not None
        workspace = first.workspace()
        writer = first.bearer(first.key(workspace, "read", "write"), workspace)
        writer.http.base_url = edge.url
        yield Ground(cluster, members, edge, writer)


def _replicas(stack: ExitStack, yard: Yard, settings: dict[str, object], count: int) -> list[Replica]:
    members = []
    for number, port in enumerate(free_ports(count)):
        member = Replica(yard, yard.folder / f"replica-{number}", port, settings)
        member.data_dir.mkdir()
        stack.callback(member.stop)
        member.start()
        members.append(member)
    return members
