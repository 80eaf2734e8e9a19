"""What nobody well-behaved sends: names, bytes, and the statuses that may come of them, nothing else before the close.

`EVIL` stands where a front end that reads the request otherwise would see a body: an answer to it, where the first
answer did not end it honestly, would be a smuggled one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

HOST = b"Host: refkeep"
EVIL = b"GET /smuggled HTTP/1.1\r\nHost: refkeep\r\n\r\n"
FINE = b"GET /livez HTTP/1.1\r\nHost: refkeep\r\n\r\n"
_TE = b"Transfer-Encoding: chunked"
_END = b"0\r\n\r\n"


@dataclass(frozen=True)
class Case:
    """One connection: what is sent, and the answers that may come, each list one possibility; none is a clean close."""

    name: str
    sent: bytes
    may: tuple[list[int], ...]
    pieces: list[bytes] = field(default_factory=list)
    pause: float = 0
    end: bool = False


def get(*lines: bytes, target: bytes = b"/livez", start: bytes | None = None) -> bytes:
    """A GET, or another start line, with a Host and these lines."""
    return b"\r\n".join((start or b"GET " + target + b" HTTP/1.1", HOST, *lines)) + b"\r\n\r\n"


def post(token: str, *lines: bytes, body: bytes = b"") -> bytes:
    """An upload with a key that may."""
    key = b"Authorization: Bearer " + token.encode()
    return b"\r\n".join((b"POST /blobs HTTP/1.1", HOST, key, *lines)) + b"\r\n\r\n" + body


def smuggling(token: str) -> Iterator[Case]:
    """Two readings of where a body ends."""

    def upload(name: str, *lines: bytes, body: bytes, may: tuple[list[int], ...] = ([400],)) -> Case:
        return Case(name, post(token, *lines, body=body), may)

    length = b"Content-Length: %d" % len(EVIL)
    one = ([200], [201], [400])  # chunked wins and the connection ends (RFC 9112 §6.1), or it is refused
    yield upload("length, then chunked", b"Content-Length: 5", _TE, body=_END + EVIL, may=one)
    yield upload("chunked, then length", _TE, length, body=_END + EVIL, may=one)
    yield upload("length inside of chunked", b"Content-Length: 4", _TE, body=b"5\r\nabcde\r\n" + _END + EVIL, may=one)
    yield Case("chunked GET with a length", get(b"Content-Length: 5", _TE) + _END + EVIL, ([200], [400]))
    yield upload("two lengths", b"Content-Length: 0", length, body=EVIL)
    yield upload("two lengths, the longer first", length, b"Content-Length: 0", body=EVIL)
    for value in (b"3, 3", b"3,4", b"+3", b"-3", b"0x3", b"3 3", b"", b"3a", b"3.0", b"9" * 26, b"\xb2"):
        yield upload(f"length {value!r}", b"Content-Length: " + value, body=b"abc" + EVIL)
    for value in (
        b"xchunked", b"chunked, identity", b"identity, chunked", b"gzip, chunked", b"chunked, chunked", b"identity",
        b'"chunked"', b"\x0bchunked", b"chunked\x00", b"chunked;q=1", b"",
    ):  # fmt: skip
        yield upload(f"coding {value!r}", b"Transfer-Encoding: " + value, body=_END + EVIL)
    yield upload("chunked twice", _TE, _TE, body=_END + EVIL)
    yield upload("chunked, then identity", _TE, b"Transfer-Encoding: identity", body=_END + EVIL)
    yield upload("coding before a space", b"Transfer-Encoding : chunked", body=_END + EVIL)
    yield upload("coding on a folded line", b"Transfer-Encoding:", b" chunked", body=_END + EVIL)
    yield upload("coding behind a line feed", b"X-A: b\nTransfer-Encoding : chunked", body=_END + EVIL)
    old = post(token, _TE, b"Connection: keep-alive", body=_END + EVIL).replace(b"HTTP/1.1", b"HTTP/1.0", 1)
    yield Case("chunked in HTTP/1.0", old, ([400],))


def chunks(token: str) -> Iterator[Case]:
    """Chunks whose size, extension or end is not as it should be."""
    for size in (b"-1", b"0x3", b"", b"g", b"f" * 18, b"10000000000000003", b"3;a\nb", b"3\r", b"3\n", b"+3", b"3_0"):
        body = size + b"\r\nabc\r\n" + _END + EVIL
        yield Case(f"chunk of size {size!r}", post(token, _TE, body=body), ([400],))
    for name, body in {
        "lines end with a line feed": b"3\nabc\n0\n\n",
        "more than its size": b"3\r\nabcdef\r\n" + _END,
        "no end of line": b"3\r\nabc0\r\n\r\n",
        "an extension of 100 kB": b"3;" + b"a" * 100_000 + b"\r\nabc\r\n" + _END,
        "5000 trailers": b"3\r\nabc\r\n0\r\n" + b"X-A: b\r\n" * 5000 + b"\r\n",
        "a trailer that is none": b"3\r\nabc\r\n0\r\nnonsense\r\n\r\n",
    }.items():
        yield Case(f"chunk with {name}", post(token, _TE, body=body + EVIL), ([400],))
    for name, body in {
        "an extension": b"3;a=b\r\nabc\r\n0;x\r\n\r\n",
        "a trailer": b"3\r\nabc\r\n0\r\nX-A: b\r\n\r\n",
        "trailers of framing and keys": b"3\r\nabc\r\n0\r\nContent-Length: 50\r\nAuthorization: x\r\n\r\n",
        "zeros before its size": b"0003\r\nabc\r\n" + _END,
    }.items():
        yield Case(f"chunk with {name}", post(token, _TE, body=body) + FINE, ([200, 200], [201, 200]))


def lines() -> Iterator[Case]:
    """Heads that break the grammar of RFC 9112."""
    for name, head in {
        "folded line": get(b"X-A: b", b" c"),
        "folded first line": b"GET /livez HTTP/1.1\r\n Host: refkeep\r\n\r\n",
        "space before a colon": get(b"X-A : b"),
        "space before the colon of Host": b"GET /livez HTTP/1.1\r\nHost : refkeep\r\n\r\n",
        "carriage return alone": b"GET /livez HTTP/1.1\r\nHost: refkeep\rX-A: b\r\n\r\n",
        "carriage returns for ends": b"GET /livez HTTP/1.1\rHost: refkeep\r\r",
        "line without a colon": get(b"nonsense"),
        "empty name": get(b": x"),
        "NUL in a value": get(b"X-A: a\0b"),
        "NUL in a name": get(b"X-\0: a"),
        "control character in a value": get(b"X-A: a\x01b"),
        "8 bits in a name": get(b"X-\xe9: a"),
        "NUL in the path": get(target=b"/blobs/\0"),
        "8 bits in the path": get(target=b"/blobs/\xff\xfe"),
        "space in the path": get(target=b"/li vez"),
        "quotes in the path": get(target=b'/blobs/"<>'),
        "method with a sign": get(start=b"G@T /livez HTTP/1.1"),
        "no method": get(start=b" /livez HTTP/1.1"),
        "no version": b"GET /livez\r\n\r\n",
        "HTTP/0.9": b"GET /livez\r\n",
        "HTTP/1.2": get(start=b"GET /livez HTTP/1.2"),
        "HTTP/2.0": get(start=b"GET /livez HTTP/2.0"),
        "version in small letters": get(start=b"GET /livez http/1.1"),
        "two spaces": get(start=b"GET  /livez HTTP/1.1"),
        "tabs": get(start=b"GET\t/livez\tHTTP/1.1"),
        "NULs first": b"\0\0\0\0" + FINE,
        "a TLS hello": bytes.fromhex("16030100a5010000a10303") + bytes(100),
    }.items():
        yield Case(name, head + EVIL, ([400],))
    for name, head in {
        "line feeds for ends": b"GET /livez HTTP/1.1\nHost: refkeep\n\n",  # RFC 9112 §2.2 lets them pass
        "one line feed": b"GET /livez HTTP/1.1\r\nHost: refkeep\nX-A: b\r\n\r\n",
        "empty lines first": b"\r\n\r\n" + FINE,
        "8 bits in a value": get(b"X-A: \xff\xfe\xc3\xa9"),
    }.items():
        yield Case(name, head, ([200], [400]))
    yield Case("HTTP/2 with prior knowledge", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0", ([], [400]))
    yield Case("half a head", b"GET /livez HTTP/1.1\r\nHo", ([],), end=True)
    yield Case("nothing at all", b"", ([],))


def floods() -> Iterator[Case]:
    """Heads that are too long, too many, or too slow."""
    refused, taken = ([431],), ([200], [431])
    yield Case("99 headers", get(*(b"X-%d: a" % number for number in range(98))), ([200],))
    for count in (200, 20_000):
        yield Case(f"{count} headers", get(*(b"X-%d: a" % number for number in range(count))), refused)
    yield Case("a value of 60 kB", get(b"X-A: " + b"a" * 60_000), taken)
    yield Case("a value of 1 MB", get(b"X-A: " + b"a" * 1_000_000), refused)
    yield Case("a name of 70 kB", get(b"X" * 70_000 + b": a"), refused)
    yield Case("a path of 60 kB", get(target=b"/" + b"a" * 60_000), ([404], [414], [431]))
    yield Case("a path of 1 MB", get(target=b"/" + b"a" * 1_000_000), ([414], [431]))
    yield Case("a method of 5 kB", get(start=b"G" * 5000 + b" /livez HTTP/1.1"), ([400], [405]))
    drops = [bytes([byte]) for byte in get(*[b"X-A: b"] * 20)]
    yield Case("a head that drips", b"", ([], [408]), pieces=drops, pause=0.1)


def routing(blob: bytes) -> Iterator[Case]:
    """Targets, hosts, versions and expectations of every form."""
    odd = [
        b"/blobs/%00",
        b"/blobs/..%2f..%2fetc%2fpasswd",
        b"/blobs/%c0%ae%c0%ae/%c0%af",
        b"/blobs/%zz",
        b"/media/%00/file",
    ]
    odd += ["/blobs/é".encode(), b"/blobs\\..\\x", b"/livez;a", b"/blobs/%ed%a0%80", b"/%2e%2e/%2e%2e/etc/passwd", b"*"]
    for target in odd:
        yield Case(f"target {target!r}", get(target=target), ([404], [400]))
    for target in (b"http://refkeep/../etc/passwd", b"http://refkeep//livez", b"refkeep:443"):
        yield Case(f"target {target!r}", get(target=target), ([404], [400]))
    for name, target in {
        "an absolute target": b"http://refkeep/livez",
        "an absolute target of delivery": b"http://refkeep" + blob,
        "a query of odd escapes": blob + b"?a=%ff%00",
        "a fragment": b"/livez#x",
    }.items():
        yield Case(name, get(target=target), ([200], [400]))
    yield Case("CONNECT", get(start=b"CONNECT refkeep:443 HTTP/1.1"), ([400], [404], [405], [501]))
    yield Case("OPTIONS *", get(start=b"OPTIONS * HTTP/1.1"), ([204], [404]))
    yield Case("TRACE", get(start=b"TRACE /livez HTTP/1.1"), ([405],))
    for target in (b"/livez", blob):
        for name, host in {
            "no Host": b"", "an empty Host": b"Host:\r\n", "two Hosts": b"Host: a\r\nHost: b\r\n",
            "a list of Hosts": b"Host: a, b\r\n", "a Host with a path": b"Host: a/c?d\r\n",
            "8 bits in Host": b"Host: \xff\r\n",
        }.items():  # fmt: skip
            yield Case(f"{name} at {target[:7]!r}", b"GET " + target + b" HTTP/1.1\r\n" + host + b"\r\n", ([400],))
        old = b"GET " + target + b" HTTP/1.0\r\n"
        yield Case(f"HTTP/1.0 at {target[:7]!r}", old + b"\r\n" + EVIL, ([200],))
        kept = old + HOST + b"\r\nConnection: keep-alive\r\n\r\n"
        yield Case(f"HTTP/1.0 that stays at {target[:7]!r}", kept + FINE, ([200, 200], [200]))
        for tokens in (b"close", b"keep-alive, close", b"Host, Content-Length, Authorization, close"):
            yield Case(
                f"Connection: {tokens!r} at {target[:7]!r}",
                get(b"Connection: " + tokens, target=target) + EVIL,
                ([200],),
            )
        yield Case(f"unknown Expect at {target[:7]!r}", get(b"Expect: nonsense", target=target), ([200], [417]))
        h2c = [b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"]
        yield Case(f"h2c at {target[:7]!r}", get(*h2c, target=target), ([200],))
        socket = [
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: YQ==",
        ]
        yield Case(f"websocket at {target[:7]!r}", get(*socket, target=target), ([200],))
    fields = ("If-None-Match", "Range", "If-Range", "X-Request-ID", "traceparent", "Origin", "User-Agent", "If-Match")
    for field_name in fields:
        line = field_name.encode() + b': "\xff\xc3\xa9"'
        told = 412 if field_name == "If-Match" else 200
        yield Case(f"8 bits in {field_name}", get(line, target=blob), ([told],))
    yield Case("8 bits in Authorization", get(b"Authorization: Bearer \xff", target=blob), ([401],))


def pipelines(token: str, blob: bytes) -> Iterator[Case]:
    """Several requests on one connection, or one and what is none."""
    stored = ([200, 200], [201, 200])
    yield Case("three requests", FINE + get(target=blob) + get(target=b"/nothing"), ([200, 200, 404],))
    yield Case("a request and garbage", FINE + b"\0garbage\r\n\r\n" + EVIL, ([200, 400],))
    yield Case("an upload and a request", post(token, b"Content-Length: 3", body=b"abc") + FINE, stored)
    for target in (b"/livez", blob):
        name = f"at {target[:7]!r}"
        yield Case(
            f"a GET with a body {name}", get(b"Content-Length: 3", target=target) + b"abc" + FINE, ([200, 200], [200])
        )
        chunked = get(_TE, target=target) + b"3\r\nabc\r\n" + _END
        yield Case(f"a GET with chunks {name}", chunked + FINE, ([200, 200], [200]))
        yield Case(
            f"a GET with half its body {name}", get(b"Content-Length: 100000000", target=target) + EVIL, ([200],)
        )
    yield Case(
        "a 404 whose body is a request", get(b"Content-Length: %d" % len(EVIL), target=b"/nothing") + EVIL, ([404],)
    )
    yield Case("a 401 whose body is a request", post("none", b"Content-Length: %d" % len(EVIL), body=EVIL), ([401],))
    yield Case("a request of one that half-closes", FINE, ([200], []), end=True)
    yield Case("an upload cut short", post(token, b"Content-Length: 100", body=EVIL), ([], [400]), end=True)
    drops = [post(token, b"Content-Length: 60"), *[b"a"] * 60]
    yield Case("a body that drips, but comes", b"", ([200], [201]), pieces=drops, pause=0.05)


def corpus(token: str, blob: bytes) -> list[Case]:
    """All of it, for a service where `token` may write and `blob` is the path of a public blob."""
    return [*smuggling(token), *chunks(token), *lines(), *floods(), *routing(blob), *pipelines(token, blob)]
