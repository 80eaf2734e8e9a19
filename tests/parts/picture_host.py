"""A host on the Internet, as far as an import can tell: pictures, redirects, and whatever else hosts do."""

from __future__ import annotations

import asyncio
import datetime as dt
import ssl
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from aiohttp import web
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tests.parts.manifests import picture


def only_loopback(address: str) -> bool:
    """What stands for the public Internet in these tests: one address of this machine."""
    return address == "127.0.0.1"


@dataclass
class PictureHost:
    """`asked` counts requests by path; `answers` has what a path answers; all others are pictures named by it."""

    port: int = 0
    asked: Counter[str] = field(default_factory=Counter)
    answers: dict[str, list[web.StreamResponse]] = field(default_factory=dict)
    headers: list[dict[str, str]] = field(default_factory=list)
    hang: asyncio.Event = field(default_factory=asyncio.Event)

    def url(self, path: str, scheme: str = "http") -> str:
        """An address of this host."""
        return f"{scheme}://localhost:{self.port}{path}"

    def bytes_of(self, path: str) -> bytes:
        """What is there."""
        return picture(path)

    def redirect(self, path: str, location: str, status: int = 302) -> None:
        """Have a path lead elsewhere, once."""
        self.answers.setdefault(path, []).append(web.Response(status=status, headers={"location": location}))

    async def serve(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer."""
        self.asked[request.path] += 1
        self.headers.append(dict(request.headers))
        if waiting := self.answers.get(request.path):
            return waiting.pop(0)
        if request.path == "/silent":
            await self.hang.wait()
        if request.path in {"/cut", "/dripping"}:
            return await self._broken(request)
        return web.Response(body=self.bytes_of(request.path), content_type="image/png")

    async def _broken(self, request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-length": "1000"})
        await response.prepare(request)
        await response.write(b"x" * 10)
        if request.path == "/dripping":
            await self.hang.wait()
        assert request.transport is not None
        request.transport.close()
        return response


@asynccontextmanager
async def running_host(tls: ssl.SSLContext | None = None) -> AsyncIterator[PictureHost]:
    """A host on a port of its own."""
    host = PictureHost()
    server = web.Server(host.serve)
    runner = web.ServerRunner(server, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    host.port = runner.addresses[0][1]
    try:
        yield host
    finally:
        host.hang.set()
        await runner.cleanup()


def certificate(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """What a server shows that calls itself `name`, and what a client believes that trusts the one who signed it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = dt.datetime.now(dt.UTC)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = signed.public_bytes(serialization.Encoding.PEM)
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "host.pem").write_bytes(pem + secret)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "host.pem")
    return server, ssl.create_default_context(cadata=pem.decode())
