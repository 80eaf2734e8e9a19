"""A child may hang, crash, or eat memory: nobody else is harmed, and nothing is left."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import anyio
import psutil
import pytest

from service.adapters.vips.lane import Bounds, ChildLost, Lane
from service.domain.blob import MediaInfo
from service.domain.errors import ProbeUnavailable

pytestmark = pytest.mark.anyio

QUICK = Bounds(cpu_seconds=1, wall_seconds=20, memory_bytes=512 << 20)
Children = Callable[[], set[psutil.Process]]
NOWHERE = Path("/nonexistent")


@pytest.fixture
async def lane() -> AsyncIterator[Lane]:
    async with contextlib.aclosing(Lane(QUICK)) as lane:
        yield lane


@pytest.fixture
def fifo(tmp_path: Path) -> Path:
    """Opens for reading when the task has begun."""
    path = tmp_path / "fifo"
    os.mkfifo(path)
    return path


async def run(lane: Lane, task: str, path: Path = NOWHERE) -> MediaInfo:
    return await lane.run(f"tests.adapters.hostile_tasks:{task}", path, "image/png")


def probing() -> set[psutil.Process]:
    return {child for child in psutil.Process().children() if "service.adapters.vips.child" in child.cmdline()}


@pytest.fixture
def children() -> Children:
    """The probing children that this test has started and that still live."""
    before = probing()
    return lambda: probing() - before


@pytest.mark.parametrize("task", ["spin", "crash", "balloon", "babble"])
async def test_a_task_that_misbehaves_loses_its_child_and_harms_no_other(lane: Lane, task: str) -> None:
    async with anyio.create_task_group() as tasks:

        async def misbehave() -> None:
            with pytest.raises(ChildLost):
                await run(lane, task)

        tasks.start_soon(misbehave)
        for _ in range(20):
            assert (await run(lane, "answer")).readable is True

    assert (await run(lane, "answer")).readable is True


async def test_a_task_cannot_write_to_a_file(lane: Lane, tmp_path: Path) -> None:
    with pytest.raises(ChildLost):
        await run(lane, "scribble", tmp_path / "bytes")

    assert [file.read_bytes() for file in tmp_path.iterdir()] in ([], [b""])


async def test_a_task_that_only_waits_ends_with_its_time(children: Children) -> None:
    async with contextlib.aclosing(Lane(Bounds(wall_seconds=0.2))) as lane:
        with anyio.fail_after(10), pytest.raises(ChildLost):
            await run(lane, "wait")
        assert children() == set()


async def test_what_a_library_prints_is_no_answer_and_blocks_nothing(lane: Lane) -> None:
    assert await run(lane, "chatter") == MediaInfo("image/png", readable=True)


async def test_a_child_sees_no_credentials(lane: Lane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wJalrXUtnFEMI")
    monkeypatch.setenv("REFKEEP_DATABASE_URL", "postgresql://refkeep:secret@127.0.0.1/refkeep")

    names = (await run(lane, "tell_environment")).media_type.split()

    assert not {name for name in names if name.startswith(("AWS_", "REFKEEP_"))}


async def test_a_child_is_reused_until_its_share_of_tasks_is_done() -> None:
    async with contextlib.aclosing(Lane(Bounds(tasks_per_child=3))) as lane:
        seen = [(await run(lane, "tell_pid")).media_type for _ in range(7)]

    assert [seen.count(pid) for pid in dict.fromkeys(seen)] == [3, 3, 1]


async def test_a_child_hurt_by_earlier_bytes_gives_no_verdict_on_later_ones(lane: Lane) -> None:
    assert (await run(lane, "die_if_used_before")).readable is True
    assert (await run(lane, "die_if_used_before")).readable is True


async def test_a_child_killed_while_idle_is_replaced(lane: Lane) -> None:
    pid = int((await run(lane, "tell_pid")).media_type)
    os.kill(pid, signal.SIGKILL)

    assert int((await run(lane, "tell_pid")).media_type) != pid


async def test_a_cancelled_task_ends_its_child_at_once(lane: Lane, children: Children, fifo: Path) -> None:
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(run, lane, "wait", fifo)
        await anyio.to_thread.run_sync(fifo.read_bytes)
        tasks.cancel_scope.cancel()

    assert children() == set()


async def test_no_more_children_than_allowed(children: Children) -> None:
    async with contextlib.aclosing(Lane(Bounds(children=2))) as lane:
        async with anyio.create_task_group() as tasks:
            for _ in range(20):
                tasks.start_soon(run, lane, "answer")

        assert len(children()) == 2


async def test_closing_twice_leaves_no_child(children: Children) -> None:
    lane = Lane(QUICK)
    await lane.warm()
    await lane.warm()
    assert len(children()) == 1

    await lane.aclose()
    await lane.aclose()

    assert children() == set()


async def test_a_child_that_cannot_be_started_is_the_only_fault(children: Children) -> None:
    lane = Lane(Bounds(memory_bytes=16 << 20))

    with pytest.raises(ProbeUnavailable):
        await run(lane, "answer")
    assert children() == set()


PARENT = """
import anyio, pathlib, psutil, signal, sys
from service.adapters.vips.lane import Lane

async def main():
    lane = Lane()
    await lane.warm()
    print(*(child.pid for child in psutil.Process().children()), flush=True)
    if sys.argv[1:]:
        await lane.run(f"tests.adapters.hostile_tasks:{sys.argv[1]}", pathlib.Path(sys.argv[2]), "image/png")
    signal.pause()

anyio.run(main)
"""


@pytest.mark.parametrize("task", [None, "spin", "wait"])
def test_a_child_never_outlives_its_parent_idle_or_busy(task: str | None, fifo: Path) -> None:
    arguments = [task, str(fifo)] if task else []
    command = [sys.executable, "-c", PARENT, *arguments]
    with subprocess.Popen(command, env={"PYTHONPATH": os.pathsep.join(sys.path)}, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        child = psutil.Process(int(parent.stdout.readline()))
        if task:
            fifo.read_bytes()
        parent.kill()

    with contextlib.suppress(psutil.NoSuchProcess):
        child.wait(timeout=10)
