"""HTTP dates (RFC 9110 §5.6.7), whole seconds in UTC."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime

_DAY = "(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)"
_LONG_DAY = "(?:Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday)"
_MONTH = "(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)"
_TIME = "[0-9]{2}:[0-9]{2}:[0-9]{2}"
_DATE = re.compile(
    f"{_DAY}, [0-9]{{2}} {_MONTH} [0-9]{{4}} {_TIME} GMT"  # IMF-fixdate
    f"|{_LONG_DAY}, [0-9]{{2}}-{_MONTH}-[0-9]{{2}} {_TIME} GMT"  # RFC 850
    f"|{_DAY} {_MONTH} [0-9 ][0-9] {_TIME} [0-9]{{4}}"  # asctime
)


def parse_http_date(text: str) -> datetime | None:
    """Return the time that `text` spells in any of the three formats of the RFC, None for everything else."""
    if _DATE.fullmatch(text) is None:
        return None
    try:
        return parsedate_to_datetime(text).replace(tzinfo=UTC)
    except ValueError:  # the 31st of February, 25 o'clock
        return None


def format_http_date(moment: datetime) -> str:
    """Spell `moment` as IMF-fixdate; what is below a second is cut off."""
    return format_datetime(moment.astimezone(UTC), usegmt=True)
