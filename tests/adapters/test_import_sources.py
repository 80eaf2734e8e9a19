"""Where the bytes of an import come from: files within their root, data: URLs, hosts that are allowed and public."""

from __future__ import annotations

import asyncio
import os
import socket
from base64 import b64encode
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from yarl import URL

from service.adapters.sources.any_source import AnySource
from service.adapters.sources.data_urls import decode_data_url
from service.adapters.sources.files import FileSource
from service.adapters.sources.hosts import checked_url, parse_allowed_host
from service.adapters.sources.web import WebSource
from service.domain.addresses import is_public
from service.domain.importing import Location, SourceKind
from service.ports.sources import SourceFailed, SourceRefused
from tests.parts.picture_host import PictureHost, certificate, only_loopback, running_host

pytestmark = pytest.mark.anyio


@pytest.fixture
async def host() -> AsyncIterator[PictureHost]:
    async with running_host() as running:
        yield running


@pytest.fixture
async def web_of(host: PictureHost) -> AsyncIterator[Callable[..., WebSource]]:
    made: list[WebSource] = []

    def make(*hosts: str, **options: Any) -> WebSource:
        named = hosts or (f"localhost:{host.port}",)
        given_ = {"reachable": only_loopback, **options}
        made.append(WebSource(tuple(parse_allowed_host(text) for text in named), **given_))
        return made[-1]

    yield make
    for each in made:
        await each.aclose()


async def fetch(source: WebSource | FileSource, text: str) -> bytes:
    async with source.open(text) as opened:
        content = b"".join([block async for block in opened.chunks])
        assert opened.declared in {None, len(content)}
        return content


async def refusal(source: WebSource | FileSource, text: str) -> str:
    with pytest.raises(SourceRefused) as refused:
        await fetch(source, text)
    return str(refused.value)


async def failure(source: WebSource | FileSource, text: str) -> SourceFailed:
    with pytest.raises(SourceFailed) as failed:
        await fetch(source, text)
    assert not isinstance(failed.value, SourceRefused)
    return failed.value


# --- files ---


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A root with what may be opened, and beside it what may not."""
    (tmp_path / "root/inner").mkdir(parents=True)
    for name in ("root/a.png", "root/inner/b.png", "secret.png"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "root/good").symlink_to("inner/b.png")
    (tmp_path / "root/folder").symlink_to("inner")
    (tmp_path / "root/out").symlink_to(tmp_path / "secret.png")
    (tmp_path / "root/up").symlink_to("..")
    (tmp_path / "root/loop").symlink_to("loop")
    os.mkfifo(tmp_path / "root/pipe")
    return tmp_path


@pytest.mark.parametrize("name", ["a.png", "inner/b.png", "inner/../a.png", "good", "folder/b.png"])
async def test_files_within_the_root_are_opened_whatever_the_way(tree: Path, name: str) -> None:
    root = tree / "root"
    assert (
        await fetch(FileSource(root, root), name) == b"root/" + str((root / name).resolve().relative_to(root)).encode()
    )
    assert await fetch(FileSource(root, root), str(root / "a.png")) == b"root/a.png"


@pytest.mark.parametrize(
    "name", ["../secret.png", "out", "up/secret.png", "folder/../../secret.png", "/etc/passwd", "up"]
)
async def test_nothing_outside_of_the_root_is_opened_whatever_leads_there(tree: Path, name: str) -> None:
    assert await refusal(FileSource(tree / "root", tree / "root"), name) == "The path leads out of the root."


@pytest.mark.parametrize("name", ["pipe", "inner", ".", "/dev/zero"])
async def test_only_regular_files_are_read_and_nobody_waits_for_a_pipe(tree: Path, name: str) -> None:
    assert await refusal(FileSource(tree / "root"), name) == "This is no regular file."
    if name != "/dev/zero":
        assert await refusal(FileSource(tree / "root", tree / "root"), name) == "This is no regular file."


@pytest.mark.parametrize("name", ["nosuch.png", "loop", "a.png/b", "x" * 300, "inner/nosuch/c.png"])
async def test_what_cannot_be_opened_is_told(tree: Path, name: str) -> None:
    root = tree / "root"
    for source in (FileSource(root), FileSource(root, root)):
        error = await failure(source, name)
        assert not error.may_pass
        assert str(root) not in str(error)


async def test_without_a_root_paths_begin_beside_the_manifest(tree: Path) -> None:
    assert await fetch(FileSource(tree / "root"), "../secret.png") == b"secret.png"
    large = os.urandom(3 * 2**20 + 5)
    (tree / "large").write_bytes(large)
    assert await fetch(FileSource(tree), "large") == large


# --- data: URLs ---


@given(st.binary(max_size=200))
def test_data_urls_give_back_what_was_put_in(content: bytes) -> None:
    encoded = b64encode(content).decode()
    assert decode_data_url(f"data:image/png;base64,{encoded}") == content
    assert decode_data_url(f"DATA:;BASE64,{quote(encoded)}".replace(";BASE64", ";base64")) == content
    assert decode_data_url(f"data:;base64,{encoded.rstrip('=')}") == content
    assert decode_data_url(f"data:,{quote(content)}") == content


@pytest.mark.parametrize(
    "text", ["data:abc", "data:;base64,a b", "data:;base64,a", "data:,%", "data:,%zz", "data:,ü", "x"]
)
def test_broken_data_urls_are_refused(text: str) -> None:
    with pytest.raises(SourceFailed):
        decode_data_url(text)


@given(st.text(max_size=60))
def test_a_data_url_is_bytes_or_a_sentence(text: str) -> None:
    for form in (f"data:{text}", f"data:,{text}", f"data:;base64,{text}"):
        try:
            assert isinstance(decode_data_url(form), bytes)
        except SourceFailed as error:
            assert str(error).endswith(".")


# --- which hosts ---


@pytest.mark.parametrize(
    "text", ["", "*", "*.*", "http://a", "a b", "a:0", "a:70000", "a/b", "-a", "a@b", "[::1]", "a:x"]
)
def test_what_is_no_host_is_not_allowed(text: str) -> None:
    with pytest.raises(ValueError):
        parse_allowed_host(text)


@pytest.mark.parametrize(
    ("allowed", "url", "may"),
    [
        ("example.org", "https://example.org/a", True),
        ("example.org", "http://EXAMPLE.org./a", True),
        ("Example.ORG.", "https://example.org:443/a", True),
        ("example.org", "https://a.example.org/", False),
        ("example.org", "https://badexample.org/", False),
        ("example.org", "https://example.org.evil.net/", False),
        ("example.org", "https://example.org:8443/", False),
        ("example.org", "http://example.org:443/", False),
        ("example.org:8443", "https://example.org:8443/", True),
        ("example.org:8443", "https://example.org/", False),
        ("*.example.org", "https://a.b.example.org/", True),
        ("*.example.org", "https://example.org/", False),
        ("*.example.org", "https://badexample.org/", False),
        ("xn--mnchen-3ya.de", "https://münchen.de/", True),
        ("10.0.0.1", "http://10.0.0.1/", True),
        ("example.org", "https://[::1]/", False),
        ("example.org", "https://example.org@evil.net/", False),
        ("example.org", "https://evil.net#@example.org/", False),
        ("example.org", "https://evil.net\\@example.org/", False),
        ("example.org", "https://user:pw@example.org/", False),
        ("example.org", "https:///a", False),
        ("example.org", "ftp://example.org/", False),
        ("example.org", "file:///etc/passwd", False),
        ("example.org", "https://example.org:99999/", False),
    ],
)
def test_a_host_is_allowed_by_its_whole_name_and_port(allowed: str, url: str, may: bool) -> None:
    try:
        checked = checked_url(url, (parse_allowed_host(allowed),))
    except SourceFailed:
        assert not may
    else:
        assert may
        assert checked.fragment == ""


# --- the Internet ---


async def test_bytes_come_as_they_are_with_no_cookie_and_nothing_compressed(
    host: PictureHost, web_of: Callable[..., WebSource]
) -> None:
    source = web_of()
    for path in ("/a.png", "/b.png"):
        assert await fetch(source, f"{host.url(path)}#fragment") == host.bytes_of(path)
    assert {headers["Accept-Encoding"] for headers in host.headers} == {"identity"}
    host.answers["/z"] = [web.Response(body=b"x", headers={"content-encoding": "gzip", "set-cookie": "a=b"})]
    assert "compressed" in str(await failure(source, host.url("/z")))
    await fetch(source, host.url("/a.png"))
    assert not any("Cookie" in headers for headers in host.headers)


async def test_a_host_on_a_private_address_is_not_connected_to(
    host: PictureHost, web_of: Callable[..., WebSource]
) -> None:
    """As every command builds it: without the setting that these tests have."""
    for name in ("localhost", "127.0.0.1"):
        source = web_of(f"{name}:{host.port}", reachable=is_public)
        told = await refusal(source, f"http://{name}:{host.port}/a.png")
        assert told == "The host has an address that is not of the public Internet."
    assert WebSource().reachable is is_public
    assert not host.asked


@pytest.mark.parametrize("name", ["0", "127.1", "2130706433", "0x7f.1", "0177.0.0.1"])
async def test_other_spellings_of_an_address_lead_nowhere(
    host: PictureHost, web_of: Callable[..., WebSource], name: str
) -> None:
    with pytest.raises(SourceFailed):
        await fetch(web_of(f"{name}:{host.port}", reachable=is_public), f"http://{name}:{host.port}/a.png")
    assert not host.asked


async def test_the_address_that_was_judged_is_the_one_that_is_connected_to(
    host: PictureHost, web_of: Callable[..., WebSource], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name server that says another address each time it is asked gets nothing by it."""
    answers, judged = iter(["127.0.0.1", "127.0.0.2", "::ffff:127.0.0.2"]), []

    async def resolve(name: str, port: int, **_: object) -> list[Any]:
        address = next(answers)
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return [(family, socket.SOCK_STREAM, 6, "", (address, port, 0, 0) if ":" in address else (address, port))]

    def reachable(address: str) -> bool:
        judged.append(address)
        return only_loopback(address)

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    host.answers["/a.png"] = [web.Response(body=b"one", headers={"connection": "close"})]
    source = web_of("rebinding.example:" + str(host.port), reachable=reachable)
    url = f"http://rebinding.example:{host.port}/a.png"
    assert await fetch(source, url) == b"one"
    assert judged == ["127.0.0.1"]
    for _ in range(2):
        await refusal(source, url)
    assert judged == ["127.0.0.1", "127.0.0.2", "::ffff:127.0.0.2"]
    assert host.asked["/a.png"] == 1


async def test_redirects_are_followed_as_far_as_each_may_be_fetched_itself(
    host: PictureHost, web_of: Callable[..., WebSource]
) -> None:
    source = web_of()
    host.redirect("/old", "/new.png", 301)
    host.redirect("/old", host.url("/new.png"), 308)
    for _ in range(2):
        assert await fetch(source, host.url("/old")) == host.bytes_of("/new.png")
    for location in (
        "http://evil.example/",
        f"http://127.0.0.1:{host.port}/a",
        "file:///etc/passwd",
        "//user@localhost/",
    ):
        host.redirect("/old", location)
        assert (await refusal(source, host.url("/old"))).startswith("Redirected: ")
    assert "/a" not in host.asked
    for location in ("", "http://["):
        host.redirect("/old", location)
        await failure(source, host.url("/old"))


async def test_redirects_without_an_end_are_given_up(host: PictureHost, web_of: Callable[..., WebSource]) -> None:
    for _ in range(20):
        host.redirect("/round", "/round")
    assert str(await failure(web_of(), host.url("/round"))) == "More than 5 redirects."
    assert host.asked["/round"] == 6


@pytest.mark.parametrize(
    ("status", "may_pass"), [(404, False), (403, False), (204, False), (206, False), (429, True), (503, True)]
)
async def test_only_200_has_the_bytes(
    host: PictureHost, web_of: Callable[..., WebSource], status: int, may_pass: bool
) -> None:
    host.answers["/a"] = [web.Response(status=status)]
    error = await failure(web_of(), host.url("/a"))
    assert (str(error), error.may_pass) == (f"The host answers {status}.", may_pass)


async def test_bodies_that_end_too_early_or_never_are_no_bytes(
    host: PictureHost, web_of: Callable[..., WebSource]
) -> None:
    source = web_of(silent_seconds=0.3)
    for path in ("/cut", "/dripping", "/silent"):
        error = await failure(source, host.url(path))
        assert error.may_pass, path
    patient = web_of(total_seconds=0.4)
    assert (await failure(patient, host.url("/dripping"))).may_pass


async def test_nobody_there_is_told_without_the_address(web_of: Callable[..., WebSource]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
    error = await failure(web_of(f"localhost:{port}"), f"http://localhost:{port}/a?signature=secret")
    assert error.may_pass
    assert "secret" not in str(error)
    unknown = await failure(web_of("nosuch.invalid"), "http://nosuch.invalid/")
    assert unknown.may_pass


async def test_tls_verifies_the_name_of_the_host_and_goes_down_to_http_for_nobody(
    tmp_path: Path, web_of: Callable[..., WebSource]
) -> None:
    shown, trust = certificate(tmp_path, "localhost")
    async with running_host(shown) as host:
        allowed = f"localhost:{host.port}"
        source = web_of(allowed, trust=trust)
        assert await fetch(source, host.url("/a.png", "https")) == host.bytes_of("/a.png")
        host.redirect("/down", host.url("/a.png"))
        assert await refusal(source, host.url("/down", "https")) == "Redirected from https to http."
        assert "certificate" in str(await failure(web_of(allowed), host.url("/a.png", "https")))
    shown, trust = certificate(tmp_path, "other.example")
    async with running_host(shown) as host:
        told = await failure(web_of(f"localhost:{host.port}", trust=trust), host.url("/a.png", "https"))
        assert "certificate" in str(told)
        assert not host.asked


async def test_each_kind_of_place_is_opened_by_its_own(
    tree: Path, host: PictureHost, web_of: Callable[..., WebSource]
) -> None:
    sources = AnySource(FileSource(tree), web_of())
    found = {}
    for kind, text in (
        (SourceKind.FILE, "secret.png"),
        (SourceKind.DATA, "data:,abc"),
        (SourceKind.WEB, host.url("/a.png")),
    ):
        sources.vet(Location(kind, text))
        async with sources.open(Location(kind, text)) as opened:
            found[kind] = b"".join([block async for block in opened.chunks])
    assert found == {SourceKind.FILE: b"secret.png", SourceKind.DATA: b"abc", SourceKind.WEB: host.bytes_of("/a.png")}
    with pytest.raises(SourceRefused, match="--allow-host"):
        sources.vet(Location(SourceKind.WEB, "https://elsewhere.example/"))
    sources.vet(Location(SourceKind.FILE, "nosuch"))
    assert URL(host.url("/")).host == "localhost"
