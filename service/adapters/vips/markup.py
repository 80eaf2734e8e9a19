"""HTML, SVG and XML, told by how they begin; pure.

Markup runs scripts in a browser, so it is looked for wherever a browser would: after a byte order mark, white space,
comments and processing instructions, in any case of letters (WHATWG MIME Sniffing §7.1).
"""

from __future__ import annotations

import codecs
import re

_PROLOGUE = re.compile(rb"\s+|<!--.*?-->|<\?.*?\?>", re.DOTALL)
_DOCTYPE = re.compile(rb"<!doctype\s+([a-z][\w.-]*)", re.IGNORECASE)
_ROOT = re.compile(rb"<(?:[a-z_][\w.-]*:)?([a-z_][\w.-]*)(?=[\s/>])", re.IGNORECASE)
_UTF16 = {codecs.BOM_UTF16_LE: "utf-16-le", codecs.BOM_UTF16_BE: "utf-16-be"}

_HTML_ELEMENTS = frozenset(
    b"html head script iframe h1 div font table a style title b body br p".split()  # WHATWG's own list
    + b"meta link img form object embed base video audio".split()
)


def markup_type(head: bytes) -> str | None:
    """Return the type of HTML, XHTML, SVG or XML, None for anything else."""
    text = _as_utf8(head)
    at, is_xml = 0, False
    while prologue := _PROLOGUE.match(text, at):
        is_xml = is_xml or prologue.group().startswith(b"<?xml")
        at = prologue.end()
    is_xml = is_xml or text.startswith(b"<?xml", at)
    if (found := _DOCTYPE.match(text, at) or _ROOT.match(text, at)) is not None:
        return _by_name(found.group(1).lower(), is_xml)
    if is_xml:
        return "application/xml"
    return "text/html" if text.startswith(b"<!--", at) else None


def _by_name(name: bytes, is_xml: bool) -> str | None:
    if name == b"svg":
        return "image/svg+xml"
    if is_xml:
        return "application/xhtml+xml" if name == b"html" else "application/xml"
    return "text/html" if name in _HTML_ELEMENTS else None


def _as_utf8(head: bytes) -> bytes:
    encoding = _UTF16.get(head[:2])
    if encoding is not None:
        return head[2:].decode(encoding, "replace").encode("utf-8", "replace")
    return head.removeprefix(codecs.BOM_UTF8)
