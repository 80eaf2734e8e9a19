"""The machine: the data folder, the port, policies, and whether media can be looked at."""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
import struct
import zlib
from collections.abc import Iterator
from contextlib import closing
from difflib import get_close_matches
from http.client import HTTPConnection, HTTPException
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

from service.commands.checkup.findings import Finding, fault, ok, unknown, warning
from service.settings import PREFIX, Settings

_TIGHT, _FULL = 2**30, 64 * 2**20
_JUDGED = ("image", "video", "audio")
_GREY_DOT = zlib.compress(b"\0\x80")
_SILENCE = bytes(800)
_WAV = (
    b"RIFF" + (36 + len(_SILENCE)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    + b"\1\0\1\0" + (8000).to_bytes(4, "little") + (8000).to_bytes(4, "little") + b"\1\0\x08\0"
    + b"data" + len(_SILENCE).to_bytes(4, "little") + _SILENCE
)  # fmt: skip


def look_at_folder(settings: Settings) -> list[Finding]:
    """Findings `data-dir`."""
    folder = settings.data_dir.absolute()
    if not folder.exists():
        return [_to_be_made(folder)]
    if not folder.is_dir():
        return [fault("data-dir", f"{folder} is no folder.", f"{PREFIX}DATA_DIR=<a folder>")]
    found = [*_rights(folder), *_room(folder, settings), *_secrets(folder)]
    return found or [ok("data-dir", f"{folder}, {shutil.disk_usage(folder).free // 2**30} GiB free.")]


def _to_be_made(folder: Path) -> Finding:
    parent = next(each for each in folder.parents if each.exists())
    if os.access(parent, os.W_OK | os.X_OK):
        return ok("data-dir", f"{folder} is not there yet: the first start makes it.")
    return fault("data-dir", f"{folder} is not there and cannot be made.", f"{_as_owner()} {folder}")


def _as_owner() -> str:
    return f"sudo install -d -m 700 -o {os.geteuid()} -g {os.getegid()}"


def _rights(folder: Path) -> Iterator[Finding]:
    status = folder.stat()
    if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        is_fixed = bool(os.statvfs(folder).f_flag & os.ST_RDONLY)
        why = "is on a read-only file system" if is_fixed else f"belongs to user {status.st_uid}, mode {_mode(status)}"
        remedy = f"mount -o remount,rw {folder}" if is_fixed else f"sudo chown -R {os.geteuid()} {folder}"
        yield fault("data-dir", f"{folder} {why}: this is user {os.geteuid()}, who cannot write there.", remedy)
    elif status.st_uid not in {os.geteuid(), 0}:
        says = f"{folder} belongs to user {status.st_uid}, who may take away what this user ({os.geteuid()}) writes."
        yield warning("data-dir", says, f"sudo chown -R {os.geteuid()} {folder}")
    if status.st_mode & 0o002 and not status.st_mode & stat.S_ISVTX:
        yield fault("data-dir", f"{folder} has mode {_mode(status)}: everybody may write there.", f"chmod 700 {folder}")


def _mode(status: os.stat_result) -> str:
    return f"{stat.S_IMODE(status.st_mode):04o}"


def _room(folder: Path, settings: Settings) -> Iterator[Finding]:
    free = shutil.disk_usage(folder).free
    enough = max(_TIGHT, settings.max_upload_bytes)
    if free < _FULL:
        yield fault("data-dir", f"{free // 2**20} MiB are free below {folder}.", "Make room, or mount a larger disk.")
    elif free < enough:
        says = f"{free // 2**20} MiB are free below {folder}, less than one upload may take ({enough // 2**20} MiB)."
        yield warning("data-dir", says, f"Make room, or lower {PREFIX}MAX_UPLOAD_BYTES.")


def _secrets(folder: Path) -> Iterator[Finding]:
    for path in (folder / "dev-key", folder / "signing-key"):
        if path.exists() and path.stat().st_mode & 0o077:
            yield fault("data-dir", f"{path} may be read by others.", f"chmod 600 {path}")


def look_at_port(settings: Settings) -> list[Finding]:
    """Finding `port`: free, or taken by Refkeep itself. Blocks for two seconds."""
    from service.server import AddressUnavailable, check_address

    try:
        check_address(settings)
    except AddressUnavailable as error:
        if _is_refkeep(settings):
            return [ok("port", f"Refkeep answers on {settings.host}:{settings.port}.")]
        return [fault("port", str(error), _to_be_done(error.__cause__))]
    return [ok("port", f"{settings.host}:{settings.port} is free.")]


def _to_be_done(why: BaseException | None) -> str:
    if isinstance(why, PermissionError):
        return f"{PREFIX}PORT=<1024 or above>, or sysctl net.ipv4.ip_unprivileged_port_start"
    if isinstance(why, OSError) and why.errno == errno.EADDRINUSE:
        return f"Stop what has it (`ss -ltnp`), or {PREFIX}PORT=<another>"
    return f"{PREFIX}HOST=<an address of this machine; 0.0.0.0 is all of them>"


def _is_refkeep(settings: Settings) -> bool:
    try:
        with closing(HTTPConnection(settings.host, settings.port, timeout=2)) as connection:
            connection.request("GET", "/livez")
            return bool(json.loads(connection.getresponse().read(200)) == {"status": "alive"})
    except (OSError, HTTPException, ValueError):
        return False


def look_at_policies(settings: Settings) -> list[Finding]:
    """Findings `policies`."""
    from service.adapters.vips.prober import recognised_types
    from service.schemas.policy_file import PolicyFileError, load_policies

    try:
        policies = load_policies(settings.policies)
    except PolicyFileError as error:
        return [
            fault("policies", str(error), f"Correct the line; `refkeep policies check {settings.policies}` says more.")
        ]
    known = recognised_types()
    found: list[Finding] = []
    for policy in policies.items:
        for name in policy.media_types:
            if name.partition("/")[0] in _JUDGED and not name.endswith("/*") and name not in known:
                near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
                says = f"{policy.entity_type}/{policy.role}: {name} is found in no bytes, so it lets nothing in."
                found.append(warning("policies", says, f"Name it {near}, or leave it out."))
    return found or [ok("policies", f"{len(policies.items)} policies.")]


async def look_at_media() -> list[Finding]:
    """Findings `pictures` and `video`: the lane starts, and decodes what is known to be right."""
    from service.adapters.vips.prober import VipsProber
    from service.domain.errors import ProbeUnavailable

    prober = VipsProber()
    try:
        with TemporaryDirectory(prefix="refkeep-doctor-") as folder:
            picture, sound = Path(folder) / "picture", Path(folder) / "sound"
            picture.write_bytes(_png())
            sound.write_bytes(_WAV)
            seen = await prober.probe(picture)
            if (seen.media_type, seen.width, seen.readable) != ("image/png", 1, True):
                return [fault("pictures", "A picture that is whole is not readable here.", _REINSTALL)]
            heard = await prober.probe(sound)
    except ProbeUnavailable as error:
        return [fault("pictures", str(error), _REINSTALL), unknown("video", "Looked at by the same process.")]
    finally:
        await prober.aclose()
    return [ok("pictures", "libvips decodes a picture in its process."), _of_sound(heard.readable)]


def _of_sound(readable: bool | None) -> Finding:
    if find_spec("av") is None:
        says = "PyAV is not installed: dimensions and durations of video and sound stay unknown."
        return warning("video", says, "pip install 'refkeep[video]'")
    if not readable:
        return fault(
            "video", "PyAV is installed, and cannot read a sound that is whole.", "pip install --force-reinstall av"
        )
    return ok("video", "FFmpeg reads a sound in its process.")


_REINSTALL = "pip install --force-reinstall pyvips pyvips-binary"


def _png() -> bytes:
    """One grey pixel, whole (PNG third edition, 5.3)."""
    chunks = (b"IHDR" + struct.pack(">IIBBBBB", 1, 1, 8, 0, 0, 0, 0), b"IDAT" + _GREY_DOT, b"IEND")
    framed = (struct.pack(">I", len(each) - 4) + each + struct.pack(">I", zlib.crc32(each)) for each in chunks)
    return b"\x89PNG\r\n\x1a\n" + b"".join(framed)
