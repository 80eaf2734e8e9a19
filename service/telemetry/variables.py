"""The standard variables of OpenTelemetry: values that cannot be used are left out, with a word about it.

So it is specified (Environment Variable Specification, "Configuration types": warn, and go on as if it was not set).
The SDK raises for some of them, in each worker or as it is imported: whoever does calls `leave_out_unusable` first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from math import isfinite
from typing import Final

_MOST: Final = 2**31 - 1
_SHOWN: Final = 40


@dataclass(frozen=True, slots=True)
class Unusable:
    """A variable with a value that is left out: what it must be, and what it is."""

    variable: str
    form: str
    value: str

    def __str__(self) -> str:
        return f"{self.variable} must be {self.form}; {self.value[:_SHOWN]!r} is not that, and is left out."


@dataclass(frozen=True, slots=True)
class _Form:
    says: str
    read: Callable[[str], str | None]
    """The value as the SDK understands it, None for what is none."""


def _whole(least: int) -> _Form:
    def read(text: str) -> str | None:
        is_one = re.fullmatch(r"\+?[0-9]{1,10}", text) is not None and least <= int(text) <= _MOST
        return text if is_one else None

    return _Form(f"a whole number, {least} to {_MOST}", read)


def _number(says: str, fits: Callable[[float], bool]) -> _Form:
    def read(text: str) -> str | None:
        try:
            value = float(text)
        except ValueError:
            return None
        return text if isfinite(value) and fits(value) else None

    return _Form(says, read)


def _word(*known: str) -> _Form:
    return _Form(
        f"{', '.join(known[:-1])} or {known[-1]}", lambda text: text.lower() if text.lower() in known else None
    )


def _is_pattern(text: str) -> str | None:
    try:
        re.compile("|".join(item.strip() for item in text.split(",")))
    except re.error:
        return None
    return text


_COUNT, _LIMIT = _whole(1), _whole(0)
_POSITIVE = _number(f"a number above 0, {_MOST} at most", lambda value: 0 < value <= _MOST)
_PATTERNS = _Form("regular expressions, separated by commas", _is_pattern)
_COMPRESSION = _word("none", "gzip", "deflate")
_SAMPLERS = ("always_on", "always_off", "traceidratio")

_SAMPLER, _SHARE = "OTEL_TRACES_SAMPLER", "OTEL_TRACES_SAMPLER_ARG"
_QUEUE, _BATCH = "OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"
_USUAL_QUEUE, _USUAL_BATCH = 2048, 512
_FORMS: Final[Mapping[str, _Form]] = {
    "OTEL_SDK_DISABLED": _word("true", "false"),
    _QUEUE: _COUNT,
    _BATCH: _COUNT,
    "OTEL_BSP_SCHEDULE_DELAY": _COUNT,
    "OTEL_BSP_EXPORT_TIMEOUT": _LIMIT,
    "OTEL_METRIC_EXPORT_INTERVAL": _POSITIVE,
    "OTEL_METRIC_EXPORT_TIMEOUT": _POSITIVE,
    "OTEL_METRICS_EXEMPLAR_FILTER": _word("trace_based", "always_on", "always_off"),
    _SAMPLER: _word(*_SAMPLERS, *(f"parentbased_{name}" for name in _SAMPLERS)),
    _SHARE: _number("a number from 0 to 1", lambda value: 0 <= value <= 1),
    "OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE": _word("cumulative", "delta", "lowmemory"),
    "OTEL_EXPORTER_OTLP_METRICS_DEFAULT_HISTOGRAM_AGGREGATION": _word(
        "explicit_bucket_histogram", "base2_exponential_bucket_histogram"
    ),
    **{f"OTEL_EXPORTER_OTLP_{signal}TIMEOUT": _POSITIVE for signal in ("", "TRACES_", "METRICS_")},
    **{f"OTEL_EXPORTER_OTLP_{signal}COMPRESSION": _COMPRESSION for signal in ("", "TRACES_", "METRICS_")},
    "OTEL_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_ATTRIBUTE_VALUE_LENGTH_LIMIT": _LIMIT,
    "OTEL_EVENT_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_LINK_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT": _LIMIT,
    "OTEL_SPAN_ATTRIBUTE_VALUE_LENGTH_LIMIT": _LIMIT,
    "OTEL_SPAN_EVENT_COUNT_LIMIT": _LIMIT,
    "OTEL_SPAN_LINK_COUNT_LIMIT": _LIMIT,
    "OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_SANITIZE_FIELDS": _PATTERNS,
}
_OF_OTHERS: Final = ("OTEL_PYTHON_CONTEXT", "OTEL_PYTHON_TRACER_PROVIDER", "OTEL_PYTHON_METER_PROVIDER")
"""Which parts of which SDK a program takes that brings none; what they name is loaded as the API is imported."""


def unusable(environ: Mapping[str, str]) -> list[Unusable]:
    """Values that are left out, by the names of their variables."""
    return list(_unusable(environ, _read(environ)))


def leave_out_unusable(environ: MutableMapping[str, str]) -> list[Unusable]:
    """Leave out what cannot be used, and spell what can as the SDK does; what was left out is told once."""
    read = _read(environ)
    found = list(_unusable(environ, read))
    for name, value in read.items():
        if value is None:
            del environ[name]
        else:
            environ[name] = value
    _suit(environ)
    return found


def leave_out_foreign(environ: MutableMapping[str, str]) -> None:
    """Forget what tells programs that bring no SDK which one to load; before the API is imported."""
    for name in _OF_OTHERS:
        environ.pop(name, None)


def _read(environ: Mapping[str, str]) -> dict[str, str | None]:
    """The variables that are set, each as the SDK understands it; empty ones are as if they were not."""
    return {name: form.read(environ[name].strip()) for name, form in _FORMS.items() if name in environ}


def _unusable(environ: Mapping[str, str], read: Mapping[str, str | None]) -> Iterator[Unusable]:
    for name, value in read.items():
        if value is None and environ[name].strip():
            yield Unusable(name, _FORMS[name].says, environ[name])
    queue, batch = int(read.get(_QUEUE) or _USUAL_QUEUE), int(read.get(_BATCH) or 0)
    if batch > queue:
        yield Unusable(_BATCH, f"{queue} at most, as many as {_QUEUE} lets wait", str(batch))


def _suit(environ: MutableMapping[str, str]) -> None:
    """Spell defaults out that depend on others: the SDK raises for more spans at once than may wait."""
    queue = int(environ.get(_QUEUE, _USUAL_QUEUE))
    if int(environ.get(_BATCH, _USUAL_BATCH)) > queue:
        environ[_BATCH] = str(queue)
    if environ.get(_SAMPLER, "").endswith("traceidratio"):
        environ.setdefault(_SHARE, "1.0")
