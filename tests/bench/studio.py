"""Refkeep with photographs, and presets of them that nobody has asked for: each can be asked for cold once."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import anyio
import httpx

from service.domain.layout import Size
from service.domain.rendition import Format
from tests.parts.seaweed import free_ports
from tests.parts.service import REFKEEP, environment

HEIGHTS = 32
"""Presets of a width: each is a row of pixels lower than the one before, so that its bytes are new and its work is not.
"""

_ROLE = """
[policies."bench/w{width}"]
cardinality = "single"
visibility = "public"
media_types = ["image/*"]
presets = [{presets}]
"""
_PRESET = """
[presets.w{width}-{number}]
width = {width}
height = {height}
fit = "cover"
formats = ["jpeg", "webp", "avif"]
"""


def height_of(width: int, number: int) -> int:
    """Of the `number`th preset of a width, for photographs of four by three."""
    return width * 3 // 4 - number


class Studio:
    """What makes renditions through HTTP, each of them once."""

    def __init__(self, http: httpx.AsyncClient, files: Sequence[Path]) -> None:
        self._http, self._asked = http, Counter[tuple[Path, int, Format]]()
        self._names = {file: sha256(file.read_bytes()).hexdigest() for file in files}

    async def attach(self, key: str, widths: Sequence[int]) -> None:
        """Show the photographs in the role of each width."""
        headers = {"authorization": f"Bearer {key}"}
        for number, (file, name) in enumerate(self._names.items()):
            content = await anyio.Path(file).read_bytes()
            (await self._http.put(f"/blobs/{name}", content=content, headers=headers)).raise_for_status()
            for width in widths:
                path = f"/refs/bench/{number}/w{width}/0"
                (await self._http.put(path, json={"sha256": name}, headers=headers)).raise_for_status()

    async def make(self, file: Path, size: Size, chosen: Format) -> int:
        """Ask for a preset of this width that was never asked for; the bytes that came."""
        cell = (file, size.width, chosen)
        number = self._asked[cell]
        self._asked[cell] += 1
        if number >= HEIGHTS:
            message = "nothing is cold any longer: take fewer rounds"
            raise RuntimeError(message)
        answer = await self._http.get(f"/blobs/{self._names[file]}/w{size.width}-{number}.{chosen.extension}")
        answer.raise_for_status()
        assert answer.headers["content-type"] == chosen.media_type, answer.headers
        return len(answer.content)


@contextlib.asynccontextmanager
async def running_studio(
    folder: Path, files: Sequence[Path], widths: Sequence[int]
) -> AsyncIterator[tuple[Studio, int]]:
    """`refkeep dev` as it is shipped, with one worker and its embedded Postgres, on all cores; its process, too."""
    [port] = free_ports(1)
    home, policies = folder / "refkeep", folder / "policies.toml"
    policies.write_text("".join(_tables(widths)))
    settings = environment(DATA_DIR=home, PORT=port, WORKERS=1, DRAIN=0, LOG_FORMAT="json", POLICIES=policies)
    with (folder / "refkeep.log").open("wb") as log, _ending([REFKEEP, "dev"], settings, log.fileno()) as process:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120) as http:
            await _await_ready(http)
            studio = Studio(http, files)
            await studio.attach((home / "dev-key").read_text().strip(), widths)
            yield studio, process.pid


def _tables(widths: Sequence[int]) -> Iterator[str]:
    for width in widths:
        yield _ROLE.format(width=width, presets=", ".join(f'"w{width}-{number}"' for number in range(HEIGHTS)))
        for number in range(HEIGHTS):
            yield _PRESET.format(width=width, number=number, height=height_of(width, number))


@contextlib.contextmanager
def _ending(command: Sequence[str], variables: dict[str, str], output: int) -> Iterator[subprocess.Popen[bytes]]:
    process = subprocess.Popen(command, env=variables, cwd=os.path.sep, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.terminate()
        process.wait(60)


async def _await_ready(http: httpx.AsyncClient) -> None:
    with anyio.fail_after(120):
        while True:
            with contextlib.suppress(httpx.TransportError):
                if (await http.get("/readyz")).is_success:
                    return
            await anyio.sleep(0.1)
