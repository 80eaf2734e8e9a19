"""Services that the tests of this folder share, and callers of them: each test has workspaces of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.parts.caller import Caller
from tests.parts.postgres import PostgresServer
from tests.parts.service import Refkeep, Yard, eventually

POLICIES = """
[policies."shelf/photo"]
cardinality = "list"
visibility = "private"
media_types = ["image/*"]
max_items = 2
max_edge = 100
max_bytes = "20 KiB"

[policies."shelf/film"]
cardinality = "single"
visibility = "public"
media_types = ["video/*"]
max_duration = "500ms"

[policies."*/note"]
cardinality = "single"
visibility = "private"
public_allowed = false
media_types = ["text/plain"]
"""


SIGNING_KEY = "2026:c2lnbmVkIGJ5IHRoZSB0ZXN0cw=="


@pytest.fixture(scope="session")
def yard(postgres: PostgresServer, tmp_path_factory: pytest.TempPathFactory) -> Yard:
    """Where services are started."""
    return Yard(tmp_path_factory.mktemp("yard"), postgres)


@pytest.fixture(scope="session")
def service(yard: Yard) -> Iterator[Refkeep]:
    """The service with its defaults and a key to sign with, on a folder."""
    with yard.running(SIGNING_KEYS=SIGNING_KEY) as started:
        yield started


@pytest.fixture(scope="session")
def strict(yard: Yard) -> Iterator[Refkeep]:
    """A service that takes a mebibyte, by rules of its own, and knows its public address."""
    file = yard.folder / "policies.toml"
    file.write_text(POLICIES)
    limits = {"MAX_UPLOAD_BYTES": "1 MiB", "POLICIES": file, "PUBLIC_URL": "https://media.example.org/"}
    with yard.running(**limits) as started:
        yield started


@pytest.fixture
def nothing_left_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """After the test there is no row and no file that was not there before."""
    started: Refkeep = request.getfixturevalue("strict" if "strict" in request.fixturenames else "service")
    before = started.contents()
    yield
    eventually(lambda: not started.added_since(before), 5)


@pytest.fixture
def acme(service: Refkeep) -> Caller:
    """A caller who may read and write in a new workspace."""
    return service.caller("read", "write")


@pytest.fixture
def globex(service: Refkeep) -> Caller:
    """The same of another new workspace."""
    return service.caller("read", "write")


@pytest.fixture
def reader(service: Refkeep, acme: Caller) -> Caller:
    """A caller who may only read, in acme's workspace."""
    return service.caller("read", workspace=acme.workspace)


@pytest.fixture
def anyone(service: Refkeep) -> Caller:
    """A caller without a key."""
    return service.bearer(None)
