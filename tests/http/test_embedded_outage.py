"""`refkeep dev` whose PostgreSQL ends before its time: it comes back by itself, or everything ends with a sentence."""

from __future__ import annotations

import time
from pathlib import Path

import psutil

from service.adapters.postgres.kept import MOST_STARTS
from tests.parts.caller import Caller
from tests.parts.fresh import fresh_jpeg, fresh_text
from tests.parts.service import Refkeep, Yard, eventually, is_ready

HEALS_S = 10


def servers(service: Refkeep) -> list[psutil.Process]:
    """The PostgreSQL that it runs now: none, or one."""
    children = psutil.Process(service.process.pid).children()
    return [child for child in children if child.name() == "postgres" and child.status() != psutil.STATUS_ZOMBIE]


def kill_database(service: Refkeep) -> None:
    """As the kernel does when memory runs out."""
    [server] = servers(service)
    server.kill()
    server.wait(5)


def demo(service: Refkeep) -> Caller:
    return service.bearer((service.data_dir / "dev-key").read_text().strip(), "demo")


def test_a_database_that_is_killed_comes_back_with_all_it_had(yard: Yard, tmp_path: Path) -> None:
    with yard.running("dev", data_dir=tmp_path) as service:
        caller, content = demo(service), fresh_jpeg()
        ref = caller.put("book/42/cover/0", content).json()["ref"]
        killed = time.monotonic()
        kill_database(service)
        eventually(lambda: caller.http.post("/blobs", content=fresh_text()).status_code == 201, HEALS_S)
        assert time.monotonic() - killed < HEALS_S
        assert is_ready(service)
        assert caller.refs("book/42") == [ref]
        assert caller.http.get(ref["links"]["file"]).content == content
        assert "PostgreSQL has ended and is started again" in service.log.read_text()
        service.terminate()
        assert service.process.wait(20) == 0
    assert not [each for each in psutil.process_iter(["cwd"]) if each.info["cwd"] == str(tmp_path / "postgres")]


def test_a_database_that_ends_again_and_again_ends_the_service_with_a_sentence(yard: Yard, tmp_path: Path) -> None:
    with yard.running("dev", data_dir=tmp_path) as service:
        for _ in range(MOST_STARTS):
            kill_database(service)
            eventually(lambda: bool(servers(service)) and is_ready(service), HEALS_S)
        kill_database(service)
        assert service.process.wait(20) == 1
        said = service.log.read_text()
        assert (
            f'"ended_by_fault","says":"PostgreSQL ended {MOST_STARTS + 1} times within a minute; '
            f"{tmp_path / 'postgres.log'} says:" in said
        )
        assert "Traceback" not in said
