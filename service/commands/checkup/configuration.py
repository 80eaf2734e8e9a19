"""Settings: each mistake, what contradicts itself, and what is allowed and hardly ever meant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import timedelta
from ipaddress import ip_address
from urllib.parse import urlsplit

from service import setting_forms
from service.commands.checkup.findings import Finding, fault, ok, warning
from service.settings import PREFIX, Settings, Survey

_LONG_TTL = timedelta(minutes=1)
_MIN_DISTINCT = 8
"""Different bytes that a secret has at least; random ones of 16 bytes have more than this."""


def look_at_settings(survey: Survey, environ: Mapping[str, str]) -> list[Finding]:
    """Findings `settings`, `signing` and `address`."""
    mistakes = [fault("settings", *_told(name, sentence, environ)) for name, sentence in survey.mistakes.items()]
    contradictions = list(_contradictions(survey.settings, environ))
    well = [] if mistakes or contradictions else [ok("settings", f"{_count(environ)} settings, all known.")]
    unsigned = f"{PREFIX}SIGNING_KEYS" in survey.mistakes
    signing = [] if unsigned else list(_signing(survey.settings))
    return [*mistakes, *contradictions, *well, *signing, *_addresses(survey.settings)]


def _count(environ: Mapping[str, str]) -> int:
    return sum(name.startswith(PREFIX) for name in environ)


def _told(name: str, sentence: str, environ: Mapping[str, str]) -> tuple[str, str]:
    if "is no setting" in sentence:
        return sentence, f"unset {name}"
    if name == f"{PREFIX}SIGNING_KEYS":
        return f"{sentence} {_which_key(environ[name])}", 'Make one: echo "2026:$(openssl rand -base64 32)"'
    return sentence, f"Set {name} right, or unset it."


def _which_key(text: str) -> str:
    for place, item in enumerate(text.split(","), 1):
        try:
            setting_forms.signing_key(item.strip())
        except ValueError:
            return f"It is number {place} of the list."
    return ""


def _contradictions(settings: Settings, environ: Mapping[str, str]) -> Iterator[Finding]:
    if settings.storage == "filesystem":
        idle = [name for name in environ if name.startswith(f"{PREFIX}S3_")]
        if idle:
            says = f"{', '.join(sorted(idle))}: set, but not used: bytes go to the folder {settings.data_dir}/blobs."
            yield warning("settings", says, f"{PREFIX}STORAGE=s3, or unset what is not used")
    if settings.quarantine <= settings.descriptor_ttl:
        says = "QUARANTINE is no longer than DESCRIPTOR_TTL: bytes may go while they are still served."
        yield fault("settings", says, f"{PREFIX}QUARANTINE=24h")
    if settings.descriptor_ttl > _LONG_TTL:
        says = f"DESCRIPTOR_TTL is {settings.descriptor_ttl}: a hold, or the end of a permission, takes effect so late."
        yield warning("settings", says, f"{PREFIX}DESCRIPTOR_TTL=1s")
    if "*" in settings.cors_origins and len(settings.cors_origins) > 1:
        yield warning(
            "settings", "CORS_ORIGINS names origins beside *, which is all of them.", f"{PREFIX}CORS_ORIGINS=*"
        )
    if settings.read_only:
        yield warning(
            "settings", "READ_ONLY is set: every write is refused.", f"unset {PREFIX}READ_ONLY when it is over"
        )


def _signing(settings: Settings) -> Iterator[Finding]:
    keys = settings.signing_keys
    if not keys:
        says = "No signing key: `serve` answers 503 signing-disabled where an address is to be signed."
        yield warning("signing", says, f'export {PREFIX}SIGNING_KEYS="2026:$(openssl rand -base64 32)"')
        return
    twice = [name for name, count in Counter(key.id for key in keys).items() if count > 1]
    weak = [key.id for key in keys if len(set(key.secret)) < _MIN_DISTINCT]
    if twice:
        yield fault(
            "signing", f"Two keys have the id {twice[0]}: only one of them is ever found.", "Give each its own id."
        )
    if weak:
        yield fault("signing", f"The secret of {weak[0]} is not random.", 'echo "2026:$(openssl rand -base64 32)"')
    if not (twice or weak):
        yield ok("signing", f"{len(keys)} keys; {keys[0].id} signs.")


def _addresses(settings: Settings) -> Iterator[Finding]:
    found = [*_proxies(settings), *([] if settings.public_url is None else _public(settings, settings.public_url))]
    yield from found or [ok("address", settings.public_url or "Links are relative; no proxy is believed.")]


def _proxies(settings: Settings) -> Iterator[Finding]:
    if any(network.prefixlen == 0 for network in settings.trusted_proxies):
        says = "TRUSTED_PROXIES takes in everybody: any client may claim any address, host and scheme."
        yield warning("address", says, f"{PREFIX}TRUSTED_PROXIES=<the network of your proxies>")
    if settings.public_url and settings.public_url.startswith("https:") and not settings.trusted_proxies:
        says = "PUBLIC_URL is https, so a proxy ends TLS, but none is believed: logs show its address for every client."
        yield warning("address", says, f"{PREFIX}TRUSTED_PROXIES=<the network of your proxies>")


def _public(settings: Settings, url: str) -> Iterator[Finding]:
    parts = urlsplit(url)
    if parts.query or parts.fragment or parts.username is not None:
        says = "PUBLIC_URL has a query, a fragment or a user: links are made by adding a path to it."
        yield fault("address", says, f"{PREFIX}PUBLIC_URL={parts.scheme}://{parts.hostname}")
    if _is_loopback(parts.hostname or "") and not _is_loopback(settings.host):
        says = f"PUBLIC_URL is {parts.hostname}, which leads nowhere on other machines."
        yield warning("address", says, f"{PREFIX}PUBLIC_URL=<where the world reaches the service>")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
