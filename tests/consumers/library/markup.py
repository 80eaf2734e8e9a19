"""The page as text: what stands in it before any script has run."""

from __future__ import annotations

from html import escape
from pathlib import Path
from string import Template
from typing import Any
from urllib.parse import urlsplit

from tests.consumers.library.own import MAX_BYTES
from tests.consumers.shared.refusals import Refusal

_PAGE = Template(Path(__file__).with_name("page").joinpath("page.html").read_text())
_SCRIPT = '<script type="module" src="/static/page.js"></script>'
_RULES = "What a cover may be is checked after sending."  # until a script has asked
_OLD_RULES = f"JPEG or PNG, up to {MAX_BYTES // 1_000_000} MB."


def page(library: dict[str, Any], *, is_old: bool, refusal: Refusal | None) -> str:
    """A library's page; the old one has no script, and says what its own table takes."""
    cover, name = library["cover"], escape(library["name"])
    return _PAGE.substitute(
        name=name,
        path=escape(f"/libraries/{library['id']}"),
        script="" if is_old else _SCRIPT,
        way="own" if is_old else "refkeep",
        cover_src=f'src="{escape(cover["url"])}"' if cover else "hidden",
        none_hidden="hidden" if cover else "",
        rules=_OLD_RULES if is_old else _RULES,
        accept="image/jpeg,image/png" if is_old else "image/*",
        problem="" if refusal is None else escape(_sentence(refusal, has_cover=cover is not None)),
        problem_hidden="hidden" if refusal is None else "",
    )


def guards(media_url: str, *, scripted: bool) -> dict[str, str]:
    """Headers of the page: it may load what is ours, show pictures of Refkeep's delivery, and nothing else."""
    media = urlsplit(media_url)
    ours = "'self'" if scripted else "'none'"
    policy = {
        "default-src": "'none'",
        "script-src": ours,
        "connect-src": ours,
        "style-src": "'self'",
        "img-src": f"'self' blob: {media.scheme}://{media.netloc}",
        "form-action": "'self'",
        "base-uri": "'none'",
        "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'",
    }
    return {
        "content-security-policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }


def _sentence(refusal: Refusal, *, has_cover: bool) -> str:
    stays = "The cover stays as it was." if has_cover else "There is still no cover."
    return f"{stays} {refusal.detail}".strip()
