"""What callers pass becomes the request that they meant, or none; and keys are never shown."""

from __future__ import annotations

import traceback
from uuid import UUID

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refkeep_client import EntityKey, Refkeep, RoleKey, SlotKey
from refkeep_client.calls import write
from refkeep_client.texts import checked_idempotency_key, checked_sha256, path_of, ref_id_text, refs_path

KEY = "rk_abc123_verysecretverysecret"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=4))
def test_no_name_reaches_another_path(names: list[str]) -> None:
    try:
        path = path_of("refs", *names)
    except (ValueError, UnicodeEncodeError):
        return
    url = httpx.URL("http://refkeep.example").join(path)
    assert (url.query, url.fragment) == (b"", "")
    assert url.raw_path.decode().count("/") == 1 + len(names)
    assert url.raw_path.startswith(b"/refs/")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_names_that_are_steps_of_a_path_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="neither empty nor made of dots"):
        refs_path(SlotKey("book", name, "cover"))


def test_a_slot_a_role_and_an_entity_are_different_places() -> None:
    entity = EntityKey("book", "a:b@c~1.2-3")
    assert refs_path(entity) == "/refs/book/a:b@c~1.2-3"
    assert refs_path(entity.role("cover"), "order") == "/refs/book/a:b@c~1.2-3/cover/order"
    assert refs_path(entity.slot("cover")) == "/refs/book/a:b@c~1.2-3/cover/0"
    assert entity.role("cover").slot(7) == SlotKey("book", "a:b@c~1.2-3", "cover", 7)
    assert entity.slot("cover").role_key == RoleKey("book", "a:b@c~1.2-3", "cover")
    assert entity.slot("cover").entity == entity.role("cover").entity == entity


def test_a_path_is_not_taken_for_a_hash() -> None:
    with pytest.raises(ValueError, match=r"pathlib\.Path"):
        checked_sha256("/home/me/photo.jpg")


def test_a_ref_id_has_one_spelling() -> None:
    ref_id = UUID("01a202c3-a464-7376-b788-e10385782698")
    assert ref_id_text(ref_id) == ref_id_text(str(ref_id).upper()) == str(ref_id)
    with pytest.raises(ValueError, match="UUID"):
        ref_id_text("../blobs")


@pytest.mark.parametrize("key", ["", "with space", "ü", 'quo"ted', "x" * 256, "new\nline"])
def test_an_idempotency_key_that_would_be_refused_is_not_sent(key: str) -> None:
    with pytest.raises(ValueError, match="idempotency key"):
        checked_idempotency_key(key)


def test_each_write_has_a_key_of_its_own_unless_one_is_given() -> None:
    made = {write("PUT", "/", {}).headers["idempotency-key"] for _ in range(100)}
    assert len(made) == 100
    assert write("PUT", "/", {"idempotency_key": "mine"}).headers["idempotency-key"] == "mine"


def test_a_header_that_is_spelled_otherwise_is_not_sent_twice() -> None:
    call = write("PUT", "/", {"headers": {"Idempotency-KEY": "theirs", "X-Mine": "too"}, "idempotency_key": "mine"})
    assert call.headers == {"idempotency-key": "mine", "x-mine": "too"}
    client = Refkeep("http://refkeep.example", key=KEY, headers={"Authorization": "theirs", "User-Agent": "books"})
    assert client._http.headers.get_list("authorization") == [f"Bearer {KEY}"]
    assert client._http.headers["user-agent"] == "books"


@pytest.mark.parametrize("url", ["refkeep.example", "ftp://refkeep.example", "http://", "https://h?x=1", "https://h#x"])
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(ValueError, match="address of a service"):
        Refkeep(url)


def test_an_address_with_a_password_is_refused_without_repeating_it() -> None:
    with pytest.raises(ValueError, match="no user") as raised:
        Refkeep("https://me:verysecret@refkeep.example")
    assert "verysecret" not in told(raised.value)


@pytest.mark.parametrize("key", [f"{KEY}\n", f" {KEY}", f"{KEY}\r\nX: y", "", "schlüssel-verysecret"])
def test_a_key_that_cannot_be_sent_is_refused_without_repeating_it(key: str) -> None:
    with pytest.raises(ValueError, match="cannot be a key") as raised:
        Refkeep("https://refkeep.example", key=key)
    assert "verysecret" not in told(raised.value)


def test_a_client_never_shows_its_key() -> None:
    client = Refkeep("https://refkeep.example", key=KEY, workspace="acme")
    assert repr(client) == "Refkeep('https://refkeep.example', workspace='acme')"
    assert KEY not in f"{client!s}{client._http!r}{client._http.headers!r}"


def told(error: BaseException) -> str:
    """What a log would have of it, causes included; the lines of this file are not what is asked about."""
    summary = traceback.TracebackException.from_exception(error)
    return "".join(summary.format_exception_only()) + str(summary.__cause__) + str(summary.__context__)
