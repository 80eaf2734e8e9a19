"""Whatever dies, and whenever: nothing is half there, and what was acknowledged is there whole."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import httpx
import pytest

from service.adapters.postgres.embedded import embedded_postgres
from service.adapters.postgres.migration import migrate
from tests.e2e.crash_scenes import (
    Scene,
    Setting,
    Stage,
    duplicate,
    replacement,
    running_stage,
    upload,
    upload_of_known_bytes,
)
from tests.parts.caller import problem
from tests.parts.failpoints import Fault, Kind
from tests.parts.service import eventually
from tests.parts.thorough import THOROUGH

DISK = ("open", "write", "fsync", "mkdir", "rename", "unlink", "close")
LASTING = ("COMMIT", "WITH quick", "DELETE")
"""How statements begin that leave something by themselves; what others do ends with their transaction."""
CLEANING = ("unlink staging/*", "close staging/*")
REMOVING = "unlink objects/*/*/*"

SETTINGS = [upload_of_known_bytes, duplicate, replacement]
"""Without `upload`, whose every step is one of a replacement too."""


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory, database_url: str) -> Iterator[Stage]:
    """One service for all tests of this file but those that kill its Postgres."""
    with running_stage(tmp_path_factory.mktemp("stage"), database_url, replicas=3) as running:
        yield running


@pytest.fixture(scope="module")
def mortal_stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A service on a Postgres that may be killed, whatever the other tests run on."""
    folder = tmp_path_factory.mktemp("mortal")
    with embedded_postgres(folder / "postgres") as url:
        asyncio.run(migrate({"dsn": url}))
        with running_stage(folder, url) as running:
            yield running


def course_of(stage: Stage, setting: Setting) -> list[str]:
    """The steps of a request that goes well, in a new process that has served one like it."""
    stage.renew()
    stage.perform(setting(stage))
    answer, course = stage.perform(setting(stage))
    assert answer is not None
    assert answer.is_success
    return course.steps


def is_of_disk(step: str) -> bool:
    return step.startswith(DISK)


def is_statement(step: str) -> bool:
    return not step.startswith((*DISK, "send", "end"))


def ends_well(stage: Stage, scene: Scene, answer: httpx.Response | None) -> bool:
    """Whether the request had its effect: wholly or not at all, wholly if it said so; sent again it has."""
    happened = scene.happened()
    assert happened or answer is None or not answer.is_success
    again = stage.send(scene)
    assert again is not None
    assert again.json()["decision"] == scene.decision(happened)
    assert scene.happened()
    return happened


@pytest.mark.parametrize(
    ("setting", "first"),
    [
        *[(upload, "open staging/*")] * THOROUGH,  # whose every step is one of a replacement, too
        (upload_of_known_bytes, "COMMIT"),  # before it every step is one of any upload
        (duplicate, "open staging/*"),
        (replacement, "open staging/*"),
    ],
)
def test_a_kill_before_any_step_or_amid_it_leaves_all_or_nothing(stage: Stage, setting: Setting, first: str) -> None:
    steps = course_of(stage, setting)
    for at, step in list(enumerate(steps, 1))[steps.index(first) :]:
        for kind in [Kind.KILL] + [Kind.KILL_MIDWAY] * step.startswith(("write", *LASTING)):
            scene = setting(stage)
            answer, course = stage.perform(scene, Fault(kind, at))
            assert course.died
            assert course.steps == steps[:at]
            ends_well(stage, scene, answer)
            assert stage.findings() == []


def test_what_a_killed_upload_has_staged_goes_at_a_later_start(stage: Stage) -> None:
    renaming = course_of(stage, upload).index("rename staging/*") + 1
    before = stage.staged()
    stage.perform(upload(stage), Fault(Kind.KILL, renaming))
    assert len(stage.staged() - before) == 1
    stage.age_staged()
    stage.perform(upload(stage), Fault(Kind.KILL, 1))
    eventually(lambda: stage.staged() == set())


def test_success_is_told_only_when_bytes_and_folders_and_rows_are_on_disk(stage: Stage) -> None:
    steps = course_of(stage, upload)
    lasting = ["fsync staging/*", "fsync objects", "fsync objects/*", "rename staging/*", "fsync objects/*/*", "COMMIT"]
    places = [steps.index(step) for step in [*lasting, "send http.response.start"]]
    assert places == sorted(places)
    assert "write staging/*" not in steps[places[0] :]


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize(
    ("kind", "status", "code"),
    [
        (Kind.EIO, 503, "storage-unavailable"),
        (Kind.ENOSPC, 507, "storage-full"),
        (Kind.BROKEN, 503, "storage-unavailable"),
    ],
)
def test_a_failed_call_on_the_disk_is_a_failed_upload(
    stage: Stage, setting: Setting, kind: Kind, status: int, code: str
) -> None:
    steps = course_of(stage, setting)
    for at in (at for at, step in enumerate(steps, 1) if is_of_disk(step)):
        scene = setting(stage)
        answer, course = stage.perform(scene, Fault(kind, at))
        assert course.steps[:at] == steps[:at]
        assert answer is not None
        if steps[at - 1] not in CLEANING and REMOVING not in steps[:at]:
            problem(answer, status, code)
        assert ends_well(stage, scene, answer) is (answer.is_success or setting is duplicate)
    assert stage.findings() == []


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("kind", [Kind.CUT, Kind.ANSWER_LOST])
def test_a_connection_lost_at_any_statement_leaves_all_or_nothing(stage: Stage, setting: Setting, kind: Kind) -> None:
    steps = course_of(stage, setting)
    for at in (at for at, step in enumerate(steps, 1) if is_statement(step)):
        scene = setting(stage)
        answer, course = stage.perform(scene, Fault(kind, at))
        assert course.steps[:at] == steps[:at]
        assert answer is not None
        if not answer.is_success:
            problem(answer, 503, "unavailable")
        ends_well(stage, scene, answer)
    assert stage.findings() == []


@pytest.mark.parametrize("setting", [upload, replacement])
def test_a_database_killed_at_a_commit_loses_nothing_that_it_committed(mortal_stage: Stage, setting: Setting) -> None:
    steps = course_of(mortal_stage, setting)
    for at in (at for at, step in enumerate(steps, 1) if step == "COMMIT"):
        for kind in (Kind.BACKEND_KILLED, Kind.BACKEND_KILLED_AFTER):
            scene = setting(mortal_stage)
            answer, _ = mortal_stage.perform(scene, Fault(kind, at))
            assert answer is not None
            problem(answer, 503, "unavailable")
            committed = kind is Kind.BACKEND_KILLED_AFTER and "COMMIT" not in steps[at:]
            assert ends_well(mortal_stage, scene, answer) is committed
            # A reservation is committed asynchronously: a crash may lose it, and then its file is known to be garbage.
            assert [finding for finding in mortal_stage.findings() if not finding.endswith("has no row")] == []
