"""Video and sound, read by FFmpeg through PyAV. Runs in the child.

FFmpeg gets an open file and the name of one demuxer: it guesses no format, and nothing that the bytes name is opened.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import IO, NoReturn

import av
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream

from service.adapters.vips import endings
from service.domain.blob import MediaInfo

MAX_PIXELS = 64_000_000
"""Pixels of one video frame that are decoded (8K has 33 million)."""

MAX_BYTES = 256 << 20
"""Packets are read to the end, or until this many bytes of them held."""

DEMUXERS = {
    "video/mp4": "mov",
    "video/quicktime": "mov",
    "video/3gpp": "mov",
    "audio/mp4": "mov",
    "video/webm": "matroska",
    "video/matroska": "matroska",
    "audio/mpeg": "mp3",
    "audio/wav": "wav",
    "audio/flac": "flac",
    "audio/ogg": "ogg",
    "video/ogg": "ogg",
}
_WHOLE = {"mov": endings.boxes_are_whole, "wav": endings.riff_is_whole, "matroska": endings.segment_is_whole}

av.logging.set_level(None)


def read_video(path: Path, media_type: str) -> MediaInfo:
    """Return dimensions, duration, and whether the first frame decodes and the packets come to their end.

    A container of a video type without a picture in it is named by its `audio/` type.
    """
    found = MediaInfo(media_type, readable=False)
    demuxer = DEMUXERS[media_type]
    try:
        with path.open("rb") as file, open_container(file, demuxer) as container:
            found = _header(container, media_type)
            if (found.pixels or 0) > MAX_PIXELS:
                return replace(found, readable=None)
            end_ms = _read_packets(container)
            found = replace(found, duration_ms=max(end_ms, found.duration_ms or 0) or None)
            file.seek(0)
            return replace(found, readable=demuxer not in _WHOLE or _WHOLE[demuxer](file))
    except (av.FFmpegError, EOFError, ValueError, OverflowError):
        return found


def open_container(file: IO[bytes], demuxer: str) -> InputContainer:
    """Open a film with this demuxer and nothing else."""
    return av.open(file, "r", format=demuxer, io_open=_refuse, metadata_errors="replace")


def _refuse(url: str, *_: object) -> NoReturn:
    raise PermissionError(url)


def _header(container: InputContainer, media_type: str) -> MediaInfo:
    duration_ms = None if container.duration is None else max(0, container.duration // 1000) or None
    found = MediaInfo(media_type, duration_ms=duration_ms, readable=False)
    if not container.streams.video:
        return replace(found, media_type=media_type.replace("video/", "audio/")) if container.streams.audio else found
    codec = container.streams.video[0].codec_context
    return replace(found, width=codec.width or None, height=codec.height or None)


def _read_packets(container: InputContainer) -> int:
    """Decode one frame, read the packets of its stream to their end; return the latest end in ms.

    Raises `EOFError` when no frame comes, `av.FFmpegError` when FFmpeg gives up.
    """
    stream = _leading_stream(container)
    decoded, size, end_ms = False, 0, 0
    for packet in container.demux(stream):
        decoded = decoded or bool(packet.decode())
        size += packet.size
        end_ms = max(end_ms, _end_ms(packet))
        if packet.is_corrupt:
            raise EOFError("a corrupt packet")
        if decoded and size > MAX_BYTES:
            break
    if not decoded:
        raise EOFError("no frame")
    return end_ms


def _leading_stream(container: InputContainer) -> Stream:
    stream = next(iter([*container.streams.video, *container.streams.audio]), None)
    if stream is None:
        raise EOFError("neither picture nor sound")
    return stream


def _end_ms(packet: Packet[Stream]) -> int:
    if packet.pts is None or packet.time_base is None:
        return 0
    return int((packet.pts + (packet.duration or 0)) * packet.time_base * 1000)
