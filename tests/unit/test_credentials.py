"""API keys: what was made here is recognised, what was mistyped is not, and no secret shows."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.domain.credentials import Credentials, new_credentials, parse_token


def test_a_new_key_is_read_again_from_its_token() -> None:
    for _ in range(200):
        made = new_credentials()
        assert parse_token(made.token) == made
        assert re.fullmatch(r"rk_[0-9a-z]{12}_[0-9A-Za-z]{38}", made.token)


def test_no_two_keys_are_alike() -> None:
    made = [new_credentials() for _ in range(200)]
    assert len({key.id for key in made}) == len({key.secret for key in made}) == 200


@given(st.data())
def test_a_token_with_one_character_changed_is_not_a_token(data: st.DataObject) -> None:
    token = new_credentials().token
    place = data.draw(st.integers(3, len(token) - 1))
    character = data.draw(st.sampled_from("0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"))
    changed = token[:place] + character + token[place + 1 :]
    assert changed == token or parse_token(changed) is None


@given(st.text(max_size=80))
def test_noise_is_not_a_token(text: str) -> None:
    assert parse_token(text) is None


@pytest.mark.parametrize(
    "change", [str.upper, lambda token: token + "\n", lambda token: " " + token, lambda token: token[:-1]]
)
def test_a_token_has_one_spelling(change: type) -> None:
    assert parse_token(change(new_credentials().token)) is None


def test_only_the_hash_of_the_secret_is_stored_and_it_matches_no_other() -> None:
    key, other = new_credentials(), new_credentials()
    assert len(key.secret_hash) == 32
    assert key.matches(key.secret_hash)
    assert not key.matches(other.secret_hash)
    assert not key.matches(b"")
    assert replace(key, id=other.id).matches(key.secret_hash)


def test_a_secret_does_not_show_in_a_log() -> None:
    key = Credentials("0123456789ab", "the secret")
    assert "the secret" not in repr(key)
    assert key.token == "rk_0123456789ab_the secret"
