"""The main process, its workers and its Postgres: how they start, how they stop, and what a `kill -9` leaves."""

from __future__ import annotations

import os
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, suppress
from http.client import HTTPConnection
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).parents[2]
PATIENCE_S = 15
HEADER_TIMEOUT_S = 6
SILENT_SOCKETS = 200
OTHERS_P99_S = 1


class Main:
    """One main process on a data folder and a port, in a process group of its own."""

    def __init__(self, data_dir: Path, port: int, *arguments: str, **settings: str) -> None:
        self.port = port
        environ = {name: value for name, value in os.environ.items() if not name.startswith("REFKEEP_")}
        environ |= {"REFKEEP_DATA_DIR": str(data_dir), "REFKEEP_PORT": str(port), "REFKEEP_DRAIN": "0"}
        environ |= {f"REFKEEP_{name}": value for name, value in settings.items()}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.e2e.process_app", *arguments],
            cwd=ROOT,
            env=environ,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def connection(self) -> HTTPConnection:
        """A new connection to one of the workers."""
        return HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE_S)

    def get(self, path: str) -> bytes:
        """The body of an answer 200."""
        with closing(self.connection()) as connection:
            connection.request("GET", path)
            response = connection.getresponse()
            assert response.status == 200
            return response.read()

    def ready(self) -> bool:
        """Whether a worker answers, is not on its way out, and is not one that an earlier main process left behind."""
        try:
            self.get("/readyz")
            return psutil.Process(int(self.get("/pid"))).ppid() == self.process.pid
        except (OSError, AssertionError, psutil.NoSuchProcess):
            return False

    def up(self) -> Main:
        """Itself, once it is ready."""
        wait_until(lambda: self.ready() or self.process.poll() is not None)
        assert self.process.poll() is None, self.process.stderr and self.process.stderr.read()
        return self

    def children(self) -> list[psutil.Process]:
        """Its workers, its Postgres and what they started."""
        return psutil.Process(self.process.pid).children(recursive=True)

    def end(self) -> tuple[int, str]:
        """Exit code and standard error, once it has ended."""
        _, errors = self.process.communicate(timeout=PATIENCE_S)
        return self.process.returncode, errors

    def stop(self, by: signal.Signals = signal.SIGTERM) -> int:
        """The exit code after a signal to the main process alone."""
        self.process.send_signal(by)
        return self.end()[0]


Start = Callable[..., Main]


def wait_until(condition: Callable[[], bool]) -> None:
    """Return when `condition` holds; fail when it does not within PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def is_gone(process: psutil.Process) -> bool:
    """Whether it has ended, whether or not anyone has collected it."""
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def refuses(port: int) -> bool:
    """Whether nobody listens."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture
def port() -> int:
    """A free port."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def start(tmp_path: Path, port: int) -> Iterator[Start]:
    """Start main processes on one data folder and one port; whatever the test leaves is ended."""
    with ExitStack() as stack:

        def begin(*arguments: str, **settings: str) -> Main:
            main = Main(tmp_path / "data", port, *arguments, **settings)
            stack.callback(end_for_good, main)
            return main

        yield begin


def end_for_good(main: Main) -> None:
    """End a main process and all its children, whatever state they are in."""
    children = main.children() if main.process.poll() is None else []
    main.process.kill()
    main.process.communicate()
    for child in children:
        if child.is_running():
            child.kill()


def open_upload(main: Main) -> HTTPConnection:
    """A connection that has sent half of a body of 2,000 bytes."""
    connection = main.connection()
    connection.putrequest("POST", "/upload")
    connection.putheader("Content-Length", "2000")
    connection.endheaders(b"x" * 1000)
    return connection


def open_download(main: Main, path: str) -> HTTPConnection:
    """A connection that has asked."""
    connection = main.connection()
    connection.request("GET", path)
    return connection


def test_a_second_start_finds_the_data_of_the_first(start: Start) -> None:
    for visits in (b"1", b"2"):
        main = start("dev").up()
        children = main.children()
        assert main.get("/visit") == visits
        assert main.stop() == 0
        assert all(is_gone(child) for child in children)
        assert refuses(main.port)


def test_after_a_kill_nothing_stays_behind_and_the_next_start_has_the_data(start: Start) -> None:
    first = start("dev", WORKERS="2").up()
    assert first.get("/visit") == b"1"
    children = first.children()
    first.process.kill()
    second = start("dev").up()
    assert second.get("/visit") == b"2"
    wait_until(lambda: all(is_gone(child) for child in children))
    assert second.get("/pid") == str(workers_of(second)[0].pid).encode()


def test_after_a_kill_during_transfers_the_port_is_free(start: Start) -> None:
    main = start("serve").up()
    children = main.children()
    with closing(open_upload(main)):
        main.process.kill()
        wait_until(lambda: refuses(main.port))
        wait_until(lambda: all(is_gone(child) for child in children))


def test_a_second_start_on_the_same_folder_says_so_and_harms_nobody(start: Start) -> None:
    first = start("dev").up()
    code, errors = start("dev").end()
    assert code == 1
    assert f"is in use by process {first.process.pid}" in errors
    assert first.get("/visit") == b"1"


def test_a_second_start_on_the_same_port_says_so_and_harms_nobody(start: Start) -> None:
    first = start("serve").up()
    code, errors = start("serve").end()
    assert code == 1
    assert f"127.0.0.1:{first.port} cannot be listened on: Address already in use." in errors
    assert first.ready()


def test_sigterm_turns_readiness_red_while_requests_are_served(start: Start) -> None:
    main = start("serve", DRAIN="60s").up()
    main.process.send_signal(signal.SIGTERM)
    wait_until(lambda: not main.ready())
    assert main.get("/pid")
    assert main.stop() == 0


def test_transfers_under_way_at_sigterm_complete(start: Start) -> None:
    main = start("serve").up()
    with closing(open_upload(main)) as upload, closing(open_download(main, "/slow")) as download:
        response = download.getresponse()
        main.process.send_signal(signal.SIGTERM)
        wait_until(lambda: refuses(main.port))
        upload.send(b"x" * 1000)
        assert upload.getresponse().read() == b"2000"
        assert len(response.read()) == 10_000
    assert main.end()[0] == 0


def test_an_idle_connection_does_not_delay_the_end(start: Start) -> None:
    main = start("serve").up()
    with closing(open_download(main, "/pid")) as idle:
        idle.getresponse().read()
        begun = time.monotonic()
        assert main.stop() == 0
        assert time.monotonic() - begun < 2


def test_ctrl_c_reaches_every_process_and_the_database_stops_last(start: Start) -> None:
    main = start("dev").up()
    with closing(open_download(main, "/late")) as waiting, closing(open_upload(main)) as upload:
        os.killpg(main.process.pid, signal.SIGINT)
        assert waiting.getresponse().read() == b"1"
        upload.send(b"x" * 1000)
        assert upload.getresponse().read() == b"2000"
    assert main.end()[0] == 0


def test_a_worker_that_dies_is_replaced(start: Start) -> None:
    main = start("serve").up()
    worker = workers_of(main)[0]
    worker.kill()
    wait_until(lambda: is_gone(worker) and main.ready())
    assert main.stop() == 0


def test_workers_that_cannot_start_end_the_main_process(start: Start) -> None:
    code, errors = start("serve", "die").end()
    assert code == 1
    assert re.search("crash loop", errors)


def test_silent_and_dripping_clients_are_cut_and_disturb_nobody(start: Start) -> None:
    main = start("serve").up()
    with ExitStack() as stack:
        address = ("127.0.0.1", main.port)
        clients = [stack.enter_context(socket.create_connection(address)) for _ in range(SILENT_SOCKETS)]
        begun = time.monotonic()
        heard = others_while(main, lambda: drip_until_cut(clients, begun))
        assert time.monotonic() - begun < HEADER_TIMEOUT_S
    assert len(heard) >= 100
    assert sorted(heard)[len(heard) * 99 // 100] < OTHERS_P99_S


def drip_until_cut(clients: list[socket.socket], begun: float) -> None:
    """Half of them say nothing, half of them a byte now and then, until all are closed."""
    words = iter(b"GET /pid HTTP/1.1\r\nHost: a\r\nX: " + b"." * 1000)
    for client in clients:
        client.setblocking(False)
    left = set(clients)
    while left:
        assert time.monotonic() - begun < PATIENCE_S
        letter = bytes([next(words)])
        for client in clients[::2]:
            with suppress(OSError):
                client.send(letter)
        readable, _, _ = select.select(left, [], [], 0.2)
        left -= {client for client in readable if is_closed(client)}


def is_closed(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


def others_while(main: Main, work: Callable[[], None]) -> list[float]:
    """The seconds that each of a series of requests took meanwhile."""
    seconds, done = list[float](), threading.Event()

    def ask() -> None:
        while not done.is_set():
            begun = time.monotonic()
            main.get("/pid")
            seconds.append(time.monotonic() - begun)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        work()
    finally:
        done.set()
        asking.join()
    return seconds


def workers_of(main: Main) -> list[psutil.Process]:
    """The processes that answer HTTP."""
    return [child for child in main.children() if "postgres" not in child.name()]
