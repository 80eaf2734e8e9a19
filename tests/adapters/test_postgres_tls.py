"""Trouble with the TLS of a database's address is told as that, by the doctor, at the start and to callers."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.adapters.test_doctor import named
from tests.parts.picture_host import certificate
from tests.parts.service import refkeep_here

NOBODY = "postgresql://refkeep:hunter2@127.0.0.1:1/refkeep"
REMEDY = "Correct sslmode, sslrootcert, sslcert and sslkey"


@contextlib.contextmanager
def server(says: bytes, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """An address where whoever asks for TLS is told this; with `tls` the connection has it from then on."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    wire, _ = listener.accept()
                    with wire, contextlib.suppress(OSError):
                        wire.recv(8)
                        wire.sendall(says)
                        if tls is not None:
                            tls.wrap_socket(wire, server_side=True).close()

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        yield f"postgresql://refkeep:hunter2@localhost:{listener.getsockname()[1]}/refkeep"
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(5)


def told(says: str, dsn: str, tmp_path: Path) -> None:
    """Assert that the doctor says so, and a command that needs the database, and that neither shows the password."""
    named("database", says, REMEDY, "database", DATABASE_URL=dsn)
    done = refkeep_here("migrate", DATABASE_URL=dsn, DATA_DIR=tmp_path)
    assert says in done.complaint()
    assert "hunter2" not in done.stderr


@pytest.mark.parametrize("mode", ["require", "verify-ca", "verify-full"])
def test_a_certificate_that_is_not_there_is_named(tmp_path: Path, mode: str) -> None:
    dsn = f"{NOBODY}?sslmode={mode}&sslrootcert={tmp_path}/none.crt"
    told(f"sslrootcert of the database's address is {tmp_path}/none.crt: No such file or directory.", dsn, tmp_path)


def test_a_file_that_is_no_certificate_or_does_not_fit_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.crt").write_text("no certificate")
    dsn = f"{NOBODY}?sslmode=verify-full&sslrootcert={tmp_path}/a.crt"
    told("which holds none in PEM", dsn, tmp_path)
    dsn = f"{NOBODY}?sslmode=require&sslcert={tmp_path}/a.crt&sslkey={tmp_path}/a.crt"
    told("sslcert and sslkey of the database's address do not fit", dsn, tmp_path)


def test_files_that_are_not_used_are_not_blamed(tmp_path: Path) -> None:
    named(
        "database",
        "Nobody listens",
        "Start PostgreSQL",
        "database",
        DATABASE_URL=f"{NOBODY}?sslmode=disable&sslrootcert={tmp_path}/none.crt",
    )


def test_a_certificate_that_nobody_vouches_for_is_named(tmp_path: Path) -> None:
    theirs, _ = certificate(tmp_path, "localhost")
    (tmp_path / "other").mkdir()
    certificate(tmp_path / "other", "localhost")
    with server(b"S", theirs) as dsn:
        asked = f"{dsn}?sslmode=verify-full&sslrootcert={tmp_path}/other/host.pem"
        told("The database's certificate is not trusted: ", asked, tmp_path)


def test_a_server_without_tls_is_named(tmp_path: Path) -> None:
    with server(b"N") as dsn:
        told("The database speaks no TLS", f"{dsn}?sslmode=require", tmp_path)
