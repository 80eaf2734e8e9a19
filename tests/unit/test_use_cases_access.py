"""Who is calling: a key is its holder in its workspace, and every reason to refuse looks the same."""

from __future__ import annotations

import pytest

from service.adapters.memory.access import MemoryKeys, MemoryWorkspaces
from service.adapters.memory.database import MemoryDatabase
from service.application.authenticate import Authenticate, Principal
from service.domain.credentials import Credentials, new_credentials
from service.domain.errors import Unauthorized
from service.ports.access import ApiKey, Scope

pytestmark = pytest.mark.anyio


@pytest.fixture
def keys() -> MemoryKeys:
    """A key store."""
    return MemoryKeys(MemoryDatabase())


async def add(keys: MemoryKeys, workspace: str | None = None) -> Credentials:
    """A key that was given to somebody."""
    credentials = new_credentials()
    if workspace is not None:
        await MemoryWorkspaces(keys.database).ensure(workspace)
    await keys.add(ApiKey(credentials.id, credentials.secret_hash, "test", frozenset({Scope.READ}), workspace))
    return credentials


async def test_a_key_is_its_holder_in_its_workspace(keys: MemoryKeys) -> None:
    key = await add(keys, "demo")
    assert await Authenticate(keys)(key.token) == Principal(key.id, frozenset({Scope.READ}), "demo", bound=True)


async def test_an_unbound_key_names_a_workspace_unless_it_has_a_default(keys: MemoryKeys) -> None:
    key = await add(keys)
    assert (await Authenticate(keys)(key.token)).workspace is None
    principal = await Authenticate(keys, {key.id: "demo"})(key.token)
    assert (principal.workspace, principal.bound) == ("demo", False)


async def test_every_reason_to_refuse_looks_the_same(keys: MemoryKeys) -> None:
    known, revoked = await add(keys), await add(keys)
    await keys.revoke(revoked.id)
    stranger = new_credentials()
    forged = Credentials(known.id, stranger.secret)
    who = Authenticate(keys)
    sentences = set()
    for token in ("", "Bearer", known.token[:-1], stranger.token, forged.token, revoked.token):
        with pytest.raises(Unauthorized) as refused:
            await who(token)
        sentences.add(str(refused.value))
    assert len(sentences) == 1


async def test_the_right_secret_of_another_key_is_refused(keys: MemoryKeys) -> None:
    mine, theirs = await add(keys), await add(keys)
    with pytest.raises(Unauthorized):
        await Authenticate(keys)(Credentials(mine.id, theirs.secret).token)
    assert (await Authenticate(keys)(mine.token)).key_id == mine.id
