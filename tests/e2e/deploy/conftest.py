"""The image of deploy/Dockerfile, built once from its own instructions, and what compose.yaml runs beside it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.parts.image import ROOT, UID, Build, Engine, Stage, Workshop, opened_workshop, own_network

SERVICES: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())["services"]
HOSTS = "127.0.0.1 localhost refkeep postgres seaweedfs collector\n"


@pytest.fixture(scope="session")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    with opened_workshop(tmp_path_factory.mktemp("image") / "workshop") as opened:
        yield opened


@pytest.fixture(scope="session")
def stage(workshop: Workshop) -> Stage:
    """The last stage of the Dockerfile: every instruction has been carried out, and was a known one."""
    build = Build(workshop, ROOT / "deploy/Dockerfile", ROOT)
    built = build.run()
    assert build.unknown == []
    return built


@pytest.fixture(scope="session")
def secrets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What deploy/new-secrets.sh makes."""
    folder = tmp_path_factory.mktemp("secrets") / "secrets"
    subprocess.run([ROOT / "deploy/new-secrets.sh", folder], check=True, capture_output=True)
    return folder


@pytest.fixture(scope="session")
def engine(
    workshop: Workshop, stage: Stage, secrets: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Engine]:
    """Runs containers in a network where compose's names lead to this machine; the image is read-only from here on."""
    folder = tmp_path_factory.mktemp("containers")
    (folder / "hosts").write_text(HOSTS)
    (folder / "volume").mkdir(mode=0o700)
    os.chown(folder / "volume", UID, UID)
    mounts = {"/etc/hosts": folder / "hosts", stage.lists["VOLUME"][0]: folder / "volume"}
    # One by one, as compose mounts them: nobody in there could enter the folder itself.
    mounts |= {f"/run/secrets/{name}": secrets / name for name in SERVICES["refkeep"]["secrets"]}
    with own_network() as network:
        running = Engine(workshop, stage, folder, network, mounts)
        running.prepare()
        yield running
