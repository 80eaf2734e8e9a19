"""Trouble with TLS on the way to a database, which drivers tell as if nobody answered."""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

_VARIABLES = {"sslmode": "PGSSLMODE", "sslrootcert": "PGSSLROOTCERT", "sslcrl": "PGSSLCRL"}
_VARIABLES |= {"sslcert": "PGSSLCERT", "sslkey": "PGSSLKEY"}
_UNENCRYPTED, _UNVERIFIED = {"disable"}, {"disable", "allow", "prefer"}


def tls_fault(error: BaseException, dsn: str | None) -> str | None:
    """What is wrong, as a sentence, if `error` has to do with the TLS that the address `dsn` asks for."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"The database's certificate is not trusted: {error.verify_message.rstrip('.')}."
    if fault := None if dsn is None else _fault_of_files(_asked(dsn)):
        return fault
    if isinstance(error, ssl.SSLError):
        return f"TLS with the database fails: {error.reason or 'the connection was broken off'}."
    if type(error) is ConnectionError and "SSL" in str(error):  # the driver's own word has nothing else to match
        return "The database speaks no TLS, and its address asks for it (sslmode)."
    return None


def _asked(dsn: str) -> Mapping[str, str]:
    """The parameters of TLS, from the address or from the usual variables."""
    usual = {name: os.environ[variable] for name, variable in _VARIABLES.items() if os.environ.get(variable)}
    return {"sslmode": "prefer"} | usual | dict(parse_qsl(urlsplit(dsn).query))


def _fault_of_files(asked: Mapping[str, str]) -> str | None:
    verifying = () if asked["sslmode"] in _UNVERIFIED else ("sslrootcert", "sslcrl")
    showing = () if asked["sslmode"] in _UNENCRYPTED or "sslcert" not in asked else ("sslcert", "sslkey")
    for name in (*verifying, *showing):
        if name in asked and (fault := _fault_of_file(name, Path(asked[name]))):
            return fault
    return _fault_of_pair(asked) if showing else None


def _fault_of_file(name: str, path: Path) -> str | None:
    try:
        path.read_bytes()
        if name in {"sslrootcert", "sslcrl"}:
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cafile=path)
    except ssl.SSLError:
        return f"{name} of the database's address is {path}, which holds none in PEM."
    except OSError as error:
        return f"{name} of the database's address is {path}: {error.strerror}."
    return None


def _fault_of_pair(asked: Mapping[str, str]) -> str | None:
    password = asked.get("sslpassword", "")
    try:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_cert_chain(asked["sslcert"], asked.get("sslkey"), password=lambda: password)
    except ssl.SSLError:
        return "sslcert and sslkey of the database's address do not fit, are no PEM, or need another sslpassword."
    return None
