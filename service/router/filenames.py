"""Names of files as forms send them."""

from __future__ import annotations

import re
from urllib.parse import unquote

from service.domain.errors import BadRequest
from service.domain.filename import clean_filename

_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"')
_EXTENDED = re.compile(r";\s*filename\*\s*=\s*(utf-8|iso-8859-1)'[^']*'([!#$&+\-.^_`|~%0-9A-Za-z]*)", re.IGNORECASE)


def part_filename(disposition: str, plain: str | None) -> str | None:
    """Return the clean name of a form's part: `filename*` where it is sent (RFC 8187), else `plain`, its `filename`.

    RFC 7578 §4.2 forbids `filename*`, and clients send it all the same. Raises `BadRequest` when it does not decode,
    `BadName` as `clean_filename` does.
    """
    extended = _EXTENDED.search(_QUOTED.sub('""', disposition))
    if extended is None:
        return None if plain is None else clean_filename(plain)
    try:
        return clean_filename(unquote(extended[2], encoding=extended[1], errors="strict"))
    except UnicodeDecodeError as error:
        raise BadRequest(f"filename* is not encoded in {extended[1]}.") from error
