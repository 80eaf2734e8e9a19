"""`refkeep policies preview`: what each preset makes of a picture, to be looked at."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from time import perf_counter

import anyio
import click

from service.adapters.vips.prober import VipsProber
from service.adapters.vips.renderer import VipsRenderer
from service.adapters.vips.sheets import draw_sheet
from service.domain.blob import MediaInfo
from service.domain.errors import RenderFailed, UnreadableMedia
from service.domain.placeholder import Placeholder
from service.domain.policy import Policies
from service.domain.rendition import Format, Preset, offered
from service.ports.renderer import Rendered, Renderer

_PAGE = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>Presets of {name}</title>
<style>
body {{ font: 15px/1.4 system-ui, sans-serif; margin: 2rem; background: #fff; color: #222 }}
section {{ display: flex; flex-wrap: wrap; gap: 1.5rem; align-items: flex-end }}
figure {{ margin: 0 }}
img {{ max-width: min(100%, 90vw); background: repeating-conic-gradient(#ddd 0 25%, #fff 0 50%) 0 0/16px 16px }}
figcaption {{ color: #555; font-size: .85em }}
i {{ display: inline-block; width: 1em; height: 1em; vertical-align: -.1em; border: 1px solid #888 }}
</style>
<h1>{name}</h1>
<p>{facts}</p>
<p>Placeholder: <i style="background:{colour}"></i> {colour}, aspect {aspect}, ThumbHash <code>{thumbhash}</code></p>
{sections}
</html>
"""


@dataclass(frozen=True, slots=True)
class Made:
    """One rendition, and how many milliseconds it took, its turn in the queue included."""

    preset: Preset
    format: Format
    rendered: Rendered
    took_ms: int

    @property
    def captions(self) -> list[str]:
        """What it is, in three lines."""
        media = self.rendered.media
        frames = f", {media.frames} frames" if (media.frames or 1) > 1 else ""
        size = f"{media.width} x {media.height}{frames}"
        return [f"{self.preset.name}.{self.format.extension}", size, readable_size(len(self.rendered.content))]


@dataclass(frozen=True, slots=True)
class Preview:
    """All that there is to see of a file."""

    file: Path
    media: MediaInfo
    placeholder: Placeholder
    made: Sequence[Made]


def write_preview(file: Path, policies: Policies, out: Path, tell: Callable[[int, int], None]) -> tuple[Path, Path]:
    """Write `<stem>.html` and `<stem>.png` into the folder `out`; return both. `tell` hears how many of all are done.

    Raises `RefkeepError` for a file of which nothing is made, `ClickException` where one preset is beyond all bounds.
    """
    preview, drawn = anyio.run(_look_and_draw, file, policies, tell)
    page, sheet = out / f"{file.stem}.preview.html", out / f"{file.stem}.preview.png"
    out.mkdir(parents=True, exist_ok=True)
    page.write_text(page_of(preview), encoding="utf-8")
    sheet.write_bytes(drawn)
    return page, sheet


async def _look_and_draw(file: Path, policies: Policies, tell: Callable[[int, int], None]) -> tuple[Preview, bytes]:
    preview = await _look(file, policies, tell)
    return preview, await draw_sheet([(each.rendered, each.captions) for each in preview.made])


async def _look(file: Path, policies: Policies, tell: Callable[[int, int], None]) -> Preview:
    prober, renderer = VipsProber(), VipsRenderer()
    try:
        media = await prober.probe(file)
        wanted = [(preset, each) for preset in policies.presets for each in offered(preset, media.media_type)]
        if not wanted:
            raise UnreadableMedia(media.media_type)
        made: list[Made] = []
        for preset, chosen in wanted:
            tell(len(made), len(wanted))
            made.append(await make_one(renderer, file, media.media_type, (preset, chosen)))
        tell(len(made), len(wanted))
        return Preview(file, media, await renderer.placeholder(file, media.media_type), made)
    finally:
        await prober.aclose()
        await renderer.aclose()


async def make_one(renderer: Renderer, file: Path, media_type: str, wanted: tuple[Preset, Format]) -> Made:
    """One rendition of a file. Raises `ClickException`, which names it, where it is beyond what a child may take."""
    began = perf_counter()
    try:
        rendered = await renderer.render(file, media_type, *wanted)
    except RenderFailed as error:
        preset, chosen = wanted
        raise click.ClickException(f"{preset.name}.{chosen.extension}: {error}") from error
    return Made(*wanted, rendered, round((perf_counter() - began) * 1000))


def page_of(preview: Preview) -> str:
    """One page of HTML that needs no other file."""
    media = preview.media
    size = readable_size(preview.file.stat().st_size)
    by_preset: dict[str, list[Made]] = {}
    for each in preview.made:
        by_preset.setdefault(each.preset.name, []).append(each)
    return _PAGE.format(
        name=escape(preview.file.name),
        facts=escape(f"{media.media_type}, {media.width} × {media.height} as stored, {size}"),
        colour=preview.placeholder.colour,
        aspect=preview.placeholder.aspect,
        thumbhash=escape(preview.placeholder.thumbhash),
        sections="\n".join(_section(name, made) for name, made in by_preset.items()),
    )


def _section(name: str, made: Sequence[Made]) -> str:
    preset = made[0].preset
    box = f"{preset.fit}, {preset.width or 'any'} × {preset.height or 'any'}"
    return f"<h2>{escape(name)} <small>{box}</small></h2>\n<section>{''.join(_figure(each) for each in made)}</section>"


def _figure(made: Made) -> str:
    media = made.rendered.media
    data = base64.b64encode(made.rendered.content).decode()
    caption = " · ".join([*made.captions, f"{made.took_ms} ms"])
    source = f"data:{media.media_type};base64,{data}"
    sizes = f'width="{media.width}" height="{media.height}"'
    return f'<figure><img src="{source}" {sizes} alt=""><figcaption>{escape(caption)}</figcaption></figure>'


def readable_size(count: int) -> str:
    """Bytes as people read them."""
    if count < 1024:
        return f"{count} B"
    return f"{count / 1024:.1f} KiB" if count < 1024**2 else f"{count / 1024**2:.1f} MiB"
