"""Everything as it is deployed: both services, Refkeep, a Postgres for all, and SeaweedFS behind a line to be cut."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from tests.parts.buckets import emptied_bucket
from tests.parts.cable import Cable, laid_cable
from tests.parts.consumers import Consumer, running_consumer
from tests.parts.origin import Replica
from tests.parts.postgres import PostgresServer
from tests.parts.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed, free_ports
from tests.parts.service import Refkeep, Yard


@dataclass
class Town:
    """All that runs; `token` is a key of the workspace that both services write to."""

    refkeep: Replica
    line: Cable
    book: Consumer
    library: Consumer
    token: str

    @property
    def running(self) -> Refkeep:
        """The process of Refkeep that is there now."""
        assert self.refkeep.running is not None
        return self.refkeep.running


@pytest.fixture
def town(seaweed: Seaweed, postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Town]:
    """All of it, with nothing in it."""
    folder, config = tmp_path_factory.mktemp("town"), asyncio.run(emptied_bucket(seaweed))
    with contextlib.ExitStack() as stack:
        line = stack.enter_context(laid_cable(seaweed.host, seaweed.port))
        settings = {
            "STORAGE": "s3",
            "S3_BUCKET": config.bucket,
            "S3_ENDPOINT_URL": line.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "DATABASE_URL": stack.enter_context(postgres.database()),
        }
        (folder / "refkeep").mkdir()
        refkeep = Replica(Yard(folder, postgres), folder / "refkeep", free_ports(1)[0], settings)
        stack.callback(refkeep.stop)
        first = refkeep.start()
        workspace = first.workspace()
        services = [
            Consumer(
                name,
                stack.enter_context(postgres.database()),
                refkeep.url,
                first.key(workspace, "read", "write"),
                folder,
            )
            for name in ("book", "library")
        ]
        book, library = [stack.enter_context(running_consumer(each)) for each in services]
        yield Town(refkeep, line, book, library, first.key(workspace, "read"))
