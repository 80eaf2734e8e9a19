"""A service of two workers on S3, one on a small disk, what they send to a collector, and a Prometheus that watched."""

from __future__ import annotations

from collections.abc import Iterator
from uuid import uuid4

import anyio
import pytest

from tests.e2e.observability.traffic import POOL_SIZE, WORKERS, Stage, play
from tests.otlp_receiver import Received, attributes, otlp_receiver
from tests.parts.buckets import emptied_bucket
from tests.parts.cable import laid_cable
from tests.parts.postgres import PostgresServer
from tests.parts.prometheus import Prometheus, running_prometheus
from tests.parts.rooms import under_mount
from tests.parts.seaweed import ACCESS_KEY, SECRET_KEY, Seaweed
from tests.parts.service import Refkeep, Yard, eventually, is_ready
from tests.parts.span_metrics import exposed

ROUNDS = WORKERS + 1
"""So many that each thing happens twice to one worker at least: once for its series to begin, once for it to grow."""
TARGETS = 3
START_S = 180
SERVE = ("serve", "--migrate")
BRIEFLY = {"ORPHAN_RETENTION": "1s", "TRASH_RETENTION": "3s", "QUARANTINE": "100ms", "GC_INTERVAL": "1s"}


@pytest.fixture(scope="session")
def seen(postgres: PostgresServer, seaweed: Seaweed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus, when all has happened."""
    folder = tmp_path_factory.mktemp("observability")
    bucket = anyio.run(emptied_bucket, seaweed)
    yard, small = Yard(folder, postgres), folder / "small"
    with otlp_receiver() as received, laid_cable(seaweed.host, seaweed.port) as cable, exposed(received) as spans:
        sent = {
            "OTEL_EXPORTER_OTLP_ENDPOINT": received.endpoint,
            "OTEL_METRICS_EXPORTER": "none",
            "OTEL_BSP_SCHEDULE_DELAY": 200,
        }
        store = {
            "STORAGE": "s3",
            "S3_BUCKET": bucket.bucket,
            "S3_ENDPOINT_URL": cable.url,
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
        }
        with (
            yard.launched(*SERVE, WORKERS=WORKERS, POOL_SIZE=POOL_SIZE, **sent, **store, **BRIEFLY) as cloud,
            yard.launched(*SERVE, data_dir=small, under=under_mount(small / "blobs", "4m"), **sent) as cramped,
            running_prometheus(
                folder,
                {
                    "refkeep": [f"127.0.0.1:{service.port}" for service in (cloud, cramped)],
                    "collector": [f"127.0.0.1:{spans}"],
                },
            ) as prometheus,
        ):
            eventually(lambda: is_ready(cloud) and is_ready(cramped), START_S)
            writer, operator = cloud.caller("read", "write", "admin"), cloud.bearer(cloud.key(None, "read", "operator"))
            stage = Stage(cloud, writer, operator, cable, bucket, cramped.caller("read", "write"))
            for _ in range(ROUNDS):
                play(stage)
                await_spans(received, cloud)
                prometheus.await_scrape(TARGETS)
            yield prometheus


def await_spans(received: Received, service: Refkeep) -> None:
    """Return once the collector has what happened until now."""
    mark = uuid4().hex
    service.bearer(None).http.get("/livez", headers={"x-request-id": mark})
    eventually(lambda: any(attributes(span.attributes).get("correlation_id") == mark for span in [*received.spans]))
