"""Settings: what the environment may say, and what happens when it says something else."""

from __future__ import annotations

import base64
import ipaddress
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service import setting_forms as forms
from service.settings import Settings, SettingsError, load_settings

SECRET = base64.b64encode(b"0123456789abcdef").decode()
PAGE_OF_DEFAULTS = {
    "REFKEEP_DATA_DIR": "./.refkeep",
    "REFKEEP_HOST": "127.0.0.1",
    "REFKEEP_PORT": "8080",
    "REFKEEP_WORKERS": "1",
    "REFKEEP_STORAGE": "filesystem",
    "REFKEEP_MAX_UPLOAD_BYTES": "5 GiB",
    "REFKEEP_ORPHAN_RETENTION": "7d",
    "REFKEEP_TRASH_RETENTION": "30d",
    "REFKEEP_QUARANTINE": "24h",
    "REFKEEP_GC_INTERVAL": "60s",
    "REFKEEP_UPLOAD_LEASE": "24h",
    "REFKEEP_DESCRIPTOR_TTL": "1s",
}


def test_the_documented_defaults_are_the_defaults() -> None:
    assert load_settings(PAGE_OF_DEFAULTS) == load_settings({})


def test_names_without_the_prefix_are_nobody_s_business() -> None:
    assert load_settings({"PORT": "x", "OTEL_SERVICE_NAME": "y"}) == load_settings({})


def test_every_setting_can_be_given() -> None:
    settings = load_settings(
        {
            "REFKEEP_DATABASE_URL": "postgresql://user:secret@db:5432/refkeep",
            "REFKEEP_STORAGE": "s3",
            "REFKEEP_S3_BUCKET": "media",
            "REFKEEP_S3_ENDPOINT_URL": "http://127.0.0.1:8333/",
            "REFKEEP_S3_REGION": "eu-central-1",
            "REFKEEP_POLICIES": "/etc/refkeep/policies.toml",
            "REFKEEP_PUBLIC_URL": "https://media.example.org/",
            "REFKEEP_CORS_ORIGINS": "https://a.example, https://b.example:8443",
            "REFKEEP_TRUSTED_PROXIES": "10.0.0.0/8, ::1",
            "REFKEEP_DRAIN": "0",
            "REFKEEP_LOG_FORMAT": "console",
            "REFKEEP_READ_ONLY": "true",
            "REFKEEP_POOL_SIZE": "20",
            "REFKEEP_DEV_KEY": "rk_x_y",
            "REFKEEP_SIGNING_KEYS": f"b:{SECRET},a:{SECRET}",
        }
    )
    assert settings.s3_endpoint_url == "http://127.0.0.1:8333"
    assert settings.public_url == "https://media.example.org"
    assert settings.policies == Path("/etc/refkeep/policies.toml")
    assert settings.cors_origins == ("https://a.example", "https://b.example:8443")
    assert settings.trusted_proxies == (ipaddress.ip_network("10.0.0.0/8"), ipaddress.ip_network("::1"))
    assert settings.drain == timedelta(0)
    assert settings.read_only is True
    assert [key.id for key in settings.signing_keys] == ["b", "a"]
    assert {key.secret for key in settings.signing_keys} == {b"0123456789abcdef"}


LISTS = {"cors_origins", "trusted_proxies", "signing_keys"}


@pytest.mark.parametrize("name", sorted(set(Settings.__struct_fields__) - LISTS))
def test_an_empty_value_is_refused(name: str) -> None:
    with pytest.raises(SettingsError, match=f"REFKEEP_{name.upper()} must be "):
        load_settings({f"REFKEEP_{name.upper()}": ""})


@pytest.mark.parametrize("name", sorted(LISTS))
def test_an_empty_list_is_written_as_nothing(name: str) -> None:
    assert getattr(load_settings({f"REFKEEP_{name.upper()}": " "}), name) == ()


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("REFKEEP_PROT", "REFKEEP_PORT"), ("REFKEEP_TRASH_RETENTON", "REFKEEP_TRASH_RETENTION")],
)
def test_an_unknown_name_stops_the_start_and_names_the_nearest(typed: str, meant: str) -> None:
    with pytest.raises(SettingsError, match=rf"{typed} is no setting of Refkeep; did you mean {meant}\?"):
        load_settings({typed: "1"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "0"),
        ("PORT", "65536"),
        ("PORT", "80 80"),
        ("WORKERS", "-1"),
        ("WORKERS", "٣"),
        ("MAX_UPLOAD_BYTES", "5 Gb"),
        ("MAX_UPLOAD_BYTES", "0"),
        ("MAX_UPLOAD_BYTES", "0.5 B"),
        ("TRASH_RETENTION", "30 days"),
        ("TRASH_RETENTION", "0s"),
        ("TRASH_RETENTION", "99999999999d"),
        ("STORAGE", "S3"),
        ("LOG_FORMAT", "text"),
        ("READ_ONLY", "maybe"),
        ("PUBLIC_URL", "media.example.org"),
        ("PUBLIC_URL", "http://[x"),
        ("CORS_ORIGINS", "https://a.example/"),
        ("TRUSTED_PROXIES", "10.0.0.0/33"),
        ("S3_ENDPOINT_URL", "ftp://x"),
        ("S3_ENDPOINT_URL", "http://127.0.0.1:99999"),
        ("DATA_DIR", "~no-such-user/refkeep"),
    ],
)
def test_a_bad_value_is_refused_by_name_with_the_form_it_should_have(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings({f"REFKEEP_{name}": value})
    assert f"REFKEEP_{name} must be " in str(refusal.value)
    assert repr(value) in str(refusal.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DATABASE_URL", "mysql://user:hunter2@db/x"),
        ("DATABASE_URL", "hunter2"),
        ("DATABASE_URL", "postgresql://user:hunter2/x@db:5432/x"),
        ("DATABASE_URL", "postgresql://user:1/hunter2@db:5432/x"),
        ("DATABASE_URL", "postgresql://user:hun@ter2/hunter2@db:5432/x"),
        ("DATABASE_URL", "postgresql://user:hunter2?x@db:5432/x"),
        ("DATABASE_URL", "postgresql://user:1#hunter2@db:5432/x"),
        ("DATABASE_URL", "postgresql://user:hunter2@db:99999/x"),
        ("S3_ENDPOINT_URL", "http://user:hunter2@store:8333"),
        ("S3_ENDPOINT_URL", "http://user:hunter2/x@store:8333"),
        ("S3_ENDPOINT_URL", "http://hunter2@store:8333"),
        ("PUBLIC_URL", "ftp://user:hunter2@media.example.org"),
        ("SIGNING_KEYS", "hunter2"),
        ("SIGNING_KEYS", "id:hunter2"),
        ("SIGNING_KEYS", f"hunter2!:{SECRET}"),
        ("SIGNING_KEYS", "id:hunter2====="),
    ],
)
def test_a_bad_secret_is_refused_without_being_shown(name: str, value: str) -> None:
    with pytest.raises(SettingsError) as refusal:
        load_settings({f"REFKEEP_{name}": value})
    assert f"REFKEEP_{name}" in str(refusal.value)
    assert "hunter2" not in str(refusal.value)
    assert refusal.value.__cause__ is None


def test_secrets_are_left_out_of_every_representation() -> None:
    settings = load_settings(
        {
            "REFKEEP_DATABASE_URL": "postgresql://user:hunter2@db/x",
            "REFKEEP_DEV_KEY": "rk_hunter2",
            "REFKEEP_SIGNING_KEYS": f"id:{SECRET}",
        }
    )
    shown = f"{settings} {settings!r} {list(settings.__rich_repr__())} {settings.signing_keys}"
    assert "hunter2" not in shown
    assert "0123456789abcdef" not in shown


def test_s3_without_a_bucket_stops_the_start() -> None:
    with pytest.raises(SettingsError, match="REFKEEP_S3_BUCKET is not set"):
        load_settings({"REFKEEP_STORAGE": "s3"})


def test_a_database_may_have_several_hosts_of_which_one_answers() -> None:
    url = "postgresql://refkeep:a%2Fb@one:5432,[::1]:5433/refkeep"
    assert load_settings({"REFKEEP_DATABASE_URL": url}).database_url == url


def test_a_database_behind_a_unix_socket_needs_no_host() -> None:
    url = "postgresql:///refkeep?host=/run/postgresql"
    assert load_settings({"REFKEEP_DATABASE_URL": url}).database_url == url


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("250ms", timedelta(milliseconds=250)),
        ("90m", timedelta(minutes=90)),
        ("1.5h", timedelta(minutes=90)),
        ("7", timedelta(seconds=7)),
    ],
)
def test_durations_have_units(text: str, value: timedelta) -> None:
    assert forms.duration(text) == value


@pytest.mark.parametrize(("text", "value"), [("5 GiB", 5 * 2**30), ("1.5KiB", 1536), ("10 MB", 10_000_000), ("77", 77)])
def test_sizes_have_units(text: str, value: int) -> None:
    assert forms.size(text) == value


@given(st.integers(min_value=1, max_value=2**40), st.sampled_from(["KiB", "KB", "B"]))
def test_whole_sizes_are_exact(amount: int, unit: str) -> None:
    assert forms.size(f"{amount} {unit}") == amount * {"KiB": 1024, "KB": 1000, "B": 1}[unit]


@given(st.text(), st.sampled_from(Settings.__struct_fields__))
def test_any_text_is_a_setting_or_a_refusal(text: str, name: str) -> None:
    with suppress(SettingsError):
        load_settings({f"REFKEEP_{name.upper()}": text})
